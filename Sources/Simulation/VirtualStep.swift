import Scheduling

/// One step of speculative decoding on virtual time: asks the policy in the order that it is promised, runs the draft
/// passes that it wants, and draws what the target says.
struct VirtualStep {
    let machine: VirtualMachine
    let longestDraft: Int
    let moment: Moment
    var random: SimulationRandom

    private(set) var view: StepView
    private(set) var outcome = StepOutcome()
    private(set) var wishes: [DraftWish] = []
    private var found: [[RetrievedDraft]] = []
    private var drafts: [DraftView?] = []
    /// How many leading tokens of each draft are right.
    private var right: [Int] = []
    private var lengths: [Int] = []

    /// `view` carries what is no request's own: prompts, budget and coin.
    init(_ machine: VirtualMachine, view: StepView, longestDraft: Int, moment: Moment, random: SimulationRandom) {
        self.machine = machine
        self.view = view
        self.longestDraft = longestDraft
        self.moment = moment
        self.random = random
    }

    /// The rows of drafts that are verified.
    var draftedRows: Int { lengths.reduce(0, +) }

    /// Drafts for `requests`, which all decode, as the policy wants.
    mutating func draft(
        _ requests: inout [VirtualRequest], policy: inout any SpeculationPolicy, costs: any CostSource
    ) {
        look(&requests)
        guard !requests.isEmpty else { return }
        let known = costs.current
        if var oracle = policy as? any Clairvoyant {
            oracle.foresee(requests.indices.map { requests[$0].rightDrafts(most: longestDraft, at: moment) })
            policy = oracle
        }
        wishes = policy.begin(view, known)
        precondition(wishes.count == requests.count, "one wish for each request")
        runModel(&requests, &policy, known)
        cut(policy.select(view, known, drafts))
    }

    /// The step without drafts; no policy is asked.
    mutating func decodePlainly(_ requests: inout [VirtualRequest]) {
        look(&requests)
        wishes = requests.map { _ in .none(.target) }
        drafts = requests.map { _ in nil }
        right = requests.map { _ in 0 }
        lengths = right
    }

    /// Runs the target, on prompts too: `prefill` is what is left of them beside the drafts.
    mutating func verify(_ requests: inout [VirtualRequest], prefill: PrefillLoad) {
        var (drafted, attended) = (0, 0)
        for index in requests.indices {
            drafted += lengths[index]
            attended += lengths[index] * requests[index].context + lengths[index] * (lengths[index] + 1) / 2
            outcome.requests.append(judge(index, verified: lengths[index], &requests))
        }
        var truth = view
        prefill.add(to: &truth)
        let time = machine.costs.targetTime(truth, drafted: drafted, attended: attended)
        outcome.targetTime = machine.actual(time, at: moment, &random)
        outcome.stepTime = outcome.draftTime + outcome.targetTime
    }

    private mutating func look(_ requests: inout [VirtualRequest]) {
        for index in requests.indices {
            let (request, retrieved) = requests[index].view(longestDraft: longestDraft)
            view.requests.append(request)
            found.append(retrieved)
        }
    }

    // MARK: Drafting

    private mutating func runModel(
        _ requests: inout [VirtualRequest], _ policy: inout any SpeculationPolicy, _ known: StepCosts
    ) {
        drafts = requests.indices.map { takeUp(wishes[$0], $0) }
        right = requests.indices.map { index in
            guard let draft = drafts[index], draft.source.isRetrieval else { return 0 }
            let truth = found[index].first { $0.draft.source == draft.source }?.right ?? 0
            return min(truth, draft.features.count)
        }
        var drafting = requests.indices.filter { drafts[$0]?.source == .model }
        while !drafting.isEmpty {
            let advanced = pass(drafting, &requests)
            let unfinished = advanced.filter {
                drafts[$0]?.features.count ?? 0 < min(wishes[$0].length, view.requests[$0].room)
            }
            guard !unfinished.isEmpty else { break }
            let goOn = policy.extend(view, known, drafts)
            drafting = unfinished.filter { goOn[$0] }
        }
    }

