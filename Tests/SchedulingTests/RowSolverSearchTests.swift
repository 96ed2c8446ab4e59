import Scheduling
import TestSupport
import Testing

/// What the solver leaves out of its search, against a search that leaves out nothing. For many requests and long drafts,
/// where not every set can be looked at.
@Suite struct RowSolverSearchTests {
    private struct Instance {
        var view = StepView()
        var costs: StepCosts
        var lanes: [RowSolver.Lane] = []

        /// Of the best rows by survival less attention, for every depth of the draft model and every number of rows: a
        /// draft pass costs the same whoever takes part, so that one of these sets is the best.
        func best(lambda: Double) -> Double {
            let deepest = lanes.reduce(0) { $1.usesModel ? max($0, $1.survivals.count) : $0 }
            return (0...deepest).map { best(lambda, depth: $0) }.max() ?? 0
        }

        private func best(_ lambda: Double, depth limit: Int) -> Double {
            var rows: [(value: Double, depth: Int, lane: Int)] = []
            for (index, lane) in lanes.enumerated() {
                let price = lambda * costs.target.perAttended * Double(lane.context)
                for (depth, survival) in lane.survivals.enumerated() {
                    if lane.usesModel, depth >= max(limit, lane.drafted) { break }
                    rows.append((survival - price, depth, index))
                }
            }
            rows.sort { $0.value != $1.value ? $0.value > $1.value : $0.depth < $1.depth }
            var (lengths, tokens, attended) = (lanes.map { _ in 0 }, Double(lanes.count), 0)
            var best = tokens - lambda * time(lengths, attended)
            for row in rows.prefix(view.rowBudget) {
                lengths[row.lane] += 1
                tokens += lanes[row.lane].survivals[row.depth]
                attended += lanes[row.lane].context
                best = max(best, tokens - lambda * time(lengths, attended))
            }
            return best
        }

        /// E and T of a choice, from the definition.
        func value(_ choice: RowSolver.Choice) -> (tokens: Double, time: Double) {
            let pairs = zip(lanes, choice.lengths)
            let tokens = pairs.reduce(Double(lanes.count)) { $0 + $1.0.survivals.prefix($1.1).reduce(0, +) }
            return (tokens, time(choice.lengths, pairs.reduce(0) { $0 + $1.0.context * $1.1 }))
        }

        /// The best rate by the search that leaves out nothing.
        var bestRate: Double {
            var (low, high) = (0.0, 1.0)
            while high - low > 1e-13 {
                let middle = (low + high) / 2
                if best(lambda: middle) > 0 { low = middle } else { high = middle }
            }
            return low
        }

        private func time(_ lengths: [Int], _ attended: Int) -> Double {
            var time = costs.targetTime(view, drafted: lengths.reduce(0, +), attended: attended)
            for depth in 0..<(lengths.max() ?? 0) {
                let passes = lanes.indices.contains {
                    lanes[$0].usesModel && lengths[$0] > depth && depth >= lanes[$0].drafted
                }
                if passes { time += costs.draftTime(requests: 1, context: 0) }
            }
            return time
        }
    }

    private func costs(_ random: inout SplitMix64) -> StepCosts {
        var base = [Double(random.int(500..<5000))]
        // Flat parts, steep ones and steps.
        for _ in 1..<120 { base.append(base[base.count - 1] + Double([0, 2, 40, 300, 900][random.int(0..<5)])) }
        return StepCosts(
            target: PassCosts(
                widths: Array(1...120), base: base, perContext: 0.01, perAttended: Double(random.int(0..<200)) / 1000),
            draft: PassCosts(widths: [1, 24], base: [200, 200]), overhead: 30)
    }

    private func instance(_ random: inout SplitMix64, _ costs: StepCosts, requests: Int) -> Instance {
        var instance = Instance(costs: costs)
        instance.view.rowBudget = random.int(0..<100)
        let drafted = random.int(0..<4)
        for id in 0..<requests {
            let context = random.int(1..<3000)
            instance.view.requests.append(DecodingView(id: UInt64(id), context: context, room: 16))
            var lane = RowSolver.Lane(context: context)
            lane.usesModel = random.int(0..<3) > 0
            lane.drafted = lane.usesModel ? drafted : 0
            let acceptance = Double(random.int(20..<99)) / 100
            var product = 1.0
            for _ in 0..<random.int(0..<17) {
                product *= acceptance
                lane.survivals.append(product)
            }
            instance.lanes.append(lane)
        }
        return instance
    }

