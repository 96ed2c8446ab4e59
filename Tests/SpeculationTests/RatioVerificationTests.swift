import Speculation
import TestSupport
import Testing

/// The ratio tests on cases worked by hand, and what is known of them in general.
@Suite struct RatioVerificationTests {
    private static func draft(_ steps: [(token: Int32, q: TokenDistribution)]) -> SampledDraft {
        var draft = SampledDraft()
        for step in steps { draft.draw(from: step.q, coin: step.q.coin(for: step.token)) }
        return draft
    }

    private static func expect(
        _ values: [Double], _ expected: [Double], _ location: SourceLocation = #_sourceLocation
    ) {
        #expect(values.count == expected.count, sourceLocation: location)
        for (value, other) in zip(values, expected) { #expect(abs(value - other) < 1e-15, sourceLocation: location) }
    }

    private static let certainly0 = TokenDistribution(certain: 0)
    private static let p = [TokenDistribution(0.6, 0.4), TokenDistribution(0.9, 0.1), TokenDistribution(0.25, 0.75)]
    private static let q = [TokenDistribution(0.2, 0.8), TokenDistribution(0.3, 0.7)]

    private static func verification(_ test: RatioTest, _ tokens: [Int32]) -> RatioVerification {
        RatioVerification(test, draft: draft(Array(zip(tokens, q)).map { ($0, $1) }), targets: p)
    }

    /// w_1 = min(.4/.8, 1) = ½. Z_1 = (½·.9 - .3) + 0 = .15, as ½·.1 < .7; h_1 = .15/(.15 + ½) = 3/13.
    /// w_2 = min(½·.1/.7, 1) = 1/14 = h_2.
    @Test func blockRejectsAnUnlikelyToken() {
        let verification = Self.verification(.block, [1, 1])
        Self.expect(verification.weights, [1, 0.5, 1.0 / 14])
        Self.expect([verification.blockAccepting(1), verification.blockAccepting(2)], [3.0 / 13, 1.0 / 14])
        // (1 - 1/14)·(1 - 3/13) = 10/14; (1 - 1/14)·3/13 = 3/14; 1/14.
        Self.expect(verification.acceptedCounts, [10.0 / 14, 3.0 / 14, 1.0 / 14])
        // max(.6 - .2, 0), max(.4 - .8, 0); then max(.45 - .3, 0), max(.05 - .7, 0).
        #expect(verification.successor(of: 0).probability(of: 0) == 1)
        #expect(verification.successor(of: 1).probability(of: 0) == 1)
        #expect(verification.successor(of: 2) == Self.p[2])
    }

    /// The second token makes up for the first: w_2 = min(½·.9/.3, 1) = 1, so both are accepted for certain. Token by token
    /// the first is rejected half of the time.
    @Test func blockAcceptsWhatTokenwiseRejects() {
        let block = Self.verification(.block, [1, 0])
        Self.expect(block.weights, [1, 0.5, 1])
        Self.expect(block.acceptedCounts, [0, 0, 1])
        Self.expect(Self.verification(.rejection, [1, 0]).acceptedCounts, [0.5, 0, 0.5])
    }

    /// ½, then ½·(1 - 1/7), then ½·1/7.
    @Test func rejectionGoesTokenByToken() {
        let verification = Self.verification(.rejection, [1, 1])
        Self.expect(verification.acceptedCounts, [0.5, 3.0 / 7, 1.0 / 14])
        // max(.9 - .3, 0), max(.1 - .7, 0).
        #expect(verification.successor(of: 1).probability(of: 0) == 1)
        #expect(verification.successor(of: 2) == Self.p[2])
    }

    /// A point mass on x: w_i is p(x_1)·…·p(x_i). w_1 = .4, Z_1 = .4·(1 - .1) = .36, h_1 = .36/.96 = 3/8, w_2 = h_2 = .04.
    @Test func deterministicDraft() {
        let draft = DeterministicDraft(tokens: [1, 1])
        let block = RatioVerification(.block, draft: draft, targets: Self.p)
        Self.expect(block.weights, [1, 0.4, 0.04])
        Self.expect(block.acceptedCounts, [0.96 * 5 / 8, 0.96 * 3 / 8, 0.04])
        let rejection = RatioVerification(.rejection, draft: draft, targets: Self.p)
        Self.expect(rejection.acceptedCounts, [0.6, 0.36, 0.04])
        for verification in [block, rejection] {
            #expect(verification.successor(of: 0) == Self.certainly0)
            #expect(verification.successor(of: 1) == Self.certainly0)
        }
    }

    /// With q = p all is accepted. w_1 = 1 and Z_1 = 0, so h_1 is 0/0.
    @Test func nothingOverNothingIsCertain() {
        for test in RatioTest.allCases {
            let verification = RatioVerification(
                test, draft: Self.draft([(0, Self.p[0]), (1, Self.p[1])]), targets: Self.p)
            Self.expect(verification.acceptedCounts, [0, 0, 1])
            if test == .block { #expect(verification.blockAccepting(1) == 1) }
            // Only rounding leads here: nothing of p exceeds q.
            #expect(verification.successor(of: 1) == Self.p[1])
        }
    }

    /// w_1 = ½ and q = p after it: Z_1 = 0 and h_1 = 0. What would follow falls back to p.
    @Test func emptiedResidualIsP() {
        let verification = RatioVerification(
            .block, draft: Self.draft([(1, Self.q[0]), (0, Self.p[1])]), targets: Self.p)
        Self.expect(verification.weights, [1, 0.5, 0.5])
        #expect(verification.blockAccepting(1) == 0)
        Self.expect(verification.acceptedCounts, [0.5, 0, 0.5])
        #expect(verification.successor(of: 1) == Self.p[1])
    }

    /// What the target rules out is never accepted, nor what follows it.
    @Test func impossibleTokens() {
        let targets = [Self.certainly0, Self.p[1], Self.p[2]]
        for test in RatioTest.allCases {
            let verification = RatioVerification(test, draft: DeterministicDraft(tokens: [1, 0]), targets: targets)
            Self.expect(verification.acceptedCounts, [1, 0, 0])
            #expect(verification.successor(of: 0) == Self.certainly0)
            #expect(verification.outcome(acceptance: 0.999, residual: 0.999) == [0])
        }
    }

    @Test func noDraftDrawsFromTheTarget() {
        for test in RatioTest.allCases {
            let verification = RatioVerification(test, draft: SampledDraft(), targets: [Self.p[2]])
            #expect(verification.acceptedCounts == [1])
            #expect(verification.outcome(acceptance: 0.9, residual: 0.2499) == [0])
            #expect(verification.outcome(acceptance: 0, residual: 0.2501) == [1])
        }
    }

    /// One coin picks the count, in the order 0, 1, 2; the other the token.
    @Test func outcomeFollowsTheCoins() {
        let verification = Self.verification(.rejection, [1, 1])
        #expect(verification.outcome(acceptance: 0.4999, residual: 0.5) == [0])
        #expect(verification.outcome(acceptance: 0.5001, residual: 0.5) == [1, 0])
        #expect(verification.outcome(acceptance: 0.93, residual: 0.2) == [1, 1, 0])
        #expect(verification.outcome(acceptance: 1.0.nextDown, residual: 1.0.nextDown) == [1, 1, 1])
    }

    /// The first token passes with probability 1 - TV(p, q), and block verification accepts no less than rejection.
    @Test func blockNeverAcceptsLess() {
        var ahead = 0
        for seed in UInt64(0)..<100 {
            let models = ToyModels(vocabulary: 3, seed: seed)
            var passed = 0.0
            var expected: [RatioTest: Double] = [:]
            forEachSampledDraft(models, length: 3) { draft, probability in
                let targets = (0...3).map { models.p(draft.tokens.prefix($0)) }
                for test in RatioTest.allCases {
                    let counts = RatioVerification(test, draft: draft, targets: targets).acceptedCounts
                    #expect(abs(counts.reduce(0, +) - 1) < 1e-12 && counts.allSatisfy { $0 >= 0 })
                    expected[test, default: 0] +=
                        probability * counts.indices.reduce(0) { $0 + Double($1) * counts[$1] }
                    if test == .rejection { passed += probability * (1 - counts[0]) }
                }
            }
            let (p, q) = (models.p([]), models.q([]))
            let distance = models.tokens.reduce(0.0) { $0 + abs(p.probability(of: $1) - q.probability(of: $1)) / 2 }
            #expect(abs(passed - (1 - distance)) < 1e-12)
            let (rejection, block) = (expected[.rejection] ?? 0, expected[.block] ?? 0)
            #expect(block >= rejection - 1e-12)
            if block > rejection + 0.01 { ahead += 1 }
        }
        #expect(ahead > 50)
    }
}

@Suite struct TokenDistributionTests {
    private static let five = TokenDistribution(0.1, 0, 0.5, 0.25, 0.15)

    @Test func coinsSelectShares() {
        for (coin, token) in [
            (0, 0), (0.0999, 0), (0.1001, 2), (0.5999, 2), (0.6001, 3), (0.8499, 3), (0.8501, 4), (1.0.nextDown, 4),
        ] as [(Double, Int32)] {
            #expect(Self.five.token(at: coin) == token)
        }
        // No token without probability is drawn where rounding lets the coin pass the sum.
        #expect(TokenDistribution(0.5, 0.5, 0).token(at: 1) == 1)
        #expect(TokenDistribution(0, 1).token(at: 0) == 1)
    }

    @Test func features() {
        #expect(Self.five.largest == 0.5)
        #expect(abs(Self.five.margin - 0.693_147_180_559_945_3) < 1e-15)
        #expect(TokenDistribution(certain: 3).margin == .infinity)
        #expect(TokenDistribution(1, 1).margin == 0)
        #expect(Self.five.probability(of: 3) == 0.25)
        #expect(Self.five.probability(of: 5) == 0)
        #expect(TokenDistribution(certain: 3).probability(of: 2) == 0)
    }

    @Test func sameAsTheFinalDistribution() throws {
        var random = SplitMix64(seed: 3)
        var row = random.floats(300, bound: 6)
        row[17] = -.infinity
        let sampler = Sampler()
        for (temperature, topK, topP, minP) in [(1, 0, 1, 0), (0.7, 30, 0.9, 0.01), (0, 0, 1, 0), (1.3, 0, 0.8, 0)]
            as [(Float, Int, Float, Float)]
        {
            var parameters = SamplingParameters()
            parameters.temperature = temperature
            parameters.topK = topK
            parameters.topP = topP
            parameters.minP = minP
            let left = TokenDistribution(
                try sampler.finalDistribution(
                    logits: row.span, parameters: parameters, processors: [], history: TokenHistory(prompt: [])))
            let same = try sampler.distribution(
                logits: row.span, parameters: parameters, processors: [], history: TokenHistory(prompt: []))
            #expect(left.entries.map(\.token) == same.entries.map(\.token))
            #expect(abs(same.entries.reduce(0.0) { $0 + $1.probability } - 1) < 1e-12)
            for (a, b) in zip(left.entries, same.entries) { #expect(abs(a.probability - b.probability) < 1e-12) }
        }
    }
}
