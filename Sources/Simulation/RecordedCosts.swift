import Formats
package import Scheduling

/// What passes took in recorded steps, as a cost table: the least squares fit that keeps the table's meaning, in which nothing
/// costs less than nothing and no width less than a narrower one.
package struct RecordedCosts: Sendable {
    package let costs: StepCosts
    /// What all times are multiplied with in the course of the run; 1 where that was not asked for.
    package let slowdown: Schedule<Double>
    /// Mean of |fitted - measured| over the mean measured time of the target's passes.
    package let targetError: Double

    /// `followsSpeed`: also how much faster or slower the machine was now and then, as one is that others use too. The steps
    /// must be those of one run then.
    package init(_ steps: [LoggedStep], followsSpeed: Bool = false) throws {
        guard !steps.isEmpty else { throw Failure.invalid("the recording has no steps to take costs from") }
        var speed = MachineSpeed()
        var costs = Self.fitted(steps, speed)
        if followsSpeed {
            // Each says the other better.
            for _ in 0..<4 {
                speed = MachineSpeed(steps, costs)
                costs = Self.fitted(steps, speed)
            }
        }
        var (missed, measured) = (0.0, 0.0)
        for step in steps {
            missed += abs(costs.target.time(of: step) * speed.slowdown(at: step.start) - step.targetTime)
            measured += step.targetTime
        }
        self.costs = costs
        slowdown = speed.schedule
        targetError = missed / max(measured, .leastNormalMagnitude)
    }

    /// What a step would take by its passes, at its time of the run.
    func expectedTime(of step: LoggedStep) -> Double {
        let passes = step.draftPasses.reduce(costs.target.time(of: step)) {
            $0 + (costs.draft?.time(rows: $1.rows, context: $1.context, attended: 0) ?? 0)
        }
        return passes * slowdown.value(at: Moment(time: step.start)) + costs.overhead
    }

    private static func fitted(_ steps: [LoggedStep], _ speed: MachineSpeed) -> StepCosts {
        var (target, draft): ([FittedPass], [FittedPass]) = ([], [])
        for step in steps {
            let slowdown = speed.slowdown(at: step.start)
            let shape = step.targetShape
            target.append(
                FittedPass(
                    rows: shape.rows, context: Double(shape.context), attended: Double(shape.attended),
                    time: step.targetTime / slowdown))
            // As a cost table learns them: what rows attend to in a pass of the draft model is not written down.
            draft += step.draftPasses.map {
                FittedPass(rows: $0.rows, context: Double($0.context), attended: 0, time: $0.time / slowdown)
            }
        }
        return StepCosts(target: fit(target), draft: draft.isEmpty ? nil : fit(draft), overhead: overhead(steps))
    }

    /// What a step takes beside its passes, and until the next one while there is work.
    private static func overhead(_ steps: [LoggedStep]) -> Double {
        let besides = steps.reduce(0) { sum, step in
            sum + step.stepTime - step.targetTime - step.draftPasses.reduce(0) { $0 + $1.time }
        }
        // A longer pause is one without requests.
        let pauses = zip(steps, steps.dropFirst()).map { $1.start - $0.end }.filter { $0 > 0 && $0 < longestPause }
        return max(0, besides / Double(steps.count) + pauses.reduce(0, +) / Double(steps.count))
    }

    private static let longestPause = 500.0
}

extension PassCosts {
    fileprivate func time(of step: LoggedStep) -> Double {
        let shape = step.targetShape
        return time(rows: shape.rows, context: shape.context, attended: shape.attended)
    }
}

/// How slow a machine was in the course of a run, in times of what its passes take on the whole.
private struct MachineSpeed {
    /// Microseconds of a part of the run.
    private var length = Double.infinity
    private var slowdowns = [1.0]

    private static let shortest = 0.5e6
    private static let mostParts = 400.0

    init() {}

    /// What passes took against what they cost.
    init(_ steps: [LoggedStep], _ costs: StepCosts) {
        let end = steps.map(\.start).max() ?? 0
        length = max(Self.shortest, end / Self.mostParts)
        let count = Int(end / length) + 1
        var (taken, expected) = (Array(repeating: 0.0, count: count), Array(repeating: 0.0, count: count))
        for step in steps {
            let part = Int(step.start / length)
            taken[part] += step.targetTime
            expected[part] += costs.target.time(of: step)
            for pass in step.draftPasses {
                taken[part] += pass.time
                expected[part] += costs.draft?.time(rows: pass.rows, context: pass.context, attended: 0) ?? 0
            }
        }
        var latest = 1.0
        slowdowns = zip(taken, expected).map { taken, expected in
            if taken > 0, expected > 0 { latest = taken / expected }
            return latest
        }
    }

