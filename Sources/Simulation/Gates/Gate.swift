/// One promise as it was measured: a figure and the bound that it must keep.
package struct Gate: Sendable, CustomStringConvertible {
    /// What it was measured under.
    package let scene: String
    package let value: Double
    package let bound: Double
    private let isLeast: Bool

    package static func atLeast(_ bound: Double, _ value: Double, _ scene: String) -> Gate {
        Gate(scene: scene, value: value, bound: bound, isLeast: true)
    }

    package static func atMost(_ bound: Double, _ value: Double, _ scene: String) -> Gate {
        Gate(scene: scene, value: value, bound: bound, isLeast: false)
    }

    /// How far the figure is on the right side of the bound; below 0 on the wrong one.
    package var margin: Double { isLeast ? value - bound : bound - value }

    /// False for what is no number, too.
    package var holds: Bool { margin >= 0 }

    package var relation: String { isLeast ? ">=" : "<=" }

    package var description: String { "\(scene): \(value) \(relation) \(bound)" }
}

/// Promises of one kind, measured when asked for.
package struct GateGroup: Sendable {
    package let name: String
    /// What the figures are, and what they are held against.
    package let meaning: String
    package let measure: @Sendable () throws -> [Gate]

    package init(name: String, meaning: String, measure: @escaping @Sendable () throws -> [Gate]) {
        self.name = name
        self.meaning = meaning
        self.measure = measure
    }
}
