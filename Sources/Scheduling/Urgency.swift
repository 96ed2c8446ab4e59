/// The order in which requests get rows, blocks and a place among those that run: the one that is due first, then the one
/// of higher priority, then the one that came first.
package struct Urgency: Comparable, Sendable {
    /// When the request's next target is missed, in microseconds on the monotonic clock; nil without a target.
    package let due: Int64?
    /// Higher is sooner.
    package let priority: Int32
    /// Ids grow with arrival.
    package let id: UInt64

    package init(due: Int64?, priority: Int32, id: UInt64) {
        self.due = due
        self.priority = priority
        self.id = id
    }

    /// Whether `a` goes before `b`.
    package static func < (a: Urgency, b: Urgency) -> Bool {
        if a.due != b.due { return (a.due ?? .max) < (b.due ?? .max) }
        if a.priority != b.priority { return a.priority > b.priority }
        return a.id < b.id
    }
}
