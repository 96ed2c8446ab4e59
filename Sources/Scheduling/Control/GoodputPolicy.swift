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

    package internal(set) var survival = SurvivalModel()
    package private(set) var runnersUp = RunnerUpModel()
    var solver: RowSolver
    private var retrievalGuard = SpeculationGuard()
    private var modelGuard = SpeculationGuard()
    private var modelProbe = ProbeSchedule()
    private(set) var switches = UtilitySwitches()
    /// Tokens and time of recent steps, for the price of time where a step's own ratio means nothing.
    var pace = DecodingPace()
    var step = Decision()
    var latestRates = LatestRates()
    /// Time that went into catching up and is not paid back yet.
    private var debt = 0.0
    private var plainProbe = PlainProbe()
    var prospect = Prospect()
    private var speculated = false

    /// What was decided in this step.
    struct Decision {
        var requests: [Request] = []
        var wishes: [DraftWish] = []
        var branches: [[Int]] = []
        var expectedTokens: [Double] = []
        var lambda = 0.0
        /// Of a try, in times of a step; nil: this is none.
        var probeCost: Double?
        var isProbe: Bool { probeCost != nil }
        /// What is verified is not what was found best.
        var isExploring = false
        /// The best that was found; nil: nothing is better than plain decoding.
        var best: RowSolver.Total?
        /// What the tokens of each request count for.
        var worth = TokenWorth()

        /// For the next step, in the same memory.
        mutating func reset() {
            requests.removeAll(keepingCapacity: true)
            wishes.removeAll(keepingCapacity: true)
            expectedTokens.removeAll(keepingCapacity: true)
            if !branches.isEmpty { branches = [] }
            (lambda, probeCost, isExploring, best) = (0, nil, false, nil)
            worth = TokenWorth()
        }
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
        prospect.steps += 1
        step.reset()
        let plain = RowSolver.Total(
            tokens: Double(view.requests.count), time: costs.targetTime(view, drafted: 0, attended: 0))
        if view.rowBudget > 0 { setPrice(view, costs, plain) }
        open(view)
        guard !view.requests.isEmpty, view.rowBudget > 0,
            view.prefillRows > 0 || !plainProbe.isDue(requests: view.requests.count)
        else { return step.wishes }
        solver.pool.removeAll()
        let hasFound = !retrievalGuard.isOff && lookAtProposals(view)
        let hasModel = !modelGuard.isOff && costs.draft != nil && lookAtModel(view, costs, plain)
        // All with retrieval, and each with what promises more.
        if hasFound { weigh(view, costs, plain, isMixed: false) }
        if hasModel { weigh(view, costs, plain, isMixed: true) }
        if view.prefillRows == 0 { step.lambda = step.best?.rate ?? plain.rate }
        var isDrafting = false
        for index in view.requests.indices {
            wish(index, view)
            if step.wishes[index].source == .model { isDrafting = true }
        }
        if !isDrafting { probeModel(view, costs) }
        return step.wishes
    }

    /// Notes what a microsecond is worth, in tokens, and what tokens count for.
    private mutating func setPrice(_ view: StepView, _ costs: StepCosts, _ plain: RowSolver.Total) {
        step.lambda = plain.rate
        if view.prefillRows > 0 {
            let usual = pace.rate ?? costs.plainPace(view) ?? plain.rate
            step.lambda = Self.dearer * usual
            step.worth = TokenWorth(besidePrompts: view, costs, pace: usual)
        }
    }

    /// Looks up what is known of the requests.
    private mutating func open(_ view: StepView) {
        for index in view.requests.indices {
            let (id, room) = (view.requests[index].id, view.requests[index].room)
            if view.requests[index].drawsDrafts { survival.draws(id) }
            step.requests.append(
                Request(
                    standing: survival.standing(of: id), isOff: switches.isOff(id, among: view.requests.count),
                    worth: step.worth.of(view.requests[index])))
            step.wishes.append(.none(view.rowBudget > 0 ? .gain : room > 0 ? .budget : .end))
        }
    }

    /// In steady decoding a step is worth its rate. One that carries prompts is worth what it gives over the usual pace:
    /// measured by its own ratio a dear step would make rows look cheap.
    private func value(_ total: RowSolver.Total, _ view: StepView) -> Double {
        view.prefillRows > 0 ? total.tokens - step.lambda * total.time : total.rate
    }

    private mutating func wish(_ index: Int, _ view: StepView) {
        let length = step.requests[index].length
        guard let source = step.requests[index].source, length > 0 else {
            step.wishes[index] = .none(reasonForNone(index, view.requests[index]))
            return
        }
        // How far a model's draft goes is decided between its passes.
        let room = view.requests[index].room
        let longest = min(maxDraft, room)
        let most = source == .model ? longest : length
        let found = view.requests[index].proposals.first { $0.source == source }?.features.count ?? longest
        let isCut = source == .model || most < min(longest, found)
        let limit: DraftLimit =
            isCut && step.requests[index].isOff
            ? .guard : most < min(longest, found) ? .gain : most < longest ? .drafter : longest < room ? .length : .end
        step.wishes[index] = DraftWish(source: source, length: most, limit: limit)
    }

    private func reasonForNone(_ index: Int, _ request: DecodingView) -> DraftLimit {
        if request.room == 0 { return .end }
        let (hasModel, hasProposals) = (request.draftBacklog > 0, !request.proposals.isEmpty)
        if !hasModel && !hasProposals { return .drafter }
        if step.requests[index].isOff { return .guard }
        // A guard is a reason for the requests that have what it bars.
        return hasModel && modelGuard.isOff || hasProposals && retrievalGuard.isOff ? .guard : .gain
    }

    // MARK: Choice

    /// Finds the best set of rows of all that were found, or of what promises more for each request, and takes it if it is
    /// better than what was found before.
    private mutating func weigh(_ view: StepView, _ costs: StepCosts, _ plain: RowSolver.Total, isMixed: Bool) {
        // What a target needs is drafted whatever it costs.
        let needsSome = assign(view, costs, isMixed: isMixed)
        let total = solve(view, costs, from: needsSome ? 0 : step.best?.rate ?? step.lambda)
        let isBetter = value(total, view) > value(step.best ?? plain, view)
        let pays = view.prefillRows > 0 || total.rate > plain.rate * hurdle
        guard needsSome && step.best == nil || isBetter && pays else { return }
        step.best = total
        for index in step.requests.indices {
            step.requests[index].source = step.requests[index].trial
            step.requests[index].length = solver.lengths[index]
        }
    }

    /// Gives each request a lane. Returns whether a target needs any of them.
    private mutating func assign(_ view: StepView, _ costs: StepCosts, isMixed: Bool) -> Bool {
        let passes = isMixed ? costs.draftTime(requests: 1, context: 0) * step.lambda / Double(view.requests.count) : 0
        var isNeeded = false
        solver.lanes.removeAll(keepingCapacity: true)
        for index in view.requests.indices {
            let offer = isMixed ? step.requests[index].better(passes) : step.requests[index].found
            step.requests[index].trial = offer?.source
            solver.lanes.append(offer?.lane ?? RowPool.Lane(context: view.requests[index].context))
            if offer?.lane.required ?? 0 > 0 { isNeeded = true }
        }
        return isNeeded
    }

    /// No rate up to `floor` is of interest.
    private mutating func solve(_ view: StepView, _ costs: StepCosts, from floor: Double) -> RowSolver.Total {
        solver.pose(view, costs)
        guard view.prefillRows == 0 else { return solver.findBest(lambda: step.lambda) }
        let guess = max(floor, latestRates[view.requests.count] ?? step.lambda)
        let total = solver.findBestRate(guess: guess, tolerance: Self.tolerance, above: floor)
        latestRates[view.requests.count] = max(floor, total.rate)
        return total
    }

    // MARK: Probes

    /// A model that is not drafted with says nothing of itself: now and then some requests try it, those first that it
    /// has missed least of.
    private mutating func probeModel(_ view: StepView, _ costs: StepCosts) {
        guard view.prefillRows == 0, let draft = costs.draft, modelProbe.isDue(cost: 0) else { return }
        let able = view.requests.indices.filter {
            view.requests[$0].draftBacklog > 0 && view.requests[$0].room > 0 && step.wishes[$0].source == nil
                && !step.requests[$0].isOff
        }.sorted { view.requests[$0].draftBacklog < view.requests[$1].draftBacklog }
        let plain = costs.targetTime(view, drafted: 0, attended: 0)
        var (missed, drafted, attended) = (0, 0, 0)
        for index in able.prefix(modelProbe.requests) {
            let request = view.requests[index]
            let length = min(2, request.room, view.rowBudget - drafted)
            missed += request.draftBacklog
            drafted += length
            attended += length * request.context
            let passes = draft.base(rows: min(missed, view.catchUpRows)) + draft.base(rows: modelProbe.requests)
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
        solveDrafted(view, costs, drafts, goesOn: true)
        return drafts.indices.map { solver.lengths[$0] > drafts[$0]?.features.count ?? 0 }
    }

    package mutating func select(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?]) -> [Int] {
        step.expectedTokens.removeAll(keepingCapacity: true)
        if step.isProbe { return drafts.map { $0?.features.count ?? 0 } }
        solveDrafted(view, costs, drafts, goesOn: false)
        var lengths = solver.lengths
        explore(view, costs, drafts, &lengths)
        step.isExploring = lengths != solver.lengths
        step.branches = step.isExploring ? [] : solver.branches
        if !step.isExploring { noteExpectation() }
        return lengths
    }

    package var branches: [[Int]] { step.branches }

    /// The best rows, given drafts as they are; `goesOn`: and as they may become.
    private mutating func solveDrafted(
        _ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?], goesOn: Bool
    ) {
        precondition(step.requests.count == view.requests.count, "a step begins with begin")
        let deepest = drafts.reduce(0) { max($0, $1?.source == .model ? $1?.features.count ?? 0 : 0) }
        solver.pool.removeAll()
        solver.lanes.removeAll(keepingCapacity: true)
        for index in view.requests.indices {
            guard let draft = drafts[index] else {
                solver.lanes.append(RowPool.Lane(context: view.requests[index].context))
                continue
            }
            let (first, count) = (solver.pool.survivals.count, draft.features.count)
            let standing = step.requests[index].standing
            survival.append(draft, first: count, standing, to: &solver.pool.survivals)
            let isModel = draft.source == .model
            if goesOn, isModel, count == deepest {
                let end = step.wishes[index].length
                survival.extend(&solver.pool.survivals, from: first, to: end, standing)
            }
            var lane = lane(index, view, draft, from: first)
            (lane.usesModel, lane.drafted) = (isModel, count)
            solver.lanes.append(lane)
        }
        solver.pose(view, costs)
        _ = solver.findBest(lambda: step.lambda)
    }

    /// Positions that are always cut would never be learned of: now and then one draft is verified whole. And narrower
    /// widths that are never taken would keep the price that was guessed for them: now and then one of those is.
    private func explore(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?], _ lengths: inout [Int]) {
        guard !drafts.isEmpty, view.prefillRows == 0 else { return }
        let (whole, part) = (1.0 / 64, 1.0 / 8)
        if view.coin < whole {
            let index = Int(view.coin / whole * Double(drafts.count))
            guard !step.requests[index].isOff else { return }
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
            for index in outcome.requests.indices {
                guard let source = outcome.requests[index].source,
                    outcome.requests[index].verified > 0 || !outcome.requests[index].features.isEmpty
                else { continue }
                areNone = false
                if source == .model { haveModel = true }
            }
        }
    }

    package mutating func commit(_ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome) {
        let sources = Sources(outcome)
        for index in outcome.requests.indices {
            learn(outcome.requests[index])
            if outcome.requests[index].verified == 0 { survival.age(outcome.requests[index].id) }
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
            if tried.isEmpty, view.catchUpRows < .max {
                modelProbe.began(cost: cost)
            } else {
                modelProbe.tried(cost: cost, promising: accepted > tried.count)
            }
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
        let catchUp = invest(view, costs, outcome)
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
    private mutating func invest(_ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome) -> Double {
        // Where targets limit what a step reads, few rows are catching up too.
        guard let draft = costs.draft, let first = outcome.draftPasses.first,
            first.rows > (view.catchUpRows < .max ? 2 : 4) * first.requests
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
