import Speculation
import TestSupport
import Testing

/// The verification path with real noise and coins: long texts of a toy model whose rows depend on the last token.
@Suite struct RatioStatisticsTests {
    static let vocabulary = 16
    static let draws = 210_000

    /// Logits after each token.
    private struct Chain {
        let target: [[Float]]
        let draft: [[Float]]

        init(seed: UInt64) {
            var random = SplitMix64(seed: seed)
            let target = (0..<vocabulary).map { _ in random.floats(vocabulary, bound: 1.5) }
            self.target = target
            draft = target.map { row in row.map { $0 + random.float(1) } }
        }
    }

    private static func distributions(_ rows: [[Float]]) throws -> [TokenDistribution] {
        let sampler = Sampler()
        return try rows.map { row in
            try sampler.distribution(
                logits: row.span, parameters: SamplingParameters(), processors: [], history: TokenHistory(prompt: []))
        }
    }

    /// Whether the transitions of a text follow the target's rows.
    private static func expectFollows(_ text: [Int32], _ p: [TokenDistribution]) {
        var counts = [Int](repeating: 0, count: vocabulary * vocabulary)
        for (from, to) in zip(text, text.dropFirst()) { counts[Int(from) * vocabulary + Int(to)] += 1 }
        var statistic = 0.0
        for from in 0..<vocabulary {
            let row = counts[from * vocabulary..<(from + 1) * vocabulary]
            let total = Double(row.reduce(0, +))
            for (to, count) in row.enumerated() {
                let expected = total * p[from].probability(of: Int32(to))
                statistic += (Double(count) - expected) * (Double(count) - expected) / expected
            }
        }
        #expect(text.count > 200_000)
        #expect(statistic < chiSquareBound(degrees: vocabulary * (vocabulary - 1)))
    }

    /// Wilson and Hilferty's approximation of the value that chance exceeds once in thirty thousand.
    private static func chiSquareBound(degrees: Int) -> Double {
        let k = Double(degrees)
        let root = 1 - 2 / (9 * k) + 4 * (2 / (9 * k)).squareRoot()
        return k * root * root * root
    }

    enum Drafting: CaseIterable { case sampled, sampledAndCut, argmax }

    @Test(arguments: RatioTest.allCases, Drafting.allCases)
    func ratioTestsFollowTheTarget(_ test: RatioTest, _ drafting: Drafting) throws {
        let chain = Chain(seed: 4)
        let (p, q) = (try Self.distributions(chain.target), try Self.distributions(chain.draft))
        let noise = GumbelNoise(seed: 77, sample: 1)
        var text: [Int32] = [0]
        var steps = 0
        while text.count < Self.draws {
            let coins = RatioCoins(noise, committed: text.count)
            var context = text[text.count - 1]
            func verify<Origin>(_ draft: RatioDraft<Origin>) -> [Int32] {
                let contexts = [text[text.count - 1]] + draft.tokens
                return RatioVerification(test, draft: draft, targets: contexts.map { p[Int($0)] }).outcome(coins)
            }
            if drafting == .argmax {
                var tokens: [Int32] = []
                for _ in 0..<3 {
                    let row = chain.draft[Int(context)]
                    context = try LogitScan.best(of: row.span).token
                    tokens.append(context)
                }
                text += verify(DeterministicDraft(tokens: tokens))
            } else {
                var draft = SampledDraft()
                for offset in 0..<3 {
                    draft.draw(from: q[Int(context)], coin: coins.coin(.draft, offset))
                    context = draft.tokens[offset]
                }
                if drafting == .sampledAndCut { draft.cut(by: CausalRule.beforeLowMargin) }
                text += verify(draft)
            }
            steps += 1
        }
        Self.expectFollows(text, p)
        // Speculation took place.
        #expect(Double(text.count) / Double(steps) > 1.1)
    }

    @Test(arguments: [CouplingStrength.coupled, .argmax])
    func coupledTextFollowsTheTarget(_ strength: CouplingStrength) throws {
        let chain = Chain(seed: 5)
        let sampler = Sampler()
        let noise = GumbelNoise(seed: 78)
        let (parameters, history) = (SamplingParameters(), TokenHistory(prompt: []))
        var text: [Int32] = [0]
        var steps = 0
        while text.count < Self.draws {
            var tokens: [Int32] = []
            while tokens.count < 2 {
                let row = chain.draft[Int(tokens.last ?? text[text.count - 1])]
                let choice = try sampler.draft(
                    logits: row.span, parameters: parameters, processors: [], history: history, noise: noise,
                    position: text.count + tokens.count, strength: strength)
                tokens.append(choice.token)
            }
            var verification = Verification(draft: tokens)
            while verification.isOpen {
                let row = chain.target[Int(verification.tokens.last ?? text[text.count - 1])]
                verification.take(
                    try sampler.choose(
                        logits: row.span, parameters: parameters, processors: [], history: history, noise: noise,
                        position: text.count + verification.tokens.count))
            }
            text += verification.tokens
            steps += 1
        }
        Self.expectFollows(text, try Self.distributions(chain.target))
        #expect(Double(text.count) / Double(steps) > 1.1)
    }

