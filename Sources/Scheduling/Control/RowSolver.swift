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

    /// E and T of a set.
    package struct Total: Sendable {
        package var tokens: Double
        package var time: Double
        package var rate: Double { time > 0 ? tokens / time : 0 }

        package init(tokens: Double, time: Double) { (self.tokens, self.time) = (tokens, time) }
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

    /// What the next question is about: a lane for each request, and the rows of all lanes.
    package var pool = RowPool()
    package var lanes: [RowPool.Lane] = []
    private var rowBudget = 0
    private var target: PassCosts
    /// The step without drafts that `targetPrices` are of.
    private var plainRows = 0
    private var plainTime = -1.0
    private var targetPrices = TargetPrices()
    private var rows: [RankedRow] = []
    private var branchRows: [RankedRow] = []
    /// The next drafted row of each lane.
    private var heads = RankedRowHeap()
    private var prices: [Prices] = []
    private var members: [Int] = []
    /// What was found last: rows of each lane, and the positions of each whose next best token is taken too; empty: of none.
    package private(set) var lengths: [Int] = []
    package private(set) var branches: [[Int]] = []
    private var deepest = 0
    private var required = 0
    /// What one more request adds to a draft pass, and each token of its context.
    private var joiningTimes: [Double] = []
    private var draftContext = 0.0
    /// For each depth of the draft model the most that the rows of it, or of a deeper one, are worth together.
    private var mostWorth: [Double] = []

    package init(costs: StepCosts) {
        target = costs.target
        reserve()
    }

    /// Room for what a step with few requests needs, all at once: it comes to lie together.
    private mutating func reserve() {
        let (requests, most) = (16, 64)
        pool.reserve(4 * most)
        targetPrices.reserve(most)
        rows.reserveCapacity(most)
        lanes.reserveCapacity(requests)
        heads.reserveCapacity(requests)
        prices.reserveCapacity(requests)
        lengths.reserveCapacity(requests)
        joiningTimes.reserveCapacity(requests)
        members.reserveCapacity(requests)
        mostWorth.reserveCapacity(requests)
    }

    /// `lanes` has one element for each of the view's requests.
    package mutating func pose(_ view: StepView, _ costs: StepCosts, lanes: [Lane]) {
        pool.removeAll()
        self.lanes = lanes.map { pool.add($0) }
        pose(view, costs)
    }

    /// The lanes that are set, whose rows are in the pool.
    package mutating func pose(_ view: StepView, _ costs: StepCosts) {
        rowBudget = view.rowBudget
        (deepest, required) = (0, 0)
        var count = 0
        for lane in lanes {
            count += lane.hasBranches ? 2 * lane.count : lane.count
            if lane.usesModel { deepest = max(deepest, lane.count) }
            required += min(lane.required, lane.count)
        }
        let most = max(0, min(rowBudget, count))
        let (rows, time) = (
            view.requests.count + view.prefillRows, costs.targetTime(view, drafted: 0, attended: 0)
        )
        if most > targetPrices.most || rows != plainRows || time != plainTime || costs.target != target {
            (plainRows, plainTime, target) = (rows, time, costs.target)
            targetPrices.open(target, rows: rows, rest: time - target.base(rows: rows), most: most)
        }
        tabulateDraft(costs)
    }

    private mutating func tabulateDraft(_ costs: StepCosts) {
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

    private mutating func tabulateWorth() {
        mostWorth.removeAll(keepingCapacity: true)
        mostWorth.append(contentsOf: repeatElement(0, count: deepest))
        for lane in lanes where lane.usesModel {
            for depth in min(lane.drafted, lane.count)..<lane.count {
                let worth = pool.survivals[lane.first + depth]
                mostWorth[depth] += worth + max(0, min(pool.branch(lane, depth), worth))
            }
        }
        for depth in mostWorth.indices.dropLast().reversed() {
            mostWorth[depth] = max(mostWorth[depth], mostWorth[depth + 1])
        }
    }

    /// The step without any drafted row.
    package var plain: Total { Total(tokens: Double(lanes.count), time: targetPrices.times[0]) }

    // MARK: The two objectives

    /// The best of the sets that were looked at: of the best rows down to `depth` of the draft model the first `count`.
    private struct Winner {
        var objective = -Double.infinity
        var depth = 0
        var count = 0
        var total = Total(tokens: 0, time: 0)
    }

    /// The set with the largest E - lambda·T.
    package mutating func best(lambda: Double) -> Choice {
        let total = findBest(lambda: lambda)
        return choice(total)
    }

    /// The set with the largest E / T, or one whose rate is not below that by more than the share `tolerance`.
    package mutating func bestRate(guess: Double? = nil, tolerance: Double = 1e-12, above floor: Double = 0) -> Choice {
        let total = findBestRate(guess: guess ?? plain.rate, tolerance: tolerance, above: floor)
        return choice(total)
    }

    private func choice(_ total: Total) -> Choice {
        Choice(lengths: lengths, branches: branches, tokens: total.tokens, time: total.time)
    }

    /// `best`, with the set in `lengths` and `branches`.
    package mutating func findBest(lambda: Double) -> Total {
        let winner = search(lambda)
        take(winner)
        return winner.total
    }

    private mutating func search(_ lambda: Double) -> Winner {
        let limit = deepestUse(lambda)
        rank(lambda, limit: limit)
        var winner = Winner()
        let first = max(shallowest, settled)
        for depth in first...max(first, limit) {
            sweep(depth, lambda) { count, tokens, time in
                let objective = tokens - lambda * time
                if objective > winner.objective {
                    let total = Total(tokens: tokens, time: time)
                    winner = Winner(objective: objective, depth: depth, count: count, total: total)
                }
            }
        }
        return winner
    }

    /// `bestRate`, with the set in `lengths` and `branches`. The search may begin anywhere, and ends soonest if that is near:
    /// at `guess`, such as what came out in a step like this one. It ends too when no set has a larger rate than `floor`,
    /// with any set.
    package mutating func findBestRate(guess: Double, tolerance: Double, above floor: Double) -> Total {
        var lambda = guess
        var current = findBest(lambda: lambda)
        for _ in 0..<16 {
            // No set has more than lambda·T + gain tokens, nor takes less time than none.
            let gain = current.tokens - lambda * current.time
            let bound = lambda + max(0, gain) / targetPrices.times[0]
            if bound <= max(floor, current.rate * (1 + tolerance)) { break }
            lambda = current.rate
            let next = search(lambda)
            guard next.total.rate > current.rate * (1 + 1e-12) else { break }
            take(next)
            current = next.total
        }
        return current
    }

    // MARK: Sets

    /// What every set has of the draft model's depth.
    private var shallowest: Int {
        lanes.reduce(0) { $1.usesModel ? max($0, min($1.required, $1.count)) : $0 }
    }

    /// Down to here no pass is to come: the sets of all depths above are the same.
    private var settled: Int {
        lanes.reduce(deepest) { $1.usesModel && $1.count > $1.drafted ? min($0, $1.drafted) : $0 }
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
    private mutating func leastWorth(_ lambda: Double) -> Double {
        var worth = lambda * targetPrices.leastUpTo[0]
        for _ in 0..<4 {
            let count = min(rowsWorth(worth, lambda), targetPrices.most)
            targetPrices.fill(to: count)
            let next = min(worth, lambda * targetPrices.leastUpTo[count])
            if next == worth { return worth }
            worth = next
        }
        return lambda * targetPrices.floor
    }

    /// How many rows are worth more than that, or required, at most.
    private func rowsWorth(_ worth: Double, _ lambda: Double) -> Int {
        var count = 0
        for lane in lanes {
            let floor = worth + lambda * target.perAttended * Double(lane.context)
            var rows = 0
            while rows < lane.count, pool.survivals[lane.first + rows] > floor { rows += 1 }
            // A branch is worth no more than the token beside it.
            count += max(rows, min(lane.required, lane.count)) + (lane.hasBranches ? rows : 0)
        }
        return count
    }

    /// Puts the rows down to `limit` of the draft model in order. Those of a lane stand in order already and are merged.
    private mutating func rank(_ lambda: Double, limit: Int) {
        rows.removeAll(keepingCapacity: true)
        branchRows.removeAll(keepingCapacity: true)
        heads.removeAll()
        prices.removeAll(keepingCapacity: true)
        // Of a pass that all take part in, the part that each adds to the first.
        let joining =
            joiningTimes.count > 1 ? joiningTimes.dropFirst().reduce(0, +) / Double(joiningTimes.count - 1) : 0
        let leastWorth = leastWorth(lambda)
        for index in lanes.indices {
            let lane = lanes[index]
            let context = Double(lane.context)
            let price = lambda * target.perAttended * context
            let most = lane.usesModel ? min(lane.count, max(limit, lane.drafted)) : lane.count
            var end = min(lane.required, most)
            while end < most, pool.survivals[lane.first + end] > price + leastWorth { end += 1 }
            prices.append(
                Prices(
                    row: price, drafting: lambda * (joining + draftContext * context), required: lane.required,
                    drafted: lane.usesModel ? lane.drafted : .max, context: lane.context, end: end))
            if end > 0 { heads.append(row(index, 0, worth: pool.survivals[lane.first], isBranch: false)) }
            if lane.hasBranches { rankBranches(index, above: price + leastWorth) }
        }
        heads.order()
        if !branchRows.isEmpty { branchRows.sort(by: RankedRow.precedes) }
        merge()
        targetPrices.fill(to: rows.count)
    }

    private mutating func rankBranches(_ index: Int, above floor: Double) {
        let lane = lanes[index]
        for depth in 0..<prices[index].end {
            let branch = pool.branch(lane, depth)
            guard branch > 0, branch > floor else { continue }
            branchRows.append(row(index, depth, worth: min(branch, pool.survivals[lane.first + depth]), isBranch: true))
        }
    }

    private mutating func merge() {
        var next = 0
        while let top = heads.top {
            while next < branchRows.count, RankedRow.precedes(branchRows[next], top) {
                rows.append(branchRows[next])
                next += 1
            }
            rows.append(top)
            let (lane, depth) = (Int(top.lane), Int(top.depth) + 1)
            if depth < prices[lane].end {
                let worth = pool.survivals[lanes[lane].first + depth]
                heads.replaceTop(row(lane, depth, worth: worth, isBranch: false))
            } else {
                heads.removeTop()
            }
        }
        rows.append(contentsOf: branchRows[next...])
    }

    private func row(_ lane: Int, _ depth: Int, worth: Double, isBranch: Bool) -> RankedRow {
        let own = prices[lane]
        let needsPass = depth >= own.drafted
        let isRequired = depth < own.required && !isBranch
        return RankedRow(
            value: isRequired ? .infinity : worth - own.row - (needsPass ? own.drafting : 0), survival: worth,
            lane: UInt16(lane), depth: UInt16(depth), passes: needsPass ? UInt16(depth + 1) : 0, isBranch: isBranch)
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
        let attention = target.perAttended
        var (tokens, attended, spent) = (Double(lanes.count), 0, 0.0)
        var count = 0
        if required == 0 { look(0, tokens, targetPrices.times[0]) }
        for row in rows where row.passes <= depth {
            if count >= rowBudget || row.value + drafting <= lambda * targetPrices.least[count] { break }
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
            look(count, tokens, targetPrices.times[count] + attention * Double(attended) + spent)
        }
        // Where the budget has no room for what is required.
        if count < required { look(count, tokens, targetPrices.times[count] + attention * Double(attended) + spent) }
    }

    private mutating func take(_ winner: Winner) {
        lengths.removeAll(keepingCapacity: true)
        lengths.append(contentsOf: repeatElement(0, count: lanes.count))
        branches.removeAll()
        var rest = winner.count
        for row in rows where row.passes <= winner.depth {
            if rest == 0 { break }
            rest -= 1
            if row.isBranch {
                if branches.isEmpty { branches = lanes.map { _ in [] } }
                branches[Int(row.lane)].append(Int(row.depth))
            } else {
                lengths[Int(row.lane)] += 1
            }
        }
        for index in branches.indices { branches[index].sort() }
    }
}
