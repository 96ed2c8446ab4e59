/// What a token stands for, whatever its id and however its vocabulary spells it.
package struct TokenMeaning: Sendable, Hashable {
    package enum Kind: Sendable {
        case text
        /// A text of its own that was added to the vocabulary, such as a run of spaces or a mark.
        case added
        /// A single byte, for characters that have no token.
        case byte
        case control
        /// Padding, a hole, or the token for what is unknown.
        case nothing
    }

    package let kind: Kind
    /// What it adds to a text; the name of a control token.
    package let bytes: [UInt8]

    package init(_ kind: Kind, _ bytes: [UInt8]) {
        self.kind = bytes.isEmpty ? .nothing : kind
        self.bytes = bytes
    }
}

extension Tokenizer {
    /// The meanings of the first `count` tokens.
    package func meanings(count: Int) -> [TokenMeaning] {
        (0..<Int32(clamping: count)).map { id in
            if isPadding(id) { return TokenMeaning(.nothing, []) }
            let kind: TokenMeaning.Kind =
                switch vocabulary.kind(id) {
                case .normal: .text
                case .userDefined: .added
                case .byte: .byte
                case .control: .control
                case .unknown, .unused: .nothing
                }
            return TokenMeaning(kind, piece(id))
        }
    }

    /// Whether the token stands for nothing: it has no text, or a name that converters give to unused ids.
    package func isPadding(_ id: Int32) -> Bool {
        let name = String(decoding: storedText(id).prefix(12), as: UTF8.self).lowercased()
        return name.isEmpty
            || ["[pad", "<pad", "[unused", "<unused", "<dummy", "<|unused", "<|reserved"].contains {
                name.hasPrefix($0)
            }
    }
}
