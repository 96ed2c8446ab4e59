import Scheduling

/// What the latency targets of the requests that run ask of a step.
struct LatencyPlan {
    /// Tokens that the step has to give, by request; absent where there is no target.
    var neededTokens: [UInt64: Double] = [:]
    /// The most rows that prompts may take, for the sake of those that decode.
    var prefillRows = Int.max
    /// A prompt needs all rows to have its first token in time.
    var forbidsDrafts = false
}

extension StepRunner {
    /// Rows that prompts get in any case.
    private static let leastPrefillRows = 16

    func latencyPlan(now: Int64) -> LatencyPlan {
        var plan = LatencyPlan()
        guard running.contains(where: \.hasLatencyTarget) else { return plan }
        let decoding = running.filter(\.snapshot.decodes)
        let context = decoding.reduce(0) { $0 + $1.tokens.count }
        let costs = speculator.costs
        let stepTime = costs.target.time(rows: decoding.count, context: context, attended: context) + costs.overhead
        var end = Double.infinity
        for sequence in decoding where sequence.hasLatencyTarget {
            let demand = sequence.demand(meanLength: meanOutput)
            let most = Double(min(options.longestDraft, sequence.draftRoom) + 1)
            let needed = demand.neededTokens(now: Double(now), stepTime: stepTime, most: most)
            plan.neededTokens[sequence.id] = needed
            if needed > 0, let due = demand.due { end = min(end, due) }
        }
        let hurries = running.contains { isLate($0, now: now, costs) }
        plan.forbidsDrafts = hurries
        if end < .infinity, !hurries {
            // Even where a step cannot be in time prompts move, at the price of a quarter of its time.
            plan.prefillRows = costs.prefillRows(
                decoding: decoding.count, context: context, time: max(end - Double(now), stepTime * 1.25),
                floor: Self.leastPrefillRows, most: options.maxStepTokens)
        }
        return plan
    }

    /// Whether a prompt has to hurry for its first token.
    private func isLate(_ sequence: ActiveSequence, now: Int64, _ costs: StepCosts) -> Bool {
        guard let due = sequence.firstTokenDue, !sequence.snapshot.decodes else { return false }
        let missing = sequence.tokens.count - sequence.computed
        let time = costs.target.time(
            rows: missing, context: sequence.tokens.count, attended: missing * sequence.tokens.count / 2)
        // A target that is lost already is no reason to slow others.
        return now < due && Double(due - now) < 1.5 * time
    }

    /// Tokens of a finished output, on average; long while nothing is known.
    private var meanOutput: Double {
        statistics.finishedRequests > 0
            ? Double(statistics.emittedTokens) / Double(statistics.finishedRequests) : .infinity
    }
}
