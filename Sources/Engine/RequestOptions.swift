package import Formats
import Scheduling
package import Speculation

/// Everything that a request asks for; checked by `validated`.
package struct RequestOptions: Sendable {
    package enum Prompt: Sendable {
        case text(String)
        case tokens([Int32])
        case chat([ChatMessage], template: String?)

        /// What the field is called in the C API.
        var fieldName: String {
            switch self {
            case .text: "prompt"
            case .tokens: "prompt_tokens"
            case .chat: "messages"
            }
        }
    }

    package enum LogprobsKind: Sendable { case raw, processed }

    package var prompt = Prompt.tokens([])
    /// nil: until the context is full.
    package var maxTokens: Int?
    package var sampling = SamplingParameters()
    /// nil: one is drawn.
    package var seed: UInt64?
    package var ignoresEndOfGeneration = false
    package var stopTexts: [String] = []
    package var stopTokens: [Int32] = []
    /// nil: none; n: of the tokens and of the n likeliest.
    package var logprobs: Int?
    package var promptLogprobs: Int?
    package var logprobsKind = LogprobsKind.raw
    /// nil: the engine's policy; 0: off; k: drafts of k tokens.
    package var draftTokens: Int?
    package var verification = VerificationKind.coupled
    /// What the output must be: a grammar in GBNF or a JSON schema; at most one of them.
    package var grammar: String?
    package var jsonSchema: String?
    /// How many outputs of the same prompt, each with noise of its own.
    package var samples = 1
    /// Prefixes are shared with requests of the same salt only.
    package var cacheSalt: UInt64 = 0
    /// Higher is sooner.
    package var priority: Int32 = 0
    /// Durations in microseconds from submit, or between tokens; nil: none.
    package var targetTimeToFirstToken: Int64?
    package var targetTimePerOutputToken: Int64?
    /// The request ends then, with what it has.
    package var deadline: Int64?
    package var userData: UInt = 0

    package init() {}

    package static let mostDraftTokens = PolicyKind.mostDraftTokens
    package static let mostLogprobs = 1024
    package static let mostSamples = 64

    /// Fails with the name of the first field that makes no sense.
    package func validate(vocabularySize: Int) throws {
        try check(maxTokens.map { $0 >= 0 } ?? true, "max_tokens must be at least 0, or FTK_UNSET")
        try check(
            maxTokens != 0 || promptLogprobs != nil, "max_tokens is 0, which makes sense only with prompt_logprobs")
        try check(
            (1...Self.mostSamples).contains(samples), "n is \(samples); it must be from 1 to \(Self.mostSamples)")
        try validateSampling(vocabularySize: vocabularySize)
        try check(grammar == nil || jsonSchema == nil, "grammar and json_schema are both given")
        try check(
            !ignoresEndOfGeneration || (grammar == nil && jsonSchema == nil),
            "ignore_eos makes no sense with grammar or json_schema: a text that is complete must be able to end")
        try check(stopTexts.allSatisfy { !$0.isEmpty }, "stop holds an empty text")
        for token in stopTokens { try checkToken(token, "stop_tokens", vocabularySize) }
        for (count, name) in [(logprobs, "logprobs"), (promptLogprobs, "prompt_logprobs")] {
            try check(
                count.map { (0...Self.mostLogprobs).contains($0) } ?? true,
                "\(name) must be from 0 to \(Self.mostLogprobs), or FTK_UNSET")
        }
        for (target, name) in [
            (targetTimeToFirstToken, "target_ttft_us"), (targetTimePerOutputToken, "target_tpot_us"),
            (deadline, "deadline_us"),
        ] {
            try check(target.map { $0 > 0 && $0 < 1 << 60 } ?? true, "\(name) must be above 0, or FTK_UNSET")
        }
        try check(
            draftTokens.map { (0...Self.mostDraftTokens).contains($0) } ?? true,
            "speculation must be from 0 to \(Self.mostDraftTokens), or FTK_SPECULATION_AUTO")
    }

    private func validateSampling(vocabularySize: Int) throws {
        let s = sampling
        try check(s.temperature.isFinite && s.temperature >= 0, "temperature is \(s.temperature); it must be 0 or more")
        try check(s.topK >= 0, "top_k is \(s.topK); it must be 0 (all) or more")
        try check(s.topP > 0 && s.topP <= 1, "top_p is \(s.topP); it must be above 0 and at most 1")
        try check(s.minP >= 0 && s.minP <= 1, "min_p is \(s.minP); it must be from 0 to 1")
        try check(
            s.repetitionPenalty > 0 && s.repetitionPenalty.isFinite,
            "repetition_penalty is \(s.repetitionPenalty); it must be above 0")
        try check(s.presencePenalty.isFinite, "presence_penalty is \(s.presencePenalty); it must be a finite number")
        try check(s.frequencyPenalty.isFinite, "frequency_penalty is \(s.frequencyPenalty); it must be a finite number")
        for entry in s.logitBias {
            try checkToken(entry.token, "logit_bias", vocabularySize)
            try check(
                entry.bias < .infinity, "logit_bias of token \(entry.token) is \(entry.bias); it must be a number")
        }
    }

    private func check(_ holds: Bool, _ message: @autoclosure () -> String) throws {
        if !holds { throw Failure.invalid(message()) }
    }

    private func checkToken(_ token: Int32, _ field: String, _ vocabularySize: Int) throws {
        try check(
            token >= 0 && Int(token) < vocabularySize,
            "\(field) holds token \(token); the vocabulary has the tokens 0 to \(vocabularySize - 1)")
    }

    /// The prompt as tokens of the model.
    package func promptTokens(tokenizer: Tokenizer, vocabularySize: Int) throws -> [Int32] {
        let tokens: [Int32]
        switch prompt {
        case .text(let text): tokens = try tokenizer.encodePrompt(text)
        case .tokens(let given): tokens = given
        case .chat(let messages, let template):
            tokens = try tokenizer.encodeChat(messages, template: template, addGenerationPrompt: true)
        }
        for token in tokens { try checkToken(token, prompt.fieldName, vocabularySize) }
        try check(!tokens.isEmpty, "\(prompt.fieldName) gives no tokens")
        return tokens
    }
}

