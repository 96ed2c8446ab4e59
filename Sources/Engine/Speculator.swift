import Formats
import Kernels
import Scheduling
import Speculation

/// Drafts for the requests of a step as far as the policy wants, and learns from what came of it.
final class Speculator {
    private let retrieval: [(source: DraftSource, drafter: any RetrievalDrafter)]
    private let model: DraftModelDrafter?
    private var policy: any SpeculationPolicy
    private var table: CostTable
    private let isOff: Bool
    /// Whether the policy says what it expects.
    private let estimates: Bool
    /// Whether drafts may be trees.
    private let branches: Bool
    private let log: EngineLog
    private let clock: EngineClock
    private var view = StepView()
    /// Of the step under way.
    private var draftTime: Int64 = 0
    private var expectedTokens: [Double?] = []
    /// What the policy chose of each draft; empty where it was not asked.
    private var selected: [Int] = []
    /// Microseconds that drafts took so far, policies included.
    private(set) var totalDraftTime: Int64 = 0
    private var steps: UInt64 = 0
    /// Microseconds that policies took so far.
    private(set) var controlTime = 0.0

    init(
        policy: any SpeculationPolicy, isOff: Bool, branches: Bool, costs: StepCosts,
        retrieval: [(source: DraftSource, drafter: any RetrievalDrafter)], model: DraftModelDrafter?, log: EngineLog,
        clock: EngineClock
    ) {
        self.policy = policy
        self.isOff = isOff
        var own = policy
        estimates = !isOff && own.expectedTokens != nil
        self.branches = branches
        self.retrieval = retrieval
        self.model = model
        self.log = log
        self.clock = clock
        table = CostTable(costs)
    }

    var costs: StepCosts { table.costs }
    /// Whether anyone will ask for the costs.
    var learnsCosts: Bool { !isOff }
    var passes: Int { model?.passes ?? 0 }
    /// 0 where the policy has no estimates.
    var calibrationError: Double { policy.calibrationError ?? 0 }

    /// By estimate; nil where the policy has none.
    var calibration: Calibration? { (policy as? GoodputPolicy)?.survival.calibration }

    func forget(_ id: UInt64) {
        policy.forget(id)
        model?.forget(id)
        for entry in retrieval { entry.drafter.forget(id) }
    }

    /// The blocks of a request hold other keys and values now, or are other blocks.
    func forgetCache(_ id: UInt64) { model?.forgetCache(id) }

    /// The text of a request that ended, for others to be drafted from.
    func remember(_ text: FinishedText) {
        for entry in retrieval { entry.drafter.observe(text) }
    }

    // MARK: Drafting

    /// Whether anything could be drafted for any of these; plain decoding costs nothing here.
    func wants(_ asks: [SpeculationAsk]) -> Bool {
        asks.contains { $0.request.limit > 0 && $0.fixedLength ?? (isOff ? 0 : 1) > 0 }
    }

    /// A draft for each request. `base` says what else the step carries; `reserve` finds memory for so many more tokens of
    /// the request with an id, says for how many there was room, and gives the blocks that the request has then.
    func draft(
        _ asks: [SpeculationAsk], _ base: StepView,
        reserve: (_ id: UInt64, _ tokens: Int) -> (tokens: Int, blocks: [Int32])
    ) -> [SpeculativeDraft] {
        let start = clock.microseconds
        defer {
            draftTime = clock.microseconds - start
            totalDraftTime += draftTime
        }
        var drafts = look(asks)
        pose(asks, base, drafts)
        var wishes = wishes(asks, drafts)
        SampledRows.giveFirst(asks, budget: view.rowBudget, &wishes)
        var requests = asks.map(\.request)
        for index in wishes.indices where wishes[index].length > 0 {
            let room = reserve(requests[index].id, wishes[index].length)
            if room.tokens < wishes[index].length {
                wishes[index] = DraftWish(source: wishes[index].source, length: room.tokens, limit: .memory)
            }
            requests[index] = requests[index].limited(to: wishes[index].length, blocks: room.blocks)
        }
        take(wishes, &drafts)
        runModel(asks, requests, wishes, &drafts)
        // A ratio test is of one token at each position.
        if branches {
            for index in drafts.indices where requests[index].coins == nil { drafts[index].findRunnersUp() }
        }
        let rest = cut(asks, wishes, &drafts)
        branch(&drafts, rows: rest, reserve)
        expectedTokens = expectations(drafts)
        return drafts
    }

