extension Jinja.Lexer {
    /// Scans what is inside a tag, up to and including its end.
    mutating func scanTag(closing delimiter: String, as kind: Jinja.Token.Kind) throws {
        var brackets: [UInt8] = []
        while true {
            move(to: afterSpace(position))
            guard let first = byte(position) else { throw syntaxError("a tag does not end with '\(delimiter)'") }
            if brackets.isEmpty, let sign = closingSign(delimiter) {
                add(kind)
                close(delimiter, at: position + sign.length, sign: sign.byte)
                return
            }
            switch first {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): try scanNumber()
            case UInt8(ascii: "'"), UInt8(ascii: "\""): try scanString(quote: first)
            default:
                if nameLength > 0 { scanName() } else { try scanSign(&brackets) }
            }
        }
    }

    private func closingSign(_ delimiter: String) -> (byte: UInt8?, length: Int)? {
        if starts(delimiter, at: position) { return (nil, 0) }
        guard starts(delimiter, at: position + 1) else { return nil }
        if byte(position) == UInt8(ascii: "-") { return (UInt8(ascii: "-"), 1) }
        return byte(position) == UInt8(ascii: "+") && delimiter == "%}" ? (UInt8(ascii: "+"), 1) : nil
    }

    // MARK: Names and signs

    /// Bytes of the name at the position.
    private var nameLength: Int {
        bytes[position...].prefix { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"): true
            case UInt8(ascii: "0")...UInt8(ascii: "9"): true
            default: false
            }
        }.count
    }

    private mutating func scanName() {
        let end = position + nameLength
        add(.name(String(decoding: bytes[position..<end], as: UTF8.self)))
        move(to: end)
    }

    private static let signs = [
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=",
        ".", ":", "|", ",",
    ]

    private mutating func scanSign(_ brackets: inout [UInt8]) throws {
        guard let sign = Self.signs.first(where: { starts($0, at: position) }) else {
            let scalar = Jinja.Text(bytes: Array(bytes[position...].prefix(4)), trusted: true).scalar(at: 0).scalar
            throw syntaxError("unexpected character '\(scalar)'")
        }
        switch sign {
        case "(": brackets.append(UInt8(ascii: ")"))
        case "[": brackets.append(UInt8(ascii: "]"))
        case "{": brackets.append(UInt8(ascii: "}"))
        case ")", "]", "}":
            guard brackets.popLast() == bytes[position] else { throw syntaxError("unexpected '\(sign)'") }
        default: break
        }
        add(.sign(sign))
        move(to: position + sign.utf8.count)
    }

    // MARK: Numbers

    private func digitsEnd(_ start: Int, radix: Int = 10) -> Int {
        var end = start
        while let next = byte(end) {
            let isDigit = Character(Unicode.Scalar(next)).hexDigitValue.map { $0 < radix } ?? false
            let isSeparator = next == UInt8(ascii: "_") && end > start
            guard next < 0x80, isDigit || isSeparator else { break }
            end += 1
        }
        while end > start, bytes[end - 1] == UInt8(ascii: "_") { end -= 1 }
        return end
    }

    private func plain(_ range: Range<Int>) -> String {
        String(decoding: bytes[range].filter { $0 != UInt8(ascii: "_") }, as: UTF8.self)
    }

    private mutating func scanNumber() throws {
        if byte(position) == UInt8(ascii: "0"), let radix = radix(byte(position + 1)) {
            let end = digitsEnd(position + 2, radix: radix)
            return try addInteger(position + 2..<end, radix: radix)
        }
        let whole = digitsEnd(position)
        var end = whole
        if byte(end) == UInt8(ascii: ".") {
            let fraction = digitsEnd(end + 1)
            if fraction > end + 1 { end = fraction }
        }
        if let letter = byte(end), letter | 0x20 == UInt8(ascii: "e") {
            let signed = byte(end + 1) == UInt8(ascii: "+") || byte(end + 1) == UInt8(ascii: "-")
            let digits = end + (signed ? 2 : 1)
            let exponent = digitsEnd(digits)
            if exponent > digits { end = exponent }
        }
        guard end > whole else { return try addInteger(position..<whole, radix: 10) }
        guard let value = Double(plain(position..<end)) else { throw syntaxError("bad number") }
        add(.float(value))
        move(to: end)
    }

    private func radix(_ letter: UInt8?) -> Int? {
        switch letter.map({ $0 | 0x20 }) {
        case UInt8(ascii: "x"): 16
        case UInt8(ascii: "o"): 8
        case UInt8(ascii: "b"): 2
        default: nil
        }
    }

    private mutating func addInteger(_ range: Range<Int>, radix: Int) throws {
        guard let value = Int(plain(range), radix: radix) else {
            throw syntaxError("the number \(plain(range)) does not fit in 64 bits")
        }
        add(.integer(value))
        move(to: range.upperBound)
    }

    // MARK: Strings

    private mutating func scanString(quote: UInt8) throws {
        var text: [UInt8] = []
        var offset = position + 1
        while true {
            guard let next = byte(offset) else { throw syntaxError("a string does not end") }
            offset += 1
            if next == quote { break }
            guard next == UInt8(ascii: "\\") else {
                text.append(next)
                continue
            }
            try scanEscape(&offset, into: &text)
        }
        add(.string(text))
        move(to: offset)
    }

    /// The escapes of Python strings; an unknown one stands for itself.
    private func scanEscape(_ offset: inout Int, into text: inout [UInt8]) throws {
        guard let letter = byte(offset) else { throw syntaxError("a string does not end") }
        offset += 1
        switch letter {
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "a"): text.append(0x07)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "v"): text.append(0x0B)
        case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): text.append(letter)
        case UInt8(ascii: "\n"): break
        case UInt8(ascii: "x"): try scanCode(digits: 2, at: &offset, into: &text)
        case UInt8(ascii: "u"): try scanCode(digits: 4, at: &offset, into: &text)
        case UInt8(ascii: "U"): try scanCode(digits: 8, at: &offset, into: &text)
        case UInt8(ascii: "0")...UInt8(ascii: "7"): scanOctal(at: &offset, into: &text)
        case UInt8(ascii: "N"):
            throw Failure.unsupported("chat template line \(line): unsupported string escape '\\N'")
        default: text.append(contentsOf: [UInt8(ascii: "\\"), letter])
        }
    }

    private func scanCode(digits: Int, at offset: inout Int, into text: inout [UInt8]) throws {
        let end = offset + digits
        guard end <= bytes.count, bytes[offset..<end].allSatisfy({ $0 < 0x80 }),
            let value = UInt32(String(decoding: bytes[offset..<end], as: UTF8.self), radix: 16),
            let scalar = Unicode.Scalar(value)
        else { throw syntaxError("bad escape in a string") }
        text.append(contentsOf: String(Character(scalar)).utf8)
        offset = end
    }

    private func scanOctal(at offset: inout Int, into text: inout [UInt8]) {
        offset -= 1
        var value: UInt32 = 0
        let end = min(offset + 3, bytes.count)
        while offset < end, bytes[offset] >= UInt8(ascii: "0"), bytes[offset] <= UInt8(ascii: "7") {
            value = value * 8 + UInt32(bytes[offset] - UInt8(ascii: "0"))
            offset += 1
        }
        text.append(contentsOf: String(Character(Unicode.Scalar(value) ?? "\u{FFFD}")).utf8)
    }
}
