import Formats
package import Scheduling

/// The scheduler of drafts alone, for hosts that run models themselves. It keeps what each step said until the step ends,
/// learns what passes cost, and refuses calls that come out of order. One thread at a time.
///
/// Values are checked here, once: policies take them as they are.
package final class SpeculationController {
    private var policy: any SpeculationPolicy
    private var table: CostTable
    private let hasDraftModel: Bool
    private var state = State.idle
    private var view = StepView()
    private var wishes: [DraftWish] = []
    /// What was drafted, as of `select`.
    private var drafts: [DraftView?] = []
    private var lengths: [Int] = []

    private enum State {
        case idle
        /// Between `begin` and `select`.
        case drafting
        /// Between `select` and `commit`.
        case verifying
    }

    package init(policy: PolicyKind, draftTokens: Int, costs: StepCosts) throws {
        let most = PolicyKind.mostDraftTokens
        guard (0...most).contains(draftTokens) else {
            throw Failure.invalid("max_draft_tokens is \(draftTokens); it must be from 0 to \(most)")
        }
        self.policy = policy.makePolicy(costs, draftTokens: draftTokens)
        table = CostTable(costs)
        hasDraftModel = costs.draft != nil
    }

    /// What passes are believed to cost now.
    package var costs: StepCosts { table.costs }

    // MARK: A step

    package func begin(_ step: StepView) throws -> [DraftWish] {
        guard state == .idle else {
            throw Failure(.wrongState, "a step has begun already; commit it or abandon it first")
        }
        try ControllerLimits.check(step, hasDraftModel: hasDraftModel)
        view = step
        wishes = zip(step.requests, policy.begin(step, table.costs)).map(Self.possible)
        drafts = step.requests.map { _ in nil }
        lengths = step.requests.map { _ in 0 }
        state = .drafting
        return wishes
    }

    /// A wish for no more than the request has room for.
    private static func possible(_ request: DecodingView, _ wish: DraftWish) -> DraftWish {
        DraftWish(source: wish.source, length: min(wish.length, request.room), limit: wish.limit)
    }

    /// Which requests of the draft model take part in its next pass.
    package func extend(_ drafts: [DraftView?]) throws -> [Bool] {
        try expect(.drafting, "extend")
        try check(drafts)
        let goesOn = policy.extend(view, table.costs, drafts)
        return drafts.indices.map { index in
            guard let draft = drafts[index], draft.source == .model else { return false }
            return goesOn[index] && draft.features.count < wishes[index].length
        }
    }

    /// How many tokens of each draft are verified.
    package func select(_ drafts: [DraftView?]) throws -> [Int] {
        try expect(.drafting, "select")
        try check(drafts)
        self.drafts = drafts
        if drafts.contains(where: { $0?.features.isEmpty == false }) {
            var left = view.rowBudget
            lengths = zip(drafts, policy.select(view, table.costs, drafts)).map { draft, chosen in
                let length = max(0, min(chosen, draft?.features.count ?? 0, left))
                left -= length
                return length
            }
        }
        state = .verifying
        return lengths
    }

    /// What came of the step. Without `select` before nothing was drafted.
    package func commit(_ outcome: StepOutcome) throws {
        guard state != .idle else { throw Failure(.wrongState, "commit needs a step that has begun") }
        var outcome = outcome
        guard outcome.requests.count == view.requests.count else {
            throw Failure.invalid(
                "outcome_count is \(outcome.requests.count), but the step has \(view.requests.count) requests")
        }
        for index in outcome.requests.indices { try complete(&outcome.requests[index], index) }
        try ControllerLimits.check(outcome, hasDraftModel: hasDraftModel)
        table.observe(view, outcome)
        policy.commit(view, table.costs, outcome)
        state = .idle
    }

    /// Adds what is known of a request already, and checks the rest against it.
    private func complete(_ outcome: inout DraftOutcome, _ index: Int) throws {
        let place = "outcomes[\(index)]"
        outcome.id = view.requests[index].id
        outcome.isPeculiar = view.requests[index].isPeculiar
        outcome.source = drafts[index]?.source
        outcome.features = drafts[index]?.features ?? []
        let drafted = outcome.features.count
        guard (0...drafted).contains(outcome.verified) else {
            throw Failure.invalid(
                "verified_tokens of \(place) is \(outcome.verified), but \(drafted) tokens were drafted")
        }
        guard (0...outcome.verified).contains(outcome.accepted) else {
            throw Failure.invalid(
                "accepted_tokens of \(place) is \(outcome.accepted), but \(outcome.verified) were verified")
        }
        guard (0...ControllerLimits.emitted).contains(outcome.emitted) else {
            throw Failure.invalid("emitted_tokens of \(place) is too large")
        }
        try judge(&outcome, index, place)
    }

    /// What proposals would have come to: one judgement for each of them, or none at all.
    private func judge(_ outcome: inout DraftOutcome, _ index: Int, _ place: String) throws {
        guard !outcome.counterfactuals.isEmpty else { return }
        let proposals = view.requests[index].proposals
        guard outcome.counterfactuals.count == proposals.count else {
            throw Failure.invalid(
                "judgement_count of \(place) is \(outcome.counterfactuals.count), but the request had "
                    + "\(proposals.count) proposals")
        }
        for (at, proposal) in proposals.enumerated() {
            let (judged, accepted) = (outcome.counterfactuals[at].judged, outcome.counterfactuals[at].accepted)
            guard (0...proposal.features.count).contains(judged), (0...judged).contains(accepted),
                judged <= accepted + 1
            else {
                throw Failure.invalid(
                    "judgements[\(at)] of \(place): accepted_tokens, at most one less than judged_tokens, and those, at "
                        + "most the proposal's \(proposal.features.count), are \(accepted) and \(judged)")
            }
            outcome.counterfactuals[at].draft = proposal
        }
    }

    /// Ends a step that failed: nothing is learned of it.
    package func abandon() throws {
        guard state != .idle else { throw Failure(.wrongState, "abandon needs a step that has begun") }
        state = .idle
    }

    /// The request is gone.
    package func forget(_ id: UInt64) { policy.forget(id) }

    // MARK: Checks

    private func expect(_ wanted: State, _ call: String) throws {
        guard state == wanted else {
            let reason = state == .idle ? "needs a step that has begun" : "comes too late: the step is selected"
            throw Failure(.wrongState, "\(call) \(reason)")
        }
    }

    private func check(_ drafts: [DraftView?]) throws {
        guard drafts.count == view.requests.count else {
            throw Failure.invalid("draft_count is \(drafts.count), but the step has \(view.requests.count) requests")
        }
        for (index, draft) in drafts.enumerated() {
            guard let draft else { continue }
            guard draft.source == wishes[index].source else {
                throw Failure.invalid("source of drafts[\(index)] is not the one that was wished for")
            }
            guard draft.features.count <= wishes[index].length else {
                throw Failure.invalid(
                    "feature_count of drafts[\(index)] is \(draft.features.count), but \(wishes[index].length) tokens "
                        + "were wished for")
            }
            try ControllerLimits.check(draft.features, "drafts[\(index)]")
        }
    }
}

