import Formats
import Kernels

/// Which tokens of a vocabulary a grammar allows. Masks are kept for the states that they were made for: the states of a
/// text repeat, within strings above all. May be used from several threads.
package final class GrammarMask: @unchecked Sendable {
    package let grammar: Grammar
    package let trie: TokenTrie
    /// Tokens that end a generation: allowed exactly where the grammar may end.
    package let endTokens: [Int32]
    private let capacity: Int
    private let lock = Lock()
    // Guarded by the lock.
    private var automaton: GrammarAutomaton
    private var masks: [GrammarConfiguration: Entry] = [:]
    private var clock: UInt64 = 0

    private struct Entry {
        let tokens: TokenSet
        var used: UInt64
    }

    /// `cacheBytes`: what masks may take that are kept.
    package init(_ grammar: Grammar, _ trie: TokenTrie, endTokens: [Int32], cacheBytes: Int = 8 << 20) {
        self.grammar = grammar
        self.trie = trie
        self.endTokens = endTokens
        capacity = max(1, cacheBytes / max(1, trie.vocabularySize / 8))
        automaton = GrammarAutomaton(grammar.network)
    }

    /// The tokens that may follow. Fails when there is none, not even one that ends the generation.
    package func allowed(in state: GrammarState) throws -> TokenSet {
        precondition(state.grammar === grammar, "the state belongs to another grammar")
        let (tokens, gaveUp) = lock.withLock { (lookup(state.configuration), automaton.gaveUp) }
        guard !tokens.isEmpty else {
            if gaveUp { throw GrammarNetwork.tooAmbiguous }
            throw Failure.invalid(
                state.canEnd
                    ? "the text matches the grammar and may only end, but no token that ends it is known"
                    : "no token of the vocabulary continues what the grammar wants here; "
                        + "rules may be nested at most \(GrammarLimits.stackDepth) levels deep")
        }
        return tokens
    }

    /// The token that must follow, if there is but one: it can be drafted without a drafter.
    package func onlyAllowed(in state: GrammarState) -> Int32? {
        precondition(state.grammar === grammar, "the state belongs to another grammar")
        return lock.withLock { lookup(state.configuration) }.only
    }

    /// Tokens for the text that must follow: a guess at how a model would cut it, the longest token first.
    package func forcedTokens(in state: GrammarState, limit: Int) -> [Int32] {
        var tokens: [Int32] = []
        // Few tokens are longer than 16 bytes; where one is, another step drafts the rest.
        var rest = state.forcedBytes(limit: 16 * min(max(limit, 0), 256))[...]
        while tokens.count < limit, !rest.isEmpty, let token = trie.longestMatch(rest) {
            rest = rest.dropFirst(trie.bytes(of: token).count)
            tokens.append(token)
        }
        return tokens
    }

    private func lookup(_ configuration: GrammarConfiguration) -> TokenSet {
        clock += 1
        if let known = masks[configuration]?.tokens {
            masks[configuration]?.used = clock
            return known
        }
        var tokens = automaton.tokens(after: configuration, in: trie)
        for token in endTokens { tokens.set(token, configuration.canEnd) }
        if masks.count >= capacity, let oldest = masks.min(by: { $0.value.used < $1.value.used }) {
            masks[oldest.key] = nil
        }
        masks[configuration] = Entry(tokens: tokens, used: clock)
        return tokens
    }
}
