import Glibc

// What `SurvivalModel` consists of.

/// The logistic curve over the margin.
struct MarginCurve: Sendable {
    private static let edges: [Float] = [0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10]
    private static let memory = 300.0
    private static let refitInterval = 16
    /// Observations of a bin that the curve is worth.
    private static let curveWeight = 12.0

    private struct Bin {
        var count = 0.0
        var accepted = 0.0
        var margins = 0.0
    }
    private var bins = [Bin](repeating: Bin(), count: edges.count + 1)
    private var sinceFit = 0
    private var slope = 0.5
    private var intercept = 0.4

    /// The curve, and where there is much evidence what that says: the truth need not be logistic.
    func probability(_ margin: Float) -> Double {
        let bin = bins[Self.bin(Self.bounded(margin))]
        let curve = logistic(slope * Self.bounded(margin) + intercept)
        return (bin.accepted + Self.curveWeight * curve) / (bin.count + Self.curveWeight)
    }

    private static func bin(_ margin: Double) -> Int { edges.firstIndex { Double($0) > margin } ?? edges.count }

    /// Beyond this the margin says nothing more; a margin that is no number counts as none.
    private static func bounded(_ margin: Float) -> Double { margin > 0 ? Double(min(margin, 12)) : 0 }

    mutating func add(_ margin: Float, _ accepted: Bool) {
        let keep = 1 - 1 / Self.memory
        for index in bins.indices {
            bins[index].count *= keep
            bins[index].accepted *= keep
            bins[index].margins *= keep
        }
        let value = Self.bounded(margin)
        let index = Self.bin(value)
        bins[index].count += 1
        bins[index].accepted += accepted ? 1 : 0
        bins[index].margins += value
        sinceFit += 1
        if sinceFit >= Self.refitInterval { fit() }
    }

    /// Newton steps on the ridged likelihood; the ridge pulls towards the curve of the beginning.
    private mutating func fit() {
        sinceFit = 0
        let (priorSlope, priorIntercept, ridge) = (0.5, 0.4, 1.0)
        var (w, b) = (slope, intercept)
        for _ in 0..<6 {
            var (gw, gb) = (ridge * (priorSlope - w), ridge * (priorIntercept - b) * 0.5)
            var (hww, hwb, hbb) = (ridge, 0.0, ridge * 0.5)
            for bin in bins where bin.count > 1e-6 {
                let x = bin.margins / bin.count
                let p = logistic(w * x + b)
                let residual = bin.accepted - bin.count * p
                let weight = bin.count * p * (1 - p)
                gw += residual * x
                gb += residual
                hww += weight * x * x
                hwb += weight * x
                hbb += weight
            }
            let determinant = hww * hbb - hwb * hwb
            guard determinant > 1e-12 else { break }
            let (dw, db) = ((hbb * gw - hwb * gb) / determinant, (hww * gb - hwb * gw) / determinant)
            w = min(max(0, w + min(max(dw, -2), 2)), 20)
            b = min(max(-8, b + min(max(db, -2), 2)), 8)
            if abs(dw) + abs(db) < 1e-6 { break }
        }
        (slope, intercept) = (w, b)
    }
}

/// Follow probabilities by source, match length and what the occurrences said.
struct MatchTables: Sendable {
    private static let lengths = 6
    private static let follows = 4
    private static let memory = 120.0
    /// Observations that the prior is worth.
    private static let weight = 6.0

    private struct Cell {
        var count = 0.0
        var accepted = 0.0
        /// What may be hoped for before anything was seen: a third for one token, more for longer matches that agree.
        let prior: Double
        /// The estimate as odds.
        private(set) var odds: Double

        init(length: Int, follow: Int) {
            let byLength = [0.3, 0.45, 0.6, 0.75, 0.85, 0.92][length]
            prior = byLength * [0.4, 0.7, 0.9, 1][follow]
            odds = SurvivalModel.odds(prior)
        }

        func probability(_ prior: Double) -> Double {
            (accepted + MatchTables.weight * prior) / (count + MatchTables.weight)
        }

        mutating func add(_ wasAccepted: Bool) {
            let keep = 1 - 1 / MatchTables.memory
            count = count * keep + 1
            accepted = accepted * keep + (wasAccepted ? 1 : 0)
            odds = SurvivalModel.odds(probability(prior))
        }
    }
    /// One table after the other.
    private var cells: [Cell] = DraftSource.allCases.flatMap { _ in
        (0..<lengths).flatMap { length in (0..<follows).map { Cell(length: length, follow: $0) } }
    }

