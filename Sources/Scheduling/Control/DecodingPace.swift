/// How fast requests decode of late, whether prompts share their steps or not.
struct DecodingPace: Sendable {
    private var tokens = 0.0
    private var time = 0.0
    private var tokensAlone = 0.0

    /// Tokens per microsecond of the time that decoding adds to the prompts' share of steps.
    var rate: Double? { time > 0 ? tokens / time : nil }
    /// The share of tokens that came of steps without prompts.
    var shareAlone: Double { tokens > 0 ? tokensAlone / tokens : 1 }

    mutating func add(_ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome) {
        let isAlone = view.prefillRows == 0
        let taken = isAlone ? outcome.stepTime : outcome.draftTime + Self.addedTime(view, costs, outcome)
        guard outcome.emitted > 0, taken > 0 else { return }
        let keep = 1 - 1.0 / 16
        tokens = tokens * keep + Double(outcome.emitted)
        time = time * keep + taken
        tokensAlone = tokensAlone * keep + (isAlone ? Double(outcome.emitted) : 0)
    }

    /// What the rows of requests that decode add to a pass. Taken from the table: as the difference of two long times a
    /// measured one would be mostly noise.
    private static func addedTime(_ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome) -> Double {
        let drafted = outcome.requests.reduce(0) { $0 + $1.verified }
        let attended = zip(view.requests, outcome.requests).reduce(0) { $0 + $1.0.context * $1.1.verified }
        return costs.targetTime(view, drafted: drafted, attended: attended) - costs.prefillTime(view)
    }
}

extension StepCosts {
    /// What a step would take with its prompts alone.
    func prefillTime(_ view: StepView) -> Double {
        guard view.prefillRows > 0 else { return 0 }
        return target.time(rows: view.prefillRows, context: view.prefillContext, attended: view.prefillAttended)
            + overhead
    }

    /// What a request's tokens are each cheaper, in microseconds, if all of the batch draft with the model as far as pays;
    /// below 0: dearer. `survivals` are the request's.
    func gainPerToken(_ view: StepView, survivals: [Double]) -> Double {
        guard let draft else { return 0 }
        let count = view.requests.count
        let plain = target.base(rows: count)
        var best = -Double.infinity
        var tokens = 1.0
        for (index, survival) in survivals.enumerated() {
            tokens += survival
            let length = index + 1
            let step = target.base(rows: count * (1 + length)) + Double(length) * draft.base(rows: count)
            best = max(best, plain - step / tokens)
        }
        return best / Double(max(1, count))
    }
}
