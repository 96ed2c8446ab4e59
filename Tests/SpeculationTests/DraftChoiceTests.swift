import Formats
import Glibc
import Speculation
import TestSupport
import Testing

/// What a draft chooses under the noise of the request, against a search over all tokens.
@Suite struct DraftChoiceTests {
    static let shapes: [(temperature: Float, topK: Int, topP: Float, minP: Float)] = [
        (1, 0, 1, 0), (0.2, 0, 1, 0), (3, 0, 1, 0), (0.8, 20, 1, 0), (1, 0, 0.9, 0), (1.2, 0, 1, 0.02),
        (0.8, 40, 0.95, 0.01), (0, 0, 1, 0),
    ]

    private static func parameters(_ shape: Int) -> SamplingParameters {
        var parameters = SamplingParameters()
        parameters.temperature = shapes[shape].temperature
        parameters.topK = shapes[shape].topK
        parameters.topP = shapes[shape].topP
        parameters.minP = shapes[shape].minP
        return parameters
    }

    private static func row(_ seed: UInt64, count: Int = 701) -> [Float] {
        var random = SplitMix64(seed: seed)
        var row = random.floats(count, bound: 7)
        row[Int(seed) % count] = -.infinity
        return row
    }

    /// The two largest beta·value + G among what is left, and who has them.
    private static func search(
        _ left: [Sampler.Candidate], _ strength: CouplingStrength, _ noise: GumbelNoise, _ position: Int
    ) -> (token: Int32, runnerUp: Int32?, margin: Double) {
        var (token, first, second) = (Int32(-1), -Double.infinity, -Double.infinity)
        var runnerUp: Int32?
        for candidate in left {
            let score =
                strength == .argmax
                ? candidate.value
                : strength.value * candidate.value + noise.gumbel(position: position, token: candidate.token)
            if score > first {
                (runnerUp, second) = (token < 0 ? nil : token, first)
                (token, first) = (candidate.token, score)
            } else if score > second {
                (runnerUp, second) = (candidate.token, score)
            }
        }
        return (token, runnerUp, first - second)
    }

    @Test(arguments: shapes.indices)
    func everyStrengthTakesItsArgmax(_ shape: Int) throws {
        let parameters = Self.parameters(shape)
        let sampler = Sampler()
        let history = TokenHistory(prompt: [])
        var differing = 0
        for seed in UInt64(0)..<24 {
            let row = Self.row(seed)
            let noise = GumbelNoise(seed: seed, sample: 2)
            let left = try sampler.finalDistribution(
                logits: row.span, parameters: parameters, processors: [], history: history)
            for position in [0, 5, 1 << 33] {
                for strength in CouplingStrength.all {
                    let choice = try sampler.draft(
                        logits: row.span, parameters: parameters, processors: [], history: history, noise: noise,
                        position: position, strength: strength)
                    let expected = Self.search(left, strength, noise, position)
                    #expect(choice.token == expected.token)
                    if !parameters.isGreedy { #expect(choice.runnerUp == expected.runnerUp) }
                    #expect(choice.ladder[strength.rung] == choice.token)
                    #expect(choice.probability == nil)
                    if !parameters.isGreedy {
                        let margin = Float(min(expected.margin, Double(DraftChoice.largestMargin)))
                        #expect(abs(choice.margin - margin) <= 1e-5 * max(1, margin))
                    }
                    for other in CouplingStrength.all {
                        #expect(choice.ladder[other.rung] == Self.search(left, other, noise, position).token)
                        if choice.ladder[other.rung] != choice.token { differing += 1 }
                    }
                }
            }
        }
        #expect(parameters.isGreedy ? differing == 0 : differing > 100)
    }

    /// At strength 1 a model drafts for itself what it will choose.
    @Test(arguments: shapes.indices)
    func coupledIsTheTargetsChoice(_ shape: Int) throws {
        var parameters = Self.parameters(shape)
        parameters.presencePenalty = 0.6
        parameters.logitBias = [SamplingParameters.Bias(token: 8, bias: 3), .init(token: 9, bias: -.infinity)]
        var history = TokenHistory(prompt: [1, 2])
        for token in [4, 8, 70] as [Int32] { history.append(token) }
        let sampler = Sampler()
        for seed in UInt64(100)..<160 {
            // Few levels, so that tokens tie.
            let row = Self.row(seed, count: 203).map { ($0 * 2).rounded() / 2 }
            let noise = GumbelNoise(seed: seed)
            let token = try sampler.choose(
                logits: row.span, parameters: parameters, processors: parameters.processors, history: history,
                noise: noise, position: 31)
            let choice = try sampler.draft(
                logits: row.span, parameters: parameters, processors: parameters.processors, history: history,
                noise: noise, position: 31, strength: .coupled)
            #expect(choice.token == token)
            #expect(choice.ladder[CouplingStrength.coupled.rung] == token)
        }
    }

    @Test(arguments: shapes.indices)
    func probabilityIsThatOfTheFinalDistribution(_ shape: Int) throws {
        let parameters = Self.parameters(shape)
        var defining = parameters
        if parameters.isGreedy { defining.temperature = 1 }
        let sampler = Sampler()
        let history = TokenHistory(prompt: [])
        for seed in UInt64(0)..<20 {
            let row = Self.row(seed, count: 401)
            let left = try sampler.finalDistribution(
                logits: row.span, parameters: defining, processors: [], history: history)
            for strength in [CouplingStrength.coupled, .argmax] {
                let choice = try sampler.draft(
                    logits: row.span, parameters: parameters, processors: [], history: history,
                    noise: GumbelNoise(seed: seed), position: 3, strength: strength, reportsProbability: true)
                let drafted = try #require(left.first { $0.token == choice.token })
                let probability = try #require(choice.probability)
                #expect(abs(Double(probability) - exp(drafted.value)) <= 2e-5 * exp(drafted.value))
            }
        }
    }

    @Test func greedyMarginIsThatOfTheLogits() throws {
        var parameters = SamplingParameters()
        parameters.temperature = 0
        for (row, token, runnerUp, margin) in [
            ([1, 4, 2.5, -3], 1, 2, 1.5), ([2, 5, 5], 1, 2, 0), ([-.infinity, -2, -.infinity], 1, nil, 50),
            ([90, 1], 0, 1, 50),
        ] as [([Float], Int32, Int32?, Float)] {
            let choice = try Sampler().draft(
                logits: row.span, parameters: parameters, processors: [], history: TokenHistory(prompt: []),
                noise: GumbelNoise(seed: 1), position: 0, strength: .coupled)
            #expect(choice == DraftChoice(token: token, runnerUp: runnerUp, margin: margin))
        }
    }

    @Test func tokensWithoutRivalHaveTheLargestMargin() throws {
        let row: [Float] = [-.infinity, -.infinity, 3, -.infinity, -.infinity]
        for strength in CouplingStrength.all {
            let choice = try Sampler().draft(
                logits: row.span, parameters: SamplingParameters(), processors: [], history: TokenHistory(prompt: []),
                noise: GumbelNoise(seed: 1), position: 0, strength: strength, reportsProbability: true)
            #expect(choice == DraftChoice(token: 2, margin: DraftChoice.largestMargin, probability: 1))
        }
    }

    @Test func unusableLogitsAreErrors() {
        for row in [[1, .nan, 2], [.infinity, 0, 0], [-.infinity, -.infinity, -.infinity]] as [[Float]] {
            #expect(throws: Failure.self) {
                try Sampler().draft(
                    logits: row.span, parameters: SamplingParameters(), processors: [],
                    history: TokenHistory(prompt: []), noise: GumbelNoise(seed: 1), position: 0, strength: .coupled)
            }
        }
    }

