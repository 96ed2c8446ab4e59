// What each request could draft, and with what success.

extension GoodputPolicy {
    /// What drafts of the model promised when that was last looked at.
    struct Prospect {
        var requests = 0
        var withPrompts = false
        /// Since then.
        var steps = 0
        var gain = 0.0
    }

    struct Candidate {
        let source: DraftSource
        let lane: RowSolver.Lane
        /// What each token of it counts for.
        let worth: Double
        /// What the tokens of the whole draft that are expected to be accepted count for.
        var tokens: Double { lane.survivals.reduce(0, +) }
    }

    /// `draft` is what is drafted of it. The lane has survivals as what they are worth. Where a target is behind, the
    /// latency of its request counts for more than the goodput that drafts lose: one that is switched off has what its
    /// target needs, if that is likely enough to help, and no more.
    func lane(_ request: DecodingView, _ survivals: consuming [Double], _ draft: DraftView) -> RowSolver.Lane {
        var lane = RowSolver.Lane(context: request.context)
        lane.required = required(request, survivals)
        if isOff(request) {
            survivals.removeLast(survivals.count - lane.required)
        } else if !request.drawsDrafts {
            lane.branches = runnersUp.worths(draft, survivals: survivals)
        }
        let worth = step.worth.of(request)
        if worth != 1 {
            for place in survivals.indices { survivals[place] *= worth }
            for place in lane.branches.indices { lane.branches[place] *= worth }
        }
        lane.survivals = survivals
        return lane
    }

    /// nil: nothing is left of it.
    private func candidate(_ request: DecodingView, _ source: DraftSource, _ lane: RowSolver.Lane) -> Candidate? {
        lane.survivals.isEmpty ? nil : Candidate(source: source, lane: lane, worth: step.worth.of(request))
    }

    /// Whether the drafts of the request are switched off in a batch such as this.
    func isOff(_ request: DecodingView) -> Bool { switches.isOff(request.id, among: step.wishes.count) }

    /// What is less likely helps no target: the others wait for it more than the request gains.
    private static let leastChance = 0.3

    /// Rows until the expectation covers what the request's target needs.
    private func required(_ request: DecodingView, _ survivals: [Double]) -> Int {
        guard request.neededTokens > 1 else { return 0 }
        var (tokens, rows) = (1.0, 0)
        while rows < survivals.count, tokens < request.neededTokens, survivals[rows] > Self.leastChance {
            tokens += survivals[rows]
            rows += 1
        }
        return rows
    }

    func retrievalLanes(_ view: StepView) -> [Candidate?] {
        view.requests.map { request in
            if isBarred(request) { return nil }
            let isOff = isOff(request)
            var best: (draft: DraftView, survivals: [Double], tokens: Double)?
            for proposal in request.proposals {
                let most = min(request.room, maxDraft, proposal.features.count)
                guard most > 0 else { continue }
                var draft = proposal
                draft.features.removeLast(draft.features.count - most)
                let survivals = survival.survivals(draft, request: request.id)
                let tokens = survivals.prefix(isOff ? required(request, survivals) : most).reduce(0, +)
                if tokens > best?.tokens ?? -1 { best = (draft, survivals, tokens) }
            }
            return best.flatMap { candidate(request, $0.draft.source, lane(request, $0.survivals, $0.draft)) }
        }
    }

    /// Those of all requests that are worth what the draft model missed of them: it has to go through it first.
    mutating func modelLanes(
        _ view: StepView, _ costs: StepCosts, _ plain: RowSolver.Choice
    ) -> [Candidate?] {
        let lanes = view.requests.map { modelLane($0, costs) }
        let prices = view.requests.map { catchUpPrice($0, costs) }
        // A few tokens are caught up without asking.
        let little = costs.target.base(rows: view.requests.count) / 4
        guard zip(prices, lanes).contains(where: { $0 > little && $1 != nil }) else { return lanes }
        let perToken = gain(view, costs, plain, lanes)
        let pace = decodingTime(view, costs)
        return view.requests.indices.map { index in
            // What a target needs is drafted whatever it costs.
            guard prices[index] > little, lanes[index]?.lane.required == 0, !hasTarget(view.requests[index], pace)
            else { return lanes[index] }
            let gained = perToken * Double(view.requests[index].remaining)
            return gained > 0.5 * step.lambda * prices[index] ? lanes[index] : nil
        }
    }

    /// Whether the request has a target that may be kept: it is going to need drafts now and then, and those come too late for
    /// a short text if the draft model first reads the prompt when they are needed.
    private func hasTarget(_ request: DecodingView, _ stepTime: Double) -> Bool {
        request.targetTPOT.map { stepTime < Self.fastest * $0 } ?? false
    }

    /// No more than so many tokens a step are hoped for.
    private static let fastest = 4.0

    /// The step without drafts and prompts.
    private func decodingTime(_ view: StepView, _ costs: StepCosts) -> Double {
        var alone = view
        (alone.prefillRows, alone.prefillAttended, alone.prefillContext) = (0, 0, 0)
        return costs.targetTime(alone, drafted: 0, attended: 0)
    }

    /// In how many steps the gain is looked at once: it takes the longer the more requests there are.
    private static func interval(_ requests: Int) -> Int { min(4, max(1, requests / 2)) }

    /// What each further token of a request is expected to gain, in tokens, by drafts of the model for all requests.
    private mutating func gain(
        _ view: StepView, _ costs: StepCosts, _ plain: RowSolver.Choice, _ lanes: [Candidate?]
    ) -> Double {
        let withPrompts = view.prefillRows > 0
        if prospect.requests == view.requests.count, prospect.withPrompts == withPrompts,
            prospect.steps < Self.interval(view.requests.count)
        {
            return prospect.gain
        }
        // The rest of the request gains as drafts for all would in this step. Where prompts take part, a row takes as much
        // from them as it gains elsewhere. That half of the price is enough was found on virtual time: whom nobody drafts
        // for is slowed down by the drafts of the others.
        pose(view, costs, lanes)
        let choice = solver.best(lambda: withPrompts ? step.lambda : latestRate[view.requests.count] ?? step.lambda)
        let gain = choice.tokens - plain.tokens - step.lambda * (choice.time - plain.time)
        let drafting = Double(max(1, choice.lengths.count { $0 > 0 }))
        let perToken =
            gain / drafting * Double(view.requests.count) / choice.tokens * max(0, 1 - 2 * pace.promptShare)
        prospect = Prospect(requests: view.requests.count, withPrompts: withPrompts, gain: perToken)
        return perToken
    }

    /// What the draft model takes for the tokens that it missed; 0 for those of the last step or two.
    private func catchUpPrice(_ request: DecodingView, _ costs: StepCosts) -> Double {
        guard let draft = costs.draft, request.draftBacklog > 8 else { return 0 }
        return draft.time(
            rows: request.draftBacklog, context: request.context,
            attended: request.draftBacklog * (request.context / 2 + 1))
    }

    private func modelLane(_ request: DecodingView, _ costs: StepCosts) -> Candidate? {
        let most = min(request.room, maxDraft)
        guard request.draftBacklog > 0, most > 0, costs.draft != nil, !isBarred(request) else { return nil }
        var survivals: [Double] = []
        survival.extend(&survivals, to: most, request: request.id)
        var lane = lane(request, survivals, DraftView(source: .model, features: []))
        lane.usesModel = true
        return candidate(request, .model, lane)
    }

    /// A request whose drafts lose has none: there is nothing to be looked at.
    private func isBarred(_ request: DecodingView) -> Bool { request.neededTokens <= 1 && isOff(request) }
}
