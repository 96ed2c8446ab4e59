import Formats
import Kernels
import Model
import Scheduling
import Speculation

/// The loop's body: plan, draft, execute, verify, commit. Owned by one thread at a time.
final class StepRunner {
    let executor: any StepExecutor
    let speculator: Speculator
    let tokenizer: Tokenizer
    let options: EngineOptions
    let sampler = Sampler()
    var pool: BlockPool
    /// Both in order of urgency.
    var waiting: [ActiveSequence] = []
    var running: [ActiveSequence] = []
    private var batch = RowBatch()
    private(set) var stretch = StepStretch()
    var statistics = EngineStatistics()
    /// Of steps since they were last taken, if the engine traces.
    var records: [DecisionRecord] = []

    init(
        executor: any StepExecutor, speculator: Speculator, tokenizer: Tokenizer, options: EngineOptions, kvBlocks: Int
    ) {
        self.executor = executor
        self.speculator = speculator
        self.tokenizer = tokenizer
        self.options = options
        pool = BlockPool(total: kvBlocks, blockTokens: kvBlockTokens, hashSeed: .random(in: 0 ... .max))
        statistics.kvBlocksTotal = kvBlocks
    }

    /// What the requests that run hold.
    var inspection: EngineInspection {
        EngineInspection(
            requests: running.map(\.inspection), totalBlocks: pool.total, usedBlocks: pool.statistics.used,
            problems: pool.validate(tables: running.map(\.table)))
    }

    var isIdle: Bool { waiting.isEmpty && running.isEmpty }

    func add(_ submissions: [Submission]) {
        for submission in submissions {
            wait(ActiveSequence(submission: submission, tokenizer: tokenizer, limit: submission.limit))
        }
    }

    /// Takes what the host expects of requests; of those that have ended nothing is expected any more.
    func take(_ offers: [UInt64: HostDraft]) {
        if offers.isEmpty { return }
        for index in waiting.indices {
            if let draft = offers[waiting[index].id] { waiting[index].take(draft) }
        }
        for index in running.indices {
            if let draft = offers[running[index].id] { running[index].take(draft) }
        }
    }

    /// Ends requests that the host cancelled, and those whose deadline has passed.
    func cancel(_ ids: Set<UInt64>) -> [EngineEvent] {
        let now = options.clock.microseconds
        var events: [EngineEvent] = []
        func endsNow(_ sequence: ActiveSequence) -> FinishReason? {
            ids.contains(sequence.requestID) ? .cancelled : sequence.isLate(at: now) ? .deadline : nil
        }
        for index in waiting.indices {
            if let reason = endsNow(waiting[index]) { events += end(&waiting[index], reason, nil, now) }
        }
        for index in running.indices {
            if let reason = endsNow(running[index]) { events += end(&running[index], reason, nil, now) }
        }
        if events.isEmpty { return [] }
        waiting.removeAll(where: \.isEnded)
        running.removeAll(where: \.isEnded)
        updateGauges()
        return events
    }

    /// One step; what happened, in order.
    func step() -> [EngineEvent] {
        let start = options.clock.microseconds
        let control = speculator.controlTime
        let schedulingStart = options.clock.nanoseconds
        admit(now: start)
        guard !running.isEmpty else { return [] }
        running.sort { $0.urgency < $1.urgency }
        let targets = latencyPlan(now: start)
        let planned = reserve(
            planStep(
                requests: running.map(\.snapshot), maxRows: options.maxStepTokens, prefillRows: targets.prefillRows))
        statistics.schedulingTime += Double(options.clock.nanoseconds - schedulingStart) / 1000
        let drafts = draft(planned, targets)
        let layoutStart = options.clock.nanoseconds
        let plan = planned.withRoom(forDrafts: drafts.values.reduce(0) { $0 + $1.rows })
        let drafted = options.clock.microseconds
        var work = layOut(plan, drafts)
        statistics.schedulingTime += Double(options.clock.nanoseconds - layoutStart) / 1000
        var events: [EngineEvent]
        do {
            try executor.forward(batch)
            statistics.targetPasses += 1
            events = try verifyAndCommit(&work)
            let time = options.clock.microseconds - drafted
            statistics.verifyTime += time
            let account = learn(work, drafts, targetTime: time)
            let reason: DraftLimit = targets.forbidsDrafts ? .target : .length
            enter(StepBooks(work: work, drafts: drafts, account: account, targetTime: time, unasked: reason), &events)
        } catch {
            events = failAll(error)
        }
        running.removeAll(where: \.isEnded)
        statistics.steps += 1
        statistics.stepTime += options.clock.microseconds - start
        closeRecord(start: start, controlTime: speculator.controlTime - control)
        updateGauges()
        return events
    }