    private static func place(_ feature: DraftFeature, _ source: DraftSource) -> Int {
        let length = max(1, Int(feature.matchLength))
        let lengthBucket = length >= 17 ? 5 : length >= 9 ? 4 : length >= 5 ? 3 : length >= 3 ? 2 : length - 1
        let follow = feature.probability
        let followBucket = follow >= 0.999 ? (feature.support > 1 ? 3 : 2) : follow >= 0.5 ? 1 : 0
        return (source.rawValue * lengths + lengthBucket) * follows + followBucket
    }

    func probability(_ feature: DraftFeature, _ source: DraftSource) -> Double {
        let cell = cells[Self.place(feature, source)]
        // What the caller says is its own prior.
        return cell.probability(source == .host ? Double(feature.probability) : cell.prior)
    }

    /// Of the estimate.
    func odds(_ feature: DraftFeature, _ source: DraftSource) -> Double {
        source == .host
            ? SurvivalModel.odds(probability(feature, source)) : cells[Self.place(feature, source)].odds
    }

    mutating func add(_ feature: DraftFeature, _ source: DraftSource, _ wasAccepted: Bool) {
        cells[Self.place(feature, source)].add(wasAccepted)
    }
}

/// The mean of the estimates at each depth of a model's drafts. It is taken over what was drafted, not over what was
/// verified, so cutting a draft does not bend it.
struct DepthMeans: Sendable {
    private static let memory = 48.0
    private static let weight = 4.0
    private var sums: [Double] = []
    private var counts: [Double] = []
    private var all = (sum: 0.7 * weight, count: weight)
    /// The means as odds, the last for all depths behind; empty where they are to be computed again.
    private var odds: [Double] = []

    private func mean(_ depth: Int) -> Double {
        let overall = all.sum / all.count
        guard depth < sums.count else { return overall }
        return (sums[depth] + Self.weight * overall) / (counts[depth] + Self.weight)
    }

    mutating func add(_ estimate: Double, depth: Int) {
        odds.removeAll(keepingCapacity: true)
        while sums.count <= depth {
            sums.append(0)
            counts.append(0)
        }
        let keep = 1 - 1 / Self.memory
        sums[depth] = sums[depth] * keep + estimate
        counts[depth] = counts[depth] * keep + 1
        all = (all.sum * keep + estimate, all.count * keep + 1)
    }

    /// Adds the survivals of tokens that are yet to be drafted behind those from `first` on, at depths up to `end`, as long as
    /// they are worth a look. `ratio`: of the request's odds to those of all.
    mutating func extend(_ survivals: inout [Double], from first: Int, to end: Int, ratio: Double) {
        if odds.isEmpty { for depth in 0...sums.count { odds.append(SurvivalModel.odds(mean(depth))) } }
        var product = survivals.count > first ? survivals[survivals.count - 1] : 1
        for depth in survivals.count - first..<max(end, survivals.count - first) {
            product *= SurvivalModel.probability(odds: odds[min(depth, odds.count - 1)] * ratio)
            if product < 0.01 { break }
            survivals.append(product)
        }
    }
}

/// How a request differs from the rest: the odds ratio of what it accepted to what was expected of it.
struct RequestOdds: Sendable {
    private static let memory = 64.0
    /// Observations on either side that the ratio 1 is worth.
    private static let weight = 16.0

    private struct Tally {
        var expected = 0.0
        var accepted = 0.0
        var count = 0.0
    }
    private var tallies = InlineArray<3, Tally>(repeating: Tally())
    typealias Ratios = InlineArray<3, Double>

    /// What a caller expects says nothing about what is found, nor the other way.
    static func place(_ source: DraftSource) -> Int {
        switch source {
        case .lookup, .suffix: 0
        case .model: 1
        case .host: 2
        }
    }

    var ratios: Ratios { Ratios { ratio(at: $0) } }

    func ratio(_ source: DraftSource) -> Double { ratio(at: Self.place(source)) }

    private func ratio(at place: Int) -> Double {
        let tally = tallies[place]
        let (k, n, e) = (tally.accepted, tally.count, tally.expected)
        let weight = Self.weight
        return (weight + k) / (weight + n - k) * (weight + n - e) / (weight + e)
    }

    mutating func age() {
        for index in tallies.indices {
            tallies[index].expected *= 0.97
            tallies[index].accepted *= 0.97
            tallies[index].count *= 0.97
        }
    }

    mutating func add(_ source: DraftSource, expected: Double, accepted: Bool) {
        let index = Self.place(source)
        let keep = 1 - 1 / Self.memory
        tallies[index].expected = tallies[index].expected * keep + expected
        tallies[index].accepted = tallies[index].accepted * keep + (accepted ? 1 : 0)
        tallies[index].count = tallies[index].count * keep + 1
    }
}

private func logistic(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