    /// What the policy expects of each request; nil where it expects nothing, or of another draft than is verified.
    private func expectations(_ drafts: [SpeculativeDraft]) -> [Double?] {
        guard estimates else { return drafts.map { _ in nil } }
        let (expected, branches) = selected.isEmpty ? ([], []) : (policy.expectedTokens ?? [], policy.branches)
        return drafts.indices.map { index in
            // Its own token.
            if drafts[index].tokens.isEmpty { return 1 }
            guard expected.count == drafts.count, drafts[index].tokens.count == selected[index],
                drafts[index].branches == (branches.isEmpty ? [] : branches[index])
            else { return nil }
            return expected[index]
        }
    }

    /// What the host offered and retrieval finds for those that may use it.
    private func look(_ asks: [SpeculationAsk]) -> [SpeculativeDraft] {
        var drafts = asks.map { _ in SpeculativeDraft() }
        let able = asks.indices.filter { asks[$0].request.limit > 0 && asks[$0].fixedLength != 0 }
        func note(_ source: DraftSource, _ draft: RetrievalDraft, _ index: Int) {
            let request = asks[index].request
            let allowed = request.constraint?.limiting(draft, to: request.limit) ?? draft
            if !allowed.tokens.isEmpty { drafts[index].found.append((source, allowed)) }
        }
        for index in able {
            if let offered = asks[index].offered, !offered.tokens.isEmpty { note(.host, offered, index) }
        }
        for entry in retrieval {
            do {
                let found = try entry.drafter.lookUp(able.map { asks[$0].request })
                for (index, draft) in zip(able, found) { note(entry.source, draft, index) }
            } catch {
                log.write(.warning, "drafting failed, this step goes on without: \(error)")
            }
        }
        return drafts
    }

    /// Describes the step to the policy.
    private func pose(_ asks: [SpeculationAsk], _ base: StepView, _ drafts: [SpeculativeDraft]) {
        view = base
        view.coin = Self.coin(steps)
        steps += 1
        view.requests = zip(asks, drafts).map { ask, draft in
            let request = ask.request
            var own = DecodingView(
                id: request.id, context: request.tokens.count, room: ask.fixedLength == nil ? request.limit : 0)
            own.remaining = ask.remaining
            own.proposals = draft.found.map { DraftView(source: $0.source, features: $0.draft.views) }
            own.draftBacklog = request.limit > 0 ? model?.backlog(request.id, request.tokens) ?? 0 : 0
            own.neededTokens = ask.neededTokens
            own.targetTPOT = ask.targetTPOT
            own.isPeculiar = ask.isPeculiar
            own.drawsDrafts = request.coins != nil
            return own
        }
    }

    /// A number in [0, 1) that is another one in every step.
    private static func coin(_ step: UInt64) -> Double {
        // The golden ratio spreads its multiples evenly.
        let value = Double(step) * 0.618_033_988_749_894_9
        return value - value.rounded(.down)
    }

    private func wishes(_ asks: [SpeculationAsk], _ drafts: [SpeculativeDraft]) -> [DraftWish] {
        let wishes = isOff ? asks.map { _ in DraftWish.none(.length) } : timed { policy.begin(view, table.costs) }
        return zip(asks, wishes).enumerated().map { index, pair in
            guard let length = pair.0.fixedLength, length > 0 else { return pair.1 }
            var own = view.requests[index]
            own.room = pair.0.request.limit
            return FixedLengthPolicy.wish(own, length: length)
        }
    }

    /// Takes up the retrieved drafts that are wished for.
    private func take(_ wishes: [DraftWish], _ drafts: inout [SpeculativeDraft]) {
        for (index, wish) in wishes.enumerated() {
            let isBarred = wish.length == 0 && view.requests[index].room > 0 && view.requests[index].draftBacklog == 0
            drafts[index].limit = isBarred && model?.lacksBlocks(view.requests[index].id) == true ? .memory : wish.limit
            guard let source = wish.source, source.isRetrieval,
                let draft = drafts[index].found.first(where: { $0.source == source })?.draft
            else { continue }
            drafts[index].source = source
            drafts[index].tokens = Array(draft.tokens.prefix(wish.length))
            drafts[index].features = Array(draft.views.prefix(wish.length))
        }
    }