    /// What a wish amounts to before any pass of the draft model.
    private func takeUp(_ wish: DraftWish, _ index: Int) -> DraftView? {
        guard let source = wish.source, view.requests[index].room > 0 else { return nil }
        if source == .model {
            return view.requests[index].draftBacklog > 0 ? DraftView(source: .model, features: []) : nil
        }
        guard let proposal = found[index].first(where: { $0.draft.source == source })?.draft else { return nil }
        let length = min(wish.length, view.requests[index].room)
        return DraftView(source: source, features: Array(proposal.features.prefix(length)))
    }

    /// One pass of the draft model: what the requests missed first, then a token for each that misses nothing. Returns
    /// those that got one.
    private mutating func pass(_ drafting: [Int], _ requests: inout [VirtualRequest]) -> [Int] {
        var (rows, context, attended) = (0, 0, 0)
        var advanced: [Int] = []
        var taken = 0
        let missed = drafting.map { drafts[$0]?.features.isEmpty ?? true ? requests[$0].draftBacklog : 1 }
        let plan = planDraftPass(
            missing: missed, maxRows: machine.draftPassRows, catchUpRows: view.catchUpRows)
        for ((index, missing), chunk) in zip(zip(drafting, missed), plan) where chunk > 0 {
            let done = drafts[index]?.features.count ?? 0
            let end = requests[index].context + done - (missing - chunk)
            rows += chunk
            context += end
            attended += chunk * end - chunk * (chunk - 1) / 2
            taken += 1
            if done == 0 { requests[index].catchUp(chunk) }
            guard chunk == missing, let token = requests[index].modelDraft(done, at: moment) else { continue }
            drafts[index]?.features.append(token.feature)
            if token.isRight && right[index] == done { right[index] += 1 }
            advanced.append(index)
        }
        let costs = machine.costs.draft ?? PassCosts(widths: [1], base: [0])
        let time = machine.actual(
            costs.time(rows: rows, context: context, attended: attended), at: moment, &random)
        outcome.draftPasses.append(StepOutcome.DraftPass(requests: taken, rows: rows, context: context, time: time))
        outcome.draftTime += time
        return advanced
    }

    // MARK: Verification

    /// Leaves of each draft what is to be verified.
    private mutating func cut(_ chosen: [Int]) {
        precondition(chosen.count == drafts.count, "one length for each request")
        var budget = view.rowBudget
        lengths = drafts.indices.map { index in
            let most = min(drafts[index]?.features.count ?? 0, view.requests[index].room, budget)
            let length = max(0, min(chosen[index], most))
            budget -= length
            return length
        }
    }

    private func judge(_ index: Int, verified: Int, _ requests: inout [VirtualRequest]) -> DraftOutcome {
        let remaining = requests[index].remaining
        var result = DraftOutcome(id: requests[index].id)
        let draft = drafts[index]
        if let draft, !draft.features.isEmpty {
            result.source = draft.source
            result.features = draft.features
        }
        result.verified = verified
        result.accepted = min(right[index], verified)
        result.emitted = min(result.accepted + 1, remaining)
        result.wasCut = result.accepted + 1 > remaining
        result.counterfactuals = found[index].map { retrieved in
            let reach = min(retrieved.draft.features.count, result.emitted)
            let accepted = min(retrieved.right, reach)
            return DraftOutcome.Counterfactual(
                draft: retrieved.draft, judged: min(accepted + 1, reach), accepted: accepted)
        }
        let drafted = result.source == .model ? result.features.count : 0
        requests[index].commit(
            emitted: result.emitted, drafted: drafted, accepted: result.accepted, at: moment)
        return result
    }
}

/// Rows of prompts, the sum of what they attend to, and the tokens of their requests.
struct PrefillLoad {
    private(set) var rows = 0
    private var attended = 0
    private var context = 0

    /// A chunk of `rows` rows behind `computed` tokens.
    mutating func add(rows: Int, computed: Int) {
        self.rows += rows
        attended += rows * computed + rows * (rows + 1) / 2
        context += computed + rows
    }

    func add(to view: inout StepView) {
        view.prefillRows = rows
        view.prefillAttended = attended
        view.prefillContext = context
    }
}
