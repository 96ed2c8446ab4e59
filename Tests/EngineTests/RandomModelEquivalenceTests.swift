import Engine
import Formats
import Kernels
import Model
import Scheduling
import TestSupport
import Testing

/// The same promise on small random models of all kinds, where nothing is likely and every token is possible.
@Suite struct RandomModelEquivalenceTests {
    /// Target and draft; their vocabularies differ in padding.
    static let pairs = [
        ("llama2", "qwen2"), ("llama3", "llama2"), ("qwen2", "llama2"), ("qwen3", "smollm-like"),
        ("tinyllama-like", "qwen3-untied"), ("llama-f16", "qwen2-bf16"), ("smollm-like", "smollm-like"),
        ("llama31", "mistral"), ("llama-bias", "llama-linear"), ("qwen2-untied", "qwen2-untied"),
    ]

    private static func prompts(_ vocabulary: Int) -> [RequestOptions.Prompt] {
        var random = SplitMix64(seed: 5)
        return [1, 3, 31, 32, 33, 60, 8].map { length in
            let pattern = (0..<min(length, 5)).map { _ in Int32(random.int(1..<vocabulary)) }
            return .tokens((0..<length).map { pattern[$0 % pattern.count] })
        }
    }

    @Test(arguments: pairs.indices)
    func aloneBatchedChunkedAndSpeculative(_ pair: Int) throws {
        let target = try TestModels.random(Self.pairs[pair].0)
        let draft = try TestModels.random(Self.pairs[pair].1)
        let vocabulary = target.configuration.vocabularySize
        let requests = mixedRequests(Self.prompts(vocabulary), tokens: 40, vocabularySize: vocabulary, stop: "a")
        func engine(_ change: (inout EngineOptions) -> Void) throws -> InferenceEngine {
            var options = EngineOptions()
            options.threads = 1
            options.kvFormat = pair % 2 == 0 ? .f32 : .f16
            options.draftModel = draft
            change(&options)
            return try InferenceEngine(target: target, options: options)
        }
        let reference = try generateAlone(engine { $0.policy = .off }, requests.map(withoutDrafts))
        #expect(reference.problems.isEmpty)
        #expect(reference.statistics.draftTokens == 0)
        for length in [1, 2, 3, 4, 5, 6, 7, 8, 16] {
            for drafter in [EngineOptions.DrafterKind.lookup, .model] {
                let result = try generate(
                    engine {
                        $0.policy = .static
                        $0.drafter = drafter
                        $0.draftTokens = length
                        $0.maxStepTokens = [32, 47, 256][length % 3]
                        $0.threads = 1 + length % 2
                        $0.maxRunningRequests = [16, 5][length % 2]
                    }, requests)
                #expect(result.problems.isEmpty)
                for (index, two) in zip(result.outcomes, reference.outcomes).enumerated() {
                    #expect(two.0 == two.1, "request \(index), \(length) by \(drafter)")
                }
                #expect(result.statistics.draftTokens > 0)
            }
        }
    }

    private func withoutDrafts(_ request: RequestOptions) -> RequestOptions {
        var plain = request
        plain.draftTokens = nil
        return plain
    }

    /// The target's padding tokens are unknown to a draft with fewer tokens.
    @Test func tokensThatTheDraftDoesNotHave() throws {
        let target = try TestModels.random("qwen2")
        let draft = try TestModels.random("llama2")
        let (large, small) = (target.configuration.vocabularySize, draft.configuration.vocabularySize)
        #expect(small < large)
        var request = RequestOptions()
        request.prompt = .tokens([5, Int32(large - 1), 6, Int32(small), 7])
        request.maxTokens = 30
        request.seed = 4
        var other = request
        other.prompt = .tokens([5, 6, 7])
        var options = EngineOptions()
        options.threads = 1
        let plain = try generateAlone(InferenceEngine(target: target, options: options), [request, other])
        options.draftModel = draft
        options.policy = .static
        let result = try generate(InferenceEngine(target: target, options: options), [request, other])
        #expect(result.problems.isEmpty)
        #expect(result.outcomes == plain.outcomes)
        #expect(result.finishes[0].statistics.draftTokens == 0)
        #expect(result.finishes[1].statistics.draftTokens > 0)
    }

    /// A draft made for a shorter context drafts up to it and stops there.
    @Test func draftWithAShorterContext() throws {
        let target = try TestModels.random("llama2")
        var patch = try PatchedModel(path: TestModels.randomPath("llama-linear"))
        try patch.set("llama.context_length", to: 24)
        let draft = try patch.load()
        #expect(draft.configuration.contextLength == 24)
        var requests: [RequestOptions] = []
        for length in [4, 23, 24, 25, 60] {
            var request = RequestOptions()
            request.prompt = .tokens((0..<Int32(length)).map { 3 + $0 % 40 })
            request.seed = 9
            request.ignoresEndOfGeneration = true
            requests.append(request)
        }
        var options = EngineOptions()
        options.threads = 1
        let plain = try generateAlone(InferenceEngine(target: target, options: options), requests)
        options.draftModel = draft
        options.policy = .static
        let result = try generate(InferenceEngine(target: target, options: options), requests)
        #expect(result.problems.isEmpty)
        #expect(result.outcomes == plain.outcomes)
        // The first draft follows the first token of the output: after 23 tokens there is room for one more only.
        let drafted = result.finishes.map(\.statistics.draftTokens)
        #expect(drafted[0] > 1)
        #expect(drafted[1...] == [1, 0, 0, 0])
    }
}