    /// Draft and target under the same noise agree with probability Σ_x 1 / Σ_y max(p(y)/p(x), q(y)/q(x)), q being
    /// sharpened by the strength, and at the infinite one with probability p(argmax q).
    @Test(arguments: [0.4, 1.2, 3] as [Float])
    func agreementIsAsTheFormulaSays(_ distance: Float) throws {
        var random = SplitMix64(seed: UInt64(distance * 10))
        let target = random.floats(24, bound: 2.5)
        let draft = target.map { $0 + random.float(distance) }
        let sampler = Sampler()
        let (parameters, history) = (SamplingParameters(), TokenHistory(prompt: []))
        let draws = 200_000
        var agreed = SIMD8<Int32>()
        for position in 0..<draws {
            let noise = GumbelNoise(seed: 9)
            let token = try sampler.choose(
                logits: target.span, parameters: parameters, processors: [], history: history, noise: noise,
                position: position)
            let choice = try sampler.draft(
                logits: draft.span, parameters: parameters, processors: [], history: history, noise: noise,
                position: position, strength: .coupled)
            for rung in 0..<8 where choice.ladder[rung] == token { agreed[rung] += 1 }
        }
        let p = Self.normalised(target.map { exp(Double($0)) })
        for strength in CouplingStrength.all {
            var q = draft.map { _ in 0.0 }
            let top = try #require(draft.max())
            for token in draft.indices {
                let lag = Double(draft[token] - top)
                q[token] = strength == .argmax ? (lag == 0 ? 1 : 0) : exp(strength.value * lag)
            }
            q = Self.normalised(q)
            let theory = Self.agreement(p, q)
            let error = (theory * (1 - theory) / Double(draws)).squareRoot()
            #expect(abs(Double(agreed[strength.rung]) / Double(draws) - theory) < 4.5 * error)
            let variation = zip(p, q).reduce(0.0) { $0 + abs($1.0 - $1.1) } / 2
            #expect(theory >= (1 - variation) / (1 + variation) - 1e-12)
            #expect(theory <= 1 - variation + 1e-12)
        }
    }

    private static func normalised(_ weights: [Double]) -> [Double] {
        let total = weights.reduce(0, +)
        return weights.map { $0 / total }
    }

    private static func agreement(_ p: [Double], _ q: [Double]) -> Double {
        p.indices.reduce(0.0) { sum, x in
            q[x] == 0 ? sum : sum + 1 / p.indices.reduce(0.0) { $0 + max(p[$1] / p[x], q[$1] / q[x]) }
        }
    }
}
