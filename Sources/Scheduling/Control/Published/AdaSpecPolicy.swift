/// adaspec: "SpecServe" (arXiv 2503.05096 v1), later "AdaSpec" (v2, SoCC 2025). Its measure is efficiency, the expected
/// tokens per predicted time of a step, with the drafter's own probability of each token as the probability that it is
/// accepted; before a token is drafted, the running mean of those probabilities stands for it, 0.6 at first.
/// - Adaptive drafter (`begin`, `extend`): drafting starts if one token each promises more than none, and goes on while
///   neither the drafted nor the promised tokens make it less efficient; at most 8 tokens.
/// - SLO-aware estimator (`select`): of the lengths that keep every request's time per token within its target the most
///   efficient, else the one that misses by the least; `StepRating` is that order, and the drafter follows it too.
/// - Confidence prior verifier (`select`): the tokens of lowest survival are dropped down to the next smaller width
///   after which a row costs notably more, as long as the step does not become less efficient.
///
/// Faults of the published code are not copied: its pruning drains one request, its SLO check is switched off, and it
/// never compares probabilities with outcomes; here they are scaled by what was accepted of them. As published, a mean
/// that starts no drafts learns nothing more: only another batch, context or cost brings drafts back. The paper has no
/// lookups: they cost no pass, so they are always proposed, and their share of earlier occurrences is their probability.
package struct AdaSpecPolicy: SpeculationPolicy {
    package static let maximumLength = 8

    private var model = ConfidenceRecord()
    private var retrieval = ConfidenceRecord()
    /// Of this step: what the draft model may draft for each request, and the rating of the drafts so far.
    private var allowed: [Int] = []
    private var rating = StepRating(efficiency: 0, strain: 0)

    package init() {}

    package mutating func begin(_ view: StepView, _ costs: StepCosts) -> [DraftWish] {
        let batch = DraftableBatch(view, modelLimit: Self.maximumLength, retrievalLimit: Self.maximumLength)
        var most = LengthChoice(length: 0, limit: .gain)
        for length in 0...batch.longest where batch.obstacle(length: length) == nil { most.length = length }
        most.limit = batch.obstacle(length: most.length + 1) ?? .length
        let wishes = batch.wishes(length: most.length, most.limit)
        allowed = wishes.map { $0.source == .model ? $0.length : 0 }
        let start = weigh(view, costs, zip(view.requests, wishes).map { Self.known($0, $1) })
        let longer = start.promising(allowed, at: 0, survival: model.expected)
        rating = start.rating
        let promised = longer.rating
        if promised.isBetter(than: rating) { return wishes }
        return wishes.map { $0.source == .model ? .none(promised.strain > 1 ? .target : .gain) : $0 }
    }

    /// The draft that is there before the first pass.
    private static func known(_ request: DecodingView, _ wish: DraftWish) -> DraftView? {
        guard let source = wish.source else { return nil }
        guard source.isRetrieval, let proposal = request.preferredProposal else {
            return DraftView(source: source, features: [])
        }
        return DraftView(source: source, features: Array(proposal.features.prefix(wish.length)))
    }

    package mutating func extend(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?]) -> [Bool] {
        let depth = drafts.reduce(0) { $1?.source == .model ? max($0, $1?.features.count ?? 0) : $0 }
        let going = drafts.indices.map { index in
            drafts[index]?.source == .model && drafts[index]?.features.count == depth && depth < allowed[index]
        }
        // `begin` has decided on the first pass.
        guard depth > 0 else { return going }
        let stop = drafts.map { _ in false }
        let drafted = weigh(view, costs, drafts)
        let real = drafted.rating
        if rating.isBetter(than: real) { return stop }
        rating = real
        let longer = drafted.promising(allowed, at: depth, survival: model.expected)
        return rating.isBetter(than: longer.rating) ? stop : going
    }

    package mutating func select(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?]) -> [Int] {
        let step = weigh(view, costs, drafts)
        let draftTime = step.draftTime
        // What was drafted in full may be the best beginning for pruning even where a shorter length is better unpruned.
        let whole = step.pruned(step.lengths, draftTime: draftTime)
        var (length, best) = (0, StepRating(efficiency: 0, strain: .infinity))
        for candidate in 0...step.lengths.reduce(0, max) {
            let rating = step.rating(verified: step.lengths.map { min(candidate, $0) }, draftTime: draftTime)
            if candidate == 0 || rating.isBetter(than: best) { (length, best) = (candidate, rating) }
        }
        let uniform = step.pruned(step.lengths.map { min(length, $0) }, draftTime: draftTime)
        return (whole.rating.isBetter(than: uniform.rating) ? whole : uniform).lengths
    }

    package mutating func commit(_ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome) {
        for request in outcome.requests {
            guard let source = request.source else { continue }
            if source.isRetrieval { retrieval.learn(request) } else { model.learn(request) }
        }
    }

    private func weigh(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?]) -> WeighedStep {
        let survivals = drafts.map { draft -> [Double] in
            guard let draft else { return [] }
            let record = draft.source.isRetrieval ? retrieval : model
            var survival = 1.0
            return draft.features.map { feature in
                survival *= record.corrected(Double(feature.probability))
                return survival
            }
        }
        return WeighedStep(
            view: view, costs: costs, isModel: drafts.map { $0?.source == .model }, survivals: survivals)
    }
}

/// What a drafter's probabilities were, and what came of them.
struct ConfidenceRecord: Sendable {
    private static let prior = 0.6
    /// As many judged tokens as it takes for the outcomes to weigh as much as the probabilities themselves.
    private static let trust = 32.0
    private var sum = 0.0
    private var count = 0
    private var judged = 0.0
    private var accepted = 0.0

    /// The probability that a token not drafted yet is accepted if those before it are.
    var expected: Double { corrected(count > 0 ? sum / Double(count) : Self.prior) }

    func corrected(_ confidence: Double) -> Double {
        min(1, max(0, confidence) * (Self.trust + accepted) / (Self.trust + judged))
    }

    mutating func learn(_ outcome: DraftOutcome) {
        sum += outcome.features.reduce(0) { $0 + Double($1.probability) }
        count += outcome.features.count
        judged += outcome.features.prefix(outcome.accepted + outcome.refused).reduce(0) { $0 + Double($1.probability) }
        accepted += Double(outcome.accepted)
    }
}
