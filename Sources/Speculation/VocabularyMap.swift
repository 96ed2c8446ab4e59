package import Formats

/// How the tokens of a target are said with those of a draft model that has another vocabulary: the token-level
/// intersection of Timor et al. (arXiv 2502.05202). Tokens that mean the same bytes are twins, whatever their ids and
/// spellings. A text goes to the draft token by token, each as its twin, or else as the draft's tokens that spell it; drafts come
/// from the twins alone, so that one drafted token is always one token of the target.
package struct VocabularyMap: Sendable {
    /// The draft's tokens for target token t are `spellings[starts[t]..<starts[t + 1]]`.
    private let spellings: [Int32]
    private let starts: [Int]
    /// [target's tokens]: the twin; -1 where there is none, or where it is the twin of a better one.
    private let twins: [Int32]
    /// Tokens of the target that are longer than a byte: single bytes are in most vocabularies, and tell nothing.
    package let comparedTokens: Int
    /// How many of these the draft has.
    package let sharedTokens: Int

    /// A vocabulary, and those of its tokens that have a role.
    package struct Side: Sendable {
        package let tokens: [TokenMeaning]
        package let bos: Int32?
        package let eos: Int32?

        package init(_ tokens: [TokenMeaning], bos: Int32? = nil, eos: Int32? = nil) {
            self.tokens = tokens
            self.bos = bos.flatMap { tokens.indices.contains(Int($0)) ? $0 : nil }
            self.eos = eos.flatMap { tokens.indices.contains(Int($0)) ? $0 : nil }
        }
    }

    package init(target: Side, draft: Side) throws {
        let index = TokenIndex(draft.tokens)
        var found = target.tokens.map { index.twin(of: $0) }
        var twins = Self.eachOnce(found, target.tokens, draft.tokens)
        // Names of the ends of texts differ, and mean the same.
        if let eos = target.eos, let other = draft.eos, found[Int(eos)] == nil, !twins.contains(other) {
            found[Int(eos)] = other
            twins[Int(eos)] = other
        }
        // Nothing drafts the beginning of a text.
        if let bos = target.bos, let other = draft.bos, found[Int(bos)] == nil { found[Int(bos)] = other }

        let trie = try TokenTrie(vocabularySize: draft.tokens.count) {
            index.spells($0) ? draft.tokens[Int($0)].bytes : []
        }
        var spellings: [Int32] = []
        var starts = [0]
        starts.reserveCapacity(target.tokens.count + 1)
        for (token, twin) in zip(target.tokens, found) {
            if let twin { spellings.append(twin) } else { Self.spell(token, trie, into: &spellings) }
            starts.append(spellings.count)
        }
        let compared = target.tokens.indices.filter { Self.counts(target.tokens[$0]) }
        comparedTokens = compared.count
        sharedTokens = compared.count { twins[$0] >= 0 }
        (self.spellings, self.starts, self.twins) = (spellings, starts, twins)
    }

    // MARK: Use

    /// Below this share of the target's tokens too few drafts could be right to be worth a pass.
    package static let leastShare = 0.05

    /// The part of the target's tokens that the draft has, from 0 to 1.
    package var share: Double { comparedTokens > 0 ? Double(sharedTokens) / Double(comparedTokens) : 1 }

    /// The draft's tokens that stand for one of the target's; none for an id out of range.
    package func spelling(_ token: Int32) -> ArraySlice<Int32> {
        guard twins.indices.contains(Int(token)) else { return [] }
        return spellings[starts[Int(token)]..<starts[Int(token) + 1]]
    }

    /// The draft's token behind a drafted one; -1 for a token that cannot be drafted.
    package func twin(_ token: Int32) -> Int32 { twins.indices.contains(Int(token)) ? twins[Int(token)] : -1 }

    /// Puts the draft's logits in the order of the target's ids; -infinity for tokens that the draft lacks.
    package func gather(_ logits: Span<Float>, into row: inout [Float]) {
        let count = min(row.count, twins.count)
        for token in 0..<count {
            let twin = Int(twins[token])
            row[token] = twin >= 0 && twin < logits.count ? logits[twin] : -.infinity
        }
        for token in count..<row.count { row[token] = -.infinity }
    }

    // MARK: Making

    private static func counts(_ token: TokenMeaning) -> Bool {
        (token.kind == .text || token.kind == .added) && token.bytes.count > 1
    }

    /// Of several tokens with one twin only the best has it, so that no probability counts twice: one of the twin's own kind,
    /// then the lowest id.
    private static func eachOnce(_ found: [Int32?], _ target: [TokenMeaning], _ draft: [TokenMeaning]) -> [Int32] {
        var owners = [Int32](repeating: -1, count: draft.count)
        var twins = [Int32](repeating: -1, count: target.count)
        for (token, twin) in found.enumerated() {
            guard let twin = twin.map({ Int($0) }) else { continue }
            let owner = Int(owners[twin])
            let isOwn = target[token].kind == draft[twin].kind
            guard owner < 0 || isOwn && target[owner].kind != draft[twin].kind else { continue }
            if owner >= 0 { twins[owner] = -1 }
            owners[twin] = Int32(token)
            twins[token] = Int32(twin)
        }
        return twins
    }

    /// Bytes; what real tokens rarely have. Without a limit a crafted vocabulary would take quadratic time.
    private static let longestPart = 64

    /// The longest tokens from the left; bytes that the draft has nothing for are left out, and so are control tokens.
    private static func spell(_ token: TokenMeaning, _ trie: TokenTrie, into spellings: inout [Int32]) {
        guard token.kind != .control, token.kind != .nothing else { return }
        var rest = token.bytes[...]
        while !rest.isEmpty {
            if let next = trie.longestMatch(rest.prefix(longestPart)) {
                spellings.append(next)
                rest = rest.dropFirst(trie.bytes(of: next).count)
            } else {
                rest = rest.dropFirst()
            }
        }
    }
}

