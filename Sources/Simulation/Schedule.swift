/// A point of a simulation: the steps that are done, and the virtual time in microseconds.
package struct Moment: Sendable {
    package var step = 0
    package var time = 0.0

    package init(step: Int = 0, time: Double = 0) {
        self.step = step
        self.time = time
    }
}

/// A value that changes at stated points.
package struct Schedule<Value: Sendable>: Sendable {
    package enum Start: Sendable {
        /// From this step on.
        case step(Int)
        /// From this many microseconds on.
        case time(Double)

        func isReached(at moment: Moment) -> Bool {
            switch self {
            case .step(let step): moment.step >= step
            case .time(let time): moment.time >= time
            }
        }
    }

    private let first: Value
    private let changes: [(start: Start, value: Value)]

    package init(_ value: Value, changes: [(start: Start, value: Value)] = []) {
        first = value
        self.changes = changes
    }

    /// The value of the last change whose start is reached.
    package func value(at moment: Moment) -> Value {
        changes.last { $0.start.isReached(at: moment) }?.value ?? first
    }
}
