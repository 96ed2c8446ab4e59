import Engine
import Formats
import Model
import Scheduling
import Speculation
import TestSupport
import Testing

/// Engines whose draft model is made of the target.
@Suite struct SelfDraftEngineTests {
    private static func generation(_ draft: LanguageModel?, temperature: Float) throws -> Generation {
        var options = EngineOptions()
        options.threads = 1
        options.policy = draft == nil ? .off : .static
        options.draftModel = draft
        let engine = try InferenceEngine(target: try TestModels.target(), options: options)
        return try generate(
            engine,
            TestModels.builtInPrompts.map { prompt in
                var request = RequestOptions()
                request.prompt = .text(prompt)
                request.maxTokens = 40
                request.seed = 7
                request.ignoresEndOfGeneration = true
                request.sampling.temperature = temperature
                return request
            })
    }

    @Test(arguments: [Float(0), 0.8]) func theTextIsTheTargets(_ temperature: Float) throws {
        let draft = try TestModels.target().makeDraft(threads: 1)
        let plain = try Self.generation(nil, temperature: temperature)
        let drafted = try Self.generation(draft, temperature: temperature)
        #expect((plain.problems + drafted.problems).isEmpty)
        #expect(drafted.outcomes == plain.outcomes)
        let statistics = drafted.statistics
        #expect(statistics.draftPasses > 0)
        // Nearly the same model mostly agrees.
        #expect(Double(statistics.acceptedTokens) > 0.5 * Double(statistics.draftTokens))
    }
}
