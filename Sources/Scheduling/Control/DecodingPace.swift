/// Tokens per microsecond of recent decoding: what time is worth where a step's own ratio means nothing.
package struct DecodingPace: Sendable {
    private var tokens = 0.0
    private var time = 0.0

    /// The share of recent steps that carried prompts.
    package private(set) var promptShare = 0.0

    package init() {}

    /// nil until some decoding took time.
    package var rate: Double? { time > 0 ? tokens / time : nil }

    package mutating func add(tokens newTokens: Int, time newTime: Double, withPrompts: Bool = false) {
        let keep = 1 - 1.0 / 16
        promptShare = promptShare * keep + (withPrompts ? 1 - keep : 0)
        guard newTime >= 0 else { return }
        tokens = tokens * keep + Double(newTokens)
        time = time * keep + newTime
    }
}

extension StepCosts {
    /// What requests that decode add to a step: where prompts take part, the rest of it is theirs.
    package func decodingTime(_ view: StepView, _ outcome: StepOutcome) -> Double {
        guard view.prefillRows > 0 else { return outcome.stepTime }
        let drafted = outcome.requests.reduce(0) { $0 + $1.rows }
        let attended = zip(view.requests, outcome.requests).reduce(0) { $0 + $1.0.context * $1.1.rows }
        return outcome.draftTime + addedTime(view, drafted: drafted, attended: attended)
    }

    /// The tokens per microsecond of requests that decode beside prompts, without drafts; nil where they cost nothing.
    package func plainPace(_ view: StepView) -> Double? {
        let time = addedTime(view, drafted: 0, attended: 0)
        return time > 0 ? Double(view.requests.count) / time : nil
    }

    /// What decoding adds to the prompts' own pass, by the table: prompts make room for drafts, so a step that is full takes
    /// no longer with them, and yet they have their price.
    private func addedTime(_ view: StepView, drafted: Int, attended: Int) -> Double {
        let prompts = target.time(
            rows: view.prefillRows, context: view.prefillContext, attended: view.prefillAttended)
        return targetTime(view, drafted: drafted, attended: attended) - prompts - overhead
    }
}
