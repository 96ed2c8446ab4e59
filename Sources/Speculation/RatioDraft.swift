/// How the tokens of a draft came about. Under a ratio test this decides which rules may shorten it.
package enum DraftOrigin {
    /// A function of what came before: retrieved, or the likeliest token. Its q is certain of each token.
    package enum Deterministic {}
    /// Drawn from q.
    package enum Sampled {}
}

package typealias DeterministicDraft = RatioDraft<DraftOrigin.Deterministic>
package typealias SampledDraft = RatioDraft<DraftOrigin.Sampled>

/// A draft x_1 … x_k for verification by a ratio test, with the distributions that its tokens came from.
///
/// A ratio test is exact only if whether x_j is verified was settled without a look at x_j or anything after it. So a
/// sampled draft has no way to be shortened but `cut(by:)`, which shows a rule no more than it may see, and no way to be
/// made of given tokens; a deterministic one can be cut anywhere.
package struct RatioDraft<Origin>: Sendable {
    package private(set) var tokens: [Int32] = []
    /// q(·|x_1 … x_i), one for each token.
    package private(set) var proposals: [TokenDistribution] = []

    private mutating func keep(_ length: Int) {
        tokens.removeLast(max(0, tokens.count - length))
        proposals.removeLast(max(0, proposals.count - length))
    }
}

extension RatioDraft where Origin == DraftOrigin.Deterministic {
    package init(tokens: [Int32]) {
        self.tokens = tokens
        proposals = tokens.map { TokenDistribution(certain: $0) }
    }

    /// Leaves at most `length` tokens, for whatever reason.
    package mutating func cut(to length: Int) { keep(max(0, length)) }
}

extension RatioDraft where Origin == DraftOrigin.Sampled {
    package init() {}

    /// Draws one more token from `proposal`; `coin` in [0, 1) is of `RatioCoins.Stream.draft`, or another source that
    /// nothing else uses.
    package mutating func draw(from proposal: TokenDistribution, coin: Double) {
        tokens.append(proposal.token(at: coin))
        proposals.append(proposal)
    }

    /// Cuts before the first token that the rule does not keep.
    package mutating func cut(by rule: some CausalCut) {
        let length = tokens.indices.first { next in
            !rule.keepsNext(CutView(earlier: tokens[..<next], proposals: proposals[...next]))
        }
        if let length { keep(length) }
    }
}

/// What may decide whether x_j of a sampled draft is verified.
package struct CutView {
    /// x_1 … x_(j-1).
    package let earlier: ArraySlice<Int32>
    /// q_1 … q_j.
    package let proposals: ArraySlice<TokenDistribution>
}

/// A rule that keeps ratio tests exact. What it knows besides the view may come from other requests and from past steps,
/// never from this draft.
package protocol CausalCut {
    /// Whether x_j is verified. Asked for one j after the other; nothing follows the first that is not kept.
    func keepsNext(_ view: CutView) -> Bool
}