    /// Calls `look` with so many instances of up to `most` requests, each posed to a solver.
    private func pose(
        _ count: Int, seed: UInt64, requests most: Int,
        _ look: (_ number: Int, _ instance: Instance, _ solver: inout RowSolver) -> Void
    ) {
        var random = SplitMix64(seed: seed)
        for number in 0..<count {
            let costs = costs(&random)
            let instance = instance(&random, costs, requests: random.int(1..<most + 1))
            var solver = RowSolver(costs: costs)
            solver.pose(instance.view, costs, lanes: instance.lanes)
            look(number, instance, &solver)
        }
    }

    @Test func losesNothing() {
        pose(400, seed: 11, requests: 12) { number, instance, solver in
            for lambda in [0.0001, 0.0005, 0.002, 0.01] {
                let choice = solver.best(lambda: lambda)
                let (tokens, time) = instance.value(choice)
                #expect(abs(tokens - choice.tokens) < 1e-9 && abs(time - choice.time) < 1e-6, "\(number)")
                #expect(choice.lengths.reduce(0, +) <= instance.view.rowBudget)
                let own = tokens - lambda * time
                #expect(abs(own - instance.best(lambda: lambda)) < 1e-9, "\(number) at \(lambda)")
            }
        }
    }

    /// The same up to some rows.
    private func dearer(_ table: PassCosts, beyond rows: Int) -> PassCosts {
        PassCosts(
            widths: table.widths, base: zip(table.widths, table.base).map { $0 > rows ? $1 * 2 : $1 },
            perContext: table.perContext, perAttended: table.perAttended)
    }

    /// The prices of the last question are kept; another step, other costs or more rows need new ones.
    @Test func whatWasAskedBeforeDoesNotMatter() {
        var random = SplitMix64(seed: 12)
        var used = RowSolver(costs: costs(&random))
        for number in 0..<100 {
            let costs = costs(&random)
            var instance = instance(&random, costs, requests: random.int(1..<9))
            for _ in 0..<3 {
                used.pose(instance.view, instance.costs, lanes: instance.lanes)
                var fresh = RowSolver(costs: instance.costs)
                fresh.pose(instance.view, instance.costs, lanes: instance.lanes)
                #expect(used.best(lambda: 0.001) == fresh.best(lambda: 0.001), "\(number)")
                #expect(used.bestRate() == fresh.bestRate(), "\(number)")
                // The same requests with other drafts, and then at another price.
                for index in instance.lanes.indices {
                    instance.lanes[index].survivals = (1...random.int(1..<17)).map { 0.9 / Double($0) }
                }
                switch random.int(0..<3) {
                case 0: instance.costs.overhead += 100
                case 1: instance.costs.target = dearer(instance.costs.target, beyond: instance.lanes.count)
                default: break
                }
            }
        }
    }

    @Test func theRateIsWithinTheToleranceUnlessItIsBelowTheFloor() {
        pose(200, seed: 13, requests: 8) { number, instance, solver in
            let best = instance.bestRate
            #expect(abs(solver.bestRate().rate / best - 1) < 1e-9, "\(number)")
            for guess in [best / 2, best * 0.99, best, best * 1.01, best * 2] {
                let close = solver.bestRate(guess: guess, tolerance: 0.01).rate
                #expect(close >= best / 1.01 && close <= best * (1 + 1e-9), "\(number)")
                let above = solver.bestRate(guess: guess, above: best * 0.9).rate
                #expect(abs(above / best - 1) < 1e-9, "\(number)")
                // Where no set is above the floor any set will do.
                let choice = solver.bestRate(guess: guess, above: best * 1.1)
                let (tokens, time) = instance.value(choice)
                #expect(abs(tokens - choice.tokens) < 1e-9 && abs(time - choice.time) < 1e-6, "\(number)")
            }
        }
    }
}
