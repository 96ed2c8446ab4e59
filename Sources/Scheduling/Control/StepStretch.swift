/// How many times as long steps take as they would without drafts: what targets need is counted in steps as they are.
package struct StepStretch: Sendable {
    private var mean = 1.0
    /// On average of the latest steps, 1 and more.
    package var value: Double { max(1, mean) }

    package init() {}

    /// A step with drafts took `time`, as far as costs are known, and would have taken `plain` without.
    package mutating func observe(time: Double, plain: Double) {
        guard plain > 0, time.isFinite else { return }
        add(min(max(time / plain, 1 / Self.most), Self.most))
    }

    /// A step without drafts.
    package mutating func observePlain() { add(1) }

    private mutating func add(_ ratio: Double) { mean += (ratio - mean) / Self.steps }

    /// An odd step says little of the next.
    private static let most = 4.0
    private static let steps = 8.0
}
