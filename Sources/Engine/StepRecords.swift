import Scheduling
import Speculation

// The books of a step: what speculation was expected to bring, what it brought, and why.

/// A step that is done.
struct StepBooks {
    let work: [StepRunner.Work]
    let drafts: [UInt64: SpeculativeDraft]
    /// nil: nothing was to be decided.
    let account: StepAccount?
    /// Microseconds of the target with sampling and commit.
    let targetTime: Int64
    /// Why requests that could draft were not asked to.
    let unasked: DraftLimit
}

extension StepRunner {
    /// Enters a step that is done. `events` are its own: requests that ended in it get their last figures.
    func enter(_ step: StepBooks, _ events: inout [EngineEvent]) {
        if let account = step.account { enter(step, account, &events) }
        if options.traces { records.append(record(step)) }
    }

    private func enter(_ step: StepBooks, _ account: StepAccount, _ events: inout [EngineEvent]) {
        let decoding = step.work.filter { !$0.entry.isPrefill }
        for (place, item) in decoding.enumerated() {
            let (emitted, verified) = (item.verification.tokens.count, item.verification.draft.trunk)
            let saved = account.savedTime(emitted: emitted)
            running[item.index].statistics.savedTime += saved
            statistics.savedTime += saved / Double(decoding.count)
            if running[item.index].isEnded { correct(&events, running[item.index]) }
            if let draft = step.drafts[item.entry.id] { statistics.histograms.add(length: verified, draft.limit) }
            // An end cuts a draft short, whatever was expected of it.
            if verified > 0, !running[item.index].isEnded, let expected = account.expectedTokens[place] {
                statistics.histograms.tokenSurplus.add(Double(emitted) - expected)
            }
        }
        if account.predictedTime > 0 { statistics.histograms.timeRatio.add(account.time / account.predictedTime) }
    }

    /// The whole step is over.
    func closeRecord(start: Int64, controlTime: Double) {
        guard options.traces, !records.isEmpty, records[records.count - 1].step == statistics.steps else { return }
        records[records.count - 1].start = start
        records[records.count - 1].stepTime = Double(options.clock.microseconds - start)
        records[records.count - 1].controlTime = controlTime
    }

    private func correct(_ events: inout [EngineEvent], _ sequence: ActiveSequence) {
        for index in events.indices
        where events[index].requestID == sequence.requestID && events[index].sampleIndex == sequence.sample {
            events[index].finish?.statistics.savedTime = sequence.statistics.savedTime
        }
    }

    private func record(_ step: StepBooks) -> DecisionRecord {
        let account = step.account
        let drafted = step.work.reduce(0) { $0 + $1.verification.draft.count }
        var record = DecisionRecord(
            step: statistics.steps + 1, rows: step.work.reduce(drafted) { $0 + $1.entry.rows },
            prefillRows: step.work.reduce(0) { $0 + ($1.entry.isPrefill ? $1.entry.rows : 0) },
            predictedTime: account?.predictedTime, plainTime: account?.plainTime,
            draftTime: account?.draftTime ?? 0, time: account?.time ?? Double(step.targetTime), requests: [])
        record.waiting = waiting.count
        record.draftPasses = account?.outcome.draftPasses ?? []
        var expected = account?.expectedTokens[...]
        var outcomes = options.tracesDrafts ? account?.outcome.requests[...] : nil
        for item in step.work {
            let own = item.entry.isPrefill ? nil : expected?.popFirst() ?? nil
            record.requests.append(request(item, step, expected: own))
            if !item.entry.isPrefill { record.requests[record.requests.count - 1].outcome = outcomes?.popFirst() }
        }
        return record
    }

    private func request(_ item: Work, _ step: StepBooks, expected: Double?) -> DecisionRecord.Request {
        let (sequence, verification, draft) = (running[item.index], item.verification, step.drafts[item.entry.id])
        let (isPrefill, emitted) = (item.entry.isPrefill, verification.tokens.count)
        let drafted = (draft?.features.count ?? 0) + verification.branches
        let hadRoom = sequence.limit - (sequence.tokens.count - emitted) > 1
        return DecisionRecord.Request(
            id: sequence.requestID, sample: sequence.sample, isPrefill: isPrefill,
            context: isPrefill ? max(0, sequence.computed - item.entry.rows) : sequence.tokens.count - emitted,
            rows: item.entry.rows, source: drafted > 0 ? draft?.source : nil, drafted: drafted,
            verified: verification.draft.count, accepted: verification.accepted, branches: verification.branches,
            acceptedBranches: verification.acceptedBranches, emitted: emitted,
            limit: isPrefill ? nil : draft?.limit ?? (hadRoom ? step.unasked : .end), expectedTokens: expected,
            savedTime: isPrefill ? 0 : step.account?.savedTime(emitted: emitted) ?? 0)
    }
}
