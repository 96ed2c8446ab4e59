/// Which drafted rows are worth verifying: the prefix-closed set S that makes E(S) - lambda·T(S), or E(S) / T(S), largest.
///
/// For each depth that a draft model may go to and each number of rows, the best rows of all requests by survival less the
/// price of what they attend to are the best set of that size; survivals fall along a request, so that set is prefix-closed
/// by itself. Every such set is looked at, so that staircases in the cost and passes with a price of their own are
/// handled exactly; rows are never admitted one by one at their marginal price. The ratio is found by Dinkelbach's iteration
/// (W. Dinkelbach, "On nonlinear fractional programming", Management Science 13, 1967). A draft pass may cost a constant and
/// so much for each request; where its cost bends with the number of requests the result is close to the best, not always
/// the best.
package struct RowSolver: Sendable {
    /// The draft of one request.
    package struct Lane: Sendable {
        /// For each position the probability that it is reached and accepted; never rises.
        package var survivals: [Double] = []
        /// Tokens that each of its rows attends to.
        package var context: Int
        /// Further tokens come from passes of the draft model, from position `drafted` on: the same for all lanes that have any.
        package var usesModel = false
        package var drafted = 0
        /// So many rows are taken in any case.
        package var required = 0

        package init(context: Int) { self.context = context }
    }

    package struct Choice: Sendable, Equatable {
        /// Rows of each lane.
        package var lengths: [Int]
        /// E: expected tokens, those that the target always gives included.
        package var tokens: Double
        /// T, in microseconds.
        package var time: Double
        package var rate: Double { time > 0 ? tokens / time : 0 }
    }

    private struct Row {
        let lane: Int32
        let depth: Int32
        let survival: Double
        /// Survival less the price of attention and drafting; required rows come first.
        let value: Double
        /// Passes of the draft model that it needs.
        let passes: Int32
    }

    package private(set) var lanes: [Lane] = []
    private var view = StepView()
    private var costs: StepCosts
    /// Time that is spent already.
    private var sunk = 0.0
    private var rows: [Row] = []
    private var members: [Int] = []
    private var deepest = 0

    package init(costs: StepCosts) { self.costs = costs }

    /// `lanes` has one element for each of the view's requests.
    package mutating func pose(_ view: StepView, _ costs: StepCosts, lanes: [Lane], sunk: Double = 0) {
        self.view = view
        self.costs = costs
        self.lanes = lanes
        self.sunk = sunk
        deepest = lanes.reduce(0) { $1.usesModel ? max($0, $1.survivals.count) : $0 }
    }

    /// The step without any drafted row.
    package var plain: Choice {
        Choice(
            lengths: [Int](repeating: 0, count: lanes.count), tokens: Double(lanes.count),
            time: sunk + costs.targetTime(view, drafted: 0, attended: 0))
    }

    // MARK: The two objectives

    /// The set with the largest E - lambda·T.
    package mutating func best(lambda: Double) -> Choice {
        rank(lambda)
        var winner = (objective: -Double.infinity, depth: 0, count: 0, tokens: 0.0, time: 0.0)
        for depth in shallowest...max(shallowest, deepest) {
            sweep(depth) { count, tokens, time in
                let objective = tokens - lambda * time
                if objective > winner.objective { winner = (objective, depth, count, tokens, time) }
            }
        }
        return Choice(
            lengths: lengths(depth: winner.depth, count: winner.count), tokens: winner.tokens, time: winner.time)
    }

    /// The set with the largest E / T.
    package mutating func bestRate() -> Choice {
        var current = best(lambda: plain.rate)
        for _ in 0..<16 {
            let next = best(lambda: current.rate)
            guard next.rate > current.rate * (1 + 1e-12) else { break }
            current = next
        }
        return current
    }

    // MARK: Sets

    private func draftBase(_ requests: Int) -> Double { costs.draft?.base(rows: requests) ?? 0 }

    /// What a token that a request holds adds to its part in a pass of the draft model.
    private var draftContext: Double { costs.draft.map { $0.perContext + $0.perAttended } ?? 0 }

    /// What every set has of the draft model's depth.
    private var shallowest: Int {
        lanes.reduce(0) { $1.usesModel ? max($0, min($1.required, $1.survivals.count)) : $0 }
    }

    private mutating func rank(_ lambda: Double) {
        rows.removeAll(keepingCapacity: true)
        let most = max(2, lanes.count { $0.usesModel })
        let joining = (draftBase(most) - draftBase(1)) / Double(most - 1)
        for (index, lane) in lanes.enumerated() {
            let price = lambda * costs.target.perAttended * Double(lane.context)
            let drafting = lambda * (joining + draftContext * Double(lane.context))
            for (depth, survival) in lane.survivals.enumerated() {
                let needsPass = lane.usesModel && depth >= lane.drafted
                let isRequired = depth < lane.required
                rows.append(
                    Row(
                        lane: Int32(index), depth: Int32(depth), survival: survival,
                        value: isRequired ? .infinity : survival - price - (needsPass ? drafting : 0),
                        passes: needsPass ? Int32(depth + 1) : 0))
            }
        }
        // Of equals the shallower first, so that sets stay prefix-closed; then the earlier request.
        rows.sort {
            if $0.value != $1.value { return $0.value > $1.value }
            return $0.depth != $1.depth ? $0.depth < $1.depth : $0.lane < $1.lane
        }
    }

    /// Calls `look` with every set of the best rows down to `depth` of the draft model: how many rows, E and T.
    private mutating func sweep(_ depth: Int, _ look: (_ count: Int, _ tokens: Double, _ time: Double) -> Void) {
        members.removeAll(keepingCapacity: true)
        members.append(contentsOf: repeatElement(0, count: deepest))
        let baseRows = lanes.count + view.prefillRows
        let start = plain
        let fixed = start.time - costs.target.base(rows: baseRows)
        var (tokens, attended, drafting) = (start.tokens, 0, 0.0)
        var count = 0
        let required = lanes.reduce(0) { $0 + min($1.required, $1.survivals.count) }
        if required == 0 { look(0, tokens, start.time) }
        for row in rows {
            if row.passes > depth { continue }
            if count >= view.rowBudget { break }
            let context = lanes[Int(row.lane)].context
            count += 1
            tokens += row.survival
            attended += context
            if row.passes > 0 { drafting += joining(depth: Int(row.depth), context: context) }
            guard count >= required else { continue }
            let time =
                fixed + costs.target.base(rows: baseRows + count)
                + costs.target.perAttended * Double(attended) + drafting
            look(count, tokens, time)
        }
        // Where the budget has no room for what is required.
        if count < required { look(count, tokens, fixed + costs.target.base(rows: baseRows + count) + drafting) }
    }

    /// What one more request costs in the draft model's pass at a depth.
    private mutating func joining(depth: Int, context: Int) -> Double {
        let present = members[depth]
        members[depth] += 1
        return draftBase(present + 1) - draftBase(present) + draftContext * Double(context)
    }

    private func lengths(depth: Int, count: Int) -> [Int] {
        var lengths = [Int](repeating: 0, count: lanes.count)
        var rest = count
        for row in rows where rest > 0 && row.passes <= depth {
            lengths[Int(row.lane)] += 1
            rest -= 1
        }
        return lengths
    }
}
