package import Formats
package import Scheduling

/// What was decided in one step, on what grounds, and what came of it. Times in microseconds.
package struct DecisionRecord: Sendable {
    /// Steps count from 1.
    package let step: Int
    /// Of the target's pass, and of them those of prompts.
    package let rows: Int
    package let prefillRows: Int
    /// By the cost table for what was done; nil where nothing was to be decided.
    package let predictedTime: Double?
    /// By the cost table for the same step without drafts.
    package let plainTime: Double?
    package let draftTime: Double
    /// Drafts, target, sampling and commit.
    package let time: Double
    /// When it began, on the monotonic clock, and everything that it took.
    package var start: Int64 = 0
    package var stepTime = 0.0
    /// Of it, what policies took.
    package var controlTime = 0.0
    /// Requests that waited.
    package var waiting = 0
    package var draftPasses: [StepOutcome.DraftPass] = []
    package var requests: [Request]

    /// One sample's part in the step.
    package struct Request: Sendable {
        package let id: UInt64
        package let sample: Int
        package let isPrefill: Bool
        /// Its tokens before the step; of a prompt those in the cache.
        package let context: Int
        /// Without drafts.
        package let rows: Int
        /// nil: nothing was drafted.
        package let source: DraftSource?
        package let drafted: Int
        package let verified: Int
        package let accepted: Int
        /// Of the verified tokens those beside the drafted chain, and of the accepted ones.
        package let branches: Int
        package let acceptedBranches: Int
        package let emitted: Int
        /// Why no more was verified; nil for rows of a prompt.
        package let limit: DraftLimit?
        /// What was expected of the rows that were verified; nil where the policy does not say.
        package let expectedTokens: Double?
        /// By speculation, against steps without; negative: lost.
        package let savedTime: Double
        /// With what was drafted and what retrieval found; nil where nobody was asked for drafts, or keeps them.
        package var outcome: DraftOutcome?
    }
}

extension DecisionRecord {
    /// An object with the fields of `ftk_engine_trace`.
    package var json: JSONText {
        .object([
            ("step", .int(step)), ("rows", .int(rows)), ("prefill_rows", .int(prefillRows)),
            ("predicted_us", time(predictedTime)), ("plain_us", time(plainTime)), ("draft_us", time(draftTime)),
            ("time_us", time(time)), ("requests", .array(requests.map(\.json))),
        ])
    }

    private func time(_ value: Double?) -> JSONText { .rounded(value, 10) }
}

extension DecisionRecord.Request {
    fileprivate var json: JSONText {
        .object([
            ("id", .unsigned(id)), ("sample", .int(sample)), ("phase", .string(isPrefill ? "prefill" : "decode")),
            ("drafter", source.map { .string($0.name) } ?? .null), ("drafted", .int(drafted)),
            ("verified", .int(verified)), ("accepted", .int(accepted)), ("branches", .int(branches)),
            ("accepted_branches", .int(acceptedBranches)), ("emitted", .int(emitted)),
            ("limit", limit.map { .string($0.name) } ?? .null), ("expected_tokens", .rounded(expectedTokens, 1000)),
            ("saved_us", .rounded(savedTime, 10)),
        ])
    }
}

extension JSONText {
    /// A number to one part in `scale`, which is as much as anyone reads.
    fileprivate static func rounded(_ value: Double?, _ scale: Double) -> JSONText {
        value.map { .number(($0 * scale).rounded() / scale) } ?? .null
    }
}

/// The latest records, as far back as a host may fall behind.
struct DecisionLog {
    static let mostSteps = 4096
    /// In all steps together, so that large batches do not take more memory than that.
    static let mostRequests = 1 << 16

    private var records: [DecisionRecord] = []
    /// Those before it are given up.
    private var first = 0
    private var requests = 0

    /// Oldest first.
    var latest: ArraySlice<DecisionRecord> { records[first...] }

    mutating func append(_ fresh: [DecisionRecord]) {
        for record in fresh {
            records.append(record)
            requests += record.requests.count
            while records.count - first > Self.mostSteps || requests > Self.mostRequests { dropFirst() }
        }
        if first > Self.mostSteps { removeDropped() }
    }

    /// Removes what a reader has, and leaves what came since.
    mutating func remove(through step: Int) {
        while first < records.count, records[first].step <= step { dropFirst() }
        removeDropped()
    }

    private mutating func dropFirst() {
        requests -= records[first].requests.count
        records[first].requests = []
        first += 1
    }

    private mutating func removeDropped() {
        records.removeFirst(first)
        first = 0
    }
}
