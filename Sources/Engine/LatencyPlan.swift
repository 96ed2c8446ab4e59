import Scheduling

extension StepRunner {
    /// What the targets of the requests that run ask of the next step.
    func latencyPlan(now: Int64) -> LatencyPlan {
        guard running.contains(where: \.hasLatencyTarget) else { return LatencyPlan() }
        let requests = running.map { sequence in
            var request = LatencyPlan.Request(sequence.snapshot)
            request.demand = sequence.hasLatencyTarget ? sequence.demand(meanLength: meanOutput) : nil
            request.mostTokens = Double(min(options.longestDraft, sequence.draftRoom) + 1)
            request.firstTokenDue = sequence.firstTokenDue.map(Double.init)
            return request
        }
        return LatencyPlan(
            requests, costs: speculator.costs, stretch: stretch.value, now: Double(now), maxRows: options.maxStepTokens)
    }

    /// Tokens of a finished output, on average; long while nothing is known.
    private var meanOutput: Double {
        statistics.finishedRequests > 0
            ? Double(statistics.emittedTokens) / Double(statistics.finishedRequests) : .infinity
    }
}