    func updateGauges() {
        let blocks = pool.statistics
        statistics.runningRequests = running.count
        statistics.queuedRequests = waiting.count
        statistics.kvBlocksUsed = blocks.used
        statistics.kvBlocksCached = blocks.cached
        statistics.prefixQueriedTokens = blocks.queriedTokens
        statistics.prefixCachedTokens = blocks.savedTokens
        statistics.prefixEvictions = blocks.evictions
        statistics.draftPasses = speculator.passes
        statistics.draftTime = speculator.totalDraftTime
        statistics.controlTime = speculator.controlTime
        statistics.calibrationError = speculator.calibrationError
    }

    // MARK: Drafting

    func index(of id: UInt64) -> Int? { running.firstIndex { $0.id == id } }

    /// The drafts of the step, by request.
    private func draft(_ plan: StepPlan, _ targets: LatencyPlan) -> [UInt64: SpeculativeDraft] {
        let asks = plan.entries.filter { !$0.isPrefill }.compactMap { entry in
            index(of: entry.id).map { running[$0].ask(neededTokens: targets.neededTokens[entry.id] ?? 0) }
        }
        guard speculator.wants(asks), !targets.forbidsDrafts else { return [:] }
        let drafts = speculator.draft(asks, view(plan, targets)) { id, tokens in reserveDraft(id, tokens) }
        return Dictionary(zip(asks, drafts).map { ($0.request.id, $1) }) { first, _ in first }
    }

    /// What the step carries besides the requests that decode.
    private func view(_ plan: StepPlan, _ targets: LatencyPlan) -> StepView {
        var view = StepView()
        (view.rowBudget, view.catchUpRows) = (plan.draftRows, targets.catchUpRows)
        view.freeTokens = pool.available * pool.blockTokens
        for entry in plan.entries where entry.isPrefill {
            let computed = index(of: entry.id).map { running[$0].computed } ?? 0
            view.prefillRows += entry.rows
            view.prefillContext += computed + entry.rows
            view.prefillAttended += entry.rows * computed + entry.rows * (entry.rows + 1) / 2
        }
        return view
    }

    /// A step that only decodes, as a view; empty where prompts take part.
    private func view(_ work: [Work]) -> StepView {
        var view = StepView()
        guard speculator.learnsCosts || running.contains(where: \.hasLatencyTarget),
            !work.contains(where: \.entry.isPrefill)
        else { return view }
        view.requests = work.map {
            DecodingView(id: $0.entry.id, context: running[$0.index].computed, room: 0)
        }
        return view
    }

    /// Tells the speculator what came of the drafts; nil where it was not asked for any.
    private func learn(_ work: [Work], _ drafts: [UInt64: SpeculativeDraft], targetTime: Int64) -> StepAccount? {
        guard !drafts.isEmpty else {
            speculator.observePlain(view(work), time: targetTime)
            stretch.observePlain()
            return nil
        }
        let outcomes = work.filter { !$0.entry.isPrefill }.compactMap { item in
            drafts[item.entry.id].map { outcome(of: $0, item) }
        }
        let account = speculator.commit(outcomes, rows: batch.count, targetTime: targetTime)
        if account.speculated {
            stretch.observe(time: account.predictedTime, plain: account.plainTime)
        } else {
            stretch.observePlain()
        }
        return account
    }

