import Scheduling

/// Steps and their outcomes in a few words, for the tests of policies.
enum PolicyScene {
    /// `fixed` + `perRow` for each row, from 1 to 64 rows.
    static func line(_ fixed: Double, perRow: Double = 0) -> PassCosts {
        PassCosts(widths: [1, 64], base: [fixed + perRow, fixed + 64 * perRow])
    }

    /// The times of 1, 2, … rows.
    static func stairs(_ base: [Double]) -> PassCosts { PassCosts(widths: Array(1...base.count), base: base) }

    static func costs(_ target: PassCosts, draft: Double? = nil) -> StepCosts {
        StepCosts(target: target, draft: draft.map { line($0) })
    }

    static func view(_ requests: [DecodingView]) -> StepView {
        var view = StepView()
        view.requests = requests
        view.rowBudget = 1000
        return view
    }

    static func view(_ count: Int, _ request: (UInt64) -> DecodingView) -> StepView {
        view((1...UInt64(count)).map(request))
    }

    /// A request that a draft model drafts for.
    static func drafting(_ id: UInt64, context: Int = 100, room: Int = 32) -> DecodingView {
        var request = DecodingView(id: id, context: context, room: room)
        request.draftBacklog = 1
        return request
    }

    /// A request for which lookup found tokens of these probabilities; none is no match.
    static func matching(_ id: UInt64, _ probabilities: [Float], room: Int = 32) -> DecodingView {
        var request = DecodingView(id: id, context: 100, room: room)
        if !probabilities.isEmpty { request.proposals = [draft(.lookup, probabilities)] }
        return request
    }

    static func matching(_ id: UInt64, length: Int) -> DecodingView {
        matching(id, Array(repeating: 0.5, count: length))
    }

    static func draft(_ source: DraftSource, _ probabilities: [Float]) -> DraftView {
        DraftView(source: source, features: probabilities.map { DraftFeature(probability: $0) })
    }

    /// What comes of a draft of `length` tokens of which `accepted` were accepted.
    static func outcome(
        _ id: UInt64, length: Int, accepted: Int, source: DraftSource = .model, probability: Float = 0.5
    ) -> DraftOutcome {
        var outcome = DraftOutcome(id: id)
        outcome.source = length > 0 ? source : nil
        outcome.features = Array(repeating: DraftFeature(probability: probability), count: length)
        outcome.verified = length
        outcome.accepted = accepted
        outcome.emitted = accepted + 1
        return outcome
    }

    static func outcome(_ requests: [DraftOutcome]) -> StepOutcome {
        var outcome = StepOutcome()
        outcome.requests = requests
        return outcome
    }
}

extension SpeculationPolicy {
    /// The lengths that `begin` wishes. The published policies take what they need of costs at the start, or are given them.
    mutating func lengths(_ view: StepView, _ costs: StepCosts = PolicyScene.costs(PolicyScene.line(1))) -> [Int] {
        begin(view, costs).map(\.length)
    }

    mutating func learn(_ view: StepView, _ outcomes: [DraftOutcome]) {
        commit(view, PolicyScene.costs(PolicyScene.line(1)), PolicyScene.outcome(outcomes))
    }
}

extension SurvivalModel {
    /// The probability for one token that is drafted.
    func conditional(_ feature: DraftFeature, _ source: DraftSource, request: UInt64) -> Double {
        survivals(DraftView(source: source, features: [feature]), request: request)[0]
    }

    /// The probability for the first token that the draft model has yet to draft; 0 where it is not worth a look.
    func expected(request: UInt64) -> Double {
        var (survivals, own): ([Double], SurvivalModel) = ([], self)
        own.extend(&survivals, from: 0, to: 1, standing(of: request))
        return survivals.first ?? 0
    }

    /// The survivals of the drafted tokens.
    func survivals(_ draft: DraftView, request: UInt64) -> [Double] {
        var survivals: [Double] = []
        append(draft, first: draft.features.count, standing(of: request), to: &survivals)
        return survivals
    }
}
