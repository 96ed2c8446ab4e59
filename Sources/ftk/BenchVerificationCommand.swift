import ArgumentParser
import Engine
import Formats
import Kernels
import Model
import Scheduling
import Speculation

/// How many tokens a pass gives under each way to verify drafts.
struct BenchVerificationCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verification", abstract: "Compare ways to verify drafts of a draft model on the same prompts.",
        discussion: """
            Each arm is an engine that drafts so many tokens in every step. learned, coupled and argmax share the target's \
            noise, with a strength of the draft's own distribution that is learned, 1, or without bound; their texts are the \
            same. rejection and block are ratio tests, whose texts are others with the same distribution. tokens/pass counts \
            each request's passes after its first token. The errors are standard errors over prompts, and those of differences \
            compare each prompt with itself.
            """)

    @OptionGroup var model: ModelOption
    @OptionGroup var engine: EngineArguments
    @OptionGroup var output: JSONFlag
    @Option(help: "JSON lines, each with a text \"prompt\".") var prompts: String
    @Option(help: "Only prompts of this \"category\".") var category: String?
    @Option(help: "Prompts, from the first on. Default: all.") var requests: Int?
    @Option(help: "Texts of each prompt, each with its own random numbers.") var samples = 2
    @Option(name: [.customShort("n"), .long], help: "Tokens of each text.") var maxTokens = 64
    @Option(help: "Tokens of a draft.") var draftLength = 4
    @Option(
        name: [.customLong("temp"), .customLong("temperature")], parsing: .unconditional, help: "Temperature.")
    var temperature: Float = 0.8
    @Option(parsing: .unconditional, help: "Keep the likeliest tokens that together reach this probability.")
    var topP: Float = 1

    func run() throws {
        guard requests ?? 1 > 0, maxTokens > 1, draftLength > 0 else {
            throw Failure.invalid("--requests and --draft-length must be above 0, and -n above 1")
        }
        guard engine.draft != nil || engine.selfDraft else {
            throw Failure.invalid("-d must name a draft model, or --self-draft make one")
        }
        let texts = try BenchPrompt.list(path: prompts, category: category)
        let target = try loadModel(model.model, threads: engine.threads)
        let draft = try engine.draftModel(for: target)
        let context = engine.context > 0 ? engine.context : target.configuration.contextLength
        guard maxTokens < context else {
            throw Failure.invalid(
                "-n is \(maxTokens), which leaves no room for a prompt in a context of \(context) tokens")
        }
        let selected = try texts.prefix(requests ?? texts.count).map {
            completed(try $0.request(target.tokenizer, fitting: context - maxTokens))
        }
        let results = try VerificationArm.all.map { arm in
            var options = engine.options()
            options.draftModel = draft
            options.policy = .static
            options.drafter = .model
            options.draftTokens = draftLength
            options.coupling = arm.coupling
            return try arm.run(selected, try InferenceEngine(target: target, options: options))
        }
        if output.json {
            Output.line(json(results, prompts: selected.count).rendered)
        } else {
            show(results, prompts: selected.count)
        }
    }

    private func completed(_ request: RequestOptions) -> RequestOptions {
        var result = request
        result.maxTokens = maxTokens
        result.samples = samples
        result.seed = UInt64(request.userData)
        result.sampling.temperature = temperature
        result.sampling.topP = topP
        result.ignoresEndOfGeneration = true
        return result
    }

    private func show(_ results: [VerificationResult], prompts: Int) {
        Output.line(
            "\(machineName()), \(InstructionSet.native.name); \(prompts) prompts, \(samples) texts of \(maxTokens) tokens each, "
                + "temperature \(temperature), drafts of \(draftLength) tokens")
        Output.columns(["arm", "tokens/pass", "error", "accepted", "to argmax", "error"])
        for result in results {
            let difference = result.difference(to: results.argmax)
            Output.columns([
                result.name, fixed(result.tokensPerPass, 3), fixed(result.error, 3),
                "\(fixed(result.acceptance * 100, 1))%", fixed(difference.value, 3), fixed(difference.error, 3),
            ])
        }
    }

    private func json(_ results: [VerificationResult], prompts count: Int) -> JSONText {
        .object([
            ("machine", .string(machineName())), ("model", .string(model.model)),
            ("draft", .string(engine.selfDraft ? "self" : engine.draft ?? "")), ("prompts", .string(prompts)),
            ("count", .int(count)),
            ("samples", .int(samples)), ("n", .int(maxTokens)), ("draft_length", .int(draftLength)),
            ("temperature", .number(Double(temperature))), ("top_p", .number(Double(topP))),
            (
                "arms",
                .array(
                    results.map { result in
                        let difference = result.difference(to: results.argmax)
                        return .object([
                            ("arm", .string(result.name)), ("tokens_per_pass", .number(result.tokensPerPass)),
                            ("standard_error", .number(result.error)), ("acceptance", .number(result.acceptance)),
                            ("to_argmax", .number(difference.value)), ("to_argmax_error", .number(difference.error)),
                        ])
                    })
            ),
        ])
    }
}

