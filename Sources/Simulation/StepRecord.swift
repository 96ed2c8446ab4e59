package import Scheduling

/// What one step did. Arrays have one element for each request that decoded. Times in microseconds.
package struct StepRecord: Sendable, Equatable {
    package let start: Double
    package let sources: [DraftSource?]
    package let limits: [DraftLimit]
    package let drafted: [Int]
    package let verified: [Int]
    package let accepted: [Int]
    package let emitted: Int
    package let prefillRows: Int
    package let draftPasses: Int
    package let draftRows: Int
    package let draftTime: Double
    package let targetTime: Double
    package let stepTime: Double

    init(at moment: Moment, _ view: StepView, _ wishes: [DraftWish], _ outcome: StepOutcome) {
        start = moment.time
        sources = outcome.requests.map(\.source)
        limits = wishes.map(\.limit)
        drafted = outcome.requests.map(\.features.count)
        verified = outcome.requests.map(\.verified)
        accepted = outcome.requests.map(\.accepted)
        emitted = outcome.emitted
        prefillRows = view.prefillRows
        draftPasses = outcome.draftPasses.count
        draftRows = outcome.draftPasses.reduce(0) { $0 + $1.rows }
        draftTime = outcome.draftTime
        targetTime = outcome.targetTime
        stepTime = outcome.stepTime
    }

    /// Requests that decoded.
    package var requests: Int { verified.count }

    /// Nothing was drafted for anyone.
    package var isOff: Bool { draftPasses == 0 && drafted.allSatisfy { $0 == 0 } }
}

/// What came of a run under a closed loop.
package struct ClosedLoopResult: Sendable, Equatable {
    package private(set) var records: [StepRecord] = []
    package private(set) var tokens = 0
    /// Microseconds of all steps.
    package private(set) var time = 0.0
    package private(set) var draftTime = 0.0
    private var timeOff = 0.0
    private var drafts = 0
    private var accepted = 0
    private var rows = 0

    package init() {}

    mutating func add(_ record: StepRecord) {
        records.append(record)
        tokens += record.emitted
        time += record.stepTime
        draftTime += record.draftTime
        if record.isOff { timeOff += record.stepTime }
        rows += record.requests
        for (verified, right) in zip(record.verified, record.accepted) {
            rows += verified
            accepted += right
            if verified > 0 { drafts += 1 }
        }
    }

    package var tokensPerSecond: Double { time > 0 ? Double(tokens) / time * 1e6 : 0 }
    /// Accepted tokens of a draft that was verified.
    package var meanAccepted: Double { drafts > 0 ? Double(accepted) / Double(drafts) : 0 }
    /// Rows through the target for each token that came of them.
    package var rowsPerToken: Double { tokens > 0 ? Double(rows) / Double(tokens) : 0 }
    /// Share of the time in steps that drafted nothing.
    package var offShare: Double { time > 0 ? timeOff / time : 0 }

    /// The same figures of the steps `range` alone.
    package func part(_ range: Range<Int>) -> ClosedLoopResult {
        var part = ClosedLoopResult()
        for record in records[range.clamped(to: records.indices)] { part.add(record) }
        return part
    }
}
