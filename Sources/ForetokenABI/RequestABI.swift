public import CForetoken
import Engine
import Formats
import Speculation

@_cdecl("ftk_request_options_init_sized") @implementation
public func ftk_request_options_init_sized(
    _ options: UnsafeMutablePointer<ftk_request_options>!, _ struct_size: UInt32
) -> ftk_status {
    let defaults = SamplingParameters()
    return initialize(options, struct_size) {
        $0.max_tokens = FTK_UNSET
        $0.temperature = defaults.temperature
        $0.top_p = defaults.topP
        $0.repetition_penalty = defaults.repetitionPenalty
        $0.seed = UInt64.max
        $0.logprobs = FTK_UNSET
        $0.prompt_logprobs = FTK_UNSET
        $0.speculation = FTK_SPECULATION_AUTO
        $0.target_ttft_us = Int64(FTK_UNSET)
        $0.target_tpot_us = Int64(FTK_UNSET)
        $0.deadline_us = Int64(FTK_UNSET)
        $0.n = 1
    }
}

@_cdecl("ftk_submit") @implementation
public func ftk_submit(
    _ engine: OpaquePointer!, _ options: UnsafePointer<ftk_request_options>!, _ id: UnsafeMutablePointer<UInt64>!
) -> ftk_status {
    report {
        let place = try required(id, "id")
        place.pointee = 0
        let engine = try object(engine, InferenceEngine.self, "engine")
        place.pointee = try engine.submit(try requestOptions(try input(options, "options")))
        return status(FTK_OK)
    }
}

@_cdecl("ftk_cancel") @implementation
public func ftk_cancel(_ engine: OpaquePointer!, _ id: UInt64) -> ftk_status {
    report {
        try object(engine, InferenceEngine.self, "engine").cancel(id)
        return status(FTK_OK)
    }
}

@_cdecl("ftk_request_draft") @implementation
public func ftk_request_draft(
    _ engine: OpaquePointer!, _ id: UInt64, _ position: UInt64, _ tokens: UnsafePointer<Int32>!, _ count: Int
) -> ftk_status {
    report {
        let engine = try object(engine, InferenceEngine.self, "engine")
        let tokens = try array(tokens, count, "tokens")
        try engine.offerDraft(id, position: Int(clamping: position), tokens: tokens)
        return status(FTK_OK)
    }
}

private func requestOptions(_ given: ftk_request_options) throws -> RequestOptions {
    var options = RequestOptions()
    options.prompt = try prompt(given)
    options.maxTokens = try optional(given.max_tokens, "max_tokens")
    options.sampling = try sampling(given)
    options.seed = given.seed == UInt64.max ? nil : given.seed
    options.ignoresEndOfGeneration = try flag(given.ignore_eos, "ignore_eos")
    options.stopTexts = try array(given.stop, given.stop_count, "stop").enumerated().map {
        try text($1, "stop[\($0)]")
    }
    options.stopTokens = try array(given.stop_tokens, given.stop_token_count, "stop_tokens")
    options.logprobs = try optional(given.logprobs, "logprobs")
    options.promptLogprobs = try optional(given.prompt_logprobs, "prompt_logprobs")
    switch Int(given.logprobs_kind) {
    case FTK_LOGPROBS_RAW: options.logprobsKind = .raw
    case FTK_LOGPROBS_PROCESSED: options.logprobsKind = .processed
    default:
        throw Failure.invalid("logprobs_kind is \(given.logprobs_kind), which is none of the FTK_LOGPROBS_* values")
    }
    options.draftTokens = try optional(given.speculation, "speculation")
    options.grammar = try given.grammar.map { try text($0, "grammar") }
    options.jsonSchema = try given.json_schema.map { try text($0, "json_schema") }
    options.priority = given.priority
    guard given.reserved == 0 else { throw Failure.invalid("reserved is \(given.reserved); it must be 0") }
    options.targetTimeToFirstToken = duration(given.target_ttft_us)
    options.targetTimePerOutputToken = duration(given.target_tpot_us)
    options.deadline = duration(given.deadline_us)
    options.cacheSalt = given.cache_salt
    options.samples = Int(given.n)
    guard given.reserved2 == 0 else { throw Failure.invalid("reserved2 is \(given.reserved2); it must be 0") }
    guard let verification = VerificationKind(rawValue: given.verification) else {
        throw Failure.invalid("verification is \(given.verification), which is none of the FTK_VERIFICATION_* values")
    }
    options.verification = verification
    guard given.reserved3 == 0 else { throw Failure.invalid("reserved3 is \(given.reserved3); it must be 0") }
    options.userData = UInt(bitPattern: given.user_data)
    return options
}

private func sampling(_ given: ftk_request_options) throws -> SamplingParameters {
    var result = SamplingParameters()
    result.temperature = given.temperature
    result.topK = Int(given.top_k)
    result.topP = given.top_p
    result.minP = given.min_p
    result.repetitionPenalty = given.repetition_penalty
    result.presencePenalty = given.presence_penalty
    result.frequencyPenalty = given.frequency_penalty
    result.logitBias = try array(given.logit_bias, given.logit_bias_count, "logit_bias").map {
        SamplingParameters.Bias(token: $0.token, bias: $0.bias)
    }
    return result
}

/// FTK_UNSET is nil; other negative numbers are kept for the check to name.
private func optional(_ value: Int32, _ field: String) throws -> Int? {
    guard value >= FTK_UNSET else { throw Failure.invalid("\(field) is \(value); it must be 0 or more, or FTK_UNSET") }
    return value == FTK_UNSET ? nil : Int(value)
}

/// FTK_UNSET is nil; what makes no sense is left for the check to name.
private func duration(_ value: Int64) -> Int64? { value == Int64(FTK_UNSET) ? nil : value }

private func prompt(_ given: ftk_request_options) throws -> RequestOptions.Prompt {
    let forms = [given.prompt != nil, given.prompt_tokens != nil, given.messages != nil]
    guard forms.filter({ $0 }).count == 1 else {
        throw Failure.invalid("exactly one of prompt, prompt_tokens and messages must be given")
    }
    guard given.messages != nil || given.chat_template == nil else {
        throw Failure.invalid("chat_template is given, but messages is not")
    }
    if given.prompt != nil { return .text(try text(given.prompt, bytes: given.prompt_bytes, "prompt")) }
    if given.prompt_tokens != nil {
        return .tokens(try array(given.prompt_tokens, given.prompt_token_count, "prompt_tokens"))
    }
    return .chat(
        try messages(given.messages, given.message_count),
        template: try given.chat_template.map { try text($0, "chat_template") })
}
