/// Pairwise testing: a few rows, each with one value of every factor, that together hold every pair of values of any two
/// factors. Greedy, in the manner of Cohen et al., "The AETG system: an approach to testing based on combinatorial
/// design", IEEE Transactions on Software Engineering 23(7), 1997. The same rows for the same seed.
package struct PairwiseCover {
    package struct Choice: Hashable, Sendable {
        package let factor: Int
        package let value: Int
        package init(_ factor: Int, _ value: Int) {
            self.factor = factor
            self.value = value
        }
    }
    private struct Pair: Hashable {
        /// Of the lower and of the higher factor.
        let lower: Choice
        let higher: Choice

        init(_ a: Choice, _ b: Choice) { (lower, higher) = a.factor < b.factor ? (a, b) : (b, a) }
    }

    /// The index of a value for each factor.
    package private(set) var rows: [[Int]] = []

    /// Rows that are tried for each one that is taken.
    private static let candidates = 24
    private let counts: [Int]
    private let excludes: (Choice, Choice) -> Bool
    private var open = Set<Pair>()

    /// `counts` are the numbers of values. `excludes` names pairs that make no sense, the choice of the lower factor first;
    /// the first value of each factor must go with everything, so that every row can be completed.
    package init(_ counts: [Int], seed: UInt64, excludes: @escaping (Choice, Choice) -> Bool = { _, _ in false }) {
        self.counts = counts
        self.excludes = excludes
        var random = SplitMix64(seed: seed)
        let ordered = allPairs()
        open = Set(ordered)
        for pair in ordered where open.contains(pair) {
            let tried = (0..<Self.candidates).map { _ in candidate(pair, &random) }
            guard let best = tried.max(by: { gain($0) < gain($1) }) else { break }
            rows.append(best)
            open.subtract(pairs(of: best))
        }
    }

    /// The pairs that make sense, in a fixed order: that of a set changes from run to run.
    private func allPairs() -> [Pair] {
        let choices = counts.indices.map { factor in (0..<counts[factor]).map { Choice(factor, $0) } }
        var result: [Pair] = []
        for higher in counts.indices {
            for lower in 0..<higher {
                for a in choices[lower] {
                    result += choices[higher].filter { !excludes(a, $0) }.map { Pair(a, $0) }
                }
            }
        }
        return result
    }

    private func pairs(of row: [Int]) -> [Pair] {
        row.indices.flatMap { higher in
            (0..<higher).map { Pair(Choice($0, row[$0]), Choice(higher, row[higher])) }
        }
    }

    private func gain(_ row: [Int]) -> Int { pairs(of: row).count { open.contains($0) } }

    /// A row that holds `pair`; the other factors, in random order, take what adds most.
    private func candidate(_ pair: Pair, _ random: inout SplitMix64) -> [Int] {
        var chosen = [pair.lower, pair.higher]
        let others = counts.indices.filter { $0 != pair.lower.factor && $0 != pair.higher.factor }
        for factor in others.shuffled(using: &random) {
            let allowed = (0..<counts[factor]).map { Choice(factor, $0) }.filter { choice in
                chosen.allSatisfy { !isExcluded($0, choice) }
            }
            // Shuffled, because `max` takes the same one of equals every time.
            let best = allowed.shuffled(using: &random).max { added($0, to: chosen) < added($1, to: chosen) }
            chosen.append(best ?? Choice(factor, 0))
        }
        return chosen.sorted { $0.factor < $1.factor }.map(\.value)
    }

    private func isExcluded(_ a: Choice, _ b: Choice) -> Bool {
        let pair = Pair(a, b)
        return excludes(pair.lower, pair.higher)
    }

    private func added(_ choice: Choice, to chosen: [Choice]) -> Int {
        chosen.count { open.contains(Pair($0, choice)) }
    }
}