    private func runModel(
        _ asks: [SpeculationAsk], _ requests: [DraftRequest], _ wishes: [DraftWish],
        _ drafts: inout [SpeculativeDraft]
    ) {
        let drafting = wishes.indices.filter { wishes[$0].source == .model && wishes[$0].length > 0 }
        guard let model, !drafting.isEmpty else { return }
        for index in drafting { drafts[index].source = .model }
        do {
            let choices = try model.draft(drafting.map { requests[$0] }, catchUpRows: view.catchUpRows) { choices in
                for (index, own) in zip(drafting, choices) { drafts[index].features = own.map(\.view) }
                let goesOn = isOff ? nil : timed { policy.extend(view, table.costs, views(drafts)) }
                var wanted = drafting.map { asks[$0].fixedLength != nil || goesOn?[$0] ?? true }
                SampledRows.giveNext(asks, wishes, drafting, budget: view.rowBudget, &wanted, &drafts)
                return wanted
            }
            for (index, own) in zip(drafting, choices) {
                drafts[index].choices = own
                drafts[index].features = own.map(\.view)
                drafts[index].tokens = own.map(\.token)
                drafts[index].sampled = model.latestSamples[requests[index].id]
            }
        } catch {
            log.write(.warning, "drafting failed, this step goes on without: \(error)")
            for index in drafting { drafts[index] = SpeculativeDraft() }
        }
    }

    private func views(_ drafts: [SpeculativeDraft]) -> [DraftView?] {
        drafts.map { draft in draft.source.map { DraftView(source: $0, features: draft.features) } }
    }

    /// Leaves of each draft what is worth verifying; the rows that are left.
    private func cut(_ asks: [SpeculationAsk], _ wishes: [DraftWish], _ drafts: inout [SpeculativeDraft]) -> Int {
        let drafted = drafts.map(\.tokens.count)
        var lengths = drafted
        selected = []
        if !isOff, drafted.contains(where: { $0 > 0 }) {
            selected = timed { policy.select(view, table.costs, views(drafts)) }
            for index in drafts.indices where asks[index].fixedLength == nil {
                lengths[index] = max(0, min(selected[index], drafted[index]))
            }
        }
        // What was drawn from a distribution is verified, and has its rows already.
        var budget = drafts.reduce(view.rowBudget) { $0 - ($1.sampled?.tokens.count ?? 0) }
        for index in drafts.indices {
            if drafts[index].sampled != nil {
                if drafted[index] < wishes[index].length, drafts[index].limit != .budget {
                    drafts[index].limit = shortfall(asks[index], wishes[index])
                }
                continue
            }
            let length = min(lengths[index], budget)
            if length < lengths[index] {
                drafts[index].limit = .budget
            } else if length < drafted[index] || drafted[index] < wishes[index].length && wishes[index].source == .model
            {
                drafts[index].limit = shortfall(asks[index], wishes[index])
            }
            budget -= length
            drafts[index].tokens.removeLast(drafted[index] - length)
        }
        return budget
    }

    /// Adds the next best tokens that are worth a row, as far as rows and memory are left.
    private func branch(
        _ drafts: inout [SpeculativeDraft], rows: Int,
        _ reserve: (_ id: UInt64, _ tokens: Int) -> (tokens: Int, blocks: [Int32])
    ) {
        guard branches, !isOff, drafts.contains(where: { !$0.tokens.isEmpty }) else { return }
        let chosen = policy.branches
        if chosen.isEmpty { return }
        var left = rows
        for index in drafts.indices where !chosen[index].isEmpty {
            drafts[index].branch(at: chosen[index], rows: left)
            guard !drafts[index].branches.isEmpty else { continue }
            let room = reserve(view.requests[index].id, drafts[index].rows).tokens - drafts[index].tokens.count
            drafts[index].branch(at: chosen[index], rows: min(left, room))
            left -= drafts[index].branches.count
        }
    }

    /// Why the model drafted less than was wished for.
    private func shortfall(_ ask: SpeculationAsk, _ wish: DraftWish) -> DraftLimit {
        model?.lacksBlocks(ask.request.id) == true ? .memory : wish.limit == .guard ? .guard : .gain
    }

    // MARK: After the step

