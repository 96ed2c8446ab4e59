import Formats
import Glibc
import Speculation
import TestSupport
import Testing

@Suite struct SamplingStatisticsTests {
    private static func logits(_ count: Int, seed: UInt64, spread: Float) -> [Float] {
        var random = SplitMix64(seed: seed)
        return (0..<count).map { _ in Float.random(in: -spread...spread, using: &random) }
    }

    static let shapes: [(temperature: Float, topK: Int, topP: Float, minP: Float)] = [
        (1, 0, 1, 0), (0.7, 0, 1, 0), (1, 5, 1, 0), (1, 0, 0.8, 0), (1, 0, 1, 0.1), (1.5, 12, 0.9, 0.05),
    ]

    /// Tokens drawn over many positions and seeds follow the final distribution.
    @Test(arguments: shapes.indices)
    func drawsFollowTheDistribution(_ shape: Int) throws {
        var parameters = SamplingParameters()
        parameters.temperature = Self.shapes[shape].temperature
        parameters.topK = Self.shapes[shape].topK
        parameters.topP = Self.shapes[shape].topP
        parameters.minP = Self.shapes[shape].minP
        parameters.presencePenalty = 0.5
        var history = TokenHistory(prompt: [])
        history.append(3)
        let logits = Self.logits(20, seed: 11, spread: 2)
        let sampler = Sampler()
        let left = try sampler.finalDistribution(
            logits: logits.span, parameters: parameters, processors: parameters.processors, history: history)
        var counts: [Int32: Int] = [:]
        let (seeds, positions) = (60, 500)
        for seed in 0..<seeds {
            let noise = GumbelNoise(seed: UInt64(seed) << 33 | UInt64(seed))
            for position in 0..<positions {
                let token = try sampler.choose(
                    logits: logits.span, parameters: parameters, processors: parameters.processors, history: history,
                    noise: noise, position: position)
                counts[token, default: 0] += 1
            }
        }
        #expect(Set(counts.keys).isSubset(of: left.map(\.token)))
        let statistic = left.reduce(0.0) { sum, candidate in
            let expected = exp(candidate.value) * Double(seeds * positions)
            let difference = Double(counts[candidate.token] ?? 0) - expected
            return sum + difference * difference / expected
        }
        #expect(left.count >= 4)
        #expect(statistic < chiSquareBound(degrees: left.count - 1))
    }

    /// Wilson and Hilferty's approximation of the value that chance exceeds once in a million.
    private func chiSquareBound(degrees: Int) -> Double {
        let k = Double(degrees)
        let root = 1 - 2 / (9 * k) + 4.75 * (2 / (9 * k)).squareRoot()
        return k * root * root * root
    }

    @Test(arguments: [Float(0.2), 1, 3])
    func unfilteredDrawIsTheArgmax(_ temperature: Float) throws {
        var parameters = SamplingParameters()
        parameters.temperature = temperature
        let sampler = Sampler()
        var different = Set<Int32>()
        for seed in UInt64(0)..<40 {
            var logits = Self.logits(700, seed: seed, spread: 8)
            logits[Int(seed)] = -.infinity
            let noise = GumbelNoise(seed: seed, sample: 1)
            for position in [0, 1, 77] {
                var (best, score) = (Int32(-1), -Double.infinity)
                for token in logits.indices where logits[token] > -.infinity {
                    let value = Double(logits[token]) / Double(temperature)
                    let sum = value + noise.gumbel(position: position, token: Int32(token))
                    if sum > score { (best, score) = (Int32(token), sum) }
                }
                let drawn = try sampler.choose(
                    logits: logits.span, parameters: parameters, processors: [], history: TokenHistory(prompt: []),
                    noise: noise, position: position)
                #expect(drawn == best)
                different.insert(drawn)
            }
        }
        #expect(different.count > 50)
    }

    /// Filters that keep everything draw what no filter draws.
    @Test func filtersThatKeepAllChangeNothing() throws {
        let sampler = Sampler()
        let plain = SamplingParameters()
        var minimal = plain
        minimal.minP = 1e-30
        var wide = plain
        wide.topK = 299
        for seed in UInt64(0)..<50 {
            let logits = Self.logits(300, seed: seed, spread: 5)
            let noise = GumbelNoise(seed: seed)
            func draw(_ parameters: SamplingParameters) throws -> Int32 {
                try sampler.choose(
                    logits: logits.span, parameters: parameters, processors: [], history: TokenHistory(prompt: []),
                    noise: noise, position: 9)
            }
            let expected = try draw(plain)
            #expect(try draw(minimal) == expected)
            let least = try #require(logits.indices.min { logits[$0] < logits[$1] })
            if Int(expected) != least { #expect(try draw(wide) == expected) }
        }
    }

    @Test func forbiddenTokensAreNeverDrawn() throws {
        var parameters = SamplingParameters()
        parameters.temperature = 5
        parameters.topK = 8
        parameters.logitBias = (0..<6).map { SamplingParameters.Bias(token: $0, bias: -.infinity) }
        let sampler = Sampler()
        let logits = Self.logits(10, seed: 4, spread: 1)
        let left = try sampler.finalDistribution(
            logits: logits.span, parameters: parameters, processors: parameters.processors,
            history: TokenHistory(prompt: []))
        #expect(left.map(\.token) == [6, 7, 8, 9])
        for position in 0..<500 {
            let token = try sampler.choose(
                logits: logits.span, parameters: parameters, processors: parameters.processors,
                history: TokenHistory(prompt: []), noise: GumbelNoise(seed: 1), position: position)
            #expect(token >= 6)
        }
    }

    @Test func unusableLogitsAreErrors() {
        let sampler = Sampler()
        for temperature in [Float(0), 1] {
            var parameters = SamplingParameters()
            parameters.temperature = temperature
            for (bad, code) in [
                (Float.nan, Failure.Code.corruptFile), (.infinity, .corruptFile), (-.infinity, .invalidArgument),
            ] {
                let logits = bad == -.infinity ? [bad, bad, bad] : [1, bad, 2]
                let problem = failure {
                    _ = try sampler.choose(
                        logits: logits.span, parameters: parameters, processors: [],
                        history: TokenHistory(prompt: []), noise: GumbelNoise(seed: 1), position: 0)
                }
                #expect(problem?.code == code)
            }
        }
    }
}
