/// What a pass of one model takes, in microseconds: base(rows) + perContext · (tokens of the requests present) +
/// perAttended · (sum over rows of the tokens that the row attends to). The base is a table by width, never falls, and is
/// a straight line between its entries.
package struct PassCosts: Sendable, Equatable {
    /// Ascending, from 1.
    package private(set) var widths: [Int]
    package private(set) var base: [Double]
    package var perContext: Double
    package var perAttended: Double
    /// Which entries were measured; empty: all.
    package var measured: [Bool] = []

    /// `base` is made monotone: a wider pass costs no less than a narrower one.
    package init(widths: [Int], base: [Double], perContext: Double = 0, perAttended: Double = 0) {
        precondition(!widths.isEmpty && widths.count == base.count && widths[0] == 1, "a table from one row on")
        self.widths = widths
        self.base = base
        self.perContext = perContext
        self.perAttended = perAttended
        for index in base.indices.dropFirst() { self.base[index] = max(self.base[index], self.base[index - 1]) }
    }

    /// A width of the table within `range` whose price is only guessed: the one at `place`, from 0 to 1, among them.
    package func guessedWidth(in range: Range<Int>, place: Double) -> Int? {
        let guessed = measured.indices.filter { !measured[$0] && range.contains(widths[$0]) }
        return guessed.isEmpty ? nil : widths[guessed[min(guessed.count - 1, Int(place * Double(guessed.count)))]]
    }

    /// The time of the rows alone. Beyond the table the last slope goes on; 0 for no rows.
    package func base(rows: Int) -> Double {
        guard rows > 0 else { return 0 }
        guard widths.count > 1 else { return base[0] * Double(rows) }
        var (low, high) = (0, widths.count - 1)
        if rows >= widths[high] {
            low = high - 1
        } else {
            while high - low > 1 {
                let middle = (low + high) / 2
                if widths[middle] <= rows { low = middle } else { high = middle }
            }
        }
        let slope = (base[low + 1] - base[low]) / Double(widths[low + 1] - widths[low])
        return base[low] + slope * Double(rows - widths[low])
    }

    package func time(rows: Int, context: Int, attended: Int) -> Double {
        base(rows: rows) + perContext * Double(context) + perAttended * Double(attended)
    }
}

/// What tables from outside may hold.
package enum CostLimits {
    package static let mostWidths = 1024
    package static let widest = 1 << 20
    /// Of any time in a table: a month, in microseconds.
    package static let longest = 2.6e12
}

/// What the passes of a step take. A value: `CostTable` learns it.
package struct StepCosts: Sendable, Equatable {
    package var target: PassCosts
    /// nil without a draft model.
    package var draft: PassCosts?
    /// What a step takes besides its passes.
    package var overhead: Double

    package init(target: PassCosts, draft: PassCosts? = nil, overhead: Double = 0) {
        self.target = target
        self.draft = draft
        self.overhead = overhead
    }

    /// A step of `view` with `drafted` rows besides one for each request; `attended` is the context of those rows.
    package func targetTime(_ view: StepView, drafted: Int, attended: Int) -> Double {
        let context = view.decodingContext
        return target.time(
            rows: view.requests.count + view.prefillRows + drafted, context: context + view.prefillContext,
            attended: context + view.prefillAttended + attended) + overhead
    }

    /// One pass of the draft model with one row for each of `requests`, whose tokens are `context` together.
    package func draftTime(requests: Int, context: Int) -> Double {
        guard let draft, requests > 0 else { return 0 }
        return draft.time(rows: requests, context: context, attended: context)
    }
}

extension PassCosts {
    /// A guess from sizes alone: a pass reads all weights once, and multiplies once for each row; whichever takes longer.
    /// The corrections of the first passes say how fast the machine really is; from how many rows on it multiplies for
    /// longer than it reads they learn row by row. `threads`: of a processor that is known to compute; nil where it is not.
    package static func guess(
        weightsBytes: Int, parameters: Int, kvBytesPerToken: Int, maxRows: Int, threads: Int? = nil
    ) -> PassCosts {
        // Rather too fast a machine than too slow a one: what looks cheap is tried, and then known. A core that multiplies
        // bytes with AVX-512 does 160 in a nanosecond; from about ten on the memory has no more to give.
        let (bytesPerMicrosecond, multiplicationsPerMicrosecond) =
            threads.map { (18_000.0 * Double(min($0, 10)), 170_000.0 * Double($0)) } ?? (30_000, 600_000)
        var widths = Array(1...16) + [20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128]
        while let last = widths.last, last < maxRows { widths.append(last * 3 / 2) }
        let reading = Double(weightsBytes) / bytesPerMicrosecond
        let base = widths.map { rows in
            let computing = Double(parameters) * Double(rows) / multiplicationsPerMicrosecond
            // Both overlap, but never wholly.
            return max(reading, computing) + 0.15 * min(reading, computing) + 20
        }
        let perToken = Double(kvBytesPerToken) / bytesPerMicrosecond
        var costs = PassCosts(widths: widths, base: base, perContext: perToken * 0.5, perAttended: perToken)
        costs.measured = widths.map { _ in false }
        return costs
    }
}
