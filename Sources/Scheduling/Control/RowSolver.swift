/// Which drafted rows are worth verifying: the closed set S that makes E(S) - lambda·T(S), or E(S) / T(S), largest.
///
/// For each depth that a draft model may go to and each number of rows, the best rows of all requests by survival less the
/// price of what they attend to are the best set of that size; survivals fall along a request, so that set is prefix-closed
/// by itself. A branch, the next best token of a position, is a row like any other: it stands beside a drafted token that is
/// worth as much or more, so that the set has that one too. Every such set is looked at but for those that a bound shows to
/// be no better, so that staircases in the cost and passes with a price of their own are handled exactly; rows are never
/// admitted one by one at their marginal price. The ratio is found by Dinkelbach's iteration (W. Dinkelbach, "On nonlinear
/// fractional programming", Management Science 13, 1967). A draft pass may cost a constant and so much for each request;
/// where its cost bends with the number of requests the result is close to the best, not always the best.
package struct RowSolver: Sendable {
    /// The draft of one request.
    package struct Lane: Sendable {
        /// For each position the probability that it is reached and accepted, or what that counts for; never rises.
        package var survivals: [Double] = []
        /// For each position what a row for its next best token adds, in the unit of `survivals` and at most as much as
        /// there; 0, or too short: there is none.
        package var branches: [Double] = []
        /// Tokens that each of its rows attends to.
        package var context: Int
        /// Further tokens come from passes of the draft model, from position `drafted` on: the same for all lanes that have
        /// any.
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
        /// E: expected tokens, or what they count for; those that the target always gives are one for each request.
        package var tokens: Double
        /// T, in microseconds.
        package var time: Double
        package var rate: Double { time > 0 ? tokens / time : 0 }
    }

    private struct Row {
        /// Survival less the price of attention and drafting; required rows come first.
        let value: Double
        let survival: Double
        let lane: Int32
        let depth: Int32
        /// Passes of the draft model that it needs.
        let passes: Int32
        let isBranch: Bool

        /// Of equals drafted tokens before branches, then the shallower first, so that sets stay closed; then the earlier
        /// request.
        static func precedes(_ first: Row, _ second: Row) -> Bool {
            if first.value != second.value { return first.value > second.value }
            if first.isBranch != second.isBranch { return second.isBranch }
            return first.depth != second.depth ? first.depth < second.depth : first.lane < second.lane
        }
    }

    /// What the rows of a lane cost besides their places in the target's pass, in the unit of E.
    private struct Prices {
        let row: Double
        /// Of a row that has to be drafted first, from position `drafted` on.
        let drafting: Double
        let required: Int
        let drafted: Int
        let context: Int
        /// Where the lane's rows end.
        let end: Int
    }

    package private(set) var lanes: [Lane] = []
    private var view = StepView()
    private var costs: StepCosts
    /// The step without drafts, whose prices are in the tables; time that is spent already is part of it.
    private var tabulated = (rows: 0, time: -1.0)
    private var rows: [Row] = []
    private var branchRows: [Row] = []
    /// The next drafted row of each lane, as a heap.
    private var heads: [Row] = []
    private var prices: [Prices] = []
    private var members: [Int] = []
    private var deepest = 0
    private var required = 0
    /// The target's time with so many drafted rows, attention left out.
    private var targetTimes: [Double] = []
    /// With so many drafted rows, the least that some more take, in time for each; infinite where there are no more.
    private var leastPrices: [Double] = []
    /// The least of them with so many rows or fewer.
    private var leastUpTo: [Double] = []
    /// Of the convex hull that they follow from.
    private var corners: [Int] = []
    /// What one more request adds to a draft pass, and each token of its context.
    private var joiningTimes: [Double] = []
    private var draftContext = 0.0
    /// For each depth of the draft model the most that the rows of it, or of a deeper one, are worth together.
    private var mostWorth: [Double] = []

    package init(costs: StepCosts) { self.costs = costs }

    /// `lanes` has one element for each of the view's requests.
    package mutating func pose(_ view: StepView, _ costs: StepCosts, lanes: [Lane], sunk: Double = 0) {
        let most = max(0, min(view.rowBudget, lanes.reduce(0) { $0 + $1.survivals.count + $1.branches.count }))
        let plain = (
            rows: view.requests.count + view.prefillRows,
            time: sunk + costs.targetTime(view, drafted: 0, attended: 0)
        )
        let isKnown = most < targetTimes.count && plain == tabulated && costs.target == self.costs.target
        self.view = view
        self.costs = costs
        self.lanes = lanes
        deepest = lanes.reduce(0) { $1.usesModel ? max($0, $1.survivals.count) : $0 }
        required = lanes.reduce(0) { $0 + min($1.required, $1.survivals.count) }
        if !isKnown {
            tabulated = plain
            tabulateTarget(most)
        }
        tabulateDraft()
    }

    /// Looks prices up once for all sets.
    private mutating func tabulateTarget(_ most: Int) {
        let rest = tabulated.time - costs.target.base(rows: tabulated.rows)
        targetTimes.removeAll(keepingCapacity: true)
        costs.target.append(rows: tabulated.rows...tabulated.rows + most, rest: rest, to: &targetTimes)
        tabulateLeastPrices()
    }

    private mutating func tabulateDraft() {
        joiningTimes.removeAll(keepingCapacity: true)
        draftContext = 0
        guard let draft = costs.draft, deepest > 0 else { return }
        draftContext = draft.perContext + draft.perAttended
        tabulateWorth()
        var before = 0.0
        for count in 0..<lanes.count {
            let time = draft.base(rows: count + 1)
            joiningTimes.append(time - before)
            before = time
        }
    }

    /// From right to left along the lower convex hull of the times.
    private mutating func tabulateLeastPrices() {
        leastPrices.removeAll(keepingCapacity: true)
        leastPrices.append(contentsOf: repeatElement(.infinity, count: targetTimes.count))
        corners.removeAll(keepingCapacity: true)
        corners.append(targetTimes.count - 1)
        func slope(_ from: Int, _ to: Int) -> Double { (targetTimes[to] - targetTimes[from]) / Double(to - from) }
        for count in targetTimes.indices.dropLast().reversed() {
            var least = slope(count, corners[corners.count - 1])
            while corners.count > 1 {
                let next = slope(count, corners[corners.count - 2])
                guard next <= least else { break }
                least = next
                corners.removeLast()
            }
            leastPrices[count] = least
            corners.append(count)
        }
        leastUpTo.removeAll(keepingCapacity: true)
        var least = Double.infinity
        for price in leastPrices {
            least = min(least, price)
            leastUpTo.append(least)
        }
    }

    private mutating func tabulateWorth() {
        mostWorth.removeAll(keepingCapacity: true)
        mostWorth.append(contentsOf: repeatElement(0, count: deepest))
        for lane in lanes where lane.usesModel {
            for depth in min(lane.drafted, lane.survivals.count)..<lane.survivals.count {
                let worth = lane.survivals[depth]
                let branch = depth < lane.branches.count ? max(0, min(lane.branches[depth], worth)) : 0
                mostWorth[depth] += worth + branch
            }
        }
        for depth in mostWorth.indices.dropLast().reversed() {
            mostWorth[depth] = max(mostWorth[depth], mostWorth[depth + 1])
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
        let limit = deepestUse(lambda)
        rank(lambda, limit: limit)
        var winner = (objective: -Double.infinity, depth: 0, count: 0, tokens: 0.0, time: 0.0)
        let first = max(shallowest, settled)
        for depth in first...max(first, limit) {
            sweep(depth, lambda) { count, tokens, time in
                let objective = tokens - lambda * time
                if objective > winner.objective { winner = (objective, depth, count, tokens, time) }
            }
        }
        let (lengths, branches) = taken(depth: winner.depth, count: winner.count)
        return Choice(lengths: lengths, branches: branches, tokens: winner.tokens, time: winner.time)
    }

    /// The set with the largest E / T, or one whose rate is not below that by more than the share `tolerance`. The search may
    /// begin anywhere, and ends soonest if that is near: at `guess`, such as what came out in a step like this one. It ends
    /// too when no set has a larger rate than `floor`, with any set.
    package mutating func bestRate(guess: Double? = nil, tolerance: Double = 1e-12, above floor: Double = 0) -> Choice {
        var lambda = guess ?? plain.rate
        var current = best(lambda: lambda)
        for _ in 0..<16 {
            // No set has more than lambda·T + gain tokens, nor takes less time than none.
            let gain = current.tokens - lambda * current.time
            let bound = lambda + max(0, gain) / (targetTimes.first ?? current.time)
            if bound <= max(floor, current.rate * (1 + tolerance)) { break }
            lambda = current.rate
            let next = best(lambda: lambda)
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

    /// No set gains by a pass of the draft model for this depth or a deeper one: the first row of a pass pays for all of it,
    /// and all rows of the depth together are not worth that.
    private func deepestUse(_ lambda: Double) -> Int {
        let first = max(shallowest, settled)
        guard let pass = joiningTimes.first, first < deepest else { return deepest }
        return (first..<deepest).first { mostWorth[$0] <= lambda * pass } ?? deepest
    }

    /// What a row has to be worth over its attention, or no set loses without it: as many rows of the best set as are worth
    /// more have their places already, and from there on each takes more time than it is worth.
    private func leastWorth(_ lambda: Double) -> Double {
        var worth = lambda * leastUpTo[0]
        for _ in 0..<4 {
            let next = min(worth, lambda * leastUpTo[min(rowsWorth(worth, lambda), leastUpTo.count - 1)])
            if next == worth { return worth }
            worth = next
        }
        return lambda * leastUpTo[leastUpTo.count - 1]
    }

    /// How many rows are worth more than that, or required, at most.
    private func rowsWorth(_ worth: Double, _ lambda: Double) -> Int {
        var count = 0
        for index in lanes.indices {
            let floor = worth + lambda * costs.target.perAttended * Double(lanes[index].context)
            var rows = 0
            while rows < lanes[index].survivals.count, lanes[index].survivals[rows] > floor { rows += 1 }
            // A branch is worth no more than the token beside it.
            let beside = lanes[index].branches.isEmpty ? 0 : rows
            count += max(rows, min(lanes[index].required, lanes[index].survivals.count)) + beside
        }
        return count
    }

    /// Puts the rows down to `limit` of the draft model in order. Those of a lane stand in order already and are merged.
    private mutating func rank(_ lambda: Double, limit: Int) {
        rows.removeAll(keepingCapacity: true)
        branchRows.removeAll(keepingCapacity: true)
        heads.removeAll(keepingCapacity: true)
        // Of a pass that all take part in, the part that each adds to the first.
        let joining =
            joiningTimes.count > 1 ? joiningTimes.dropFirst().reduce(0, +) / Double(joiningTimes.count - 1) : 0
        prices.removeAll(keepingCapacity: true)
        let leastWorth = leastWorth(lambda)
        for (index, lane) in lanes.enumerated() {
            let context = Double(lane.context)
            let price = lambda * costs.target.perAttended * context
            var end = lane.usesModel ? min(lane.survivals.count, max(limit, lane.drafted)) : lane.survivals.count
            while end > lane.required, !(lane.survivals[end - 1] > price + leastWorth) { end -= 1 }
            prices.append(
                Prices(
                    row: price, drafting: lambda * (joining + draftContext * context), required: lane.required,
                    drafted: lane.usesModel ? lane.drafted : .max, context: lane.context, end: end))
            if end > 0 { heads.append(row(index, 0, worth: lane.survivals[0], isBranch: false)) }
            for depth in 0..<min(lane.branches.count, end)
            where lane.branches[depth] > 0 && lane.branches[depth] > price + leastWorth {
                let worth = min(lane.branches[depth], lane.survivals[depth])
                branchRows.append(row(index, depth, worth: worth, isBranch: true))
            }
        }
        for index in heads.indices.reversed() { sink(index) }
        branchRows.sort(by: Row.precedes)
        var next = 0
        while let top = heads.first {
            while next < branchRows.count, Row.precedes(branchRows[next], top) {
                rows.append(branchRows[next])
                next += 1
            }
            rows.append(top)
            let (lane, depth) = (Int(top.lane), Int(top.depth) + 1)
            if depth < prices[lane].end {
                heads[0] = row(lane, depth, worth: lanes[lane].survivals[depth], isBranch: false)
            } else {
                let last = heads.removeLast()
                if !heads.isEmpty { heads[0] = last }
            }
            sink(0)
        }
        rows.append(contentsOf: branchRows[next...])
    }

    private func row(_ lane: Int, _ depth: Int, worth: Double, isBranch: Bool) -> Row {
        let own = prices[lane]
        let needsPass = depth >= own.drafted
        let isRequired = depth < own.required && !isBranch
        return Row(
            value: isRequired ? .infinity : worth - own.row - (needsPass ? own.drafting : 0), survival: worth,
            lane: Int32(lane), depth: Int32(depth), passes: needsPass ? Int32(depth + 1) : 0, isBranch: isBranch)
    }

    /// Restores the heap of the lanes' next rows below `start`.
    private mutating func sink(_ start: Int) {
        var place = start
        while true {
            var child = 2 * place + 1
            guard child < heads.count else { return }
            if child + 1 < heads.count, Row.precedes(heads[child + 1], heads[child]) { child += 1 }
            guard Row.precedes(heads[child], heads[place]) else { return }
            heads.swapAt(child, place)
            place = child
        }
    }

    /// Calls `look` with every set of the best rows down to `depth` of the draft model: how many rows, E and T.
    /// It ends where no further one has a larger E - lambda·T.
    private mutating func sweep(
        _ depth: Int, _ lambda: Double, _ look: (_ count: Int, _ tokens: Double, _ time: Double) -> Void
    ) {
        // Rows are worth less the later they come, but for what drafting them may not cost.
        let drafting = depth > 0 ? prices.reduce(0) { max($0, $1.drafting) } : 0
        members.removeAll(keepingCapacity: true)
        members.append(contentsOf: repeatElement(0, count: deepest))
        let attention = costs.target.perAttended
        var (tokens, attended, spent) = (Double(lanes.count), 0, 0.0)
        var count = 0
        if required == 0 { look(0, tokens, targetTimes[0]) }
        for row in rows where row.passes <= depth {
            if count >= view.rowBudget || row.value + drafting <= lambda * leastPrices[count] { break }
            count += 1
            tokens += row.survival
            let context = prices[Int(row.lane)].context
            attended += context
            // A branch comes from the pass that drafted the token beside it.
            if row.passes > 0, !row.isBranch {
                let present = members[Int(row.depth)]
                members[Int(row.depth)] = present + 1
                if present < joiningTimes.count { spent += joiningTimes[present] }
                spent += draftContext * Double(context)
            }
            guard count >= required else { continue }
            look(count, tokens, targetTimes[count] + attention * Double(attended) + spent)
        }
        // Where the budget has no room for what is required.
        if count < required { look(count, tokens, targetTimes[count] + attention * Double(attended) + spent) }
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