    /// Takes what came of the drafts; `outcomes` has an element for each of the requests that were drafted for. The pass of
    /// the target had so many rows.
    func commit(_ outcomes: [DraftOutcome], rows: Int, targetTime: Int64) -> StepAccount {
        var outcome = StepOutcome()
        outcome.requests = outcomes
        outcome.draftTime = Double(draftTime)
        outcome.targetTime = Double(targetTime)
        outcome.stepTime = outcome.draftTime + outcome.targetTime
        outcome.draftPasses = model?.latestPasses ?? []
        let account = account(outcome, rows: rows)
        table.observe(view, outcome)
        if !isOff { timed { policy.commit(view, table.costs, outcome) } }
        // What ended in this step was forgotten before its last outcome was learned from.
        for request in outcomes where request.wasCut { policy.forget(request.id) }
        model?.clearPasses()
        return account
    }

    private func account(_ outcome: StepOutcome, rows: Int) -> StepAccount {
        let costs = table.costs
        let drafted = outcome.requests.reduce(0) { $0 + $1.rows }
        let attended = zip(view.requests, outcome.requests).reduce(0) { $0 + $1.0.context * $1.1.rows }
        var (done, further) = (view, view)
        // Prompts may have given up rows to drafts.
        done.prefillRows = max(0, rows - view.requests.count - drafted)
        (further.prefillRows, further.prefillAttended, further.prefillContext) = (0, 0, 0)
        var account = StepAccount()
        account.predictedTime = outcome.draftPasses.reduce(
            costs.targetTime(done, drafted: drafted, attended: attended)
        ) { $0 + (costs.draft?.time(rows: $1.rows, context: $1.context, attended: $1.context) ?? 0) }
        account.plainTime = costs.targetTime(view, drafted: 0, attended: 0)
        account.furtherTime = costs.targetTime(further, drafted: 0, attended: 0)
        account.draftTime = outcome.draftTime
        account.targetTime = outcome.targetTime
        account.expectedTokens = expectedTokens
        account.outcome = outcome
        account.speculated = outcome.requests.contains { !$0.features.isEmpty } || !outcome.draftPasses.isEmpty
        return account
    }

    /// A step without drafts tells what plain decoding costs.
    func observePlain(_ view: StepView, time: Int64) {
        guard !view.requests.isEmpty else { return }
        var outcome = StepOutcome()
        outcome.requests = view.requests.map { DraftOutcome(id: $0.id) }
        outcome.targetTime = Double(time)
        table.observe(view, outcome)
    }

    /// What the target said where the draft model drafted.
    func observe(_ draft: SpeculativeDraft, target tokens: ArraySlice<Int32>, temperature: Float) {
        if draft.source == .model, draft.sampled == nil {
            model?.observe(draft.choices, target: tokens, temperature: temperature)
        }
    }

    private func timed<Result>(_ body: () -> Result) -> Result {
        let start = clock.nanoseconds
        defer { controlTime += Double(clock.nanoseconds - start) / 1000 }
        return body()
    }
}

extension DraftRequest {
    /// The same with a shorter draft, and blocks for it.
    func limited(to length: Int, blocks: [Int32]) -> DraftRequest {
        DraftRequest(
            id: id, tokens: tokens, limit: min(limit, length), blocks: blocks, parameters: parameters,
            processors: processors, history: history, noise: noise, constraint: constraint, isolation: isolation,
            coins: coins)
    }
}

extension DraftChoice {
    var view: DraftFeature { DraftFeature(margin: margin, probability: probability ?? 0) }
}

extension RetrievalDraft {
    var views: [DraftFeature] {
        features.map {
            DraftFeature(
                probability: Float($0.followProbability), matchLength: Int32(clamping: $0.matchLength),
                support: Int32(clamping: $0.support))
        }
    }
}

extension GrammarConstraint {
    /// The tokens of a draft that the grammar allows, and behind them those that it leaves no choice about.
    fileprivate func limiting(_ draft: RetrievalDraft, to limit: Int) -> RetrievalDraft {
        let tokens = limiting(draft.tokens, to: limit)
        var result = RetrievalDraft(source: draft.source)
        for (index, token) in tokens.enumerated() {
            let isFound = index < draft.tokens.count && draft.tokens[index] == token
            let forced = MatchFeatures(matchLength: 32, support: 32, follows: 32)
            result.append(token, isFound ? draft.features[index] : forced)
        }
        return result
    }
}
