import Engine
import Formats
import Kernels
import Model
import Speculation

/// What all arms of a comparison have in common.
struct PolicySetting {
    static let defaultContext = 512

    let engine: EngineArguments
    let target: LanguageModel
    let draft: LanguageModel?
    /// Of each request.
    let maxTokens: Int
    let temperature: Float

    /// The engines' options; at most so many requests run at a time.
    func options(drafter: DrafterName?, most: Int) throws -> EngineOptions {
        var options = engine.options()
        if options.contextTokens == 0 {
            options.contextTokens = min(Self.defaultContext, target.configuration.contextLength)
        }
        guard maxTokens < options.contextTokens else {
            throw Failure.invalid(
                "-n is \(maxTokens), which leaves no room for a prompt in a context of \(options.contextTokens) tokens")
        }
        options.draftModel = draft
        options.drafter = drafter?.kind ?? .auto
        options.maxRunningRequests = most
        // As many bytes for each arm, and enough that memory never decides.
        let sizing = try EngineSizing(
            target: target.configuration, targetKV: target.defaultKVFormat, draft: draft?.configuration,
            options: options)
        options.kvBudgetBytes =
            EngineSizing.blocks(forTokens: options.contextTokens) * (most + 1) * kvBlockTokens * sizing.kvBytesPerToken
        return options
    }

    func requests(_ prompts: [BenchPrompt], _ options: EngineOptions) throws -> [RequestOptions] {
        try prompts.map {
            var request = try $0.request(target.tokenizer, fitting: options.contextTokens - maxTokens)
            request.maxTokens = maxTokens
            request.sampling.temperature = temperature
            request.ignoresEndOfGeneration = true
            return request
        }
    }

    /// The machine and the models, for reports.
    var description: [(String, JSONText)] {
        get throws {
            [
                ("machine", .string(machineName())), ("isa", .string(InstructionSet.native.name)),
                ("threads", .int(try threadCount(engine.threads))), ("commit", .string(commitName())),
                ("model", .string(target.path)), ("model_bytes", .int(target.weightsBytes)),
                ("draft", draft.map { .string(engine.selfDraft ? "self" : $0.path) } ?? .null),
                ("draft_bytes", .int(draft?.weightsBytes ?? 0)),
            ]
        }
    }
}