    func slowdown(at time: Double) -> Double {
        slowdowns[min(slowdowns.count - 1, length < .infinity ? Int(time / length) : 0)]
    }

    var schedule: Schedule<Double> {
        Schedule(
            slowdowns[0],
            changes: slowdowns.enumerated().dropFirst().map { (start: .time(Double($0) * length), value: $1) })
    }
}

/// A pass that was measured.
private struct FittedPass {
    let rows: Int
    let context: Double
    let attended: Double
    let time: Double
}

/// Time = a + sum of slopes between widths + perContext · context + perAttended · attended, no term below 0.
private func fit(_ passes: [FittedPass]) -> PassCosts {
    let widths = knots(passes.map(\.rows))
    let rows = passes.map { pass in
        [1] + ramps(pass.rows, widths) + [pass.context, pass.attended]
    }
    let terms = nonNegativeFit(rows, passes.map(\.time))
    var base: [Double] = []
    var sum = terms[0]
    for index in widths.indices {
        if index > 0 { sum += terms[index] * Double(widths[index] - widths[index - 1]) }
        // A pass takes some time, whatever the fit says.
        base.append(max(sum, 1e-3))
    }
    return PassCosts(
        widths: widths, base: base, perContext: terms[terms.count - 2], perAttended: terms[terms.count - 1])
}

/// How far some rows reach into each interval between widths; the last one is open.
private func ramps(_ rows: Int, _ widths: [Int]) -> [Double] {
    zip(widths, widths.dropFirst()).enumerated().map { index, ends in
        let reach = Double(rows - ends.0)
        return max(0, index == widths.count - 2 ? reach : min(reach, Double(ends.1 - ends.0)))
    }
}

/// Widths at which the fitted table may bend: each with enough passes between it and the one before to tell a slope.
private func knots(_ rows: [Int]) -> [Int] {
    let sorted = rows.sorted()
    let widest = sorted.last ?? 1
    var result = [1]
    var passed = 0
    let enough = max(8, sorted.count / 24)
    for (index, width) in sorted.enumerated() where width > result[result.count - 1] {
        guard index - passed >= enough else { continue }
        result.append(width)
        passed = index
    }
    if let last = result.last, widest > last { result.append(widest) }
    return result.count > 1 ? result : [1, 2]
}

/// Non-negative least squares by coordinate descent on the normal equations (Franc, Hlaváč, Navara, "Sequential
/// coordinate-wise algorithm for the non-negative least squares problem", CAIP 2005): there are too many columns to try all
/// sets of them.
private func nonNegativeFit(_ rows: [[Double]], _ values: [Double]) -> [Double] {
    let columns = rows.first?.count ?? 0
    let scales = (0..<columns).map { column in max(rows.reduce(0) { max($0, abs($1[column])) }, 1e-12) }
    var normal = Array(repeating: Array(repeating: 0.0, count: columns), count: columns)
    var right = Array(repeating: 0.0, count: columns)
    for (row, value) in zip(rows, values) {
        let scaled = zip(row, scales).map { $0 / $1 }
        for a in 0..<columns where scaled[a] != 0 {
            right[a] += scaled[a] * value
            for b in 0..<columns { normal[a][b] += scaled[a] * scaled[b] }
        }
    }
    var solution = Array(repeating: 0.0, count: columns)
    var gradient = right.map { -$0 }
    for _ in 0..<20_000 {
        var largest = 0.0
        for column in 0..<columns where normal[column][column] > 1e-12 {
            let next = max(0, solution[column] - gradient[column] / normal[column][column])
            let change = next - solution[column]
            guard change != 0 else { continue }
            solution[column] = next
            largest = max(largest, abs(change))
            for other in 0..<columns { gradient[other] += change * normal[other][column] }
        }
        if largest < 1e-9 * max(1, solution.max() ?? 0) { break }
    }
    return zip(solution, scales).map { $0 / $1 }
}
