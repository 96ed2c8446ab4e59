import Scheduling
import TestSupport
import Testing

/// The solver against a search through every prefix-closed set of rows.
@Suite struct RowSolverTests {
    private struct Instance {
        var view: StepView
        var costs: StepCosts
        var lanes: [RowSolver.Lane]

        /// E and T of some lengths, from the definition.
        func value(_ lengths: [Int]) -> (tokens: Double, time: Double) {
            var (tokens, attended, rows) = (Double(lanes.count), 0, 0)
            var time = 0.0
            for (lane, length) in zip(lanes, lengths) {
                tokens += lane.survivals.prefix(length).reduce(0, +)
                attended += length * lane.context
                rows += length
            }
            time += costs.targetTime(view, drafted: rows, attended: attended)
            for depth in 0..<(lengths.max() ?? 0) {
                let drafting = lanes.indices.filter {
                    lanes[$0].usesModel && lengths[$0] > depth && depth >= lanes[$0].drafted
                }
                time += costs.draftTime(
                    requests: drafting.count, context: drafting.reduce(0) { $0 + lanes[$1].context })
            }
            return (tokens, time)
        }

        /// Every prefix-closed set that fits.
        var sets: [[Int]] {
            var result: [[Int]] = [[]]
            for lane in lanes {
                let least = min(lane.required, lane.survivals.count)
                result = result.flatMap { head in (least...lane.survivals.count).map { head + [$0] } }
            }
            return result.filter { $0.reduce(0, +) <= view.rowBudget }
        }
    }

    /// `constantDraft`: a pass of the draft model costs the same whoever takes part.
    private func instance(_ random: inout SplitMix64, constantDraft: Bool) -> Instance {
        let count = random.int(1..<5)
        var base: [Double] = []
        var time = Double(random.int(200..<2000))
        for _ in 0..<24 {
            base.append(time)
            // A staircase: some rows are free, some are dear.
            time += random.int(0..<3) == 0 ? Double(random.int(50..<900)) : Double(random.int(0..<12))
        }
        let draftBase = Double(random.int(20..<300))
        let slope = constantDraft ? 0 : Double(random.int(0..<40))
        let costs = StepCosts(
            target: PassCosts(
                widths: Array(1...24), base: base, perContext: 0.01, perAttended: Double(random.int(0..<200)) / 1000),
            draft: PassCosts(widths: [1, 2, 24], base: [draftBase, draftBase + slope, draftBase + 23 * slope]),
            overhead: 30)
        var view = StepView()
        view.rowBudget = random.int(0..<16)
        view.prefillRows = random.int(0..<4) == 0 ? 3 : 0
        var lanes: [RowSolver.Lane] = []
        let drafted = random.int(0..<2)
        for id in 0..<count {
            let context = random.int(1..<3000)
            view.requests.append(DecodingView(id: UInt64(id), context: context, room: 8))
            var lane = RowSolver.Lane(context: context)
            lane.usesModel = random.int(0..<3) > 0
            var product = 1.0
            for _ in 0..<random.int(0..<5) {
                product *= Double(random.int(5..<100)) / 100
                lane.survivals.append(product)
            }
            if lane.usesModel { lane.drafted = drafted }
            // One that was not drafted for so far has no more to come.
            if lane.usesModel, random.int(0..<3) == 0 { lane.survivals = Array(lane.survivals.prefix(drafted)) }
            lanes.append(lane)
        }
        return Instance(view: view, costs: costs, lanes: lanes)
    }

    @Test func equalsSearchForBothObjectives() {
        var random = SplitMix64(seed: 1)
        for number in 0..<1000 {
            let instance = instance(&random, constantDraft: true)
            var solver = RowSolver(costs: instance.costs)
            solver.pose(instance.view, instance.costs, lanes: instance.lanes)
            let lambda = Double(random.int(1..<40)) / 10_000
            let choice = solver.best(lambda: lambda)
            let own = instance.value(choice.lengths)
            #expect(abs(own.tokens - choice.tokens) < 1e-9 && abs(own.time - choice.time) < 1e-6, "\(number)")
            let values = instance.sets.map { instance.value($0) }
            let linear = values.map { $0.tokens - lambda * $0.time }.max() ?? 0
            #expect(abs(own.tokens - lambda * own.time - linear) < 1e-9, "\(number)")
            let rate = values.map { $0.tokens / $0.time }.max() ?? 0
            #expect(abs(solver.bestRate().rate / rate - 1) < 1e-9, "\(number)")
            for guess in [0, rate / 10, rate, rate * 10] {
                #expect(abs(solver.bestRate(guess: guess).rate / rate - 1) < 1e-9, "\(number) from \(guess)")
            }
        }
    }

    @Test func comesCloseWhereADraftPassCostsMoreForMoreRequests() {
        var random = SplitMix64(seed: 2)
        for number in 0..<1000 {
            let instance = instance(&random, constantDraft: false)
            var solver = RowSolver(costs: instance.costs)
            solver.pose(instance.view, instance.costs, lanes: instance.lanes)
            let values = instance.sets.map { instance.value($0) }
            let rate = values.map { $0.tokens / $0.time }.max() ?? 0
            let choice = solver.bestRate()
            let own = instance.value(choice.lengths)
            #expect(abs(own.time - choice.time) < 1e-6, "\(number)")
            #expect(choice.rate >= 0.99 * rate, "\(number): \(choice.rate / rate)")
        }
    }

    @Test func takesWhatIsRequiredFirst() {
        var view = StepView()
        view.rowBudget = 3
        view.requests = [DecodingView(id: 1, context: 10, room: 4), DecodingView(id: 2, context: 10, room: 4)]
        var urgent = RowSolver.Lane(context: 10)
        urgent.survivals = [0.3, 0.1]
        urgent.required = 2
        var other = RowSolver.Lane(context: 10)
        other.survivals = [0.9, 0.8, 0.7]
        let costs = StepCosts(target: PassCosts(widths: [1, 2], base: [100, 101]))
        var solver = RowSolver(costs: costs)
        solver.pose(view, costs, lanes: [urgent, other])
        #expect(solver.bestRate().lengths == [2, 1])
    }

    @Test func finishesWithoutRequests() {
        let costs = StepCosts(target: PassCosts(widths: [1], base: [100]))
        var solver = RowSolver(costs: costs)
        solver.pose(StepView(), costs, lanes: [])
        #expect(solver.bestRate().lengths.isEmpty)
    }

    @Test func tiesGoToTheShallowerRowAndTheEarlierRequest() {
        var view = StepView()
        view.rowBudget = 1
        view.requests = [DecodingView(id: 1, context: 10, room: 4), DecodingView(id: 2, context: 10, room: 4)]
        var lane = RowSolver.Lane(context: 10)
        lane.survivals = [0.5, 0.5]
        let costs = StepCosts(target: PassCosts(widths: [1, 2], base: [100, 101]))
        var solver = RowSolver(costs: costs)
        solver.pose(view, costs, lanes: [lane, lane])
        #expect(solver.bestRate().lengths == [1, 0])
    }
}
