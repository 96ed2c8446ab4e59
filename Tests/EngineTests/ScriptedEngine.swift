import Engine
import Formats
import Model
import Scheduling
import Speculation
import TestSupport

/// An engine without a model: the scripted target, and a drafter of the test's choice.
struct ScriptedEngine {
    let engine: InferenceEngine
    let executor: ScriptedExecutor
    let drafter: ScriptedDrafter

    init(
        draftTokens: Int = 0, drafts: @escaping (DraftRequest) throws -> [Int32] = { _ in [] },
        others: ((DraftRequest) throws -> [Int32])? = nil,
        change: (inout EngineOptions) -> Void = { _ in }
    ) throws {
        // 319 tokens, byte-level, a context of 128; token 0 ends generations.
        let model = try Self.model.get()
        var options = EngineOptions()
        options.threads = 1
        options.policy = draftTokens > 0 ? .static : .off
        options.draftTokens = draftTokens
        change(&options)
        executor = ScriptedExecutor(vocabularySize: model.configuration.vocabularySize)
        drafter = ScriptedDrafter(drafts)
        engine = try InferenceEngine(
            target: model, options: options, executor: executor, drafter: drafter,
            other: others.map { ScriptedDrafter($0) })
    }

    private static let model = Result { try TestModels.random("llama2") }
    static var tokenizer: Tokenizer { get throws { try model.get().tokenizer } }

    /// Makes the target say `script` after a prompt of `promptCount` tokens.
    func say(_ script: [Int32], after promptCount: Int) {
        executor.onLogits = { tokens, logits in
            let next = tokens.count - promptCount
            if script.indices.contains(next) { logits[Int(script[next])] = 100 }
        }
    }

    func run(_ requests: [RequestOptions]) throws -> Generation {
        var result = try generate(engine, requests)
        result.problems += executor.problems
        return result
    }
}

func tokenRequest(_ prompt: [Int32], _ maxTokens: Int?, temperature: Float = 0) -> RequestOptions {
    var request = RequestOptions()
    request.prompt = .tokens(prompt)
    request.maxTokens = maxTokens
    request.sampling.temperature = temperature
    request.seed = 1
    return request
}