/// One way to verify.
private struct VerificationArm {
    let name: String
    let verification: VerificationKind
    /// nil: learned.
    let coupling: CouplingStrength?

    static let argmax = "argmax"
    static let all = [
        VerificationArm(name: "learned", verification: .coupled, coupling: nil),
        VerificationArm(name: "coupled", verification: .coupled, coupling: .coupled),
        VerificationArm(name: argmax, verification: .coupled, coupling: .argmax),
        VerificationArm(name: "rejection", verification: .rejection, coupling: nil),
        VerificationArm(name: "block", verification: .block, coupling: nil),
    ]

    func run(_ requests: [RequestOptions], _ engine: InferenceEngine) throws -> VerificationResult {
        defer { engine.stop() }
        var result = VerificationResult(name: name)
        for request in requests {
            var request = request
            request.verification = verification
            let finishes = try engine.samples(of: request).compactMap(\.finish)
            if finishes.contains(where: { $0.reason == .cancelled }) { throw Failure(.cancelled, "interrupted") }
            result.add(finishes.map(\.statistics))
        }
        return result
    }
}

/// Tokens and passes of each prompt.
private struct VerificationResult {
    let name: String
    private var tokens: [Double] = []
    private var passes: [Double] = []
    private var (drafted, accepted) = (0, 0)

    init(name: String) { self.name = name }

    /// The texts of one prompt. The first token comes from a pass that could not draft.
    mutating func add(_ texts: [RequestStatistics]) {
        tokens.append(Double(texts.reduce(0) { $0 + $1.completionTokens - 1 }))
        passes.append(Double(texts.reduce(0) { $0 + $1.steps - 1 }))
        drafted += texts.reduce(0) { $0 + $1.draftTokens }
        accepted += texts.reduce(0) { $0 + $1.acceptedTokens }
    }

    var tokensPerPass: Double { tokens.reduce(0, +) / passes.reduce(0, +) }
    var acceptance: Double { Double(accepted) / Double(max(1, drafted)) }
    var error: Double { Self.standardError(influences) }

    /// What each prompt contributes to the error of the quotient, to first order.
    private var influences: [Double] {
        let (rate, sum) = (tokensPerPass, passes.reduce(0, +))
        return zip(tokens, passes).map { ($0 - rate * $1) / sum }
    }

    func difference(to other: VerificationResult) -> (value: Double, error: Double) {
        (tokensPerPass - other.tokensPerPass, Self.standardError(zip(influences, other.influences).map { $0 - $1 }))
    }

    private static func standardError(_ influences: [Double]) -> Double {
        let count = Double(influences.count)
        guard count > 1 else { return .infinity }
        return (influences.reduce(0) { $0 + $1 * $1 } * count / (count - 1)).squareRoot()
    }
}

extension [VerificationResult] {
    fileprivate var argmax: VerificationResult { first { $0.name == VerificationArm.argmax } ?? self[0] }
}
