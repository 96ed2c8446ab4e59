import Scheduling
import Speculation

// The books of a step: what speculation was expected to bring, what it brought, and why.

extension StepRunner {
    /// Enters a step that is done. `events` are its own: requests that ended in it get their last figures.
    func enter(
        _ work: [Work], _ drafts: [UInt64: SpeculativeDraft], _ account: StepAccount?, time: StepTime,
        _ events: inout [EngineEvent]
    ) {
        statistics.draftTime += time.draft
        statistics.verifyTime += time.target
        if let account { enter(work, drafts, account, &events) }
        if options.traces { records.append(record(work, drafts, account, time)) }
    }

    private func enter(
        _ work: [Work], _ drafts: [UInt64: SpeculativeDraft], _ account: StepAccount, _ events: inout [EngineEvent]
    ) {
        let decoding = work.filter { !$0.entry.isPrefill }
        for (place, item) in decoding.enumerated() {
            let saved = Int64(account.savedTime(emitted: item.verification.tokens.count))
            running[item.index].statistics.savedTime += saved
            if running[item.index].isEnded { correct(&events, running[item.index]) }
            statistics.savedTime += Double(saved) / Double(decoding.count)
            guard let draft = drafts[item.entry.id] else { continue }
            let verified = item.verification.draft.count
            statistics.histograms.add(length: verified, draft.limit)
            // An end cuts a draft short, whatever was expected of it.
            if let expected = account.expectedTokens, verified > 0, !running[item.index].isEnded {
                statistics.histograms.tokenSurplus.add(Double(item.verification.tokens.count) - expected[place])
            }
        }
        if account.predictedTime > 0 { statistics.histograms.timeRatio.add(account.time / account.predictedTime) }
    }

    private func correct(_ events: inout [EngineEvent], _ sequence: ActiveSequence) {
        for index in events.indices
        where events[index].requestID == sequence.requestID && events[index].sampleIndex == sequence.sample {
            events[index].finish?.statistics.savedTime = sequence.statistics.savedTime
        }
    }

    private func record(
        _ work: [Work], _ drafts: [UInt64: SpeculativeDraft], _ account: StepAccount?, _ time: StepTime
    ) -> DecisionRecord {
        let drafted = work.reduce(0) { $0 + $1.verification.draft.count }
        var record = DecisionRecord(
            step: statistics.steps + 1, rows: work.reduce(drafted) { $0 + $1.entry.rows },
            prefillRows: work.reduce(0) { $0 + ($1.entry.isPrefill ? $1.entry.rows : 0) },
            predictedTime: account?.predictedTime, plainTime: account?.plainTime,
            draftTime: account?.draftTime ?? Double(time.draft),
            time: account?.time ?? Double(time.draft + time.target), requests: [])
        var expected = account?.expectedTokens?[...]
        for item in work {
            let own = item.entry.isPrefill ? nil : expected?.popFirst()
            record.requests.append(request(item, drafts[item.entry.id], account, expected: own))
        }
        return record
    }

    private func request(
        _ item: Work, _ draft: SpeculativeDraft?, _ account: StepAccount?, expected: Double?
    ) -> DecisionRecord.Request {
        let (sequence, verification) = (running[item.index], item.verification)
        let drafted = draft?.features.count ?? 0
        // Where nobody was asked there was no room, or no speculation is wanted.
        let room = sequence.limit - (sequence.tokens.count - verification.tokens.count) - 1
        return DecisionRecord.Request(
            id: sequence.requestID, sample: sequence.sample, isPrefill: item.entry.isPrefill,
            source: drafted > 0 ? draft?.source : nil, drafted: drafted, verified: verification.draft.count,
            accepted: verification.accepted, emitted: verification.tokens.count,
            limit: item.entry.isPrefill ? nil : draft?.limit ?? (room > 0 ? .length : .end), expectedTokens: expected,
            savedTime: item.entry.isPrefill ? 0 : account?.savedTime(emitted: verification.tokens.count) ?? 0)
    }
}

/// The two parts of a step, in microseconds.
struct StepTime {
    let draft: Int64
    let target: Int64
}
