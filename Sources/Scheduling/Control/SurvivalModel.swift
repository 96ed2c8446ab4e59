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
    private var matches = MatchTables()
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

    /// What is known of one request, looked up once for all estimates of a step.
    package struct Standing: Sendable {
        /// Of its odds to those of all, by source.
        fileprivate var ratios = RequestOdds.Ratios(repeating: 1)
        fileprivate var isDrawn = false
    }

    package func standing(of request: UInt64) -> Standing {
        var standing = Standing()
        if let odds = requests[request] { standing.ratios = odds.ratios }
        standing.isDrawn = !drawing.isEmpty && drawing.contains(request)
        return standing
    }

    /// Adds the survivals of the first `count` drafted tokens: the running product.
    package func append(
        _ draft: DraftView, first count: Int, _ standing: Standing, to survivals: inout [Double]
    ) {
        let ratio = standing.ratios[RequestOdds.place(draft.source)]
        var product = 1.0
        for index in 0..<min(count, draft.features.count) {
            product *= Self.probability(odds: odds(draft.features[index], draft.source, standing.isDrawn) * ratio)
            survivals.append(product)
        }
    }

    /// Adds the survivals of tokens that the draft model has yet to draft behind those from `first` on, at depths up to `end`,
    /// as long as they are worth a look.
    package mutating func extend(_ survivals: inout [Double], from first: Int, to end: Int, _ standing: Standing) {
        let ratio = standing.ratios[RequestOdds.place(.model)]
        if standing.isDrawn {
            model.drawn.depths.extend(&survivals, from: first, to: end, ratio: ratio)
        } else {
            model.coupled.depths.extend(&survivals, from: first, to: end, ratio: ratio)
        }
    }

    private func odds(_ feature: DraftFeature, _ source: DraftSource, _ isDrawn: Bool) -> Double {
        source == .model ? Self.odds(probability(feature.margin, isDrawn)) : matches.odds(feature, source)
    }

    private func probability(_ margin: Float, _ isDrawn: Bool) -> Double {
        isDrawn ? model.drawn.margins.probability(margin) : model.coupled.margins.probability(margin)
    }

    /// Callers may be sure of their drafts; odds know no certainty.
    private static func bounded(_ value: Double) -> Double { min(max(value, bounds.lowerBound), bounds.upperBound) }

    static func odds(_ probability: Double) -> Double {
        let base = bounded(probability)
        return base / (1 - base)
    }

    static func probability(odds: Double) -> Double { bounded(odds / (1 + odds)) }

    // MARK: Learning

    /// Takes what was seen of a draft: of its first `judged` positions the first `accepted` were accepted, so the one
    /// after them, if it was judged, was not. Tokens of a model that were not judged still tell what drafts look like.
    package mutating func observe(
        _ draft: DraftView, judged: Int, accepted: Int, request: UInt64, isPeculiar: Bool
    ) {
        let isDrawn = !drawing.isEmpty && drawing.contains(request)
        if draft.source == .model, !isPeculiar {
            if isDrawn { model.drawn.note(draft.features) } else { model.coupled.note(draft.features) }
        }
        let count = min(judged, accepted + 1, draft.features.count)
        guard count > 0 else { return }
        var odds = requests[request] ?? RequestOdds()
        for index in 0..<count {
            let feature = draft.features[index]
            let wasAccepted = index < accepted
            let base =
                draft.source == .model
                ? probability(feature.margin, isDrawn) : matches.probability(feature, draft.source)
            let believed = Self.probability(odds: Self.odds(base) * odds.ratio(draft.source))
            calibration.add(predicted: believed, accepted: wasAccepted)
            odds.add(draft.source, expected: base, accepted: wasAccepted)
            // What bends one request's distribution must not move the estimate of the others.
            if isPeculiar { continue }
            switch (draft.source, isDrawn) {
            case (.model, true): model.drawn.margins.add(feature.margin, wasAccepted)
            case (.model, false): model.coupled.margins.add(feature.margin, wasAccepted)
            default: matches.add(feature, draft.source, wasAccepted)
            }
        }
        requests[request] = odds
    }
}
