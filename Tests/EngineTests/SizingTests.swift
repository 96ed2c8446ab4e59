import Engine
import Formats
import Kernels
import Model
import Speculation
import TestSupport
import Testing

/// Drafts that do not fit their targets, and the memory that an engine takes.
@Suite struct SizingTests {
    @Test func paddingMayDiffer() throws {
        let (padded, plain) = (try TestModels.random("qwen2"), try TestModels.random("llama2"))
        #expect(padded.tokenizer.vocabularySize > plain.tokenizer.vocabularySize)
        for (target, draft) in [(padded, plain), (plain, padded), (plain, plain)] {
            #expect(try vocabularyMap(target: target, draft: draft) == nil)
        }
    }

    /// The end of texts has another name: same ids, another vocabulary, and nothing is missing.
    @Test func anEndOfAnotherName() throws {
        let plain = try TestModels.random("llama2")
        let tokenizer = plain.tokenizer
        let eos = try #require(tokenizer.eos)
        let name = String(decoding: tokenizer.storedText(eos), as: UTF8.self)
        var patch = try PatchedModel(path: TestModels.randomPath("llama2"))
        try patch.replace(name, by: String(repeating: "#", count: name.utf8.count))
        let draft = try patch.load()
        let map = try #require(try vocabularyMap(target: plain, draft: draft))
        for token in 0..<Int32(tokenizer.vocabularySize) { #expect(map.twin(token) == token) }
        var options = EngineOptions()
        options.draftModel = draft
        #expect(failure { _ = try InferenceEngine(target: plain, options: options) } == nil)
    }

    /// A target with a token at the end that the draft has no embedding for.
    @Test func aTokenThatOnlyTheTargetHas() throws {
        var patch = try PatchedModel(path: TestModels.randomPath("qwen2"))
        let tokenizer = try TestModels.random("qwen2").tokenizer
        let count = tokenizer.vocabularySize
        let last = String(decoding: tokenizer.storedText(Int32(count - 1)), as: UTF8.self)
        #expect(last.hasPrefix("[PAD"))
        try patch.replace(last, by: String(last.map { $0 == "[" ? "(" : $0 }))
        let map = try #require(try vocabularyMap(target: patch.load(), draft: TestModels.random("llama2")))
        #expect(map.twin(Int32(count - 1)) == -1 && map.twin(300) == 300)
    }

    @Test func tooFewTokensInCommon() throws {
        let problem = failure {
            _ = try vocabularyMap(target: TestModels.target(), draft: TestModels.random("llama2"))
        }
        #expect(problem?.code == .vocabularyMismatch)
        #expect(
            problem?.message.contains("46 of the target's 3839 tokens") == true, "\(problem?.message ?? "no error")")
    }

    @Test func kvTypeThatTheModelCannotHave() throws {
        var options = EngineOptions()
        options.kvFormat = .q8_0
        let problem = failure { _ = try InferenceEngine(target: TestModels.random("llama2"), options: options) }
        #expect(problem?.code == .invalidArgument)
        #expect(problem?.message.contains("32") == true && problem?.message.contains("8") == true)
    }

    static let variants: [@Sendable (inout EngineOptions) -> Void] = [
        { _ in }, { $0.kvFormat = .f32 }, { $0.kvBudgetBytes = 5_000_001 }, { $0.contextTokens = 100 },
        {
            $0.maxStepTokens = 32
            $0.threads = 3
        },
    ]

    /// The plan is made of headers, the engine of loaded models: they must agree.
    @Test(arguments: variants.indices, ["none", "file", "own"])
    func theMemoryPlanIsWhatAnEngineTakes(_ variant: Int, _ drafter: String) throws {
        var options = EngineOptions()
        options.threads = 1
        Self.variants[variant](&options)
        let source: MemoryPlan.Draft? =
            drafter == "none" ? nil : drafter == "own" ? .own : .file(path: TestModels.draftPath)
        let plan = try MemoryPlan(targetPath: TestModels.targetPath, draft: source, options: options)
        let target = try TestModels.target()
        let withDraft = source != nil
        let draft = drafter == "own" ? try target.makeDraft(threads: 1) : try TestModels.draft()
        if withDraft { options.draftModel = draft }
        let engine = try InferenceEngine(target: target, options: options)
        let sizing = engine.sizing
        #expect(plan.targetWeightsBytes == target.weightsBytes)
        #expect(plan.draftWeightsBytes == (withDraft ? draft.weightsBytes : 0))
        #expect(plan.kvBlockTokens == kvBlockTokens)
        #expect(plan.kvBytesPerToken == sizing.kvBytesPerToken)
        let format = options.kvFormat ?? .f16
        #expect(sizing.kvFormat == format)
        let models = withDraft ? [target, draft] : [target]
        let bytes = models.reduce(0) { sum, model in
            let shape = model.configuration
            return sum + shape.layers * 2 * shape.kvHeads * shape.headDimension * (format == .f32 ? 4 : 2)
        }
        #expect(plan.kvBytesPerToken == bytes)
        #expect(engine.snapshot().kvBlocksTotal == sizing.kvBlocks)
        #expect(plan.kvBudgetBytes == sizing.kvBlocks * kvBlockTokens * bytes)
        if options.kvBudgetBytes > 0 {
            #expect(plan.kvBudgetBytes <= options.kvBudgetBytes)
            #expect(plan.kvBudgetBytes > options.kvBudgetBytes - kvBlockTokens * bytes)
        } else {
            #expect(plan.kvBudgetBytes == EngineOptions.defaultKVTokens * bytes)
        }
        let context = options.contextTokens > 0 ? options.contextTokens : target.configuration.contextLength
        #expect(sizing.contextTokens == context)
        #expect(plan.kvBytesPerRequest == (context + kvBlockTokens - 1) / kvBlockTokens * kvBlockTokens * bytes)
        #expect(plan.scratchBytes == sizing.scratchBytes)
        let scratch = try models.reduce(0) { sum, model in
            let layout = ScratchLayout(
                model.configuration, rows: options.maxStepTokens, logitRows: EngineOptions.logitRows,
                threads: options.threads)
            return sum + (try #require(layout).byteCount)
        }
        #expect(plan.scratchBytes == scratch)
        #expect(
            plan.peakBytes
                == plan.targetWeightsBytes + plan.draftWeightsBytes + plan.kvBudgetBytes + plan.scratchBytes)
    }

    /// One full context is the least that an engine without a budget reserves.
    @Test func defaultBudget() throws {
        let engine = try InferenceEngine(target: TestModels.random("llama2"), options: EngineOptions())
        #expect(engine.sizing.kvBlocks * kvBlockTokens == EngineOptions.defaultKVTokens)
        var patch = try PatchedModel(path: TestModels.randomPath("llama2"))
        try patch.set("llama.context_length", to: 20_001)
        let long = try InferenceEngine(target: patch.load(), options: EngineOptions())
        #expect(long.sizing.kvBlocks == (20_001 + kvBlockTokens - 1) / kvBlockTokens)
    }
}
