import Formats
import Scheduling
import Speculation

/// What one request has to say after a step.
struct StepOutput {
    var tokens: [Int32] = []
    var text: [UInt8] = []
    var logprobs: TokenLogprobs?
    var ending: (FinishReason, Failure?)?

    init(sequence: ActiveSequence) { logprobs = sequence.options.logprobs.map { TokenLogprobs(topCount: $0) } }

    var isEmpty: Bool { tokens.isEmpty && text.isEmpty }

    func event(_ sequence: ActiveSequence) -> EngineEvent {
        var event = sequence.event(.tokens)
        event.tokens = tokens
        event.text = text
        event.logprobs = logprobs
        return event
    }

    /// Adds the log-probabilities at the place of `token`; `sequence` does not hold it yet.
    mutating func addLogprobs(
        of token: Int32, top count: Int, _ sequence: ActiveSequence, _ sampler: Sampler, _ logits: Span<Float>
    ) throws {
        switch sequence.options.logprobsKind {
        case .raw:
            let raw = try RawLogProbabilities(logits)
            logprobs?.append(raw.of(token, logits), top: raw.top(count, logits))
        case .processed:
            let left = try sampler.finalDistribution(
                logits: logits, parameters: sequence.options.sampling, processors: sequence.processors,
                history: sequence.history)
            let own = left.first { $0.token == token }?.value ?? -.infinity
            let ranked = left.sorted { $0.value != $1.value ? $0.value > $1.value : $0.token < $1.token }
            logprobs?.append(Float(own), top: ranked.prefix(count).map { ($0.token, Float($0.value)) })
        }
    }
}

extension ActiveSequence {
    var snapshot: RequestSnapshot {
        RequestSnapshot(id: id, committed: tokens.count, computed: computed)
    }

    /// Whether its distribution is bent by more than temperature and filters.
    var isPeculiar: Bool { options.sampling.hasPenalties || constraint != nil }

    func ask(neededTokens: Double) -> SpeculationAsk {
        let limit = min(draftRoom, RequestOptions.mostDraftTokens)
        let request = DraftRequest(
            id: id, tokens: tokens, limit: limit, blocks: table.blocks,
            parameters: options.sampling, processors: ownProcessors, history: history, noise: noise,
            constraint: constraint, isolation: options.cacheSalt, coins: coins)
        return SpeculationAsk(
            request: request, fixedLength: options.draftTokens, isPeculiar: isPeculiar,
            neededTokens: neededTokens, remaining: self.limit - tokens.count,
            targetTPOT: options.targetTimePerOutputToken.map(Double.init),
            offered: hostDraft?.draft(after: outputCount, limit: limit))
    }

    func ends(with token: Int32, endOfGeneration: [Int32]) -> Bool {
        options.stopTokens.contains(token) || (!options.ignoresEndOfGeneration && endOfGeneration.contains(token))
    }

    /// Records what the model expects after prompt position `position`, and how it rates what follows there.
    mutating func reportPrompt(_ position: Int, _ logits: Span<Float>) throws {
        // After a preemption positions are computed again.
        guard let count = options.promptLogprobs, position == promptLogprobs?.ofTokens.count else { return }
        let raw = try RawLogProbabilities(logits)
        let next = position + 1 < promptCount ? raw.of(tokens[position + 1], logits) : .nan
        promptLogprobs?.append(next, top: raw.top(count, logits))
    }

    func event(_ kind: EngineEvent.Kind) -> EngineEvent {
        EngineEvent(kind: kind, requestID: requestID, sampleIndex: sample, userData: options.userData)
    }

    func promptEvent(_ logprobs: TokenLogprobs) -> EngineEvent {
        var event = event(.promptLogprobs)
        event.tokens = Array(tokens[..<promptCount])
        event.logprobs = logprobs
        return event
    }

    /// Brings the lengths in line with the committed tokens after a step.
    mutating func commit(_ entry: StepPlan.Entry, draft: Int, accepted: Int) {
        computed = min(computed + entry.rows + accepted, tokens.count - (entry.samples ? 1 : 0))
        publishOutput()
        if entry.samples { statistics.steps += 1 }
        statistics.draftTokens += draft
        statistics.acceptedTokens += accepted
    }
}
