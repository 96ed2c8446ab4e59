/// Which drafted rows are worth verifying: the closed set S that makes E(S) - lambda·T(S), or E(S) / T(S), largest.
///
/// For each depth that a draft model may go to and each number of rows, the best rows of all requests by survival less the
/// price of what they attend to are the best set of that size; survivals fall along a request, so that set is prefix-closed
/// by itself. A branch, the next best token of a position, is a row like any other: it stands beside a drafted token that is
/// worth as much or more, so that the set has that one too. Every such set is looked at, so that staircases in the cost and passes with a price of their own are
/// handled exactly; rows are never admitted one by one at their marginal price. The ratio is found by Dinkelbach's iteration
/// (W. Dinkelbach, "On nonlinear fractional programming", Management Science 13, 1967). A draft pass may cost a constant and
/// so much for each request; where its cost bends with the number of requests the result is close to the best, not always
/// the best.
package struct RowSolver: Sendable {
    /// The draft of one request.
    package struct Lane: Sendable {
        /// For each position the probability that it is reached and accepted; never rises.
        package var survivals: [Double] = []
        /// For each position what a row for its next best token adds, at most the position's survival; 0, or too short: there
        /// is none.
        package var branches: [Double] = []
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
        /// The positions of each lane whose next best token is taken too, ascending; empty: of none.
        package var branches: [[Int]] = []
        /// E: expected tokens, those that the target always gives included.
        package var tokens: Double
        /// T, in microseconds.
        package var time: Double
        package var rate: Double { time > 0 ? tokens / time : 0 }
    }

    private struct Row {
        let lane: Int32
        let depth: Int32
        let isBranch: Bool
        let survival: Double
        /// Survival less the price of attention and drafting; required rows come first.
        let value: Double
        /// Passes of the draft model that it needs.
        let passes: Int32
        let context: Int
    }

    package private(set) var lanes: [Lane] = []
    private var view = StepView()
    private var costs: StepCosts
    /// Time that is spent already.
    private var sunk = 0.0
    private var rows: [Row] = []
    private var members: [Int] = []
    private var deepest = 0
    private var required = 0
    /// The target's time with so many drafted rows, attention left out; and what one more request adds to a draft pass.
    private var targetTimes: [Double] = []
    private var joiningTimes: [Double] = []
    private var draftContext = 0.0

    package init(costs: StepCosts) { self.costs = costs }

    /// `lanes` has one element for each of the view's requests.
    package mutating func pose(_ view: StepView, _ costs: StepCosts, lanes: [Lane], sunk: Double = 0) {
        self.view = view
        self.costs = costs
        self.lanes = lanes
        self.sunk = sunk
        deepest = lanes.reduce(0) { $1.usesModel ? max($0, $1.survivals.count) : $0 }
        required = lanes.reduce(0) { $0 + min($1.required, $1.survivals.count) }
        tabulate()
    }

    /// Looks prices up once for all sets.
    private mutating func tabulate() {
        let baseRows = lanes.count + view.prefillRows
        let rest = sunk + costs.targetTime(view, drafted: 0, attended: 0) - costs.target.base(rows: baseRows)
        let most = min(view.rowBudget, lanes.reduce(0) { $0 + $1.survivals.count + $1.branches.count })
        targetTimes.removeAll(keepingCapacity: true)
        for count in 0...max(0, most) { targetTimes.append(rest + costs.target.base(rows: baseRows + count)) }
        joiningTimes.removeAll(keepingCapacity: true)
        draftContext = 0
        guard let draft = costs.draft, deepest > 0 else { return }
        draftContext = draft.perContext + draft.perAttended
        var before = 0.0
        for count in 0..<lanes.count {
            let time = draft.base(rows: count + 1)
            joiningTimes.append(time - before)
            before = time
        }
    }

    /// The step without any drafted row.
    package var plain: Choice {
        Choice(
            lengths: [Int](repeating: 0, count: lanes.count), tokens: Double(lanes.count),
            time: targetTimes.first ?? 0)
    }

    // MARK: The two objectives

    /// The set with the largest E - lambda·T.
    package mutating func best(lambda: Double) -> Choice {
        rank(lambda)
        var winner = (objective: -Double.infinity, depth: 0, count: 0, tokens: 0.0, time: 0.0)
        let first = max(shallowest, settled)
        for depth in first...max(first, deepest) {
            sweep(depth) { count, tokens, time in
                let objective = tokens - lambda * time
                if objective > winner.objective { winner = (objective, depth, count, tokens, time) }
            }
        }
        let (lengths, branches) = taken(depth: winner.depth, count: winner.count)
        return Choice(lengths: lengths, branches: branches, tokens: winner.tokens, time: winner.time)
    }

    /// The set with the largest E / T. The search may begin anywhere, and ends soonest if that is near: at `guess`, such as
    /// what came out in a step like this one.
    package mutating func bestRate(guess: Double? = nil) -> Choice {
        var current = best(lambda: guess ?? plain.rate)
        for _ in 0..<16 {
            let next = best(lambda: current.rate)
            guard next.rate > current.rate * (1 + 1e-12) else { break }
            current = next
        }
        return current
    }

    // MARK: Sets

    /// What every set has of the draft model's depth.
    private var shallowest: Int {
        lanes.reduce(0) { $1.usesModel ? max($0, min($1.required, $1.survivals.count)) : $0 }
    }

    /// Down to here no pass is to come: the sets of all depths above are the same.
    private var settled: Int {
        lanes.reduce(deepest) { $1.usesModel && $1.survivals.count > $1.drafted ? min($0, $1.drafted) : $0 }
    }

    private mutating func rank(_ lambda: Double) {
        rows.removeAll(keepingCapacity: true)
        // Of a pass that all take part in, the part that each adds to the first.
        let joining =
            joiningTimes.count > 1 ? joiningTimes.dropFirst().reduce(0, +) / Double(joiningTimes.count - 1) : 0
        for (index, lane) in lanes.enumerated() {
            let price = lambda * costs.target.perAttended * Double(lane.context)
            let drafting = lambda * (joining + draftContext * Double(lane.context))
            func add(_ depth: Int, _ worth: Double, isBranch: Bool) {
                let needsPass = lane.usesModel && depth >= lane.drafted
                let isRequired = depth < lane.required && !isBranch
                rows.append(
                    Row(
                        lane: Int32(index), depth: Int32(depth), isBranch: isBranch, survival: worth,
                        value: isRequired ? .infinity : worth - price - (needsPass ? drafting : 0),
                        passes: needsPass ? Int32(depth + 1) : 0, context: lane.context))
            }
            for (depth, survival) in lane.survivals.enumerated() { add(depth, survival, isBranch: false) }
            // Apart from the others, which stand in order already.
            for (depth, worth) in lane.branches.enumerated() where worth > 0 && depth < lane.survivals.count {
                add(depth, min(worth, lane.survivals[depth]), isBranch: true)
            }
        }
        // Of equals drafted tokens before branches, then the shallower first, so that sets stay closed; then the earlier
        // request.
        rows.sort {
            if $0.value != $1.value { return $0.value > $1.value }
            if $0.isBranch != $1.isBranch { return $1.isBranch }
            return $0.depth != $1.depth ? $0.depth < $1.depth : $0.lane < $1.lane
        }
    }

    /// Calls `look` with every set of the best rows down to `depth` of the draft model: how many rows, E and T.
    private mutating func sweep(_ depth: Int, _ look: (_ count: Int, _ tokens: Double, _ time: Double) -> Void) {
        members.removeAll(keepingCapacity: true)
        members.append(contentsOf: repeatElement(0, count: deepest))
        let attention = costs.target.perAttended
        var (tokens, attended, drafting) = (Double(lanes.count), 0, 0.0)
        var count = 0
        if required == 0 { look(0, tokens, targetTimes[0]) }
        for row in rows where row.passes <= depth {
            if count >= view.rowBudget { break }
            count += 1
            tokens += row.survival
            attended += row.context
            // A branch comes from the pass that drafted the token beside it.
            if row.passes > 0, !row.isBranch {
                let present = members[Int(row.depth)]
                members[Int(row.depth)] = present + 1
                if present < joiningTimes.count { drafting += joiningTimes[present] }
                drafting += draftContext * Double(row.context)
            }
            guard count >= required else { continue }
            look(count, tokens, targetTimes[count] + attention * Double(attended) + drafting)
        }
        // Where the budget has no room for what is required.
        if count < required { look(count, tokens, targetTimes[count] + attention * Double(attended) + drafting) }
    }

    private func taken(depth: Int, count: Int) -> (lengths: [Int], branches: [[Int]]) {
        var lengths = [Int](repeating: 0, count: lanes.count)
        var branches: [[Int]] = []
        var rest = count
        for row in rows where rest > 0 && row.passes <= depth {
            if row.isBranch {
                if branches.isEmpty { branches = lanes.map { _ in [] } }
                branches[Int(row.lane)].append(Int(row.depth))
            } else {
                lengths[Int(row.lane)] += 1
            }
            rest -= 1
        }
        for index in branches.indices { branches[index].sort() }
        return (lengths, branches)
    }
}