extension Tokenizer {
    /// The segments of a rendered conversation. `template`: nil for the model's own, a built-in name, or a source.
    package func renderChat(
        _ messages: [ChatMessage], template: String?, addGenerationPrompt: Bool
    ) throws -> [ChatTemplate.Segment] {
        let parsed: ChatTemplate
        if let template {
            parsed = try Self.callersTemplate(template)
        } else if let own = chatTemplate {
            parsed = try ChatTemplate(own)
        } else {
            throw Failure(.notFound, "the model has no chat template; name one, such as chatml")
        }
        return try parsed.render(
            messages, addGenerationPrompt: addGenerationPrompt, bosText: bosText, eosText: eosText)
    }

    private static func callersTemplate(_ template: String) throws -> ChatTemplate {
        guard template.contains("{") else { return try ChatTemplate.named(template) }
        do {
            return try ChatTemplate(template)
        } catch let failure as Failure where failure.code == .corruptFile {
            throw Failure.invalid(failure.message)  // no file is to blame
        }
    }

    /// A conversation as tokens; what messages hold never becomes a special token.
    package func encodeChat(
        _ messages: [ChatMessage], template: String?, addGenerationPrompt: Bool
    ) throws -> [Int32] {
        let segments = try renderChat(messages, template: template, addGenerationPrompt: addGenerationPrompt)
        let tokens = try encode(spans: segments.map { Span($0.text, parsesSpecial: $0.trusted) }, addSpecial: false)
        // Templates differ in whether they write BOS themselves.
        guard addsBOS, let bos, tokens.first != bos else { return tokens }
        return [bos] + tokens
    }
}
