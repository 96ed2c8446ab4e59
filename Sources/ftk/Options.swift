import ArgumentParser
import Engine
import Formats
import Kernels
import Model
import Scheduling
import Speculation

/// An enum of the library as a value on the command line.
extension PolicyKind: ExpressibleByArgument {
    package init?(argument: String) { self.init(name: argument) }
    package static var allValueStrings: [String] { allCases.map(\.name) }
}

extension VerificationKind: ExpressibleByArgument {
    package init?(argument: String) { self.init(name: argument) }
    package static var allValueStrings: [String] { allCases.map(\.name) }
}

enum DrafterName: String, ExpressibleByArgument, CaseIterable {
    case lookup, suffix, model
    var kind: EngineOptions.DrafterKind {
        switch self {
        case .lookup: .lookup
        case .suffix: .suffix
        case .model: .model
        }
    }
}

enum KVName: String, ExpressibleByArgument, CaseIterable {
    case auto, f32, f16
    case q8_0 = "q8_0"
    var format: KVFormat? {
        switch self {
        case .auto: nil
        case .f32: .f32
        case .f16: .f16
        case .q8_0: .q8_0
        }
    }
}

enum ActivationsName: String, ExpressibleByArgument, CaseIterable {
    case f32, q8
    var precision: Activations.Precision { self == .f32 ? .f32 : .q8 }
}

struct ModelOption: ParsableArguments {
    @Option(name: [.customShort("m"), .long], help: "A GGUF file or a Hugging Face folder.")
    var model: String
}

struct EngineArguments: ParsableArguments {
    @Option(name: [.customShort("d"), .long], help: "A draft model, with the same tokens or with many of them.")
    var draft: String?

    @Flag(help: "Draft with the model's own weights in Q4_0, made while it is loaded.")
    var selfDraft = false

    @Option(help: "Storage of the KV cache: \(KVName.allCases.map(\.rawValue).joined(separator: ", ")).")
    var kv = KVName.auto

    @Option(help: "How quantised weights see activations: q8, or f32, which is exact and slower.")
    var activations = ActivationsName.q8

    @Option(name: [.customShort("t"), .long], help: "Threads that compute; 0: as many as the process may use.")
    var threads = 0

    @Option(name: [.customShort("c"), .long], help: "Longest sequence in tokens; 0: what the model was made for.")
    var context = 0

    func validate() throws {
        if selfDraft, draft != nil { throw ValidationError("give either --draft or --self-draft") }
    }

    /// The draft model that is asked for. Says what it shares with the target where that is not everything.
    func draftModel(for target: LanguageModel) throws -> LanguageModel? {
        guard selfDraft else { return try draft.map { try loadDraft($0, for: target) } }
        let bar = LoadBar(path: "draft")
        return try target.makeDraft(threads: try threadCount(threads)) { done, total in
            bar.show(done, total)
            return !Interrupt.isRequested
        }
    }

    private func loadDraft(_ path: String, for target: LanguageModel) throws -> LanguageModel {
        let model = try loadModel(path, threads: threads)
        if let map = try vocabularyMap(target: target, draft: model) {
            Output.note("The draft model has another vocabulary: \(map.summary).")
        }
        return model
    }

    func options() -> EngineOptions {
        var options = EngineOptions()
        options.kvFormat = kv.format
        options.activations = activations.precision
        options.threads = threads
        options.contextTokens = context
        return options
    }
}

struct SpeculationArguments: ParsableArguments {
    @Option(help: "How drafts are decided on: \(PolicyKind.allCases.map(\.name).joined(separator: ", ")).")
    var policy = PolicyKind.goodput

    @Option(
        help: ArgumentHelp(
            "Tokens of a draft (static), or the most of them; to \(RequestOptions.mostDraftTokens). Default: the policy's own."
        ))
    var draftLength = 0

    @Option(help: "Where drafts come from: lookup, suffix or model. Default: what the policy finds best.")
    var drafter: DrafterName?

    func apply(to options: inout EngineOptions) {
        options.policy = policy
        options.drafter = drafter?.kind ?? .auto
        options.draftTokens = draftLength
    }
}

struct SamplingArguments: ParsableArguments {
    @Option(
        name: [.customLong("temp"), .customLong("temperature")], parsing: .unconditional,
        help: "Temperature; 0 takes the likeliest token.")
    var temperature: Float = 0
    @Option(parsing: .unconditional, help: "Keep the k likeliest tokens; 0: all.") var topK = 0
    @Option(parsing: .unconditional, help: "Keep the likeliest tokens that together reach this probability.") var topP:
        Float = 1
    @Option(parsing: .unconditional, help: "Keep tokens with at least this share of the likeliest one's probability.")
    var minP: Float = 0
    @Option(parsing: .unconditional, help: "Above 1 discourages tokens seen before.") var repetitionPenalty: Float = 1
    @Option(parsing: .unconditional, help: "Subtracted from tokens in the output.") var presencePenalty: Float = 0
    @Option(parsing: .unconditional, help: "Subtracted for every occurrence in the output.") var frequencyPenalty:
        Float = 0
    @Option(help: ArgumentHelp("Add to the logit of a token; may be repeated.", valueName: "token=bias"))
    var logitBias: [String] = []
    @Option(name: [.customShort("s"), .long], help: "The same seed gives the same text. Default: drawn.")
    var seed: UInt64?

    func parameters() throws -> SamplingParameters {
        var result = SamplingParameters()
        result.temperature = temperature
        result.topK = topK
        result.topP = topP
        result.minP = minP
        result.repetitionPenalty = repetitionPenalty
        result.presencePenalty = presencePenalty
        result.frequencyPenalty = frequencyPenalty
        result.logitBias = try logitBias.map { entry in
            let parts = entry.split(separator: "=")
            guard parts.count == 2, let token = Int32(parts[0]), let bias = Float(parts[1]) else {
                throw Failure.invalid("--logit-bias \(entry) is not of the form token=bias, such as 42=-1.5")
            }
            return SamplingParameters.Bias(token: token, bias: bias)
        }
        return result
    }
}

/// What --threads asks for.
func threadCount(_ threads: Int) throws -> Int {
    guard (0...512).contains(threads) else {
        throw Failure.invalid("--threads is \(threads); it must be from 0 (automatic) to 512")
    }
    return threads > 0 ? threads : availableProcessors()
}

/// Loads a model with a progress bar; Ctrl-C stops it.
func loadModel(_ path: String, threads: Int) throws -> LanguageModel {
    let threads = try threadCount(threads)
    let bar = LoadBar(path: path)
    return try LanguageModel(path: path, threads: threads) { done, total in
        bar.show(done, total)
        return !Interrupt.isRequested
    }
}
