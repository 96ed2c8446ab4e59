/// A text on its way to tokens: Unicode scalar values, each with whether control tokens may be recognised there.
struct Passage: Sendable {
    var scalars: [UInt32] = []
    /// [scalars.count]
    var open: [Bool] = []

    init() {}

    init(_ slice: ArraySlice<UInt32>, open: ArraySlice<Bool>) {
        scalars = Array(slice)
        self.open = Array(open)
    }

    var count: Int { scalars.count }

    mutating func append(_ scalar: UInt32, open isOpen: Bool) {
        scalars.append(scalar)
        open.append(isOpen)
    }

    mutating func append(_ text: String, open isOpen: Bool) {
        for scalar in text.unicodeScalars { append(scalar.value, open: isOpen) }
    }
}

func utf8Bytes(_ scalar: UInt32) -> [UInt8] {
    var bytes: [UInt8] = []
    appendUTF8(scalar, to: &bytes)
    return bytes
}

@inline(__always)
func appendUTF8(_ scalar: UInt32, to bytes: inout [UInt8]) {
    switch scalar {
    case 0..<0x80:
        bytes.append(UInt8(truncatingIfNeeded: scalar))
    case 0x80..<0x800:
        bytes.append(UInt8(truncatingIfNeeded: 0xC0 | scalar >> 6))
        bytes.append(UInt8(truncatingIfNeeded: 0x80 | scalar & 0x3F))
    case 0x800..<0x10000:
        bytes.append(UInt8(truncatingIfNeeded: 0xE0 | scalar >> 12))
        bytes.append(UInt8(truncatingIfNeeded: 0x80 | scalar >> 6 & 0x3F))
        bytes.append(UInt8(truncatingIfNeeded: 0x80 | scalar & 0x3F))
    default:
        bytes.append(UInt8(truncatingIfNeeded: 0xF0 | scalar >> 18))
        bytes.append(UInt8(truncatingIfNeeded: 0x80 | scalar >> 12 & 0x3F))
        bytes.append(UInt8(truncatingIfNeeded: 0x80 | scalar >> 6 & 0x3F))
        bytes.append(UInt8(truncatingIfNeeded: 0x80 | scalar & 0x3F))
    }
}

func scalarValues(_ text: String) -> [UInt32] { text.unicodeScalars.map(\.value) }

func text(ofScalars scalars: some Sequence<UInt32>) -> String {
    var bytes: [UInt8] = []
    for scalar in scalars { appendUTF8(scalar, to: &bytes) }
    return String(decoding: bytes, as: UTF8.self)
}

/// The Unicode properties that pre-tokenizers ask for.
struct ScalarClass: OptionSet, Sendable {
    let rawValue: UInt16

    /// \p{L}, \p{M}, \p{N}, \p{Nd}, \p{P}, \p{S}
    static let letter = ScalarClass(rawValue: 1 << 0)
    static let mark = ScalarClass(rawValue: 1 << 1)
    static let number = ScalarClass(rawValue: 1 << 2)
    static let decimal = ScalarClass(rawValue: 1 << 3)
    static let punctuation = ScalarClass(rawValue: 1 << 4)
    static let symbol = ScalarClass(rawValue: 1 << 5)
    /// White_Space, which is what \s means.
    static let space = ScalarClass(rawValue: 1 << 6)
    /// Carriage return and line feed.
    static let newline = ScalarClass(rawValue: 1 << 7)
    static let asciiDigit = ScalarClass(rawValue: 1 << 8)
    static let asciiLetter = ScalarClass(rawValue: 1 << 9)
    /// $ + < = > ^ | ~ : punctuation to ASCII, symbols to Unicode. The grave accent is apart: some patterns omit it.
    static let asciiSymbol = ScalarClass(rawValue: 1 << 10)
    static let grave = ScalarClass(rawValue: 1 << 11)
    /// U+0800–U+9FA5 and U+AC00–U+D7FF (DeepSeek Coder).
    static let eastern = ScalarClass(rawValue: 1 << 12)
    /// U+4E00–U+9FA5 and the kana blocks (DeepSeek V3).
    static let hanOrKana = ScalarClass(rawValue: 1 << 13)

    init(rawValue: UInt16) { self.rawValue = rawValue }

    @inline(__always)
    init(of scalar: UInt32) {
        self = scalar < 0x80 ? Self.ascii[Int(scalar)] : Self(computedFor: scalar)
    }

    private static let ascii: [ScalarClass] = (0..<0x80).map { ScalarClass(computedFor: $0) }

    private init(computedFor value: UInt32) {
        // Mapped byte symbols and text are scalars always; anything else has no property.
        guard let scalar = Unicode.Scalar(value) else {
            self = []
            return
        }
        self = Self.category(scalar.properties.generalCategory)
        if scalar.properties.isWhitespace { insert(.space) }
        if value == 0x0A || value == 0x0D { insert(.newline) }
        if value < 0x80 { formUnion(Self.asciiExtras(scalar)) }
        if (0x800...0x9FA5).contains(value) || (0xAC00...0xD7FF).contains(value) { insert(.eastern) }
        if (0x4E00...0x9FA5).contains(value) || (0x3040...0x30FF).contains(value) { insert(.hanOrKana) }
    }

    private static func asciiExtras(_ scalar: Unicode.Scalar) -> ScalarClass {
        switch scalar {
        case "0"..."9": .asciiDigit
        case "a"..."z", "A"..."Z": .asciiLetter
        case "$", "+", "<", "=", ">", "^", "|", "~": .asciiSymbol
        case "`": .grave
        default: []
        }
    }

    private static func category(_ category: Unicode.GeneralCategory) -> ScalarClass {
        switch category {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: .letter
        case .nonspacingMark, .spacingMark, .enclosingMark: .mark
        case .decimalNumber: [.number, .decimal]
        case .letterNumber, .otherNumber: .number
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
            .finalPunctuation, .otherPunctuation:
            .punctuation
        case .mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol: .symbol
        default: []
        }
    }
}

/// The byte alphabet of byte-level BPE: each byte stands as one printable character, its own where it has one.
enum ByteAlphabet {
    /// [256]
    static let scalars: [UInt32] = {
        var next: UInt32 = 0x100
        return (0..<256).map { byte in
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return UInt32(byte)
            default:
                defer { next += 1 }
                return next
            }
        }
    }()

    /// [0x144]: the byte that a character stands for; -1 for none.
    private static let bytes: [Int16] = {
        var table = [Int16](repeating: -1, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { table[Int(scalar)] = Int16(byte) }
        return table
    }()

    static func byte(_ scalar: Unicode.Scalar) -> UInt8? {
        guard scalar.value < 0x144 else { return nil }
        let byte = bytes[Int(scalar.value)]
        return byte < 0 ? nil : UInt8(byte)
    }
}
