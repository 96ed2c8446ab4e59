import ArgumentParser
import Engine
import Formats
import Glibc
import Scheduling

struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Continue a prompt, or answer a chat message.")

    @OptionGroup var model: ModelOption
    @OptionGroup var engine: EngineArguments
    @OptionGroup var speculation: SpeculationArguments
    @OptionGroup var sampling: SamplingArguments
    @Option(help: "A file with a grammar in GBNF that the text must follow.") var grammarFile: String?
    @Option(help: "A file with a JSON schema that the text must satisfy.") var jsonSchema: String?
    @OptionGroup var output: JSONFlag

    @Option(name: [.customShort("p"), .long], help: "The prompt; standard input when absent.")
    var prompt: String?
    @Option(
        name: [.customShort("n"), .long], parsing: .unconditional,
        help: "Most tokens to generate; -1: until the context is full.")
    var maxTokens = 128
    @Option(help: "Texts to generate, each with its own random numbers.") var samples = 1
    @Option(
        help: ArgumentHelp(
            "How drafts are verified: coupled, which never changes the text, or a ratio test, rejection or block."))
    var verification = VerificationKind.coupled
    @Option(help: "End before this text; may be repeated.") var stop: [String] = []
    @Flag(help: "Treat the prompt as a chat message and answer it.") var chat = false
    @Option(help: "With --chat: the system message.") var system: String?
    @Option(help: "With --chat: a built-in template's name, or a template. Default: the model's own.")
    var chatTemplate: String?
    @Flag(help: "Go on after end-of-generation tokens.") var ignoreEos = false
    @Flag(help: "Show what was drafted in each step, why no more, and what it saved: after the text, or in the JSON.")
    var explain = false

    func run() throws {
        guard chat || (system == nil && chatTemplate == nil) else {
            throw Failure.invalid("--system and --chat-template need --chat")
        }
        let text = try prompt ?? standardInput()
        let target = try loadModel(model.model, threads: engine.threads)
        var options = engine.options()
        options.draftModel = try engine.draftModel(for: target)
        speculation.apply(to: &options)
        options.traces = explain
        let runner = try InferenceEngine(target: target, options: options)
        defer { runner.stop() }
        let streams = !output.json && samples == 1
        let completions = try runner.samples(of: request(text)) { if streams { Output.write($0) } }
        let explanation = explain ? Explanation(try runner.decisions { ($0, isTaken: true) }) : nil
        if output.json {
            let all = completions.enumerated().map { json($1, options, explanation?.json(sample: $0)) }
            Output.line((samples == 1 ? all[0] : .array(all)).rendered)
        } else {
            show(completions, explanation)
        }
        if completions.contains(where: { $0.finish?.reason == .cancelled }) { throw ExitCode(130) }
    }

    /// Several samples one after the other; a single one is written already.
    private func show(_ completions: [Completion], _ explanation: Explanation?) {
        for (index, completion) in completions.enumerated() {
            if samples > 1 {
                Output.line("--- sample \(index) ---")
                Output.write(completion.text)
            }
            summarize(completion)
            if let explanation { Output.note(explanation.table(sample: index)) }
        }
    }

    private func request(_ text: String) throws -> RequestOptions {
        var request = RequestOptions()
        if chat {
            let opening = system.map { [ChatMessage(role: "system", content: $0)] } ?? []
            request.prompt = .chat(opening + [ChatMessage(role: "user", content: text)], template: chatTemplate)
        } else {
            request.prompt = .text(text)
        }
        guard maxTokens >= -1 else { throw Failure.invalid("-n is \(maxTokens); it must be -1 or more") }
        request.maxTokens = maxTokens < 0 ? nil : maxTokens
        request.sampling = try sampling.parameters()
        request.seed = sampling.seed
        request.samples = samples
        request.verification = verification
        request.stopTexts = stop
        request.grammar = try grammarFile.map { try wholeText($0, "--grammar-file") }
        request.jsonSchema = try jsonSchema.map { try wholeText($0, "--json-schema") }
        request.ignoresEndOfGeneration = ignoreEos
        return request
    }

    private func json(_ completion: Completion, _ options: EngineOptions, _ explanation: JSONText?) -> JSONText {
        let statistics = completion.finish?.statistics ?? RequestStatistics()
        func time(_ value: Int64?) -> JSONText { value.map { .int(Int($0)) } ?? .null }
        let members: [(String, JSONText)] = [
            ("text", .string(String(decoding: completion.text, as: UTF8.self))),
            ("tokens", .array(completion.tokens.map { .int(Int($0)) })),
            ("finish_reason", .string(completion.finish?.reason.name ?? "")),
            (
                "usage",
                .object([
                    ("prompt_tokens", .int(statistics.promptTokens)),
                    ("completion_tokens", .int(statistics.completionTokens)),
                ])
            ),
            (
                "stats",
                .object([
                    ("policy", .string(options.policy.name)), ("steps", .int(statistics.steps)),
                    ("drafted", .int(statistics.draftTokens)), ("accepted", .int(statistics.acceptedTokens)),
                    ("ttft_us", time(statistics.timeToFirstToken)), ("tpot_us", time(statistics.timePerOutputToken)),
                    ("tokens_per_s", .number(completion.tokensPerSecond)), ("seed", .unsigned(statistics.seed)),
                    ("saved_us", .int(Int(statistics.savedTime))),
                ])
            ),
        ]
        return .object(members + (explanation.map { [("explain", $0)] } ?? []))
    }

    private func summarize(_ completion: Completion) {
        Output.write([10])
        guard Output.errorIsTerminal, let statistics = completion.finish?.statistics else { return }
        Output.note(
            "[\(statistics.completionTokens) tokens, \(fixed(completion.tokensPerSecond, 1)) tokens/s, "
                + "\(statistics.steps) passes, \(statistics.acceptedTokens) of \(statistics.draftTokens) drafted tokens "
                + "accepted, seed \(statistics.seed)]")
    }
}

/// A number with a fixed number of decimals.
func fixed(_ value: Double, _ decimals: Int) -> String {
    let scale = (0..<decimals).reduce(1.0) { result, _ in result * 10 }
    guard value.isFinite, abs(value) * scale < 1e15 else { return "\(value)" }
    let digits = String(Int((abs(value) * scale).rounded()))
    let padded = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
    let sign = value < 0 ? "-" : ""
    return decimals == 0 ? sign + padded : "\(sign)\(padded.dropLast(decimals)).\(padded.suffix(decimals))"
}

/// All of standard input as text.
func standardInput() throws -> String {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = unsafe read(0, &buffer, buffer.count)
        if Interrupt.isRequested { throw Failure(.cancelled, "interrupted") }
        if count < 0 && errno == EINTR { continue }
        guard count >= 0 else { throw Failure(.io, "cannot read standard input: \(systemErrorText(errno))") }
        if count == 0 { break }
        bytes += buffer[..<count]
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
        throw Failure.invalid("standard input is not valid UTF-8")
    }
    return text
}

/// A text file that an option names.
private func wholeText(_ path: String, _ option: String) throws -> String {
    guard let text = String(validating: try FileSource.contents(of: path, limit: 1 << 20), as: UTF8.self) else {
        throw Failure.invalid("\(option): \(path) is not valid UTF-8")
    }
    return text
}