    /// Two steps, the second drafting where a token of the first was dropped. If the dropped token's coin drew again,
    /// the pair would be off by a total variation of .13 under block verification, by exact calculation.
    @Test(arguments: RatioTest.allCases)
    func droppedDraftsLeaveNoTrace(_ test: RatioTest) {
        let p = [TokenDistribution(0.6, 0.4), TokenDistribution(0.09, 0.91), TokenDistribution(0.32, 0.68)]
        let q = [TokenDistribution(0.87, 0.13), TokenDistribution(0.37, 0.63), TokenDistribution(0.39, 0.61)]
        // After the empty text, after 0, after 1; the third token does not matter.
        func row(_ rows: [TokenDistribution], _ text: [Int32]) -> TokenDistribution {
            rows[text.last.map { Int($0) + 1 } ?? 0]
        }
        var counts = [Int](repeating: 0, count: 4)
        for seed in 0..<Self.draws {
            let noise = GumbelNoise(seed: UInt64(seed))
            var text: [Int32] = []
            while text.count < 2 {
                let coins = RatioCoins(noise, committed: text.count)
                var draft = SampledDraft()
                for offset in 0..<2 - text.count {
                    draft.draw(from: row(q, text + draft.tokens), coin: coins.coin(.draft, offset))
                }
                let targets = (0...draft.tokens.count).map { row(p, text + draft.tokens.prefix($0)) }
                text += RatioVerification(test, draft: draft, targets: targets).outcome(coins)
            }
            counts[Int(text[0] * 2 + text[1])] += 1
        }
        let statistic = counts.indices.reduce(0.0) { sum, pair in
            let expected =
                Double(Self.draws) * p[0].probability(of: Int32(pair / 2))
                * p[1 + pair / 2].probability(of: Int32(pair % 2))
            return sum + (Double(counts[pair]) - expected) * (Double(counts[pair]) - expected) / expected
        }
        #expect(statistic < Self.chiSquareBound(degrees: 3))
    }
}

@Suite struct RatioCoinTests {
    private static let streams = [RatioCoins.Stream.draft, .acceptance, .residual]

    @Test func everyArgumentCounts() {
        var coins = Set<Double>()
        var count = 0
        for noise in [GumbelNoise(seed: 1), GumbelNoise(seed: 2), GumbelNoise(seed: 1, sample: 1)] {
            for committed in [0, 1, 5, 1 << 33] {
                for stream in Self.streams {
                    for offset in [0, 1, 7, (1 << 29) - 1] {
                        coins.insert(RatioCoins(noise, committed: committed).coin(stream, offset))
                        count += 1
                    }
                }
            }
        }
        #expect(coins.count == count)
        #expect(coins.allSatisfy { (0..<1).contains($0) })
    }

    /// Means, and correlations between the streams, with the next step, and with the noise of tokens.
    @Test func streamsAreUniformAndIndependent() {
        let count = 100_000
        let noise = GumbelNoise(seed: 3)
        var series = [[Double]](repeating: [], count: 5)
        for step in 0..<count {
            for (at, stream) in Self.streams.enumerated() {
                series[at].append(RatioCoins(noise, committed: step).coin(stream, 0) - 0.5)
            }
            series[3].append(RatioCoins(noise, committed: step + 1).coin(.draft, 0) - 0.5)
            // A Gumbel variate as its uniform: e^(-e^-G).
            series[4].append(realExponential(-realExponential(-noise.gumbel(position: step, token: 0))) - 0.5)
        }
        // Standard errors: 1/√(12 n) of a mean, 1/(12 √n) of a product's mean.
        let root = Double(count).squareRoot()
        for (at, values) in series.enumerated() {
            #expect(abs(values.reduce(0, +) / Double(count)) < 5 / (12.0.squareRoot() * root))
            for other in series[(at + 1)...] {
                #expect(abs(zip(values, other).reduce(0.0) { $0 + $1.0 * $1.1 } / Double(count)) < 5 / (12 * root))
            }
        }
    }
}
