import ArgumentParser
import Engine
import Formats
import Model

struct ScoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "score", abstract: "Print what the model expects after each token of a sequence.")

    @OptionGroup var model: ModelOption
    @OptionGroup var engine: EngineArguments
    @OptionGroup var output: JSONFlag
    @Option(help: "Token ids, separated by commas; taken as they are.") var tokens: String?
    @Option(help: "Text instead of tokens.") var text: String?
    @Option(help: "How many of the likeliest tokens to show.") var top = 5

    func run() throws {
        var request = RequestOptions()
        switch (tokens, text) {
        case (let tokens?, nil): request.prompt = .tokens(try Self.parse(tokens))
        case (nil, let text?): request.prompt = .text(text)
        default: throw Failure.invalid("give either --tokens or --text")
        }
        request.maxTokens = 0
        request.promptLogprobs = top
        var options = engine.options()
        options.draftModel = nil
        guard engine.draft == nil, !engine.selfDraft else { throw Failure.invalid("score uses no draft model") }
        let runner = try InferenceEngine(target: try loadModel(model.model, threads: engine.threads), options: options)
        defer { runner.stop() }
        guard let event = try runner.complete(request).prompt, let logprobs = event.logprobs else {
            throw Failure(.cancelled, "interrupted")
        }
        if output.json { Output.line(Self.json(event.tokens, logprobs).rendered) } else { show(event.tokens, logprobs) }
    }

    private static func parse(_ list: String) throws -> [Int32] {
        try list.split(separator: ",", omittingEmptySubsequences: false).map { part in
            guard let token = Int32(part.filter { $0 != " " }) else {
                throw Failure.invalid("--tokens: \"\(part)\" is not a token id")
            }
            return token
        }
    }

    private static func json(_ tokens: [Int32], _ logprobs: TokenLogprobs) -> JSONText {
        .object([
            ("tokens", .array(tokens.map { .int(Int($0)) })),
            (
                "positions",
                .array(
                    tokens.indices.map { position in
                        .object([
                            ("position", .int(position)),
                            (
                                "top",
                                .array(
                                    logprobs.top(position).map {
                                        .array([.int(Int($0.token)), .number(Double($0.logprob))])
                                    })
                            ),
                            ("next", .number(Double(logprobs.ofTokens[position]))),
                        ])
                    })
            ),
        ])
    }

    private func show(_ tokens: [Int32], _ logprobs: TokenLogprobs) {
        for position in tokens.indices {
            let top = logprobs.top(position).map { "\($0.token) \(fixed(Double($0.logprob), 3))" }
            let next = logprobs.ofTokens[position]
            Output.line(
                "\(position)\ttoken \(tokens[position])\tnext \(next.isNaN ? "-" : fixed(Double(next), 3))\t"
                    + top.joined(separator: ", "))
        }
    }
}

extension TokenLogprobs {
    /// The likeliest tokens at one place, without padding.
    func top(_ position: Int) -> [(token: Int32, logprob: Float)] {
        (position * topCount..<(position + 1) * topCount).map { (topTokens[$0], topLogprobs[$0]) }.filter { $0.0 >= 0 }
    }
}

struct TokenizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenize", abstract: "Turn standard input into token ids; no BOS is added.")

    @OptionGroup var model: ModelOption
    @OptionGroup var output: JSONFlag
    @Flag(help: "Parse special tokens such as <|im_end|> in the text.") var special = false

    func run() throws {
        let tokenizer = try Tokenizer(path: model.model)
        let tokens = try tokenizer.encode(try standardInput(), addSpecial: false, parseSpecial: special)
        if output.json {
            Output.line(JSONText.object([("tokens", .array(tokens.map { .int(Int($0)) }))]).rendered)
        } else {
            Output.line(tokens.map { String($0) }.joined(separator: " "))
        }
    }
}

struct InfoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info", abstract: "Describe a model file without loading it.")

    @OptionGroup var model: ModelOption
    @OptionGroup var output: JSONFlag

    func run() throws {
        let tokenizer = try Tokenizer(path: model.model)
        let members = try Self.isVocabularyOnly(model.model) ? [] : modelMembers()
        let all = members + Self.tokenizerMembers(tokenizer)
        if output.json { Output.line(JSONText.object(all).rendered) } else { showTable(all) }
    }

    /// A GGUF file may hold a tokenizer and nothing else.
    private static func isVocabularyOnly(_ path: String) throws -> Bool {
        guard !isDirectory(path) else { return false }
        return try GGUF(path: path).tensors.isEmpty
    }

    private func modelMembers() throws -> [(String, JSONText)] {
        let model = try ModelRequirements(path: model.model)
        let shape = model.configuration
        return [
            ("name", .string(model.name)), ("architecture", .string(shape.architecture.rawValue)),
            ("quantization", .string(model.quantization)), ("parameters", .int(model.parameters)),
            ("weights_bytes", .int(model.weightsBytes)), ("context_length", .int(shape.contextLength)),
            ("layers", .int(shape.layers)), ("embedding_length", .int(shape.embeddingLength)),
            ("attention_heads", .int(shape.heads)), ("kv_heads", .int(shape.kvHeads)),
            ("head_dimension", .int(shape.headDimension)), ("feed_forward_length", .int(shape.feedForwardLength)),
        ]
    }

    private static func tokenizerMembers(_ tokenizer: Tokenizer) -> [(String, JSONText)] {
        func token(_ id: Int32?) -> JSONText { id.map { .int(Int($0)) } ?? .null }
        return [
            ("vocabulary_size", .int(tokenizer.vocabularySize)), ("bos_token", token(tokenizer.bos)),
            ("eos_token", token(tokenizer.eos)),
            ("end_of_generation_tokens", .array(tokenizer.endOfGeneration.map { .int(Int($0)) })),
            ("has_chat_template", .bool(tokenizer.chatTemplate != nil)),
        ]
    }
}

struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "Say how much memory a model needs, without loading it.")

    @OptionGroup var model: ModelOption
    @OptionGroup var engine: EngineArguments
    @OptionGroup var output: JSONFlag

    func run() throws {
        let draft = engine.selfDraft ? .own : engine.draft.map { MemoryPlan.Draft.file(path: $0) }
        let plan = try MemoryPlan(targetPath: model.model, draft: draft, options: engine.options())
        let members: [(String, JSONText)] = [
            ("target_weights_bytes", .int(plan.targetWeightsBytes)),
            ("draft_weights_bytes", .int(plan.draftWeightsBytes)),
            ("kv_block_tokens", .int(plan.kvBlockTokens)), ("kv_bytes_per_token", .int(plan.kvBytesPerToken)),
            ("kv_bytes_per_request", .int(plan.kvBytesPerRequest)), ("kv_budget_bytes", .int(plan.kvBudgetBytes)),
            ("scratch_bytes", .int(plan.scratchBytes)), ("peak_bytes", .int(plan.peakBytes)),
        ]
        if output.json { Output.line(JSONText.object(members).rendered) } else { showTable(members) }
    }
}

/// Members of an object as lines, for people: sizes with a unit.
func showTable(_ members: [(String, JSONText)]) {
    let width = members.map(\.0.count).max() ?? 0
    for (name, value) in members {
        var text = value.rendered
        if case .string(let string) = value { text = string }
        if case .int(let bytes) = value, name.contains("bytes"), bytes >= 1024 {
            text += "  (\(fixed(Double(bytes) / 1_048_576, 1)) MiB)"
        }
        Output.line(name.replacing("_", with: " ") + String(repeating: " ", count: width - name.count + 2) + text)
    }
}