    private func outcome(of draft: SpeculativeDraft, _ work: Work) -> DraftOutcome {
        let (verification, sequence) = (work.verification, running[work.index])
        var outcome = DraftOutcome(id: sequence.id)
        outcome.source = draft.features.isEmpty ? nil : draft.source
        outcome.features = draft.features
        (outcome.verified, outcome.branches) = (verification.draft.trunk, verification.branches)
        outcome.accepted = verification.accepted - verification.acceptedBranches
        outcome.tookBranch = verification.acceptedBranches > 0
        outcome.runnerUp = draft.runnerUp(judgedBy: verification.tokens)
        outcome.emitted = verification.tokens.count
        outcome.wasCut = sequence.isEnded
        outcome.isPeculiar = sequence.isPeculiar
        outcome.counterfactuals = draft.found.map { found in
            var trial = RetrievalTrial(found.draft)
            trial.take(verification.tokens)
            return DraftOutcome.Counterfactual(
                draft: DraftView(source: found.source, features: found.draft.views), judged: trial.outcomes.count,
                accepted: trial.agreed)
        }
        if !sequence.isPeculiar {
            speculator.observe(
                draft, target: verification.tokens[...], temperature: sequence.options.sampling.temperature)
        }
        return outcome
    }

    // MARK: Execution

    /// What one request does in the step.
    struct Work {
        let index: Int
        let entry: StepPlan.Entry
        /// The first row of the batch that is the request's.
        let firstRow: Int
        var verification: Verification
        /// For drafts under a ratio test.
        var ratio: RatioStep?

        /// Whether the logits of a row of its draft count: a ratio test looks at all of them.
        func wants(_ row: Int) -> Bool { ratio == nil ? verification.openRow == row : verification.isOpen }
    }

    /// A row whose logits are wanted.
    private struct Probe {
        let work: Int
        let row: Int
        /// The prompt position whose successors are reported, if any.
        let promptPosition: Int?
        /// The row of the verification that it is: 0 is the latest token's, others are drafts'; nil for those of a prompt.
        let draftRow: Int?
    }

    private func layOut(_ plan: StepPlan, _ drafts: [UInt64: SpeculativeDraft]) -> [Work] {
        batch.removeAll()
        return plan.entries.compactMap { entry in
            guard let index = index(of: entry.id) else { return nil }
            let sequence = running[index]
            let draft = drafts[entry.id]?.tree ?? DraftTree()
            let chunk = sequence.tokens[sequence.computed..<sequence.computed + entry.rows] + draft.tokens
            let first = batch.append(
                tokens: chunk, position: sequence.computed, blocks: sequence.table.blocks, parents: draft.parents)
            return Work(
                index: index, entry: entry, firstRow: first, verification: Verification(draft: draft),
                ratio: RatioStep(drafts[entry.id], sequence))
        }
    }

    private func probes(_ work: [Work]) -> [Probe] {
        var probes: [Probe] = []
        for (at, item) in work.enumerated() {
            let sequence = running[item.index]
            for offset in 0..<item.entry.rows + item.verification.draft.count {
                let position = sequence.computed + offset
                let prompt = sequence.promptLogprobs != nil && position < sequence.promptCount ? position : nil
                let draftRow = offset - (item.entry.rows - 1)
                let samples = item.entry.samples && draftRow >= 0
                guard prompt != nil || samples else { continue }
                probes.append(
                    Probe(
                        work: at, row: item.firstRow + offset, promptPosition: prompt,
                        draftRow: samples ? draftRow : nil))
            }
        }
        return probes
    }