/// The tokens of a vocabulary by their meaning; the lowest id where several mean the same.
private struct TokenIndex {
    private var texts: [[UInt8]: Int32] = [:]
    private var marks: [[UInt8]: Int32] = [:]
    private var bytes = [Int32](repeating: -1, count: 256)
    private let tokens: [TokenMeaning]

    init(_ tokens: [TokenMeaning]) {
        self.tokens = tokens
        texts.reserveCapacity(tokens.count)
        for (id, token) in tokens.enumerated().reversed() {
            switch token.kind {
            case .text: texts[token.bytes] = Int32(id)
            case .added, .control: marks[token.bytes] = Int32(id)
            case .byte: bytes[Int(token.bytes[0])] = Int32(id)
            case .nothing: break
            }
        }
    }

    /// The token that means the same. Text is never taken for a control token, nor the other way round.
    func twin(of token: TokenMeaning) -> Int32? {
        switch token.kind {
        case .text: texts[token.bytes] ?? added(token) ?? byte(token)
        case .added: added(token) ?? texts[token.bytes] ?? marks[token.bytes]
        case .byte: byte(token) ?? texts[token.bytes]
        case .control: marks[token.bytes]
        case .nothing: nil
        }
    }

    /// Whether the token is the one to spell its bytes with.
    func spells(_ id: Int32) -> Bool {
        let token = tokens[Int(id)]
        switch token.kind {
        case .text: return texts[token.bytes] == id
        case .byte: return bytes[Int(token.bytes[0])] == id && texts[token.bytes] == nil
        case .added, .control, .nothing: return false
        }
    }

    private func added(_ token: TokenMeaning) -> Int32? {
        marks[token.bytes].flatMap { tokens[Int($0)].kind == .added ? $0 : nil }
    }

    private func byte(_ token: TokenMeaning) -> Int32? {
        guard token.bytes.count == 1, bytes[Int(token.bytes[0])] >= 0 else { return nil }
        return bytes[Int(token.bytes[0])]
    }
}
