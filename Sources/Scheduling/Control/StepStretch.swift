/// How many times as long steps take as they would without drafts: what targets need is counted in steps as they are.
package struct StepStretch: Sendable {
    /// On average of the latest steps, 1 and more.
    package private(set) var value = 1.0

    package init() {}

    /// A step with drafts took `time`; without, it would have taken `plain`.
    package mutating func observe(time: Double, plain: Double) {
        guard plain > 0, time.isFinite else { return }
        add(min(max(time / plain, 1), Self.most))
    }

    /// A step without drafts.
    package mutating func observePlain() { add(1) }

    private mutating func add(_ ratio: Double) { value += (ratio - value) / Self.steps }

    /// A step that the system interrupted says little of the next.
    private static let most = 4.0
    private static let steps = 8.0
}