    private func verifyAndCommit(_ work: inout [Work]) throws -> [EngineEvent] {
        var output = work.map { StepOutput(sequence: running[$0.index]) }
        let probes = probes(work)
        try executor.withLogits(rows: probes.map(\.row)) { at, logits in
            let probe = probes[at]
            let index = work[probe.work].index
            guard output[probe.work].ending == nil else { return }
            do {
                if let position = probe.promptPosition {
                    try running[index].reportPrompt(position, logits)
                }
                // What hangs on a token that the target did not choose says nothing.
                guard let row = probe.draftRow, work[probe.work].wants(row) else { return }
                try verify(&work[probe.work], &output[probe.work], logits)
            } catch let failure as Failure {
                output[probe.work].ending = (.error, failure)
            }
        }
        return zip(work, output).flatMap { commit($0, $1) }
    }

    // MARK: Commit

    private func commit(_ work: Work, _ output: StepOutput) -> [EngineEvent] {
        let accepted = work.verification.accepted
        account(work, output)
        let before = running[work.index]
        executor.gather(
            work.verification.path, from: before.computed + work.entry.rows, blocks: before.table.blocks)
        running[work.index].commit(work.entry, draft: work.verification.draft.count, accepted: accepted)
        keep(work.index)
        var events: [EngineEvent] = []
        let sequence = running[work.index]
        if work.entry.samples, let logprobs = sequence.promptLogprobs, output.ending?.1 == nil {
            events.append(sequence.promptEvent(logprobs))
            running[work.index].promptLogprobs = nil
        }
        guard let (reason, failure) = output.ending else {
            return output.isEmpty ? events : events + [output.event(sequence)]
        }
        var last = output
        if reason != .error { last.text += running[work.index].text.finish() }
        if !last.isEmpty { events.append(last.event(sequence)) }
        return events + end(&running[work.index], reason, failure, options.clock.microseconds)
    }

    private func account(_ work: Work, _ output: StepOutput) {
        statistics.emittedTokens += output.tokens.count
        let sequence = running[work.index]
        statistics.prefillTokens += min(work.entry.rows, max(0, sequence.promptCount - sequence.computed))
        let drafted = work.verification.draft.count
        guard drafted > 0 else { return }
        statistics.drafts += 1
        statistics.draftTokens += drafted
        statistics.acceptedTokens += work.verification.accepted
        statistics.branchTokens += work.verification.branches
        statistics.acceptedBranches += work.verification.acceptedBranches
        for position in 0..<work.verification.accepted { statistics.acceptedPerPosition[position] += 1 }
    }

    private func finishEvent(
        _ sequence: ActiveSequence, _ reason: FinishReason, _ failure: Failure?, _ now: Int64
    ) -> EngineEvent {
        var event = sequence.event(.finish)
        let figures = sequence.finalStatistics(at: now)
        event.finish = Finish(reason: reason, failure: failure, statistics: figures)
        statistics.finish(reason, figures)
        return event
    }

    /// Marks a sequence as ended and gives its blocks back; the caller removes it.
    private func end(
        _ sequence: inout ActiveSequence, _ reason: FinishReason, _ failure: Failure?, _ now: Int64
    ) -> [EngineEvent] {
        sequence.table.release(in: &pool)
        sequence.isEnded = true
        if reason == .stop || reason == .length, sequence.options.draftTokens != 0 {
            speculator.remember(
                FinishedText(id: sequence.id, tokens: sequence.tokens, isolation: sequence.options.cacheSalt))
        }
        if sequence.hasRun { speculator.forget(sequence.id) }
        var events: [EngineEvent] = []
        if reason == .cancelled || reason == .deadline {
            var tail = StepOutput(sequence: sequence)
            tail.text = sequence.text.finish()
            if !tail.isEmpty { events.append(tail.event(sequence)) }
        }
        return events + [finishEvent(sequence, reason, failure, now)]
    }

    private func failAll(_ error: any Error) -> [EngineEvent] {
        let failure = error as? Failure ?? Failure(.internalError, "the executor failed: \(error)")
        options.log.write(.error, "a step failed: \(failure.message)")
        let now = options.clock.microseconds
        return running.indices.flatMap { end(&running[$0], .error, failure, now) }
    }
}
