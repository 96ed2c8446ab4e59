import Engine
import Formats
import Kernels
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

    /// What the engine begins with before any pass was timed.
    @Test func theGuessCountsTheSharedOutputMatrix() throws {
        var shape = TinyLlama.Shape()
        shape.layers = 24
        let (tiny, folder) = (try TinyLlama(.q8_0, shape: shape), try TemporaryFolder())
        let target = try LanguageModel(path: folder.write(tiny.file.bytes, to: "model.gguf"), threads: 1)
        let draft = try target.makeDraft(threads: 1)
        let padded = (tiny.vocabularySize + 15) / 16 * 16
        // Neither the embedding nor the norms: two for each layer, and one behind.
        let multiplied = target.parameters - (tiny.vocabularySize + 2 * shape.layers + 1) * shape.width
        let expected = PassCosts.guess(
            weightsBytes: draft.weightsBytes + padded * shape.width / 32 * 34, parameters: multiplied,
            kvBytesPerToken: try KVCache.bytesPerToken(target.configuration, .f16), maxRows: 64, threads: 1)
        func guess(_ model: LanguageModel) throws -> PassCosts {
            try PassCosts.guess(model, kvFormat: .f16, maxRows: 64, threads: 1)
        }
        #expect(try guess(draft) == expected)
        #expect(try guess(draft).base(rows: 1) < guess(target).base(rows: 1))
    }
}
