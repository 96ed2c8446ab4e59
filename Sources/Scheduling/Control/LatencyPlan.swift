/// What the latency targets of the requests that run ask of a step. Times in microseconds on one clock.
package struct LatencyPlan: Sendable {
    /// Tokens that the step has to give, by request; absent where there is no target.
    package private(set) var neededTokens: [UInt64: Double] = [:]
    /// The most rows that prompts may take, for the sake of those that decode.
    package private(set) var prefillRows = Int.max
    /// The most rows that the draft model may take to read what it missed, likewise.
    package private(set) var catchUpRows = Int.max
    /// A prompt needs all rows to have its first token in time.
    package private(set) var forbidsDrafts = false

    /// Even where a step cannot be in time prompts move, and the draft model reads what it missed: without drafts a request
    /// may not catch up with its target. Rows that each gets in any case, and shares: of the time of a step with drafts, and
    /// of one without.
    private static let leastRows = 16
    private static let (prefillShare, catchUpShare) = (0.1, 0.35)

    /// A request that runs.
    package struct Request: Sendable {
        package let snapshot: RequestSnapshot
        /// nil without a target.
        package var demand: LatencyDemand?
        /// The most tokens that a step can give it.
        package var mostTokens = 1.0
        /// nil once there is a first token, or without such a target.
        package var firstTokenDue: Double?

        package init(_ snapshot: RequestSnapshot) { self.snapshot = snapshot }
    }

    /// Asks nothing.
    package init() {}

    /// `stretch`: how many times as long steps with drafts take.
    package init(_ requests: [Request], costs: StepCosts, stretch: Double = 1, now: Double, maxRows: Int) {
        let decoding = requests.filter(\.snapshot.decodes)
        let context = decoding.reduce(0) { $0 + $1.snapshot.committed }
        let stepTime = costs.target.time(rows: decoding.count, context: context, attended: context) + costs.overhead
        var end = Double.infinity
        for request in decoding {
            guard let demand = request.demand else { continue }
            let needed = demand.neededTokens(
                now: now, stepTime: stepTime, stretch: stretch, most: request.mostTokens)
            neededTokens[request.snapshot.id] = needed
            if needed > 0, let due = demand.due { end = min(end, due) }
        }
        forbidsDrafts = requests.contains { Self.isLate($0, now: now, costs) }
        if end < .infinity, !forbidsDrafts {
            let slack = end - now - stepTime * stretch
            prefillRows = costs.prefillRows(
                decoding: decoding.count, context: context,
                time: stepTime + max(slack, Self.prefillShare * stepTime * stretch), floor: Self.leastRows,
                most: maxRows)
            let prompts = min(prefillRows, max(0, maxRows - decoding.count), Self.missingRows(requests))
            let withPrompts =
                costs.target.time(
                    rows: decoding.count + prompts, context: context, attended: context) + costs.overhead
            limitCatchUp(
                costs, decoding: decoding.count, context: context,
                time: max(slack - (withPrompts - stepTime), Self.catchUpShare * stepTime), maxRows: maxRows)
        }
    }

    private static func missingRows(_ requests: [Request]) -> Int {
        requests.reduce(0) { $0 + ($1.snapshot.decodes ? 0 : $1.snapshot.committed - $1.snapshot.computed) }
    }

    /// At least two rows for each request: it misses a token more after every step that it waits, so that with fewer they
    /// might never be through.
    private mutating func limitCatchUp(_ costs: StepCosts, decoding: Int, context: Int, time: Double, maxRows: Int) {
        guard let draft = costs.draft else { return }
        catchUpRows = draft.rows(
            besides: 0, context: context, time: time, floor: max(Self.leastRows, 2 * decoding), most: maxRows)
    }

    /// Whether a prompt has to hurry for its first token.
    private static func isLate(_ request: Request, now: Double, _ costs: StepCosts) -> Bool {
        guard let due = request.firstTokenDue, !request.snapshot.decodes else { return false }
        let (tokens, missing) = (
            request.snapshot.committed, request.snapshot.committed - request.snapshot.computed
        )
        let time = costs.target.time(rows: missing, context: tokens, attended: missing * tokens / 2)
        // A target that is lost already is no reason to slow others.
        return now < due && due - now < 1.5 * time
    }
}
