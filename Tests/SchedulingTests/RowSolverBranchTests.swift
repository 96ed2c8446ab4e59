import Scheduling
import TestSupport
import Testing

/// The solver with branches, against a search through every closed set: the first rows of each request, and branches beside
/// any of them.
@Suite struct RowSolverBranchTests {
    private typealias Rows = (length: Int, branches: [Int])

    private struct Instance {
        var view: StepView
        var costs: StepCosts
        var lanes: [RowSolver.Lane]

        /// E and T of some rows, from the definition.
        func value(_ rows: [Rows]) -> (tokens: Double, time: Double) {
            var (tokens, attended, count) = (Double(lanes.count), 0, 0)
            for (lane, own) in zip(lanes, rows) {
                tokens += lane.survivals.prefix(own.length).reduce(0, +)
                tokens += own.branches.reduce(0) { $0 + lane.branches[$1] }
                attended += (own.length + own.branches.count) * lane.context
                count += own.length + own.branches.count
            }
            var time = costs.targetTime(view, drafted: count, attended: attended)
            for depth in 0..<(rows.map(\.length).max() ?? 0) {
                let drafting = lanes.indices.filter {
                    lanes[$0].usesModel && rows[$0].length > depth && depth >= lanes[$0].drafted
                }
                time += costs.draftTime(
                    requests: drafting.count, context: drafting.reduce(0) { $0 + lanes[$1].context })
            }
            return (tokens, time)
        }

        private func choices(_ lane: RowSolver.Lane) -> [Rows] {
            (min(lane.required, lane.survivals.count)...lane.survivals.count).flatMap { length in
                let possible = (0..<length).filter { lane.branches[$0] > 0 }
                return (0..<1 << possible.count).map { set in
                    (length, possible.indices.filter { set >> $0 & 1 == 1 }.map { possible[$0] })
                }
            }
        }

        /// Every closed set that fits.
        var sets: [[Rows]] {
            var result: [[Rows]] = [[]]
            for lane in lanes {
                let own = choices(lane)
                result = result.flatMap { head in own.map { head + [$0] } }
            }
            return result.filter { $0.reduce(0) { $0 + $1.length + $1.branches.count } <= view.rowBudget }
        }
    }

    private func instance(_ random: inout SplitMix64) -> Instance {
        var base: [Double] = []
        var time = Double(random.int(200..<2000))
        for _ in 0..<24 {
            base.append(time)
            // A staircase: some rows are free, some are dear.
            time += random.int(0..<3) == 0 ? Double(random.int(50..<900)) : Double(random.int(0..<12))
        }
        let costs = StepCosts(
            target: PassCosts(
                widths: Array(1...24), base: base, perContext: 0.01, perAttended: Double(random.int(0..<200)) / 1000),
            // A pass of the draft model costs the same whoever takes part.
            draft: PassCosts(widths: [1, 24], base: Array(repeating: Double(random.int(20..<300)), count: 2)),
            overhead: 30)
        var view = StepView()
        view.rowBudget = random.int(0..<14)
        let drafted = random.int(0..<3)
        let lanes = (0..<random.int(1..<4)).map { id in
            let context = random.int(1..<3000)
            view.requests.append(DecodingView(id: UInt64(id), context: context, room: 8))
            var lane = RowSolver.Lane(context: context)
            lane.usesModel = random.int(0..<3) > 0
            if lane.usesModel { lane.drafted = drafted }
            var before = 1.0
            for _ in 0..<random.int(0..<4) {
                let own = before * Double(random.int(5..<100)) / 100
                let rest = (before - own) * Double(random.int(0..<11)) / 10
                lane.branches.append(random.int(0..<3) == 0 ? 0 : min(own, rest))
                lane.survivals.append(own)
                before = own
            }
            if random.int(0..<5) == 0 { lane.required = random.int(1..<3) }
            return lane
        }
        return Instance(view: view, costs: costs, lanes: lanes)
    }

