import Glibc

/// The costs of a machine's passes, corrected while it works.
///
/// A table that was measured or guessed gives the shape. Every pass tells how far it is off: the median of recent passes of
/// widths that are known moves the whole table (a machine whose speed changes), the median of the recent passes of one
/// width, less that, moves this width. Medians, because a pass that the operating system interrupted says nothing about the next one.
package struct CostTable: Sendable {
    private var target: PassCorrection
    private var draft: PassCorrection?
    private var overhead: Double

    package init(_ prior: StepCosts) {
        target = PassCorrection(prior.target)
        draft = prior.draft.map { PassCorrection($0) }
        overhead = prior.overhead
        costs = prior
    }

    /// What is believed now.
    package private(set) var costs: StepCosts

    /// What a step took. Rows of prompts need no logits, so a step with some says nothing about the others.
    package mutating func observe(_ view: StepView, _ outcome: StepOutcome) {
        if view.prefillRows == 0, !outcome.requests.isEmpty {
            let context = view.decodingContext
            let drafted = outcome.requests.reduce(0) { $0 + $1.rows }
            let attended = zip(view.requests, outcome.requests).reduce(0) { $0 + $1.0.context * ($1.1.rows + 1) }
            target.observe(
                rows: view.requests.count + drafted, context: context, attended: attended,
                time: outcome.targetTime - overhead)
            target.rebuild()
            costs.target = target.costs
        }
        for pass in outcome.draftPasses {
            draft?.observe(rows: pass.rows, context: pass.context, attended: pass.context, time: pass.time)
        }
        if !outcome.draftPasses.isEmpty {
            draft?.rebuild()
            costs.draft = draft?.costs
        }
    }

    /// What a step took besides its passes.
    package mutating func observeOverhead(_ time: Double) {
        overhead += (min(time, 4 * overhead + 100) - overhead) / 32
        costs.overhead = overhead
    }
}

/// A table and how far it is off.
private struct PassCorrection: Sendable {
    private let prior: PassCosts
    private(set) var costs: PassCosts
    /// Logarithms of measured / expected, of any width.
    private var recent = RecentMedian(capacity: 15)
    private var byWidth: [RecentMedian]
    private var scale = 0.0
    /// So many passes make a width known.
    private static let established = 3

    init(_ prior: PassCosts) {
        self.prior = prior
        costs = prior
        costs.measured = prior.measured
        byWidth = prior.widths.map { _ in RecentMedian(capacity: 9) }
    }

    mutating func observe(rows: Int, context: Int, attended: Int, time: Double) {
        let expected = prior.time(rows: rows, context: context, attended: attended)
        guard rows > 0, expected > 0, time > 0, time.isFinite else { return }
        let error = min(max(log(time / expected), -5), 5)
        let index = nearest(rows)
        if recent.count == 0 || byWidth[index].count >= Self.established {
            // What this width is known to be off does not count against the machine.
            recent.add(error - deviation(index))
            scale = recent.median
        }
        // A width that is new says nothing of the machine: the table's shape may be wrong there.
        byWidth[index].add(error - scale)
    }

    /// The place in the table for some rows.
    private func nearest(_ rows: Int) -> Int {
        let above = prior.widths.firstIndex { $0 >= rows } ?? prior.widths.count - 1
        guard above > 0 else { return 0 }
        return prior.widths[above] - rows <= rows - prior.widths[above - 1] ? above : above - 1
    }

    /// Of one width, from the table; few passes count for little.
    private func deviation(_ index: Int) -> Double {
        let seen = Double(byWidth[index].count)
        return seen > 0 ? byWidth[index].median * seen / (seen + 1) : 0
    }

    /// Brings the table in line with what was observed.
    mutating func rebuild() {
        // A width that was never seen deviates as its neighbours do, in proportion to how near they are.
        let known = byWidth.indices.filter { byWidth[$0].count > 0 }
        var base = prior.base
        var next = 0
        for index in base.indices {
            while next < known.count, known[next] < index { next += 1 }
            base[index] *= exp(scale + between(known, next, index))
        }
        costs = PassCosts(
            widths: prior.widths, base: base, perContext: prior.perContext * exp(scale),
            perAttended: prior.perAttended * exp(scale))
        if !prior.measured.isEmpty {
            costs.measured = zip(prior.measured, byWidth).map { $0 || $1.count > 0 }
        }
    }

    private func between(_ known: [Int], _ next: Int, _ index: Int) -> Double {
        guard let first = known.first, let last = known.last else { return 0 }
        if index <= first { return deviation(first) }
        if index >= last { return deviation(last) }
        let (low, high) = (known[next] == index ? next : next - 1, next)
        if low == high { return deviation(index) }
        let (from, to) = (Double(prior.widths[known[low]]), Double(prior.widths[known[high]]))
        let share = (Double(prior.widths[index]) - from) / (to - from)
        return deviation(known[low]) * (1 - share) + deviation(known[high]) * share
    }
}

/// The median of the latest values.
private struct RecentMedian: Sendable {
    private var values: [Double] = []
    private var next = 0
    private let capacity: Int
    private(set) var median = 0.0

    init(capacity: Int) { self.capacity = capacity }

    var count: Int { values.count }

    mutating func add(_ value: Double) {
        if values.count < capacity {
            values.append(value)
        } else {
            values[next] = value
            next = (next + 1) % capacity
        }
        let sorted = values.sorted()
        let middle = sorted.count / 2
        median = sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}
