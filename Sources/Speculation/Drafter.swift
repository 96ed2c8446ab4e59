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

    package init(
        id: UInt64, tokens: [Int32], limit: Int, blocks: [Int32], parameters: SamplingParameters,
        processors: [any LogitProcessor], history: TokenHistory, noise: GumbelNoise,
        constraint: GrammarConstraint? = nil
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

/// Prompt lookup: what followed the longest recurring suffix at its latest earlier occurrence in the same sequence.
/// Source: Saxena, "Prompt lookup decoding" (2023); Yang et al., "Inference with reference", arXiv 2304.04487.
package final class PromptLookup: Drafter {
    /// Longest suffix that is looked up, in tokens; the shortest is 1.
    package static let longestMatch = 3

    /// Where each suffix of up to three tokens last ended, for every position but the last.
    private struct Index {
        private struct Gram: Hashable {
            let length: Int
            let tokens: SIMD4<Int32>
        }
        private var following: [Gram: Int] = [:]
        private var indexed = 0

        /// The gram of `length` tokens that ends before `end`.
        private static func gram(_ tokens: [Int32], before end: Int, _ length: Int) -> Gram {
            var key = SIMD4<Int32>()
            for offset in 0..<length { key[offset] = tokens[end - length + offset] }
            return Gram(length: length, tokens: key)
        }

        /// The position after the latest earlier occurrence of the longest suffix.
        mutating func match(_ tokens: [Int32]) -> Int? {
            // A gram that ends at the very end would find itself.
            while indexed < tokens.count - 1 {
                indexed += 1
                for length in 1...min(PromptLookup.longestMatch, indexed) {
                    following[Self.gram(tokens, before: indexed, length)] = indexed
                }
            }
            for length in stride(from: min(PromptLookup.longestMatch, tokens.count), to: 0, by: -1) {
                if let found = following[Self.gram(tokens, before: tokens.count, length)] { return found }
            }
            return nil
        }
    }

    private var indices: [UInt64: Index] = [:]
    package let passes = 0

    package init() {}

    package func propose(_ requests: [DraftRequest]) -> [[Int32]] {
        requests.map { request in
            guard let start = indices[request.id, default: Index()].match(request.tokens) else { return [] }
            // A match near the end runs on into the draft itself, which continues a repetition.
            var draft: [Int32] = []
            for offset in 0..<request.limit {
                let at = start + offset
                draft.append(at < request.tokens.count ? request.tokens[at] : draft[at - request.tokens.count])
            }
            return draft
        }
    }

    package func forget(_ id: UInt64) { indices[id] = nil }
}