    @Test func equalsSearchForBothObjectives() {
        var random = SplitMix64(seed: 3)
        var branching = 0
        for number in 0..<1000 {
            let instance = instance(&random)
            var solver = RowSolver(costs: instance.costs)
            solver.pose(instance.view, instance.costs, lanes: instance.lanes)
            let lambda = Double(random.int(1..<40)) / 10_000
            let choice = solver.best(lambda: lambda)
            let none = instance.lanes.map { _ in [Int]() }
            let branches = choice.branches.isEmpty ? none : choice.branches
            for (length, own) in zip(choice.lengths, branches) {
                #expect(own == own.sorted() && own.allSatisfy { $0 < length }, "\(number)")
            }
            branching += branches.contains { !$0.isEmpty } ? 1 : 0
            let own = instance.value(zip(choice.lengths, branches).map { ($0, $1) })
            #expect(abs(own.tokens - choice.tokens) < 1e-9 && abs(own.time - choice.time) < 1e-6, "\(number)")
            let values = instance.sets.map { instance.value($0) }
            // Where the budget has no room for what is required there is nothing to compare with.
            guard let linear = values.map({ $0.tokens - lambda * $0.time }).max(),
                let rate = values.map({ $0.tokens / $0.time }).max()
            else { continue }
            #expect(abs(own.tokens - lambda * own.time - linear) < 1e-9, "\(number)")
            #expect(abs(solver.bestRate().rate / rate - 1) < 1e-9, "\(number)")
        }
        #expect(branching > 100)
    }

    private func lane(_ survivals: [Double], _ branches: [Double]) -> RowSolver.Lane {
        var lane = RowSolver.Lane(context: 10)
        (lane.survivals, lane.branches) = (survivals, branches)
        return lane
    }

    private func best(_ lanes: [RowSolver.Lane], _ base: [Double], budget: Int = 100) -> RowSolver.Choice {
        var view = StepView()
        view.rowBudget = budget
        view.requests = lanes.indices.map { DecodingView(id: UInt64($0), context: 10, room: 4) }
        let costs = StepCosts(target: PassCosts(widths: Array(1...base.count), base: base))
        var solver = RowSolver(costs: costs)
        solver.pose(view, costs, lanes: lanes)
        return solver.bestRate()
    }

    /// A row for the same worth goes to the drafted token, of whichever request.
    @Test func equalsGoToDraftedTokens() {
        let (first, second) = (lane([0.5], [0.5]), lane([0.5], []))
        let choice = best([first, second], [100, 101, 102, 102, 102, 102], budget: 2)
        #expect(choice.lengths == [1, 1] && choice.branches.isEmpty)
        #expect(best([first, second], [100, 101, 102, 102, 102, 102], budget: 3).branches == [[0], []])
    }

    @Test func branchesArePricedLikeOtherRows() {
        // (0.6, 0.36) with 0.3 and 0.18 beside them. All rows for nothing: all are taken.
        let lane = lane([0.6, 0.36], [0.3, 0.18])
        let free = best([lane], [100, 100, 100, 100, 100])
        #expect(free.lengths == [2] && free.branches == [[0, 1]])
        #expect(abs(free.tokens - 2.44) < 1e-12)
        // 1.6 / 125 is more than 1.96 / 160.
        let dear = best([lane], [100, 125, 160, 195, 230])
        #expect(dear.lengths == [1] && dear.branches.isEmpty)
        // The branch at the first position is worth its row, that at the second is not: 2.26 / 112.
        let between = best([lane], [100, 104, 108, 112, 122])
        #expect(between.lengths == [2] && between.branches == [[0]])
    }

    /// Required rows and the branches beside the first of them fill three places; the fourth costs nothing.
    @Test func aFreePlaceBehindRequiredRowsIsTaken() {
        var urgent = lane([0.6, 0.15], [0.35, 0])
        urgent.required = 2
        let lanes = [urgent, lane([0.1], [])]
        var view = StepView()
        view.rowBudget = 4
        view.requests = lanes.indices.map { DecodingView(id: UInt64($0), context: 10, room: 4) }
        let costs = StepCosts(target: PassCosts(widths: Array(1...6), base: [0.7, 1, 1.3, 1.6, 1.9, 1.9]))
        var solver = RowSolver(costs: costs)
        solver.pose(view, costs, lanes: lanes)
        let choice = solver.best(lambda: 1)
        #expect(choice.lengths == [2, 1] && choice.branches == [[0], []])
    }
}
