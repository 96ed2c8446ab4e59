/// The two ratio tests. Either one makes what is emitted follow the target's distribution, whatever the draft's is.
package enum RatioTest: Sendable, CaseIterable {
    /// Token by token. Sources: Leviathan, Kalman, Matias, arXiv 2211.17192; Chen et al., arXiv 2302.01318.
    case rejection
    /// The draft as a whole; never accepts less. Source: Sun et al., arXiv 2403.10444.
    case block
}

/// Verifies one draft by a ratio test.
///
/// How many tokens are accepted, and what follows them, are given as distributions; `outcome` draws from them.
package struct RatioVerification: Sendable {
    private let test: RatioTest
    private let tokens: [Int32]
    /// q(·|x_1 … x_i), i < k.
    private let proposals: [TokenDistribution]
    /// p(·|x_1 … x_i), i <= k.
    private let targets: [TokenDistribution]
    /// w_i, i <= k: how much of the target's mass the first i tokens carry. Token-wise, what was accepted carries all.
    package let weights: [Double]

    /// `targets`: the target's final distributions after 0, 1, … all tokens of the draft.
    package init<Origin>(_ test: RatioTest, draft: RatioDraft<Origin>, targets: [TokenDistribution]) {
        precondition(targets.count == draft.tokens.count + 1, "one target distribution per row")
        self.test = test
        self.targets = targets
        tokens = draft.tokens
        proposals = draft.proposals
        var weights = [1.0]
        if test == .block {
            for index in tokens.indices {
                let (p, q) = (
                    targets[index].probability(of: tokens[index]), proposals[index].probability(of: tokens[index])
                )
                weights.append(Self.accepting(weights[index] * p, q))
            }
        }
        self.weights = test == .block ? weights : Array(repeating: 1, count: targets.count)
    }

    /// min(p/q, 1). A q of 0 is one that rounding took away: the token was drawn after all.
    private static func accepting(_ p: Double, _ q: Double) -> Double { p >= q ? (p > 0 ? 1 : 0) : p / q }

    /// The probability of accepting the first i tokens and no more, for i = 0 … k.
    package var acceptedCounts: [Double] { test == .block ? blockCounts : tokenwiseCounts }

    private var tokenwiseCounts: [Double] {
        var reached = 1.0
        var counts = tokens.indices.map { index in
            let accepting = Self.accepting(
                targets[index].probability(of: tokens[index]), proposals[index].probability(of: tokens[index]))
            defer { reached *= accepting }
            return reached * (1 - accepting)
        }
        counts.append(reached)
        return counts
    }

    private var blockCounts: [Double] {
        var counts = [Double](repeating: 0, count: targets.count)
        var left = 1.0
        for accepted in tokens.indices.reversed() {
            let accepting = blockAccepting(accepted + 1)
            counts[accepted + 1] = left * accepting
            left *= 1 - accepting
        }
        counts[0] = left
        return counts
    }

    /// h_i, 0 < i <= k: the probability of accepting the first i tokens if no more are.
    package func blockAccepting(_ accepted: Int) -> Double {
        let weight = weights[accepted]
        guard accepted < tokens.count else { return weight }
        let mass = targets[accepted].excess(weight: weight, over: proposals[accepted])?.mass ?? 0
        // 0/0 counts as 1: all mass has come through, and draft and target agree on what comes next.
        return weight == 1 ? 1 : mass / (mass + 1 - weight)
    }

    /// What the next token is drawn from after the first `accepted` tokens and no more.
    package func successor(of accepted: Int) -> TokenDistribution {
        guard accepted < tokens.count else { return targets[accepted] }
        // Rounding may empty a residual that should be tiny.
        return targets[accepted].excess(weight: weights[accepted], over: proposals[accepted])?.distribution
            ?? targets[accepted]
    }

    /// The tokens of this step: those accepted, and one more. Coins are in [0, 1).
    package func outcome(acceptance: Double, residual: Double) -> [Int32] {
        var sum = 0.0
        var accepted = 0
        for (count, probability) in acceptedCounts.enumerated() where probability > 0 {
            (sum, accepted) = (sum + probability, count)
            if acceptance < sum { break }
        }
        return tokens.prefix(accepted) + [successor(of: accepted).token(at: residual)]
    }

    package func outcome(_ coins: RatioCoins) -> [Int32] {
        outcome(acceptance: coins.coin(.acceptance, 0), residual: coins.coin(.residual, 0))
    }
}

/// The random numbers of one step of a request under a ratio test: streams that share nothing with each other or with
/// the Gumbel noise, pure functions of seed, sample, committed tokens, stream and offset.
///
/// They are keyed by the step and not by the position of the token alone: how many tokens block verification accepts
/// depends on all of the draft, so the coins of tokens that it drops have been looked at and must not draw again.
package struct RatioCoins: Sendable {
    package enum Stream: UInt32, Sendable { case draft = 1, acceptance, residual }

    private let noise: GumbelNoise
    private let committed: Int

    /// `committed`: prompt and output tokens before the step; every step has more.
    package init(_ noise: GumbelNoise, committed: Int) {
        self.noise = noise
        self.committed = committed
    }

    /// Uniform in [0, 1). `offset`: of the token in the draft, below 2^29.
    package func coin(_ stream: Stream, _ offset: Int) -> Double {
        noise.uniform(position: committed, marker: stream.rawValue << 29 | UInt32(offset))
    }
}
