import Glibc

/// How probable it is that the target accepts a drafted token, given that it accepted those before: learned from outcomes,
/// calibrated, per source of drafts.
///
/// A model's draft: a logistic curve over the margin, fitted by Newton steps from sufficient statistics in bins of the margin,
/// with a ridge and never falling; what a bin itself says counts the more the fuller it is. Retrieval: a table over match
/// length and follow probability, shrunk towards a prior that grows with both; for the caller's own drafts towards the
/// probability that comes with them. Both forget. On top of that every request has an odds ratio of its own, shrunk
/// towards 1.
package struct SurvivalModel: Sendable {
    /// Never sure, so that a product over a long draft still falls and a refusal is never impossible.
    static let bounds = 0.005...0.995

    /// What is learned of a draft model.
    private struct ModelDrafts {
        var margins = MarginCurve()
        /// What its tokens at each depth are expected to survive, before they are drafted.
        var depths = DepthMeans()

        mutating func note(_ features: [DraftFeature]) {
            for (depth, feature) in features.enumerated() {
                depths.add(margins.probability(feature.margin), depth: depth)
            }
        }
    }
    /// Of drafts that share their noise with the target, and of those that are drawn from the draft's own distribution: of the
    /// latter more is accepted at a small margin.
    private var model = (coupled: ModelDrafts(), drawn: ModelDrafts())
    private var drawing: Set<UInt64> = []
    private var tables: [MatchTable] = DraftSource.allCases.map { _ in MatchTable() }
    private var requests: [UInt64: RequestOdds] = [:]
    package private(set) var calibration = Calibration()

    package init() {}

    package mutating func forget(_ id: UInt64) {
        requests[id] = nil
        drawing.remove(id)
    }

    /// The draft model's drafts for this request are drawn from its distribution.
    package mutating func draws(_ id: UInt64) { drawing.insert(id) }

    /// A step passed in which a request had no draft: what is known of it grows old, so that bad luck does not bar it for ever.
    package mutating func age(_ id: UInt64) { requests[id]?.age() }

    // MARK: Estimates

    /// Survivals of the drafted tokens: the running product.
    package func survivals(_ draft: DraftView, request: UInt64) -> [Double] {
        let (drafts, ratio) = (drafts(of: request), ratio(draft.source, request))
        var product = 1.0
        return draft.features.map { feature in
            product *= adjusted(base(feature, draft.source, drafts), by: ratio)
            return product
        }
    }

    /// Adds the survivals of tokens that the draft model has yet to draft, at depths up to `end`, as long as they are worth
    /// a look.
    package func extend(_ survivals: inout [Double], to end: Int, request: UInt64) {
        guard survivals.count < end else { return }
        let (drafts, ratio) = (drafts(of: request), ratio(.model, request))
        survivals.reserveCapacity(end)
        var product = survivals.last ?? 1
        for depth in survivals.count..<end {
            product *= adjusted(drafts.depths.mean(depth), by: ratio)
            if product < 0.01 { break }
            survivals.append(product)
        }
    }

    private func drafts(of request: UInt64) -> ModelDrafts { drawing.contains(request) ? model.drawn : model.coupled }

    private func ratio(_ source: DraftSource, _ request: UInt64) -> Double { requests[request]?.ratio(source) ?? 1 }

    private func base(_ feature: DraftFeature, _ source: DraftSource, _ drafts: ModelDrafts) -> Double {
        guard source == .model else { return tables[source.rawValue].probability(feature, source) }
        return drafts.margins.probability(feature.margin)
    }

    private func adjusted(_ probability: Double, by ratio: Double) -> Double {
        // Callers may be sure of their drafts; odds know no certainty.
        func bounded(_ value: Double) -> Double { min(max(value, Self.bounds.lowerBound), Self.bounds.upperBound) }
        let base = bounded(probability)
        let odds = base / (1 - base) * ratio
        return bounded(odds / (1 + odds))
    }

    // MARK: Learning

    /// Takes what was seen of a draft: of its first `judged` positions the first `accepted` were accepted, so the one
    /// after them, if it was judged, was not. Tokens of a model that were not judged still tell what drafts look like.
    package mutating func observe(
        _ draft: DraftView, judged: Int, accepted: Int, request: UInt64, isPeculiar: Bool
    ) {
        let isDrawn = drawing.contains(request)
        if draft.source == .model, !isPeculiar {
            if isDrawn { model.drawn.note(draft.features) } else { model.coupled.note(draft.features) }
        }
        let count = min(judged, accepted + 1, draft.features.count)
        guard count > 0 else { return }
        var odds = requests[request] ?? RequestOdds()
        for index in 0..<count {
            let feature = draft.features[index]
            let wasAccepted = index < accepted
            let base = base(feature, draft.source, isDrawn ? model.drawn : model.coupled)
            calibration.add(predicted: adjusted(base, by: odds.ratio(draft.source)), accepted: wasAccepted)
            odds.add(draft.source, expected: base, accepted: wasAccepted)
            // What bends one request's distribution must not move the estimate of the others.
            if isPeculiar { continue }
            switch (draft.source, isDrawn) {
            case (.model, true): model.drawn.margins.add(feature.margin, wasAccepted)
            case (.model, false): model.coupled.margins.add(feature.margin, wasAccepted)
            default: tables[draft.source.rawValue].add(feature, wasAccepted)
            }
        }
        requests[request] = odds
    }
}

