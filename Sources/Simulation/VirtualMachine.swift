package import Scheduling

/// What passes really take on the machine of a simulation.
package struct VirtualMachine: Sendable {
    package var costs: StepCosts
    /// The standard deviation of a pass's time, as a share of it.
    package var noise = 0.0
    /// What the times are multiplied with: 2 where the machine is half as fast.
    package var slowdown = Schedule(1.0)
    /// The most rows of one pass of the draft model.
    package var draftPassRows = 256

    package init(_ costs: StepCosts) { self.costs = costs }

    /// `time` as it turns out this time.
    func actual(_ time: Double, at moment: Moment, _ random: inout SimulationRandom) -> Double {
        let factor = noise > 0 ? max(0.1, 1 + noise * random.normal()) : 1
        return time * factor * slowdown.value(at: moment)
    }
}

/// Where a policy's costs come from: stated ones, or a table that learns.
package protocol CostSource: Sendable {
    var current: StepCosts { get }
    /// What a step took.
    mutating func observe(_ view: StepView, _ outcome: StepOutcome)
}

/// Costs that never change, right or wrong.
package struct StatedCosts: CostSource {
    package let current: StepCosts
    package init(_ costs: StepCosts) { current = costs }
    package mutating func observe(_ view: StepView, _ outcome: StepOutcome) {}
}
