import Formats
import Model
import Scheduling
import Speculation

/// One sample of a request as it runs. Committed tokens are the truth; everything else follows from them.
struct ActiveSequence {
    /// The sample's own number in the engine; the host knows it by the two that follow.
    let id: UInt64
    let requestID: UInt64
    let sample: Int
    let options: RequestOptions
    let ownProcessors: [any LogitProcessor]
    /// What the grammar allows next, if there is one.
    private(set) var constraint: GrammarConstraint?
    let noise: GumbelNoise
    /// Prompt, then output.
    private(set) var tokens: [Int32]
    let promptCount: Int
    /// The sequence ends when it has this many tokens.
    let limit: Int
    /// Tokens whose keys and values are in the target's cache.
    var computed = 0
    var table: BlockTable
    /// The finish event was made; the sequence goes with the step.
    var isEnded = false
    private(set) var history: TokenHistory
    /// What the host expects of the output.
    private(set) var hostDraft: HostDraft?
    var text: TextStream
    var promptLogprobs: TokenLogprobs?
    var statistics = RequestStatistics()
    let submitted: Int64
    private var firstToken: Int64?
    private var latestToken: Int64?
    /// Output tokens of completed steps; a step that fails adds none.
    private var published = 0

    init(submission: Submission, tokenizer: Tokenizer, limit: Int) {
        id = submission.requestID + UInt64(submission.sample)
        requestID = submission.requestID
        sample = submission.sample
        options = submission.options
        ownProcessors = submission.options.sampling.processors
        constraint = submission.constraint
        noise = submission.noise
        tokens = submission.promptTokens
        promptCount = submission.promptTokens.count
        self.limit = limit
        table = BlockTable(isolation: submission.options.cacheSalt)
        history = TokenHistory(prompt: submission.options.sampling.hasPenalties ? submission.promptTokens : [])
        let startsText = submission.promptTokens.allSatisfy { tokenizer.isControl($0) }
        text = TextStream(
            decoder: StreamDecoder(tokenizer, continuesText: !startsText), stops: submission.options.stopTexts)
        // The prompt is the same for all samples, so the first reports it.
        let wanted = sample == 0 ? submission.options.promptLogprobs : nil
        promptLogprobs = wanted.map { TokenLogprobs(topCount: $0) }
        submitted = submission.time
        statistics.promptTokens = promptCount
        statistics.seed = submission.seed
    }

    /// The grammar comes last: no bias brings back what it rules out.
    var processors: [any LogitProcessor] { constraint.map { ownProcessors + [$0] } ?? ownProcessors }

    /// Whether it can begin with the prompt of another sample: it has said nothing, and need not see all rows itself.
    var takesPromptOfOthers: Bool { options.samples > 1 && outputCount == 0 && promptLogprobs == nil }

    var hasRun: Bool { statistics.queueTime != nil }

    var outputCount: Int { tokens.count - promptCount }

    var inspection: EngineInspection.Request {
        EngineInspection.Request(
            id: id, committed: tokens.count, published: promptCount + published, computed: computed, limit: limit,
            blocks: table.blocks)
    }

    /// Who goes first; the same as long as no token comes.
    var urgency: Urgency {
        var due = options.deadline.map { submitted + $0 }
        func meet(_ time: Int64?) {
            if let time { due = min(due ?? .max, time) }
        }
        if let latestToken {
            meet(options.targetTimePerOutputToken.map { latestToken + $0 })
        } else {
            meet(options.targetTimeToFirstToken.map { submitted + $0 })
        }
        return Urgency(due: due, priority: options.priority, id: id)
    }

    /// What its targets ask of the next step; `meanLength`: of outputs so far, in tokens.
    func demand(meanLength: Double) -> LatencyDemand {
        var demand = LatencyDemand()
        demand.firstToken = firstToken.map(Double.init)
        demand.emitted = outputCount
        demand.remaining = min(Double(limit - tokens.count), max(1, meanLength - Double(outputCount)))
        demand.timePerToken = options.targetTimePerOutputToken.map(Double.init)
        demand.deadline = options.deadline.map { Double(submitted + $0) }
        return demand
    }

    var hasLatencyTarget: Bool {
        options.targetTimePerOutputToken != nil || options.deadline != nil || options.targetTimeToFirstToken != nil
    }

    /// When its first token is due; nil once there is one, or without such a target.
    var firstTokenDue: Int64? {
        firstToken == nil ? options.targetTimeToFirstToken.map { submitted + $0 } : nil
    }

    /// Whether the deadline has passed.
    func isLate(at now: Int64) -> Bool { options.deadline.map { now - submitted >= $0 } ?? false }

    /// What the cache holds is given up; the tokens stay, and are computed again later.
    mutating func preempt(in pool: inout BlockPool) {
        table.release(in: &pool)
        computed = 0
        statistics.preemptions += 1
    }

    /// The most drafted tokens that can be of use: the target adds one of its own.
    var draftRoom: Int { max(0, limit - tokens.count - 1) }

    mutating func append(_ token: Int32, at time: Int64) throws {
        try constraint?.advance(token)
        tokens.append(token)
        followHostDraft()
        if options.sampling.hasPenalties { history.append(token) }
        if firstToken == nil { firstToken = time }
        latestToken = time
    }

    /// Takes the place of what was offered before.
    mutating func take(_ draft: HostDraft) {
        hostDraft = draft
        followHostDraft()
    }

    private mutating func followHostDraft() {
        hostDraft?.follow(tokens[promptCount...])
        if hostDraft?.isSpent == true { hostDraft = nil }
    }

    /// The output so far is in an event.
    mutating func publishOutput() { published = outputCount }

    /// The figures at the end of the request.
    func finalStatistics(at time: Int64) -> RequestStatistics {
        var result = statistics
        result.completionTokens = published
        result.totalTime = time - submitted
        if let firstToken, published > 0 {
            result.timeToFirstToken = firstToken - submitted
            if published > 1 { result.timePerOutputToken = (time - firstToken) / Int64(published - 1) }
        }
        judge(&result)
        return result
    }

    /// Compares the times with the targets.
    private func judge(_ result: inout RequestStatistics) {
        if let target = options.targetTimeToFirstToken {
            result.attainedTimeToFirstToken = result.timeToFirstToken.map { $0 <= target } ?? false
        }
        if let target = options.targetTimePerOutputToken, let time = result.timePerOutputToken {
            result.attainedTimePerOutputToken = time <= target
        }
        let missedFirst = result.attainedTimeToFirstToken == false
        guard missedFirst || result.attainedTimePerOutputToken == false else { return }
        let queued = result.queueTime ?? result.totalTime
        if missedFirst, queued >= (options.targetTimeToFirstToken ?? 0) / 2 {
            result.limitedBy = .queue
        } else {
            result.limitedBy = result.preemptions > 0 ? .memory : .compute
        }
    }
}

/// A sample of a request that was accepted and waits to run.
struct Submission: Sendable {
    /// The numbers from here on, as many as the request has samples, are the samples' own.
    let requestID: UInt64
    let sample: Int
    let options: RequestOptions
    let promptTokens: [Int32]
    let seed: UInt64
    let time: Int64
    /// Tokens after which the sequence ends.
    let limit: Int
    let constraint: GrammarConstraint?
}
