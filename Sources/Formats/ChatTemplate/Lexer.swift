extension Jinja {
    struct Token: Sendable {
        enum Kind: Sendable, Equatable {
            case text([UInt8])
            case blockBegin, blockEnd, outputBegin, outputEnd
            case name(String)
            case string([UInt8])
            case integer(Int)
            case float(Double)
            case sign(String)
            case end
        }

        let kind: Kind
        let line: Int
    }

    /// Cuts a template into tokens, with white space control as in an environment with `trim_blocks` and
    /// `lstrip_blocks`.
    struct Lexer {
        let bytes: [UInt8]
        var position = 0
        var line = 1
        var tokens: [Token] = []
        /// Whether the last tag ended with a line end, so that what follows begins a line.
        private var beginsLine = true

        init(_ source: String) {
            bytes = Self.normalized(Array(source.utf8))
        }

        /// Line ends become "\n" and one at the very end goes.
        private static func normalized(_ source: [UInt8]) -> [UInt8] {
            var result: [UInt8] = []
            result.reserveCapacity(source.count)
            for (index, byte) in source.enumerated() {
                if byte == UInt8(ascii: "\n"), index > 0, source[index - 1] == UInt8(ascii: "\r") { continue }
                result.append(byte == UInt8(ascii: "\r") ? UInt8(ascii: "\n") : byte)
            }
            if result.last == UInt8(ascii: "\n") { result.removeLast() }
            return result
        }

        mutating func run() throws -> [Token] {
            while let tag = nextTag() {
                try scan(tag)
            }
            emitText(position..<bytes.count)
            add(.end)
            return tokens
        }

        // MARK: Helpers

        func syntaxError(_ what: String) -> Failure { Failure.corrupt("chat template line \(line): \(what)") }

        mutating func add(_ kind: Token.Kind) { tokens.append(Token(kind: kind, line: line)) }

        func byte(_ offset: Int) -> UInt8? { offset < bytes.count ? bytes[offset] : nil }

        func starts(_ text: String, at offset: Int) -> Bool {
            offset <= bytes.count && bytes[offset...].starts(with: text.utf8)
        }

        mutating func move(to offset: Int) {
            for byte in bytes[position..<offset] where byte == UInt8(ascii: "\n") { line += 1 }
            position = offset
        }

        /// The offset after the white space at `offset`.
        func afterSpace(_ offset: Int) -> Int {
            let text = Text(bytes: Array(bytes[offset...].prefix { $0 >= 0x80 || $0 <= 0x20 }), trusted: true)
            return offset + text.bytes.count - text.stripped(right: false).bytes.count
        }

        private mutating func emitText(_ range: Range<Int>) {
            if !range.isEmpty { add(.text(Array(bytes[range]))) }
        }

        // MARK: Between tags

        private enum Tag { case block, output, comment, raw(bodyStart: Int) }

        private struct Opening {
            let tag: Tag
            let start: Int
            let sign: UInt8?
            let end: Int
        }

        private func nextTag() -> Opening? {
            var offset = position
            while let brace = bytes[offset...].firstIndex(of: UInt8(ascii: "{")) {
                if let tag = opening(at: brace) { return tag }
                offset = brace + 1
            }
            return nil
        }

        private func opening(at start: Int) -> Opening? {
            let sign = byte(start + 2).flatMap { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") ? $0 : nil }
            let end = start + (sign == nil ? 2 : 3)
            switch byte(start + 1) {
            case UInt8(ascii: "{"): return Opening(tag: .output, start: start, sign: sign, end: end)
            case UInt8(ascii: "#"): return Opening(tag: .comment, start: start, sign: sign, end: end)
            case UInt8(ascii: "%"):
                let tag = rawBody(afterTag: end).map { Tag.raw(bodyStart: $0) } ?? .block
                return Opening(tag: tag, start: start, sign: sign, end: end)
            default: return nil
            }
        }

        /// Where the body of a `raw` block begins; nil when the tag is another.
        private func rawBody(afterTag offset: Int) -> Int? {
            let word = afterSpace(offset)
            guard starts("raw", at: word) else { return nil }
            let end = afterSpace(word + 3)
            if starts("%}", at: end) { return end + 2 }
            return starts("-%}", at: end) ? afterSpace(end + 3) : nil
        }

        /// The end of the text before a tag, after white space control.
        private func textEnd(from begin: Int, before opening: Opening) -> Int {
            if opening.sign == UInt8(ascii: "-") {
                let text = Text(bytes: Array(bytes[begin..<opening.start]), trusted: true)
                return begin + text.stripped(left: false).bytes.count
            }
            if case .output = opening.tag { return opening.start }
            guard opening.sign == nil else { return opening.start }
            let text = bytes[begin..<opening.start]
            let lineStart = text.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 }
            guard lineStart != nil || beginsLine else { return opening.start }
            let rest = Text(bytes: Array(bytes[(lineStart ?? begin)..<opening.start]), trusted: true)
            return rest.stripped().isEmpty ? lineStart ?? begin : opening.start
        }

        private mutating func scan(_ opening: Opening) throws {
            emitText(position..<textEnd(from: position, before: opening))
            switch opening.tag {
            case .block:
                move(to: opening.end)
                add(.blockBegin)
                try scanTag(closing: "%}", as: .blockEnd)
            case .output:
                move(to: opening.end)
                add(.outputBegin)
                try scanTag(closing: "}}", as: .outputEnd)
            case .comment: try skipComment(from: opening)
            case .raw(let start): try scanRaw(from: start)
            }
        }

        /// Passes a tag's end at `offset`: `-` takes all white space, none of the two takes a line end.
        mutating func close(_ delimiter: String, at offset: Int, sign: UInt8?) {
            var end = offset + delimiter.utf8.count
            if sign == UInt8(ascii: "-") {
                end = afterSpace(end)
            } else if sign == nil, delimiter != "}}", byte(end) == UInt8(ascii: "\n") {
                end += 1
            }
            move(to: end)
            beginsLine = bytes[end - 1] == UInt8(ascii: "\n")
        }

        private mutating func skipComment(from opening: Opening) throws {
            move(to: opening.end)
            var offset = opening.end
            while offset < bytes.count, !starts("#}", at: offset) { offset += 1 }
            guard offset < bytes.count else { throw syntaxError("a comment does not end") }
            let before = offset > opening.end ? bytes[offset - 1] : 0
            let sign = before == UInt8(ascii: "-") || before == UInt8(ascii: "+") ? before : nil
            close("#}", at: offset, sign: sign)
        }

        private mutating func scanRaw(from start: Int) throws {
            move(to: start)
            beginsLine = bytes[start - 1] == UInt8(ascii: "\n")
            var offset = start
            while let brace = bytes[offset...].firstIndex(of: UInt8(ascii: "{")) {
                offset = brace + 1
                guard byte(offset) == UInt8(ascii: "%"), let opening = opening(at: brace) else { continue }
                let word = afterSpace(opening.end)
                guard starts("endraw", at: word) else { continue }
                let end = afterSpace(word + 6)
                let sign = byte(end).flatMap { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") ? $0 : nil }
                let delimiter = end + (sign == nil ? 0 : 1)
                guard starts("%}", at: delimiter) else { continue }
                emitText(start..<textEnd(from: start, before: opening))
                close("%}", at: delimiter, sign: sign)
                return
            }
            throw syntaxError("a raw block does not end")
        }
    }
}
