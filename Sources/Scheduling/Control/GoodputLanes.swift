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

    /// What could be drafted for a request.
    struct Offer {
        let source: DraftSource
        let lane: RowPool.Lane
        /// What the tokens of the whole draft that are expected to be accepted count for.
        let tokens: Double
    }

    /// A request of the step.
    struct Request {
        let standing: SurvivalModel.Standing
        /// Whether its drafts are switched off in a batch such as this.
        let isOff: Bool
        /// What each of its tokens counts for.
        let worth: Double
        /// What retrieval found, and what the draft model could draft.
        var found: Offer?
        var drafted: Offer?
        /// What is drafted with in the set that is looked at.
        var trial: DraftSource?
        /// What is drafted with in the best set so far.
        var source: DraftSource?
        /// The rows of it in the best set so far.
        var length = 0

        /// What promises more, where a pass of the draft model costs the request so many tokens.
        func better(_ pass: Double) -> Offer? {
            guard let found, let drafted, worth > 0 else { return found ?? drafted }
            // As many passes as tokens, some of which are paid for by what the others gain from them.
            return drafted.tokens - pass * min(4, drafted.tokens / worth) > found.tokens ? drafted : found
        }
    }

    /// The lane of what stands in the solver's pool from `first` on, with survivals as what they are worth; `draft` is what is
    /// drafted of it. Where a target is behind, the latency of its request counts for more than the goodput that drafts
    /// lose: one that is switched off has what its target needs, if that is likely enough to help, and no more.
    mutating func lane(_ index: Int, _ view: StepView, _ draft: DraftView, from first: Int) -> RowPool.Lane {
        var lane = RowPool.Lane(context: view.requests[index].context)
        lane.required = required(view, index, from: first)
        if step.requests[index].isOff {
            solver.pool.survivals.removeLast(solver.pool.survivals.count - first - lane.required)
        } else if !view.requests[index].drawsDrafts {
            solver.pool.pad(to: first)
            let survivals = solver.pool.survivals[first...]
            lane.hasBranches = runnersUp.append(draft, survivals: survivals, to: &solver.pool.branches)
        }
        solver.pool.close(&lane, first: first)
        if step.requests[index].worth != 1 { solver.pool.scale(lane, by: step.requests[index].worth) }
        return lane
    }

    /// nil: nothing is left of it.
    private func offer(_ source: DraftSource, _ lane: RowPool.Lane) -> Offer? {
        lane.count > 0 ? Offer(source: source, lane: lane, tokens: solver.pool.sum(lane)) : nil
    }

    /// What is less likely helps no target: the others wait for it more than the request gains.
    private static let leastChance = 0.3

    /// Rows from `first` on until the expectation covers what the request's target needs.
    private func required(_ view: StepView, _ index: Int, from first: Int) -> Int {
        let needed = view.requests[index].neededTokens
        guard needed > 1 else { return 0 }
        var (tokens, rows) = (1.0, 0)
        for survival in solver.pool.survivals[first...] {
            guard tokens < needed, survival > Self.leastChance else { break }
            tokens += survival
            rows += 1
        }
        return rows
    }

    /// What retrieval found for each request. Returns whether there is anything.
    mutating func lookAtProposals(_ view: StepView) -> Bool {
        var isAny = false
        for index in view.requests.indices where !isBarred(index, view) {
            guard let found = longestProposal(index, view) else { continue }
            step.requests[index].found = found
            isAny = true
        }
        return isAny
    }

    /// Of what was found, that of which most is expected.
    private mutating func longestProposal(_ index: Int, _ view: StepView) -> Offer? {
        let most = min(view.requests[index].room, maxDraft)
        guard most > 0 else { return nil }
        var best: (place: Int, first: Int, tokens: Double)?
        for place in view.requests[index].proposals.indices {
            let first = solver.pool.survivals.count
            survival.append(
                view.requests[index].proposals[place], first: most, step.requests[index].standing,
                to: &solver.pool.survivals)
            var end = solver.pool.survivals.count
            if step.requests[index].isOff { end = first + required(view, index, from: first) }
            let tokens = solver.pool.survivals[first..<end].reduce(0, +)
            if tokens > best?.tokens ?? 0 {
                best = (place, first, tokens)
            } else {
                solver.pool.survivals.removeLast(solver.pool.survivals.count - first)
            }
        }
        guard let best else { return nil }
        let draft = view.requests[index].proposals[best.place]
        return offer(draft.source, lane(index, view, draft, from: best.first))
    }

    /// What the draft model could draft for the requests that are worth what it missed of them: it has to go through it
    /// first. Returns whether there is any.
    mutating func lookAtModel(_ view: StepView, _ costs: StepCosts, _ plain: RowSolver.Total) -> Bool {
        // A few tokens are caught up without asking.
        let little = costs.target.base(rows: view.requests.count) / 4
        var (isAny, isDear) = (false, false)
        for index in view.requests.indices {
            step.requests[index].drafted = modelOffer(index, view)
            guard step.requests[index].drafted != nil else { continue }
            isAny = true
            isDear = isDear || catchUpPrice(view.requests[index], costs) > little
        }
        guard isDear else { return isAny }
        leaveDear(view, costs, plain, little)
        return step.requests.contains { $0.drafted != nil }
    }

    /// Leaves those out that do not gain as much as it takes to catch up with them.
    private mutating func leaveDear(
        _ view: StepView, _ costs: StepCosts, _ plain: RowSolver.Total, _ little: Double
    ) {
        let perToken = gain(view, costs, plain)
        let pace = decodingTime(view, costs)
        for index in view.requests.indices {
            // What a target needs is drafted whatever it costs.
            let price = catchUpPrice(view.requests[index], costs)
            guard price > little, step.requests[index].drafted?.lane.required == 0,
                !hasTarget(view.requests[index], pace),
                perToken * Double(view.requests[index].remaining) <= 0.5 * step.lambda * price
            else { continue }
            step.requests[index].drafted = nil
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
    private mutating func gain(_ view: StepView, _ costs: StepCosts, _ plain: RowSolver.Total) -> Double {
        let (count, withPrompts) = (view.requests.count, view.prefillRows > 0)
        if prospect.requests == count, prospect.withPrompts == withPrompts, prospect.steps < Self.interval(count) {
            return prospect.gain
        }
        // The rest of the request gains as drafts for all would in this step. Where prompts take part, a row takes as much
        // from them as it gains elsewhere. That half of the price is enough was found on virtual time: whom nobody drafts
        // for is slowed down by the drafts of the others.
        solver.lanes.removeAll(keepingCapacity: true)
        for index in view.requests.indices {
            let lane = step.requests[index].drafted?.lane
            solver.lanes.append(lane ?? RowPool.Lane(context: view.requests[index].context))
        }
        solver.pose(view, costs)
        let total = solver.findBest(lambda: withPrompts ? step.lambda : latestRates[count] ?? step.lambda)
        let gain = total.tokens - plain.tokens - step.lambda * (total.time - plain.time)
        let drafting = Double(max(1, solver.lengths.count { $0 > 0 }))
        let perToken = gain / drafting * Double(count) / total.tokens * max(0, 1 - 2 * pace.promptShare)
        prospect = Prospect(requests: count, withPrompts: withPrompts, gain: perToken)
        return perToken
    }

    /// What the draft model takes for the tokens that it missed; 0 for those of the last step or two.
    private func catchUpPrice(_ request: DecodingView, _ costs: StepCosts) -> Double {
        guard request.draftBacklog > 8, let draft = costs.draft else { return 0 }
        return draft.time(
            rows: request.draftBacklog, context: request.context,
            attended: request.draftBacklog * (request.context / 2 + 1))
    }

    private mutating func modelOffer(_ index: Int, _ view: StepView) -> Offer? {
        let most = min(view.requests[index].room, maxDraft)
        guard view.requests[index].draftBacklog > 0, most > 0, !isBarred(index, view) else { return nil }
        let first = solver.pool.survivals.count
        survival.extend(&solver.pool.survivals, from: first, to: most, step.requests[index].standing)
        var lane = lane(index, view, DraftView(source: .model, features: []), from: first)
        lane.usesModel = true
        return offer(.model, lane)
    }

    /// A request whose drafts lose has none: there is nothing to be looked at.
    private func isBarred(_ index: Int, _ view: StepView) -> Bool {
        step.requests[index].isOff && view.requests[index].neededTokens <= 1
    }
}
