/// One request of a drafting step.
package struct DraftRequest {
    package let id: UInt64
    /// Committed tokens, prompt and output; the draft continues them.
    package let tokens: [Int32]
    /// At most this many tokens, at least 1.
    package let limit: Int
    /// The blocks of the sequence in the KV cache.
    package let blocks: [Int32]
    package let parameters: SamplingParameters
    package let processors: [any LogitProcessor]
    package let history: TokenHistory
    package let noise: GumbelNoise
    /// The request's grammar after its committed tokens.
    package let constraint: GrammarConstraint?
    /// Drafts come from no finished text but those with the same number.
    package let isolation: UInt64
    /// What a sampled draft is drawn with, for requests under a ratio test; nil for others.
    package let coins: RatioCoins?

    package init(
        id: UInt64, tokens: [Int32], limit: Int, blocks: [Int32], parameters: SamplingParameters,
        processors: [any LogitProcessor], history: TokenHistory, noise: GumbelNoise,
        constraint: GrammarConstraint? = nil, isolation: UInt64 = 0, coins: RatioCoins? = nil
    ) {
        self.id = id
        self.tokens = tokens
        self.limit = limit
        self.blocks = blocks
        self.parameters = parameters
        self.processors = processors
        self.history = history
        self.noise = noise
        self.constraint = constraint
        self.isolation = isolation
        self.coins = coins
    }
}

/// Proposes continuations. Drafting is an operation on the whole batch: passes of a draft model are shared.
package protocol Drafter: AnyObject {
    /// A draft for each request, in their order; fewer tokens than the limit, or none, are allowed.
    func propose(_ requests: [DraftRequest]) throws -> [[Int32]]
    /// The request is gone; what was kept for it can go too.
    func forget(_ id: UInt64)
    /// Forward passes of a draft model so far.
    var passes: Int { get }
}
