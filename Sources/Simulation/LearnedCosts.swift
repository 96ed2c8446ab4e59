package import Scheduling

/// Costs that a policy's table learns from the steps, as an engine does it.
package struct LearnedCosts: CostSource {
    private var table: CostTable

    package init(_ prior: StepCosts) { table = CostTable(prior) }

    package var current: StepCosts { table.costs }

    package mutating func observe(_ view: StepView, _ outcome: StepOutcome) { table.observe(view, outcome) }
}
