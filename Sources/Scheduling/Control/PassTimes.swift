/// Measured times of passes, and the table that they make.
///
/// A shape is a number of rows of one sequence behind a number of tokens. The median of a shape's times counts, and the
/// table never falls with the rows because it is fitted so: the pool-adjacent-violators algorithm (Ayer, Brunk, Ewing, Reid,
/// Silverman, "An empirical distribution function for sampling with incomplete information", Annals of Mathematical
/// Statistics 26, 1955) gives the nearest sequence that does not fall, with the number of times of a shape as its weight.
package struct PassTimes: Sendable {
    package struct Shape: Hashable, Sendable {
        package var rows: Int
        /// Tokens in the cache before the rows.
        package var context: Int

        package init(rows: Int, context: Int) {
            self.rows = rows
            self.context = context
        }

        /// What the rows attend to together, themselves included.
        var attended: Int { rows * context + rows * (rows + 1) / 2 }
        var tokens: Int { context + rows }
    }

    private var times: [Shape: [Double]] = [:]

    package init() {}

    /// `time` in microseconds; what is no time is left out.
    package mutating func add(_ shape: Shape, _ time: Double) {
        if time > 0, time.isFinite, shape.rows > 0 { times[shape, default: []].append(time) }
    }

    package func count(_ shape: Shape) -> Int { times[shape]?.count ?? 0 }

    package func median(_ shape: Shape) -> Double? {
        guard let sorted = times[shape]?.sorted(), !sorted.isEmpty else { return nil }
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    /// What a pass is going to take, rather too much: as a narrower one did, were every row to cost as much, and thrice that
    /// behind another context. nil where nothing narrower is known.
    package func expected(_ shape: Shape) -> Double? {
        if let known = median(shape) { return known }
        let narrower = times.keys.filter { $0.rows <= shape.rows }.max {
            ($0.rows, -abs($0.context - shape.context)) < ($1.rows, -abs($1.context - shape.context))
        }
        guard let narrower, let time = median(narrower) else { return nil }
        let perRow = time / Double(narrower.rows)
        return perRow * Double(shape.rows) * (narrower.context == shape.context ? 1 : 3)
    }

    /// The table of what was measured. What was not, the price of context or widths beyond the widest, is as in `prior`,
    /// scaled by what the nearest measured width takes; nil where not even one row was measured.
    package func costs(prior: PassCosts) -> PassCosts? {
        let widths = Set(times.keys.filter { $0.context == 0 }.map(\.rows)).sorted()
        guard widths.first == 1, let widest = widths.last else { return nil }
        let attention = attention() ?? scaled(prior, at: 1)
        var base = widths.map { rows -> Double in
            let shape = Shape(rows: rows, context: 0)
            let time = median(shape) ?? 0
            let own =
                attention.perContext * Double(shape.tokens) + attention.perAttended * Double(shape.attended)
            // However uncertain the price of attention is, the rows themselves take the better part of a short pass.
            return max(time - own, time / 2)
        }
        base = isotonic(base, weights: widths.map { Double(count(Shape(rows: $0, context: 0))) })
        let ratio = base[base.count - 1] / max(prior.base(rows: widest), 1e-9)
        let wider = prior.widths.filter { $0 > widest }
        var costs = PassCosts(
            widths: widths + wider, base: base + wider.map { prior.base(rows: $0) * ratio },
            perContext: attention.perContext, perAttended: attention.perAttended)
        if !wider.isEmpty { costs.measured = widths.map { _ in true } + wider.map { _ in false } }
        return costs
    }

    private func scaled(_ prior: PassCosts, at rows: Int) -> (perContext: Double, perAttended: Double) {
        let ratio = (median(Shape(rows: rows, context: 0)) ?? 0) / max(prior.base(rows: rows), 1e-9)
        return (prior.perContext * ratio, prior.perAttended * ratio)
    }

    /// What a token of context costs, from passes that differ in nothing but their context: never negative. nil unless two
    /// widths were measured with two contexts each.
    private func attention() -> (perContext: Double, perAttended: Double)? {
        var (terms, differences): ([[Double]], [Double]) = ([], [])
        for shape in times.keys.filter({ $0.context > 0 }).sorted(by: { ($0.rows, $0.context) < ($1.rows, $1.context) })
        {
            let short = Shape(rows: shape.rows, context: 0)
            guard let far = median(shape), let near = median(short) else { continue }
            terms.append([Double(shape.context), Double(shape.attended - short.attended)])
            differences.append(far - near)
        }
        guard Set(terms.map { $0[1] / $0[0] }).count > 1 else { return nil }
        let solution = nonNegativeLeastSquares(terms, differences, columns: 2)
        return (solution[0], solution[1])
    }
}

/// The sequence that does not fall and has the least sum of weighted squares of differences to `values`.
package func isotonic(_ values: [Double], weights: [Double]) -> [Double] {
    var pools: [(mean: Double, weight: Double, count: Int)] = []
    for (value, weight) in zip(values, weights) {
        var pool = (mean: value, weight: weight, count: 1)
        while let last = pools.last, last.mean > pool.mean {
            let sum = last.weight + pool.weight
            pool = (
                (last.mean * last.weight + pool.mean * pool.weight) / sum, sum, last.count + pool.count
            )
            pools.removeLast()
        }
        pools.append(pool)
    }
    return pools.flatMap { Array(repeating: $0.mean, count: $0.count) }
}
