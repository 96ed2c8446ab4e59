import Formats
import Speculation
import TestSupport
import Testing

/// The final distribution against Tests/Golden/make_sampling_golden.py: numpy, without shortcuts.
@Suite struct SamplingGoldenTests {
    struct Case {
        var logits: [Float]
        var parameters: SamplingParameters
        var history: TokenHistory
        var ids: [Int32]
        var logprobs: [Double]
    }

    static func load() throws -> [Case] {
        let folder = testFile("SpeculationTests/Golden/")
        let json = try JSON(parsing: contents(of: folder + "sampling.json"))
        let ids = try contents(of: folder + "sampling.i32").withUnsafeBytes { raw in
            (0..<raw.count / 4).map { raw.loadUnaligned(fromByteOffset: $0 * 4, as: Int32.self) }
        }
        let logprobs = try contents(of: folder + "sampling.f64").withUnsafeBytes { raw in
            (0..<raw.count / 8).map { raw.loadUnaligned(fromByteOffset: $0 * 8, as: Double.self) }
        }
        var start = 0
        let cases = try #require(json.array).map { entry in
            let count = try #require(entry["count"]?.int)
            defer { start += count }
            return Case(
                logits: try logits(entry), parameters: try parameters(entry), history: try history(entry),
                ids: Array(ids[start..<start + count]), logprobs: Array(logprobs[start..<start + count]))
        }
        #expect(start == ids.count && start == logprobs.count)
        return cases
    }

    private static func number(_ entry: JSON, _ key: String) throws -> Float {
        Float(try #require(entry[key]?.number))
    }

    private static func integers(_ entry: JSON, _ key: String) throws -> [Int] {
        try #require(entry[key]?.array).map { try #require($0.int) }
    }

    private static func pairs(_ entry: JSON, _ key: String) throws -> [(Int32, Double)] {
        try #require(entry[key]?.array).map { pair in
            let numbers = try #require(pair.array).map { try #require($0.number) }
            return (Int32(numbers[0]), numbers[1])
        }
    }

    private static func logits(_ entry: JSON) throws -> [Float] {
        var state = UInt64(try #require(entry["seed"]?.int))
        let levels = try #require(entry["levels"]?.int)
        let (grid, scale) = (try number(entry, "grid"), try number(entry, "scale"))
        var values = (0..<(try #require(entry["vocabulary"]?.int))).map { _ -> Float in
            state = 6_364_136_223_846_793_005 &* state &+ 1_442_695_040_888_963_407
            return Float(Int((state >> 33) % UInt64(levels)) - levels / 2) / grid * scale
        }
        for index in try integers(entry, "infinite") { values[index] = -.infinity }
        return values
    }

    private static func parameters(_ entry: JSON) throws -> SamplingParameters {
        var parameters = SamplingParameters()
        parameters.temperature = try number(entry, "temperature")
        parameters.topK = try #require(entry["top_k"]?.int)
        parameters.topP = try number(entry, "top_p")
        parameters.minP = try number(entry, "min_p")
        parameters.repetitionPenalty = try number(entry, "repetition")
        parameters.presencePenalty = try number(entry, "presence")
        parameters.frequencyPenalty = try number(entry, "frequency")
        parameters.logitBias = try pairs(entry, "bias").map {
            SamplingParameters.Bias(token: $0, bias: Float($1))
        }
        return parameters
    }

    private static func history(_ entry: JSON) throws -> TokenHistory {
        var history = TokenHistory(prompt: try integers(entry, "prompt").map { Int32($0) })
        for (token, count) in try pairs(entry, "output") {
            for _ in 0..<Int(count) { history.append(token) }
        }
        return history
    }

    @Test func finalDistribution() throws {
        let cases = try Self.load()
        #expect(cases.count >= 200)
        let sampler = Sampler()
        var compared = 0
        for (index, item) in cases.enumerated() {
            let left = try sampler.finalDistribution(
                logits: item.logits.span, parameters: item.parameters, processors: item.parameters.processors,
                history: item.history)
            #expect(left.map(\.token) == item.ids, "case \(index)")
            guard left.count == item.ids.count else { continue }
            for (candidate, expected) in zip(left, item.logprobs) {
                #expect(abs(candidate.value - expected) <= 2e-5 * max(1, abs(expected)), "case \(index)")
                compared += 1
            }
        }
        #expect(compared > 5000)
    }

    @Test func greedyChoice() throws {
        let sampler = Sampler()
        let noise = GumbelNoise(seed: 3)
        let greedy = try Self.load().filter(\.parameters.isGreedy)
        #expect(greedy.count >= 20)
        for item in greedy {
            let token = try sampler.choose(
                logits: item.logits.span, parameters: item.parameters, processors: item.parameters.processors,
                history: item.history, noise: noise, position: 5)
            #expect([token] == item.ids)
        }
    }

    /// Whatever is drawn is in the distribution, and it is the candidate with the largest value plus noise.
    @Test func drawnFromTheFinalDistribution() throws {
        let sampler = Sampler()
        for (index, item) in try Self.load().enumerated() {
            let processors = item.parameters.processors
            let left = try sampler.finalDistribution(
                logits: item.logits.span, parameters: item.parameters, processors: processors, history: item.history)
            let noise = GumbelNoise(seed: UInt64(index))
            for position in 0..<20 {
                let token = try sampler.choose(
                    logits: item.logits.span, parameters: item.parameters, processors: processors,
                    history: item.history, noise: noise, position: position)
                let best = left.max {
                    let a = $0.value + noise.gumbel(position: position, token: $0.token)
                    let b = $1.value + noise.gumbel(position: position, token: $1.token)
                    return a != b ? a < b : $0.token > $1.token
                }
                #expect(token == best?.token, "case \(index), position \(position)")
            }
        }
    }

    @Test func penaltiesFollowTheHistory() {
        var history = TokenHistory(prompt: [1, 2, 2])
        #expect(history.prompt == [1, 2])
        history.append(5)
        history.append(5)
        history.append(2)
        #expect(history.output == [5: 2, 2: 1])
        history.remove(5)
        history.remove(2)
        history.remove(9)
        #expect(history.output == [5: 1])
    }
}
