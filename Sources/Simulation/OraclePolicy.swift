package import Scheduling

/// A policy that is told what nobody can know.
protocol Clairvoyant: SpeculationPolicy {
    /// Before `begin`: for each request, how many tokens of a draft of the model would be accepted.
    mutating func foresee(_ right: [Int])
}

/// What a step can give at most: drafts of the model are exactly as long as they will be accepted and as they are worth
/// their time, or none. Each step is decided by itself, but for the tokens that the draft model missed, which the rest of a
/// request has to pay. Not attainable; other arms are measured against it.
package struct OraclePolicy: Clairvoyant {
    private var right: [Int] = []
    /// The mean of what would be accepted, over all steps and requests.
    private var mean = (sum: 0.0, count: 0.0)
    private var pace = DecodingPace()
    private var solver: RowSolver
    private var lengths: [Int] = []

    package init(costs: StepCosts) { solver = RowSolver(costs: costs) }

    mutating func foresee(_ right: [Int]) {
        self.right = right
        mean.sum += Double(right.reduce(0, +))
        mean.count += Double(right.count)
    }

    package mutating func begin(_ view: StepView, _ costs: StepCosts) -> [DraftWish] {
        solver.pose(view, costs, lanes: view.requests.map { RowSolver.Lane(context: $0.context) })
        let plain = solver.plain
        let known = view.prefillRows > 0 ? pace.rate ?? costs.plainPace(view) : pace.rate
        let lambda = known ?? plain.rate
        let lanes = view.requests.indices.map { lane(view, costs, $0, lambda) }
        solver.pose(view, costs, lanes: lanes)
        let best = view.prefillRows > 0 ? solver.best(lambda: lambda) : solver.bestRate()
        lengths = best.lengths
        return zip(view.requests, best.lengths).map { request, length in
            length > 0
                ? DraftWish(source: .model, length: length, limit: .gain)
                : DraftWish.none(request.draftBacklog > 0 ? .gain : .drafter)
        }
    }

    package mutating func select(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?]) -> [Int] { lengths }

    package mutating func commit(_ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome) {
        pace.add(tokens: outcome.emitted, time: costs.decodingTime(view, outcome))
    }

    private func lane(_ view: StepView, _ costs: StepCosts, _ index: Int, _ lambda: Double) -> RowSolver.Lane {
        let request = view.requests[index]
        var lane = RowSolver.Lane(context: request.context)
        guard request.draftBacklog > 0, paysForCatchingUp(request, view, costs, lambda) else { return lane }
        lane.survivals = [Double](repeating: 1, count: min(right[index], request.room))
        lane.usesModel = true
        return lane
    }

    /// What the draft model missed goes through it first. Tokens that the rest of the request gains, less the time that its
    /// drafts take at what time is worth, against that of the missed ones.
    private func paysForCatchingUp(
        _ request: DecodingView, _ view: StepView, _ costs: StepCosts, _ lambda: Double
    ) -> Bool {
        guard let draft = costs.draft, mean.count > 0 else { return false }
        let missed = request.draftBacklog
        guard missed > 8 else { return true }
        let length = mean.sum / mean.count
        let rows = view.requests.count + view.prefillRows
        let pass = draft.base(rows: view.requests.count) / Double(view.requests.count)
        let verifying = costs.target.base(rows: rows + Int(length.rounded(.up))) - costs.target.base(rows: rows)
        let steps = Double(request.remaining) / (1 + length)
        let price = draft.time(rows: missed, context: request.context, attended: missed * (request.context / 2 + 1))
        return steps * (length - lambda * (length * pass + verifying)) > lambda * price
    }
}