/// The logistic curve over the margin.
private struct MarginCurve: Sendable {
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

/// Follow probabilities by match length and what the occurrences said.
private struct MatchTable: Sendable {
    private static let lengths = 6
    private static let follows = 4
    private static let memory = 120.0
    /// Observations that the prior is worth.
    private static let weight = 6.0

    private var count = [Double](repeating: 0, count: lengths * follows)
    private var accepted = [Double](repeating: 0, count: lengths * follows)

    private static func cell(_ feature: DraftFeature) -> (length: Int, follow: Int) {
        let length = max(1, Int(feature.matchLength))
        let lengthBucket = length >= 17 ? 5 : length >= 9 ? 4 : length >= 5 ? 3 : length >= 3 ? 2 : length - 1
        let follow = feature.probability
        let followBucket = follow >= 0.999 ? (feature.support > 1 ? 3 : 2) : follow >= 0.5 ? 1 : 0
        return (lengthBucket, followBucket)
    }

    /// What may be hoped for before anything was seen: a third for one token, more for longer matches that agree.
    private static func prior(_ cell: (length: Int, follow: Int)) -> Double {
        let byLength = [0.3, 0.45, 0.6, 0.75, 0.85, 0.92][cell.length]
        return byLength * [0.4, 0.7, 0.9, 1][cell.follow]
    }

    func probability(_ feature: DraftFeature, _ source: DraftSource) -> Double {
        let cell = Self.cell(feature)
        let index = cell.length * Self.follows + cell.follow
        let prior = source == .host ? Double(feature.probability) : Self.prior(cell)
        return (accepted[index] + Self.weight * prior) / (count[index] + Self.weight)
    }

    mutating func add(_ feature: DraftFeature, _ wasAccepted: Bool) {
        let cell = Self.cell(feature)
        let index = cell.length * Self.follows + cell.follow
        let keep = 1 - 1 / Self.memory
        count[index] = count[index] * keep + 1
        accepted[index] = accepted[index] * keep + (wasAccepted ? 1 : 0)
    }
}

/// The mean of the estimates at each depth of a model's drafts. It is taken over what was drafted, not over what was
/// verified, so cutting a draft does not bend it.
private struct DepthMeans: Sendable {
    private static let memory = 48.0
    private static let weight = 4.0
    private var sums: [Double] = []
    private var counts: [Double] = []
    private var all = (sum: 0.7 * weight, count: weight)

    func mean(_ depth: Int) -> Double {
        let overall = all.sum / all.count
        guard depth < sums.count else { return overall }
        return (sums[depth] + Self.weight * overall) / (counts[depth] + Self.weight)
    }

    mutating func add(_ estimate: Double, depth: Int) {
        while sums.count <= depth {
            sums.append(0)
            counts.append(0)
        }
        let keep = 1 - 1 / Self.memory
        sums[depth] = sums[depth] * keep + estimate
        counts[depth] = counts[depth] * keep + 1
        all = (all.sum * keep + estimate, all.count * keep + 1)
    }
}

/// How a request differs from the rest: the odds ratio of what it accepted to what was expected of it.
private struct RequestOdds: Sendable {
    private static let memory = 64.0
    /// Observations on either side that the ratio 1 is worth.
    private static let weight = 16.0

    private struct Tally {
        var expected = 0.0
        var accepted = 0.0
        var count = 0.0
    }
    private var tallies = InlineArray<3, Tally>(repeating: Tally())

    /// What a caller expects says nothing about what is found, nor the other way.
    private static func place(_ source: DraftSource) -> Int {
        switch source {
        case .lookup, .suffix: 0
        case .model: 1
        case .host: 2
        }
    }

    func ratio(_ source: DraftSource) -> Double {
        let tally = tallies[Self.place(source)]
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

/// How far estimates and outcomes are apart: the expected calibration error over ten bins (Naeini, Cooper, Hauskrecht,
/// "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015).
package struct Calibration: Sendable, Equatable {
    private var predicted = [Double](repeating: 0, count: 10)
    private var accepted = [Double](repeating: 0, count: 10)
    private var count = [Double](repeating: 0, count: 10)

    mutating func add(predicted value: Double, accepted wasAccepted: Bool) {
        let bin = min(9, max(0, Int(value * 10)))
        predicted[bin] += value
        accepted[bin] += wasAccepted ? 1 : 0
        count[bin] += 1
    }

    package var observations: Int { Int(count.reduce(0, +)) }

    /// Of estimates that are alike: their mean, the share that was accepted, and how many there were.
    package struct Bin: Sendable, Equatable {
        package let predicted: Double
        package let accepted: Double
        package let count: Int
    }

    /// Bins that hold any, from low estimates to high ones.
    package var bins: [Bin] {
        count.indices.filter { count[$0] > 0 }.map {
            Bin(predicted: predicted[$0] / count[$0], accepted: accepted[$0] / count[$0], count: Int(count[$0]))
        }
    }

    /// 0 to 1; 0 without observations.
    package var expectedError: Double {
        let total = count.reduce(0, +)
        guard total > 0 else { return 0 }
        return zip(predicted, accepted).reduce(0) { $0 + abs($1.0 - $1.1) } / total
    }
}

private func logistic(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
