/// How the strings of a vocabulary become text again.
struct DecodingRules: Sendable {
    /// Tokens are spelled in the byte alphabet.
    var byteLevel = false
    /// "▁" stands for a space.
    var spaceMark = false
    /// A space at the start of a text is not part of it: encoding put it there.
    var stripsAtStart = false
    /// After these tokens too encoding puts such a space.
    var spacedTokens: Set<Int32> = []
}

/// Where in a text decoding is.
struct DecodingPosition: Sendable {
    /// Whether a space that comes next is left out.
    var dropsSpace: Bool
}

extension Tokenizer {
    /// The bytes that `id` contributes to a text; empty for an id out of range. Byte-level symbols and "▁" are
    /// translated, byte tokens give their byte, control and added tokens their own text (whoever shows text to
    /// people leaves control tokens out). The bytes of one token need not be valid UTF-8 by themselves.
    package func piece(_ id: Int32) -> [UInt8] {
        switch vocabulary.kind(id) {
        case .control, .unknown, .userDefined: Array(vocabulary.text(id))
        case .byte: [byteValue(id)]
        case .normal, .unused: translated(vocabulary.text(id))
        }
    }

    /// Whether the token controls the model instead of being text; the unknown token counts as one.
    package func isControl(_ id: Int32) -> Bool {
        switch vocabulary.kind(id) {
        case .control, .unknown: vocabulary.contains(id)
        case .normal, .userDefined, .unused, .byte: false
        }
    }

    /// The vocabulary's own spelling of a token, to compare vocabularies by; empty for an id out of range.
    package func storedText(_ id: Int32) -> [UInt8] { Array(vocabulary.text(id)) }

    /// The text of a whole sequence, without the space that encoding put in front (SentencePiece). What `encode`
    /// made of a text gives that text again, unless the file's normalizer loses something: "▁" itself, for
    /// example, becomes a space wherever "▁" stands for one.
    package func decode(_ ids: [Int32], skipSpecial: Bool) -> [UInt8] {
        var out: [UInt8] = []
        var position = DecodingPosition(dropsSpace: decoding.stripsAtStart)
        for id in ids { append(id, to: &out, at: &position, skipSpecial: skipSpecial) }
        return out
    }

    func append(_ id: Int32, to out: inout [UInt8], at position: inout DecodingPosition, skipSpecial: Bool) {
        switch vocabulary.kind(id) {
        case .control, .unknown, .userDefined:
            if !(skipSpecial && isControl(id)) { out += vocabulary.text(id) }
            // Others leave the place where it was: at the start of the text, or not.
            if decoding.spacedTokens.contains(id) { position.dropsSpace = true }
        case .normal, .unused, .byte:
            let bytes = piece(id)
            guard let first = bytes.first else { return }
            out += position.dropsSpace && first == 0x20 ? bytes[1...] : bytes[...]
            position.dropsSpace = decoding.spacedTokens.contains(id)
        }
    }

    /// The value of a byte token, spelled <0xNN>; loading has checked the spelling.
    private func byteValue(_ id: Int32) -> UInt8 { Self.byteValue(vocabulary.text(id)) ?? 0 }

    static func byteValue(_ text: ArraySlice<UInt8>) -> UInt8? {
        guard text.count == 6, text.starts(with: "<0x".utf8), text.last == UInt8(ascii: ">") else { return nil }
        var value: UInt8 = 0
        for byte in text.dropFirst(3).prefix(2) {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | (byte - UInt8(ascii: "0"))
            case UInt8(ascii: "A")...UInt8(ascii: "F"): value = value << 4 | (byte - UInt8(ascii: "A") + 10)
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | (byte - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return value
    }

    private func translated(_ text: ArraySlice<UInt8>) -> [UInt8] {
        if decoding.byteLevel { return Self.bytesOfByteLevel(text) }
        guard decoding.spaceMark else { return Array(text) }
        let mark = utf8Bytes(MergeModel.spaceMark)
        var result: [UInt8] = []
        var rest = text
        while let first = rest.first {
            if rest.starts(with: mark) {
                result.append(0x20)
                rest = rest.dropFirst(mark.count)
            } else {
                result.append(first)
                rest = rest.dropFirst()
            }
        }
        return result
    }

    /// A token with a character outside the byte alphabet is no byte-level spelling and stands for itself.
    private static func bytesOfByteLevel(_ text: ArraySlice<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
            guard let byte = ByteAlphabet.byte(scalar) else { return Array(text) }
            result.append(byte)
        }
        return result
    }
}

/// Turns tokens into text as they are generated. What it returns is valid Unicode text: the bytes of a code point
/// that is not complete yet are held back, and bytes that can never be part of one become U+FFFD.
package struct StreamDecoder: Sendable {
    private let tokenizer: Tokenizer
    private let skipsSpecial: Bool
    private var position: DecodingPosition
    private var pending: [UInt8] = []

    /// `continuesText`: the tokens follow others (a prompt), so that a space in front belongs to the text. Without
    /// it, the space that SentencePiece puts before a text is left out.
    package init(_ tokenizer: Tokenizer, continuesText: Bool, skipsSpecial: Bool = true) {
        self.tokenizer = tokenizer
        self.skipsSpecial = skipsSpecial
        position = DecodingPosition(dropsSpace: !continuesText && tokenizer.decoding.stripsAtStart)
    }

    /// Adds a token; returns the text that is now complete. An id out of range adds nothing.
    package mutating func push(_ id: Int32) -> String {
        tokenizer.append(id, to: &pending, at: &position, skipSpecial: skipsSpecial)
        let complete = pending.count - Self.incompleteTail(pending)
        guard complete > 0 else { return "" }
        let text = String(decoding: pending[..<complete], as: UTF8.self)
        pending.removeFirst(complete)
        return text
    }

    /// Ends the text: what was held back is returned, as U+FFFD.
    package mutating func finish() -> String {
        defer { pending = [] }
        return String(decoding: pending, as: UTF8.self)
    }

    /// How many bytes at the end begin a code point that more bytes could complete.
    private static func incompleteTail(_ bytes: [UInt8]) -> Int {
        for length in 1...3 where length <= bytes.count {
            let lead = bytes[bytes.count - length]
            if lead & 0xC0 == 0x80 { continue }
            guard length < sequenceLength(lead) else { return 0 }
            if length > 1, !isValidSecond(bytes[bytes.count - length + 1], after: lead) { return 0 }
            return length
        }
        return 0
    }

    /// Bytes of the sequence that a lead byte begins; 1 for ASCII and for bytes that begin none.
    private static func sequenceLength(_ lead: UInt8) -> Int {
        switch lead {
        case 0xC2...0xDF: 2
        case 0xE0...0xEF: 3
        case 0xF0...0xF4: 4
        default: 1
        }
    }

    /// Overlong forms, surrogates and values beyond U+10FFFF show in the second byte.
    private static func isValidSecond(_ byte: UInt8, after lead: UInt8) -> Bool {
        switch lead {
        case 0xE0: byte >= 0xA0
        case 0xED: byte < 0xA0
        case 0xF0: byte >= 0x90
        case 0xF4: byte < 0x90
        default: true
        }
    }
}
