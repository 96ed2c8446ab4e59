import Speculation
import TestSupport
import Testing

/// Exact enumeration on toy models: every cut rule with every verifier.
@Suite struct LosslessnessTests {
    static let models: [ToyModels] = [2, 3].flatMap { vocabulary in
        (UInt64(0)..<8).map { ToyModels(vocabulary: vocabulary, seed: $0, hasZeros: $0 % 2 == 1) }
    }

    @Test(arguments: RatioTest.allCases, CausalRule.allCases)
    func sampledDraftsCutByCausalRulesAreExact(_ test: RatioTest, _ rule: CausalRule) {
        var lengths = Set<Int>()
        for models in Self.models {
            for length in 1...3 {
                let target = TextLaw.target(models, length: length + 1)
                var law = TextLaw(models, length: length + 1)
                forEachSampledDraft(models, length: length) { draft, probability in
                    var cut = draft
                    cut.cut(by: rule)
                    lengths.insert(cut.tokens.count)
                    law.add(test, cut, probability)
                }
                #expect(law.distance(to: target) < 1e-12)
            }
        }
        // The rule was of consequence.
        #expect(lengths.count > 1 || rule == .none)
    }

    /// A deterministic draft is a function of the context, and so is any cut of it. All drafts at all lengths are
    /// therefore all drafts under all rules.
    @Test(arguments: RatioTest.allCases)
    func deterministicDraftsAreExactUnderAnyRule(_ test: RatioTest) {
        for models in Self.models {
            let target = TextLaw.target(models, length: 4)
            for text in models.texts(3) {
                for length in 0...3 {
                    var draft = DeterministicDraft(tokens: text)
                    draft.cut(to: length)
                    #expect(draft.tokens == Array(text.prefix(length)))
                    var law = TextLaw(models, length: 4)
                    law.add(test, draft, 1)
                    #expect(law.distance(to: target) < 1e-12)
                }
            }
        }
    }

    /// The text under drafter-invariant verification is that of no speculation for every draft at every length, hence
    /// under every rule, however the draft came about.
    @Test func coupledTextIsTheSameForEveryDraft() throws {
        let models = ToyModels(vocabulary: 3, seed: 5)
        let sampler = Sampler()
        func choose(_ context: [Int32], _ noise: GumbelNoise) throws -> Int32 {
            let logits = models.p(context).entries.map { Float(realLogarithm($0.probability)) }
            return try sampler.choose(
                logits: logits.span, parameters: SamplingParameters(), processors: [],
                history: TokenHistory(prompt: []), noise: noise, position: context.count)
        }
        var accepted = Set<Int>()
        for seed in UInt64(0)..<100 {
            let noise = GumbelNoise(seed: seed)
            var plain: [Int32] = []
            for _ in 0..<4 { plain.append(try choose(plain, noise)) }
            for text in models.texts(3) {
                for length in 0...3 {
                    var verification = Verification(draft: Array(text.prefix(length)))
                    for row in 0...length where verification.isOpen {
                        verification.take(try choose(Array(text.prefix(row)), noise))
                    }
                    #expect(verification.tokens == Array(plain.prefix(verification.tokens.count)))
                    accepted.insert(verification.accepted)
                }
            }
        }
        #expect(accepted == [0, 1, 2, 3])
    }

    // MARK: Control: what the types rule out

    /// The type has no such cut for sampled drafts: what is called is the stand-in below.
    @Test func sampledDraftsCannotBeCutAnywhere() {
        let q = TokenDistribution(0.6, 0.4)
        var sampled = SampledDraft()
        for _ in 0..<3 { sampled.draw(from: q, coin: 0.7) }
        sampled.cut(to: 1)
        #expect(sampled.tokens == [1, 1, 1])
        var deterministic = DeterministicDraft(tokens: [1, 1, 1])
        deterministic.cut(to: 1)
        #expect(deterministic.tokens == [1])
    }

    /// Draws anew only the tokens that the rule would leave, which is how a sampled draft could still be cut by it.
    private static func law(
        _ models: ToyModels, _ test: RatioTest, length: Int, leaving: (SampledDraft) -> Int
    ) -> TextLaw {
        var law = TextLaw(models, length: length + 1)
        forEachSampledDraft(models, length: length) { draft, probability in
            var cut = SampledDraft()
            for (token, q) in zip(draft.tokens, draft.proposals).prefix(leaving(draft)) {
                cut.draw(from: q, coin: q.coin(for: token))
            }
            law.add(test, cut, probability)
        }
        return law
    }

    /// p = (.7, .3), q = (.6, .4), and x verified only if q(x) >= .5: .6·1 + .4·.7 = .88 of the first token.
    @Test(arguments: RatioTest.allCases)
    func workedCaseOfABiasedRule(_ test: RatioTest) {
        let (p, q) = (TokenDistribution(0.7, 0.3), TokenDistribution(0.6, 0.4))
        func first(_ keeps: (Int32) -> Bool) -> Double {
            q.entries.reduce(0.0) { sum, entry in
                var draft = SampledDraft()
                if keeps(entry.token) { draft.draw(from: q, coin: q.coin(for: entry.token)) }
                let verification = RatioVerification(
                    test, draft: draft, targets: [TokenDistribution](repeating: p, count: draft.tokens.count + 1))
                let shares = verification.acceptedCounts
                let emitted =
                    draft.tokens.isEmpty
                    ? verification.successor(of: 0).probability(of: 0)
                    : shares[1] * (entry.token == 0 ? 1 : 0)
                        + shares[0] * verification.successor(of: 0).probability(of: 0)
                return sum + entry.probability * emitted
            }
        }
        #expect(abs(first { q.probability(of: $0) >= 0.5 } - 0.88) < 1e-12)
        #expect(abs(first { _ in true } - 0.7) < 1e-12)
        #expect(abs(first { _ in false } - 0.7) < 1e-12)
    }

    @Test(arguments: RatioTest.allCases, AnticipatingRule.allCases)
    func anticipatingRulesAreBiased(_ test: RatioTest, _ rule: AnticipatingRule) {
        var worst = 0.0
        for vocabulary in [2, 3] {
            for length in 1...2 {
                for seed in UInt64(0)..<60 {
                    let models = ToyModels(vocabulary: vocabulary, seed: seed)
                    let target = TextLaw.target(models, length: length + 1)
                    for parameter in [0.15, 0.25, 0.35, 0.45, 0.55, 0.65] {
                        let law = Self.law(models, test, length: length) {
                            rule.length($0.tokens, $0.proposals, parameter)
                        }
                        worst = max(worst, law.distance(to: target))
                    }
                }
            }
        }
        // Between .20 and .29, by rule.
        #expect(worst > 0.15)
    }
}

/// Does nothing. Swift takes it only where a type has no `cut(to:)` of its own.
private protocol CutStandIn {}

extension CutStandIn {
    fileprivate mutating func cut(to length: Int) {}
}

extension RatioDraft: CutStandIn {}
