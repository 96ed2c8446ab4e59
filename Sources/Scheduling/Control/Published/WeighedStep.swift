/// How good a step is expected to be for adaspec.
struct StepRating: Sendable {
    /// Expected tokens per microsecond.
    var efficiency: Double
    /// The highest of the requests' predicted times per token, as a multiple of its target; 0 without targets.
    var strain: Double

    /// Steps that keep the targets go first, the more efficient the better; the others by what they miss them by.
    func isBetter(than other: StepRating) -> Bool {
        let (isMet, otherIsMet) = (strain <= 1, other.strain <= 1)
        if isMet != otherIsMet { return isMet }
        return isMet ? efficiency > other.efficiency : strain < other.strain
    }
}

/// How much of each draft is verified, and how good that is.
struct Verified: Sendable {
    var lengths: [Int]
    var rating: StepRating
}

/// A step's drafts with the probability of each token to be reached and accepted. Rows of prompts that share the step
/// are left out: they are no matter of drafts.
struct WeighedStep: Sendable {
    let view: StepView
    let costs: StepCosts
    let isModel: [Bool]
    /// Never rising within a request.
    var survivals: [[Double]]

    var lengths: [Int] { survivals.map(\.count) }

    /// One more token of the draft model for the requests that have `depth` of them and may have more.
    func promising(_ allowed: [Int], at depth: Int, survival: Double) -> WeighedStep {
        var longer = self
        for index in survivals.indices
        where isModel[index] && survivals[index].count == depth && depth < allowed[index] {
            longer.survivals[index].append((survivals[index].last ?? 1) * survival)
        }
        return longer
    }

    /// All drafts as they are, with the passes that they take.
    var rating: StepRating { rating(verified: lengths, draftTime: draftTime) }

    func rating(verified: [Int], draftTime: Double) -> StepRating {
        let time = draftTime + targetTime(verified)
        var (tokens, strain) = (0.0, 0.0)
        for (index, request) in view.requests.enumerated() {
            let own = survivals[index].prefix(verified[index]).reduce(1, +)
            tokens += own
            if let target = request.targetTPOT { strain = max(strain, time / own / target) }
        }
        return StepRating(efficiency: tokens / time, strain: strain)
    }

    /// The passes of the draft model.
    var draftTime: Double {
        let lengths = lengths
        var sum = 0.0
        var position = 1
        while true {
            let present = lengths.indices.filter { isModel[$0] && lengths[$0] >= position }
            if present.isEmpty { return sum }
            let context = present.reduce(0) { $0 + view.requests[$1].context }
            sum += costs.draftTime(requests: present.count, context: context)
            position += 1
        }
    }

    private func targetTime(_ verified: [Int]) -> Double {
        let context = view.decodingContext
        let attended = zip(view.requests, verified).reduce(context) { $0 + $1.0.context * $1.1 }
        return costs.target.time(rows: rows(verified), context: context, attended: attended) + costs.overhead
    }

    private func rows(_ verified: [Int]) -> Int { view.requests.count + verified.reduce(0, +) }

    /// Drops the tokens of lowest survival of all requests, down to the next smaller boundary, again and again as long as
    /// the step does not become worse. Of equals the one of the later request goes first.
    func pruned(_ verified: [Int], draftTime: Double) -> Verified {
        var best = Verified(lengths: verified, rating: rating(verified: verified, draftTime: draftTime))
        while let boundary = boundary(below: rows(best.lengths)) {
            var shorter = best.lengths
            for _ in boundary..<rows(best.lengths) {
                guard let weakest = weakestTail(shorter) else { break }
                shorter[weakest] -= 1
            }
            let rating = rating(verified: shorter, draftTime: draftTime)
            if best.rating.isBetter(than: rating) { break }
            best = Verified(lengths: shorter, rating: rating)
        }
        return best
    }

    private func weakestTail(_ verified: [Int]) -> Int? {
        var (weakest, lowest) = (Int?.none, Double.infinity)
        for (index, length) in verified.enumerated() where length > 0 && survivals[index][length - 1] <= lowest {
            (weakest, lowest) = (index, survivals[index][length - 1])
        }
        return weakest
    }

    /// The widest pass below `rows` after which another row costs at least half of what a row costs on average; nil if
    /// there is none, or no draft is left. On a staircase these are the ends of its steps, on a slope all widths.
    private func boundary(below rows: Int) -> Int? {
        let (base, widths) = (costs.target.base, costs.target.widths)
        guard let widest = widths.last, let most = base.last else { return nil }
        let average = widest > 1 ? (most - base[0]) / Double(widest - 1) : most
        var width = rows - 1
        while width >= view.requests.count {
            let step = costs.target.base(rows: width + 1) - costs.target.base(rows: width)
            if step > 0 && step >= average / 2 { return width }
            width -= 1
        }
        return nil
    }
}
