import Scheduling

/// How often values fell between fixed bounds. All of it is in place: to copy it takes no memory.
package struct Histogram: Sendable {
    /// Upper bounds, ascending; a value belongs to the first that it does not exceed.
    package let bounds: [Double]
    private var counts = InlineArray<24, Int>(repeating: 0)
    package private(set) var sum = 0.0

    package init(bounds: [Double]) {
        precondition(bounds.count < counts.count, "one place is for what exceeds all bounds")
        self.bounds = bounds
    }

    /// A value that is no number is left out.
    package mutating func add(_ value: Double) {
        guard value.isFinite else { return }
        counts[bounds.firstIndex { value <= $0 } ?? bounds.count] += 1
        sum += value
    }

    package var count: Int { atMost.last ?? 0 }

    /// For each bound how many values do not exceed it, and at the end how many there are.
    package var atMost: [Int] {
        var total = 0
        return (0...bounds.count).map {
            total += counts[$0]
            return total
        }
    }
}

/// What is counted besides totals.
package struct EngineHistograms: Sendable {
    /// Verified tokens of a draft, 0 included, by why there were no more: `DraftLimit.allCases`.
    package private(set) var draftLength = InlineArray<8, Histogram>(repeating: Histogram(bounds: lengths))
    /// What a step with drafts took, in times of what was predicted.
    package var timeRatio = Histogram(bounds: [0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.2, 1.5, 2, 4])
    /// Tokens that a draft brought beyond those predicted.
    package var tokenSurplus = Histogram(bounds: [-8, -4, -2, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 2, 4, 8])
    /// In seconds.
    package var timeToFirstToken = Histogram(bounds: [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300,
    ])
    package var timePerOutputToken = Histogram(bounds: [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5,
    ])

    private static let lengths = (0...RequestOptions.mostDraftTokens).map(Double.init)

    mutating func add(length: Int, _ limit: DraftLimit) { draftLength[limit.rawValue].add(Double(length)) }
}