/// What policies compute with is within these bounds, so that no sum or product of theirs leaves its type.
package enum ControllerLimits {
    package static let requests = 1 << 16
    package static let features = 1024
    package static let passes = 1024
    static let tokens = 1 << 30
    static let rows = 1 << 20
    static let emitted = 1 << 20

    static func check(_ step: StepView, hasDraftModel: Bool) throws {
        guard (1...requests).contains(step.requests.count) else {
            throw Failure.invalid("request_count is \(step.requests.count); it must be from 1 to \(requests)")
        }
        try count(step.rowBudget, rows, "row_budget")
        try count(step.prefillRows, rows, "prefill_rows")
        try count(step.prefillContext, tokens << 16, "prefill_context_tokens")
        try count(step.prefillAttended, tokens << 20, "prefill_attended_tokens")
        guard step.freeTokens >= 0 else { throw Failure.invalid("free_tokens is \(step.freeTokens)") }
        guard step.coin >= 0, step.coin < 1 else {
            throw Failure.invalid("coin is \(step.coin); it must be at least 0 and below 1")
        }
        var ids: Set<UInt64> = []
        for (index, request) in step.requests.enumerated() {
            try check(request, "requests[\(index)]", hasDraftModel: hasDraftModel)
            guard ids.insert(request.id).inserted else {
                throw Failure.invalid(
                    "id of requests[\(index)] is \(request.id), which another request of the step has")
            }
        }
    }

    private static func check(_ request: DecodingView, _ place: String, hasDraftModel: Bool) throws {
        try count(request.context, tokens, "context_tokens of \(place)")
        try count(request.room, tokens, "room_tokens of \(place)")
        try count(request.remaining, tokens + 1, "remaining_tokens of \(place)")
        try count(request.draftBacklog, request.context, "draft_backlog_tokens of \(place)")
        guard hasDraftModel || request.draftBacklog == 0 else {
            throw Failure.invalid("draft_backlog_tokens of \(place) is not 0, but there is no draft model")
        }
        _ = try CostLimits.time(request.neededTokens, "needed_tokens of \(place)")
        if let target = request.targetTPOT { _ = try CostLimits.time(target, "target_tpot_us of \(place)") }
        var sources: Set<DraftSource> = []
        for (index, proposal) in request.proposals.enumerated() {
            let name = "\(place).proposals[\(index)]"
            guard proposal.source.isRetrieval, sources.insert(proposal.source).inserted else {
                throw Failure.invalid("source of \(name) must be a retrieval source, and no two the same")
            }
            try check(proposal.features, name)
        }
    }

    static func check(_ features: [DraftFeature], _ place: String) throws {
        for (index, feature) in features.enumerated() {
            guard feature.margin >= 0 else {
                throw Failure.invalid("margin of features[\(index)] of \(place) is \(feature.margin), not 0 or more")
            }
            guard feature.probability >= 0, feature.probability <= 1 else {
                throw Failure.invalid(
                    "probability of features[\(index)] of \(place) is \(feature.probability), not from 0 to 1")
            }
            guard feature.matchLength >= 0, feature.support >= 0 else {
                throw Failure.invalid("match_length or support of features[\(index)] of \(place) is negative")
            }
        }
    }

    static func check(_ outcome: StepOutcome, hasDraftModel: Bool) throws {
        for (time, name) in [
            (outcome.draftTime, "draft_time_us"), (outcome.targetTime, "target_time_us"),
            (outcome.stepTime, "step_time_us"),
        ] { _ = try CostLimits.time(time, name) }
        guard hasDraftModel || outcome.draftPasses.isEmpty else {
            throw Failure.invalid("draft_pass_count is not 0, but there is no draft model")
        }
        for (index, pass) in outcome.draftPasses.enumerated() {
            let place = "draft_passes[\(index)]"
            try count(pass.requests, requests, "requests of \(place)")
            try count(pass.rows, tokens, "rows of \(place)")
            try count(pass.context, tokens << 16, "context_tokens of \(place)")
            _ = try CostLimits.time(pass.time, "time_us of \(place)")
        }
    }

    private static func count(_ value: Int, _ most: Int, _ name: String) throws {
        guard (0...most).contains(value) else {
            throw Failure.invalid("\(name) is \(value); it must be from 0 to \(most)")
        }
    }
}
