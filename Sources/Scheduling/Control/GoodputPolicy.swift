/// The default policy: expected useful tokens per second, as many as this machine gives at its present load.
///
/// The unit of decision is the pair (request, position). Survivals come from `SurvivalModel`, prices from the measured table,
/// and `RowSolver` finds the best set of rows; between two passes of the draft model it is asked again with what these
/// drafts turned out to be. What is not worth verifying is not drafted. A drafter is chosen for each request and step.
/// Beside prompts the tokens of a request count for the time that they spare (`TokenWorth`). A request whose drafts lose
/// for certain has none for a while (`UtilitySwitch`), whatever is believed of them.
/// Nothing here changes the text: drafts decide how many tokens a step yields, never which.
package struct GoodputPolicy: SpeculationPolicy {
    /// The most tokens of a draft.
    package let maxDraft: Int

    package private(set) var survival = SurvivalModel()
    package private(set) var runnersUp = RunnerUpModel()
    var solver: RowSolver
    private var retrievalGuard = SpeculationGuard()
    private var modelGuard = SpeculationGuard()
    private var modelProbe = ProbeSchedule()
    private(set) var switches = UtilitySwitches()
    /// Tokens and time of recent steps, for the price of time where a step's own ratio means nothing.
    var pace = DecodingPace()
    var step = Decision()
    /// The best rate that was found last for so many requests.
    var latestRate: [Int: Double] = [:]
    /// Time that went into catching up and is not paid back yet.
    private var debt = 0.0
    private var plainProbe = PlainProbe()
    var prospect = Prospect()
    private var speculated = false

    /// What was decided in this step.
    struct Decision {
        var wishes: [DraftWish] = []
        var branches: [[Int]] = []
        var lambda = 0.0
        /// What the tokens of each request count for.
        var worth = TokenWorth()
        /// Of a try, in times of a step; nil: this is none.
        var probeCost: Double?
        var isProbe: Bool { probeCost != nil }
        /// What is verified is not what was found best.
        var isExploring = false
        var expected: RowSolver.Choice?
    }

    package init(costs: StepCosts, maxDraft: Int = 16) {
        self.maxDraft = maxDraft
        solver = RowSolver(costs: costs)
    }

    /// Time beside prompts counts for more than the pace of decoding says: a token that comes sooner there spares a later step
    /// only if the other requests of that step come sooner too.
    private static let dearer = 1.25

    /// A set of rows may miss the best rate by this share: to find a better one would take longer than it spares.
    private static let tolerance = 0.0005

    package mutating func forget(_ id: UInt64) {
        survival.forget(id)
        switches.forget(id)
    }

    /// Whether speculation has to win by so much before it is begun.
    private var hurdle: Double { speculated ? 1.0 : 1.005 }

    // MARK: Before drafting

    package mutating func begin(_ view: StepView, _ costs: StepCosts) -> [DraftWish] {
        step = Decision()
        prospect.steps += 1
        for request in view.requests where request.drawsDrafts { survival.draws(request.id) }
        guard !view.requests.isEmpty, view.rowBudget > 0 else {
            step.wishes = view.requests.map { .none($0.room > 0 ? .budget : .end) }
            return step.wishes
        }
        step.wishes = view.requests.map { _ in .none(.gain) }
        let plain = plainChoice(view, costs)
        step.lambda = plain.rate
        if view.prefillRows > 0 {
            let usual = pace.rate ?? costs.plainPace(view) ?? plain.rate
            step.lambda = Self.dearer * usual
            step.worth = TokenWorth(besidePrompts: view, costs, pace: usual)
        }
        if view.prefillRows == 0, plainProbe.isDue(requests: view.requests.count) { return step.wishes }
        let retrieval = retrievalGuard.isOff ? view.requests.map { _ in nil } : retrievalLanes(view)
        let model = modelGuard.isOff ? view.requests.map { _ in nil } : modelLanes(view, costs, plain)
        var best = plain
        var sources: [DraftSource?] = view.requests.map { _ in nil }
        for assignment in assignments(view, costs, retrieval, model) {
            let choice = solve(view, costs, assignment)
            // What a target needs is drafted whatever it costs.
            let isNeeded = assignment.contains { $0?.lane.required ?? 0 > 0 }
            let isFirst = sources.allSatisfy { $0 == nil }
            guard isNeeded && isFirst || pays(choice, view, plain) && value(choice, view) > value(best, view)
            else { continue }
            (best, sources) = (choice, assignment.map { $0?.source })
            step.expected = best
        }
        if view.prefillRows == 0 { step.lambda = best.rate }
        step.expected = best
        for index in view.requests.indices { wish(index, view, sources[index], best.lengths[index]) }
        if !step.wishes.contains(where: { $0.source == .model }) { probeModel(view, costs) }
        return step.wishes
    }

    private func plainChoice(_ view: StepView, _ costs: StepCosts) -> RowSolver.Choice {
        RowSolver.Choice(
            lengths: [Int](repeating: 0, count: view.requests.count), tokens: Double(view.requests.count),
            time: costs.targetTime(view, drafted: 0, attended: 0))
    }

    /// In steady decoding a step is worth its rate. One that carries prompts is worth what it gives over the usual pace:
    /// measured by its own ratio a dear step would make rows look cheap.
    private func value(_ choice: RowSolver.Choice, _ view: StepView) -> Double {
        view.prefillRows == 0 ? choice.rate : choice.tokens - step.lambda * choice.time
    }

    private func pays(_ choice: RowSolver.Choice, _ view: StepView, _ plain: RowSolver.Choice) -> Bool {
        view.prefillRows > 0 || choice.rate > plain.rate * hurdle
    }

    private mutating func wish(_ index: Int, _ view: StepView, _ source: DraftSource?, _ length: Int) {
        let request = view.requests[index]
        guard let source, length > 0 else {
            step.wishes[index] = .none(reasonForNone(request))
            return
        }
        // How far a model's draft goes is decided between its passes.
        let longest = min(maxDraft, request.room)
        let most = source == .model ? longest : length
        let found = request.proposals.first { $0.source == source }?.features.count ?? longest
        let isCut = source == .model || most < min(longest, found)
        let limit: DraftLimit =
            isCut && isOff(request)
            ? .guard
            : most < min(longest, found) ? .gain : most < longest ? .drafter : longest < request.room ? .length : .end
        step.wishes[index] = DraftWish(source: source, length: most, limit: limit)
    }

    private func reasonForNone(_ request: DecodingView) -> DraftLimit {
        if request.room == 0 { return .end }
        let (hasModel, hasProposals) = (request.draftBacklog > 0, !request.proposals.isEmpty)
        if !hasModel && !hasProposals { return .drafter }
        if isOff(request) { return .guard }
        // A guard is a reason for the requests that have what it bars.
        return hasModel && modelGuard.isOff || hasProposals && retrievalGuard.isOff ? .guard : .gain
    }

    // MARK: Choice

    /// Who drafts with what: all with retrieval, all with the model, and each with what promises more.
    private func assignments(
        _ view: StepView, _ costs: StepCosts, _ retrieval: [Candidate?], _ model: [Candidate?]
    ) -> [[Candidate?]] {
        let hasRetrieval = retrieval.contains { $0 != nil }
        let hasModel = model.contains { $0 != nil }
        switch (hasRetrieval, hasModel) {
        case (false, false): return []
        case (true, false): return [retrieval]
        case (false, true): return [model]
        case (true, true):
            let passes = costs.draftTime(requests: 1, context: 0) * step.lambda
            let mixed = zip(retrieval, model).map { found, drafted -> Candidate? in
                guard let found else { return drafted }
                guard let drafted, drafted.worth > 0 else { return found }
                // As many passes as tokens, some of which are paid for by what the others gain from them.
                let count = min(4, drafted.tokens / drafted.worth)
                let share = passes * count / Double(max(1, view.requests.count))
                return drafted.tokens - share > found.tokens ? drafted : found
            }
            return [retrieval, mixed]
        }
    }

    mutating func pose(_ view: StepView, _ costs: StepCosts, _ lanes: [Candidate?]) {
        solver.pose(
            view, costs,
            lanes: zip(view.requests, lanes).map { $1?.lane ?? RowSolver.Lane(context: $0.context) })
    }

    private mutating func solve(_ view: StepView, _ costs: StepCosts, _ lanes: [Candidate?]) -> RowSolver.Choice {
        pose(view, costs, lanes)
        guard view.prefillRows == 0 else { return solver.best(lambda: step.lambda) }
        let isNeeded = lanes.contains { $0?.lane.required ?? 0 > 0 }
        let floor = isNeeded ? 0 : step.expected?.rate ?? step.lambda
        let choice = solver.bestRate(
            guess: max(floor, latestRate[view.requests.count] ?? step.lambda), tolerance: Self.tolerance, above: floor)
        latestRate[view.requests.count] = max(floor, choice.rate)
        return choice
    }

    // MARK: Probes

    /// A model that is not drafted with says nothing of itself: now and then some requests try it, those first that it
    /// has missed least of.
    private mutating func probeModel(_ view: StepView, _ costs: StepCosts) {
        guard view.prefillRows == 0, let draft = costs.draft, modelProbe.isDue(cost: 0) else { return }
        let able = view.requests.indices.filter {
            view.requests[$0].draftBacklog > 0 && view.requests[$0].room > 0 && step.wishes[$0].source == nil
                && !isOff(view.requests[$0])
        }.sorted { view.requests[$0].draftBacklog < view.requests[$1].draftBacklog }
        let plain = costs.targetTime(view, drafted: 0, attended: 0)
        var (missed, drafted, attended) = (0, 0, 0)
        for index in able.prefix(modelProbe.requests) {
            let request = view.requests[index]
            let length = min(2, request.room, view.rowBudget - drafted)
            missed += request.draftBacklog
            drafted += length
            attended += length * request.context
            let passes = draft.base(rows: missed) + draft.base(rows: modelProbe.requests)
            let extra = passes + costs.targetTime(view, drafted: drafted, attended: attended) - plain
            guard length > 0, plain > 0 else { break }
            guard modelProbe.isDue(cost: extra / plain) else {
                if step.probeCost == nil { modelProbe.refused(cost: extra / plain) }
                break
            }
            step.wishes[index] = DraftWish(source: .model, length: length, limit: .length)
            step.probeCost = extra / plain
        }
    }

    // MARK: While drafting

    package mutating func extend(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?]) -> [Bool] {
        if step.isProbe { return drafts.map { $0 != nil } }
        let choice = solveDrafted(view, costs, drafts, goesOn: true)
        return drafts.indices.map { choice.lengths[$0] > drafts[$0]?.features.count ?? 0 }
    }

    package mutating func select(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?]) -> [Int] {
        var lengths: [Int]
        if step.isProbe {
            lengths = drafts.map { $0?.features.count ?? 0 }
        } else {
            let choice = solveDrafted(view, costs, drafts, goesOn: false)
            lengths = choice.lengths
            step.expected = choice
            explore(view, costs, drafts, &lengths)
            step.isExploring = lengths != choice.lengths
            if !step.isExploring { step.branches = choice.branches }
        }
        return lengths
    }

    package mutating func branch(
        _ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?], lengths: [Int]
    ) -> [[Int]] {
        step.branches.isEmpty ? drafts.map { _ in [] } : step.branches
    }

    /// The best rows, given drafts as they are; `goesOn`: and as they may become.
    private mutating func solveDrafted(
        _ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?], goesOn: Bool
    ) -> RowSolver.Choice {
        let deepest = drafts.reduce(0) { max($0, $1?.source == .model ? $1?.features.count ?? 0 : 0) }
        let lanes = view.requests.indices.map { index -> RowSolver.Lane in
            let request = view.requests[index]
            guard let draft = drafts[index] else { return RowSolver.Lane(context: request.context) }
            var survivals = survival.survivals(draft, request: request.id)
            let isModel = draft.source == .model
            if goesOn, isModel, draft.features.count == deepest {
                survival.extend(&survivals, to: step.wishes[index].length, request: request.id)
            }
            var lane = lane(request, survivals, draft)
            lane.usesModel = isModel
            lane.drafted = draft.features.count
            return lane
        }
        solver.pose(view, costs, lanes: lanes)
        return solver.best(lambda: step.lambda)
    }

    /// Positions that are always cut would never be learned of: now and then one draft is verified whole. And narrower
    /// widths that are never taken would keep the price that was guessed for them: now and then one of those is.
    private func explore(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?], _ lengths: inout [Int]) {
        guard !drafts.isEmpty, view.prefillRows == 0 else { return }
        let (whole, part) = (1.0 / 64, 1.0 / 8)
        if view.coin < whole {
            let index = Int(view.coin / whole * Double(drafts.count))
            guard !isOff(view.requests[index]) else { return }
            let most = view.rowBudget - lengths.reduce(0, +) + lengths[index]
            lengths[index] = max(lengths[index], min(drafts[index]?.features.count ?? 0, most))
        } else if view.coin < whole + part {
            let rows = lengths.reduce(0, +)
            let wanted = costs.target.guessedWidth(
                in: drafts.count + (rows + 2) / 3..<drafts.count + rows, place: (view.coin - whole) / part)
            guard let wanted, !view.requests.contains(where: { $0.neededTokens > 1 }) else { return }
            // The last of the longest first, so that requests stay alike.
            for _ in wanted..<drafts.count + rows {
                guard let longest = lengths.indices.max(by: { lengths[$0] < lengths[$1] }) else { return }
                lengths[longest] -= 1
            }
        }
    }

    // MARK: After the step

    /// Where the drafts of a step came from.
    private struct Sources {
        var areNone = true
        var haveModel = false

        init(_ outcome: StepOutcome) {
            for request in outcome.requests where request.verified > 0 || !request.features.isEmpty {
                guard let source = request.source else { continue }
                areNone = false
                if source == .model { haveModel = true }
            }
        }
    }

    package mutating func commit(_ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome) {
        let sources = Sources(outcome)
        for request in outcome.requests {
            learn(request)
            if request.verified == 0 { survival.age(request.id) }
        }
        pace.add(
            tokens: outcome.emitted, time: costs.decodingTime(view, outcome), withPrompts: view.prefillRows > 0)
        // Tokens are worth what they really took lately, or less.
        switches.observe(
            view, costs, outcome, rate: min(step.lambda, pace.rate ?? step.lambda), worth: step.worth,
            isTry: step.isProbe || step.isExploring)
        judge(view, costs, outcome, sources)
        if view.prefillRows == 0 { plainProbe.passStep(requests: view.requests.count, isPlain: sources.areNone) }
        speculated = !sources.areNone
        if let cost = step.probeCost {
            let tried = outcome.requests.filter { $0.source == .model }
            let accepted = tried.reduce(0) { $0 + $1.accepted }
            modelProbe.tried(cost: cost, promising: accepted > tried.count)
        } else if sources.haveModel {
            modelProbe.reset()
        } else {
            modelProbe.passStep()
        }
    }

    private mutating func learn(_ request: DraftOutcome) {
        if let source = request.source, let runnerUp = request.runnerUp, !request.isPeculiar {
            runnersUp.observe(request.features[runnerUp.position], source, wasRight: runnerUp.wasRight)
        }
        for other in request.counterfactuals {
            survival.observe(
                other.draft, judged: other.judged, accepted: other.accepted, request: request.id,
                isPeculiar: request.isPeculiar)
        }
        // Retrieval is judged above, whether it was used or not.
        guard let source = request.source, request.counterfactuals.allSatisfy({ $0.draft.source != source })
        else { return }
        let judged = request.wasCut ? request.accepted : min(request.verified, request.accepted + 1)
        survival.observe(
            DraftView(source: source, features: request.features), judged: judged, accepted: request.accepted,
            request: request.id, isPeculiar: request.isPeculiar)
    }

    /// Compares the step with plain steps for as many tokens.
    private mutating func judge(
        _ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome, _ sources: Sources
    ) {
        modelGuard.passStep()
        retrievalGuard.passStep()
        let catchUp = invest(costs, outcome)
        guard !sources.areNone, !step.isProbe, view.prefillRows == 0, !view.requests.isEmpty else { return }
        let plainStep = costs.targetTime(view, drafted: 0, attended: 0)
        let plain = Double(outcome.emitted) / Double(view.requests.count) * plainStep
        let count = view.requests.count
        if sources.haveModel {
            let taken = outcome.stepTime - catchUp + payment()
            modelGuard.observe(taken: taken, plainStep: plainStep, plain: plain, requests: count)
        } else {
            retrievalGuard.observe(taken: outcome.stepTime, plainStep: plainStep, plain: plain, requests: count)
        }
    }

    /// The part of the step's draft time that brought the draft model up to date. It is an investment: what follows has to
    /// pay it back, not the step that made it.
    private mutating func invest(_ costs: StepCosts, _ outcome: StepOutcome) -> Double {
        guard let draft = costs.draft, let first = outcome.draftPasses.first, first.rows > 4 * first.requests
        else { return 0 }
        let share = 1 - draft.base(rows: first.requests) / draft.base(rows: first.rows)
        let invested = first.time * max(0, share)
        debt += invested
        return invested
    }

    /// An instalment.
    private mutating func payment() -> Double {
        let part = debt / 64
        debt -= part
        return part
    }
}
