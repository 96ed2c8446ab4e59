import Formats

/// A request's place in its grammar, from the tokens of its output. As a `LogitProcessor` it masks the logits of the
/// token that comes next, and belongs behind all others: a bias cannot bring back what the grammar rules out. A copy goes
/// on by drafted tokens to mask the rows behind them.
package struct GrammarConstraint: LogitProcessor {
    package let mask: GrammarMask
    package private(set) var state: GrammarState
    /// Whether a token has ended the text; only more of these may follow.
    package private(set) var hasEnded = false

    package init(_ mask: GrammarMask) {
        self.mask = mask
        state = GrammarState(mask.grammar)
    }

    /// Whether `token` may come next.
    package func allows(_ token: Int32) -> Bool {
        if mask.endTokens.contains(token) { return hasEnded || state.canEnd }
        let bytes = mask.trie.bytes(of: token)
        return !hasEnded && !bytes.isEmpty && state.accepts(bytes)
    }

    /// Goes on by a token of the output; fails, and changes nothing, where the grammar does not allow it.
    package mutating func advance(_ token: Int32) throws {
        if mask.endTokens.contains(token) {
            guard hasEnded || state.canEnd else {
                throw Failure.invalid("the token \(token) ends the text before the grammar allows it")
            }
            hasEnded = true
            return
        }
        let bytes = mask.trie.bytes(of: token)
        guard !hasEnded, !bytes.isEmpty else {
            throw Failure.invalid("the token \(token) is no text that the grammar could allow here")
        }
        try state.advance(bytes)
    }

    /// The tokens that may come next. Fails when there is none, which no logits can make good: look before sampling.
    package func allowed() throws -> TokenSet {
        guard hasEnded else { return try mask.allowed(in: state) }
        var tokens = TokenSet(capacity: mask.trie.vocabularySize)
        for token in mask.endTokens { tokens.set(token, true) }
        return tokens
    }

    /// The tokens that the grammar leaves no choice about, to be drafted: at most `limit`.
    package func forcedTokens(limit: Int) -> [Int32] {
        hasEnded ? [] : mask.forcedTokens(in: state, limit: limit)
    }

    /// Where no token is allowed every logit becomes -infinity, and sampling fails.
    package func process(_ logits: inout [Float], history: TokenHistory) {
        do {
            try allowed().apply(to: &logits)
        } catch {
            for index in logits.indices { logits[index] = -.infinity }
        }
    }
}
