/// What a token of a request counts for, against one of a request of mean context. Where steps are full of prompts, a
/// draft that is right spares no step, only a row in a later one, and the time of that row is what it attends to,
/// besides what is the same for all. Counted alike, a token behind a short prompt seems worth the time of one behind a
/// long prompt, and drafts for it take more than they spare. Where a target asks for tokens, time is not the question.
package struct TokenWorth: Sendable {
    /// What each token of context beyond the mean adds.
    private let perContext: Double
    private let meanContext: Double

    /// All count alike.
    package init() { (perContext, meanContext) = (0, 0) }

    /// For requests that decode beside prompts; `pace`: tokens of decoding in a microsecond.
    package init(besidePrompts view: StepView, _ costs: StepCosts, pace: Double) {
        perContext = pace * (costs.target.perContext + costs.target.perAttended)
        meanContext = Double(view.decodingContext) / Double(max(1, view.requests.count))
    }

    /// From 0 on.
    package func of(_ request: DecodingView) -> Double {
        guard perContext > 0, request.targetTPOT == nil, request.neededTokens == 0 else { return 1 }
        return max(0, 1 + perContext * (Double(request.context) - meanContext))
    }
}
