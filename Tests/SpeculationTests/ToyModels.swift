import Glibc
import Speculation
import TestSupport

extension TokenDistribution {
    /// Of tokens 0, 1, …; in proportion.
    init(_ weights: Double...) { self.init(array: weights) }

    init(array weights: [Double]) {
        self.init(weights: weights.indices.map { Entry(token: Int32($0), probability: weights[$0]) })
    }

    /// A coin in the middle of a token's share.
    func coin(for token: Int32) -> Double {
        entries.reduce(0.0) { $0 + ($1.token < token ? $1.probability : 0) } + probability(of: token) / 2
    }
}

/// A target and a draft model over a few tokens whose distributions depend on all of the context.
struct ToyModels {
    let vocabulary: Int
    private let seed: UInt64
    /// Some models give some tokens no probability at all.
    private let hasZeros: Bool

    init(vocabulary: Int, seed: UInt64, hasZeros: Bool = false) {
        self.vocabulary = vocabulary
        self.seed = seed
        self.hasZeros = hasZeros
    }

    func p(_ context: some Collection<Int32>) -> TokenDistribution { distribution(context, salt: 1) }
    func q(_ context: some Collection<Int32>) -> TokenDistribution { distribution(context, salt: 2) }

    private func distribution(_ context: some Collection<Int32>, salt: UInt64) -> TokenDistribution {
        var random = SplitMix64(seed: seed &* 4 &+ salt)
        for token in context { random = SplitMix64(seed: random.next() ^ UInt64(token + 1)) }
        var weights = (0..<vocabulary).map { _ in exp(Double.random(in: -1.5...1.5, using: &random)) }
        if hasZeros && random.next() % 3 == 0 { weights[random.int(0..<vocabulary)] = 0 }
        return TokenDistribution(array: weights)
    }

    var tokens: Range<Int32> { 0..<Int32(vocabulary) }

    /// All texts of `length` tokens.
    func texts(_ length: Int) -> [[Int32]] {
        (0..<length).reduce([[]]) { texts, _ in texts.flatMap { text in tokens.map { text + [$0] } } }
    }
}

/// The exact probability of each text of a few tokens, by enumeration.
struct TextLaw {
    let models: ToyModels
    let length: Int
    private(set) var probabilities: [[Int32]: Double] = [:]

    init(_ models: ToyModels, length: Int) {
        self.models = models
        self.length = length
    }

    /// What the target alone would write.
    static func target(_ models: ToyModels, length: Int) -> TextLaw {
        var law = TextLaw(models, length: length)
        law.add([], 1)
        return law
    }

    /// Adds texts that begin like this; what is missing comes from the target.
    mutating func add(_ text: [Int32], _ probability: Double) {
        guard probability > 0 else { return }
        guard text.count < length else {
            probabilities[Array(text.prefix(length)), default: 0] += probability
            return
        }
        for entry in models.p(text).entries { add(text + [entry.token], probability * entry.probability) }
    }

    /// Adds what one verification of `draft` emits, all of its outcomes by their probabilities.
    mutating func add<Origin>(_ test: RatioTest, _ draft: RatioDraft<Origin>, _ probability: Double) {
        let targets = (0...draft.tokens.count).map { models.p(draft.tokens.prefix($0)) }
        let verification = RatioVerification(test, draft: draft, targets: targets)
        for (accepted, share) in verification.acceptedCounts.enumerated() where share > 0 {
            for entry in verification.successor(of: accepted).entries {
                add(draft.tokens.prefix(accepted) + [entry.token], probability * share * entry.probability)
            }
        }
    }

    func distance(to other: TextLaw) -> Double {
        Set(probabilities.keys).union(other.probabilities.keys).reduce(0.0) {
            $0 + abs((probabilities[$1] ?? 0) - (other.probabilities[$1] ?? 0)) / 2
        }
    }
}

/// Every sampled draft of `length` tokens with its probability.
func forEachSampledDraft(_ models: ToyModels, length: Int, _ body: (SampledDraft, Double) throws -> Void) rethrows {
    func extend(_ draft: SampledDraft, _ probability: Double) throws {
        guard draft.tokens.count < length else { return try body(draft, probability) }
        let q = models.q(draft.tokens)
        for entry in q.entries where entry.probability > 0 {
            var longer = draft
            longer.draw(from: q, coin: q.coin(for: entry.token))
            try extend(longer, probability * entry.probability)
        }
    }
    try extend(SampledDraft(), 1)
}
