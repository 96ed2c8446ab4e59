import Scheduling

/// Requests come when a workload says, whether the machine is ready or not. They wait, run with others, and end.
package struct OpenLoop: Sendable {
    package var arrivals: [Arrival]
    package var text: TextModel
    package var machine: VirtualMachine
    package var costs: any CostSource
    package var targets = Targets()
    /// Requests at the same time.
    package var maxRunning: Int
    /// Rows of a step, not below `maxRunning`.
    package var maxRows: Int
    /// Tokens of all running requests that the KV cache holds. A request is admitted when its whole length fits.
    package var kvTokens = Int.max
    package var seed: UInt64 = 1
    /// Parts that the time is cut into to see how a run went.
    package var timelineParts = 100
    /// When the run is cut off, in microseconds.
    package var end = Double.infinity

    /// Arrivals in order of time; the policy is told the true costs.
    package init(
        arrivals: [Arrival], text: TextModel, machine: VirtualMachine, maxRunning: Int = 16, maxRows: Int = 256
    ) {
        self.arrivals = arrivals
        self.text = text
        self.text.draftStartsCold = true
        self.machine = machine
        self.machine.draftPassRows = maxRows
        costs = StatedCosts(machine.costs)
        self.maxRunning = maxRunning
        self.maxRows = maxRows
    }

    /// The workload, the machine and the requests' common set-up as a piece of hardware has them.
    package init(arrivals: [Arrival], text: TextModel, hardware: Hardware) {
        self.init(
            arrivals: arrivals, text: text, machine: VirtualMachine(hardware.costs), maxRunning: hardware.maxRunning,
            maxRows: hardware.maxRows)
        kvTokens = hardware.kvTokens
    }

    package func run(_ arm: Arm) -> OpenLoopResult { run(arm) { _ in } }

    /// `log` gets every step.
    package func run(_ arm: Arm, log: (LoggedStep) -> Void) -> OpenLoopResult {
        precondition(maxRunning >= 1 && maxRows >= maxRunning, "a row for each request")
        var server = VirtualServer(self, arm)
        while server.step(log) {}
        return server.finished()
    }
}

/// What each request is promised, in microseconds.
package struct Targets: Sendable, Equatable {
    /// Time to first token, from arrival.
    package var firstToken: Double?
    /// Time per output token after the first.
    package var perOutputToken: Double?

    package init(firstToken: Double? = nil, perOutputToken: Double? = nil) {
        self.firstToken = firstToken
        self.perOutputToken = perOutputToken
    }

    package var isEmpty: Bool { firstToken == nil && perOutputToken == nil }
}

/// An engine on virtual time.
private struct VirtualServer {
    private let loop: OpenLoop
    private let arm: Arm
    private var policy: any SpeculationPolicy
    private var costs: any CostSource
    private var stretch = StepStretch()
    private var moment = Moment()
    private var nextArrival = 0
    /// Places in the workload of requests that came and do not run yet, in order of arrival: all have the same targets.
    private var waiting: [Int] = []
    private var nextWaiting = 0
    /// Both in order of urgency.
    private var decoding: [VirtualRequest] = []
    private var prefilling: [VirtualRequest] = []
    private var reservedTokens = 0
    private var latestToken: [UInt64: Double] = [:]
    private var result: OpenLoopResult

    init(_ loop: OpenLoop, _ arm: Arm) {
        self.loop = loop
        self.arm = arm
        costs = loop.costs
        policy = arm.policy(loop.costs.current)
        let span = (loop.arrivals.last?.time ?? 0) / Double(max(1, loop.timelineParts))
        result = OpenLoopResult(
            requests: loop.arrivals.map { RequestRecord($0) }, targets: loop.targets,
            timeline: Timeline(partLength: max(1, span)))
    }

    func finished() -> OpenLoopResult {
        var result = result
        result.calibration = (policy as? GoodputPolicy)?.survival.calibration
        return result
    }

    /// False when there is nothing left to do.
    mutating func step(_ log: (LoggedStep) -> Void) -> Bool {
        guard moment.time < loop.end else { return false }
        receive()
        admit()
        guard !decoding.isEmpty || !prefilling.isEmpty else {
            guard nextArrival < loop.arrivals.count else { return false }
            moment.time = max(moment.time, loop.arrivals[nextArrival].time)
            return true
        }
        let demands = demands()
        let plan = planStep(
            requests: decoding.map { snapshot($0) } + prefilling.map { snapshot($0) }, maxRows: loop.maxRows,
            prefillRows: demands.prefillRows)
        log(execute(plan, demands))
        return true
    }

    // MARK: Who runs

    private mutating func receive() {
        while nextArrival < loop.arrivals.count, loop.arrivals[nextArrival].time <= moment.time {
            let arrival = loop.arrivals[nextArrival]
            if arrival.promptTokens + arrival.outputTokens > loop.kvTokens {
                result.reject(nextArrival)
            } else {
                waiting.append(nextArrival)
            }
            nextArrival += 1
        }
    }

    private mutating func admit() {
        while nextWaiting < waiting.count, decoding.count + prefilling.count < loop.maxRunning {
            let place = waiting[nextWaiting]
            let arrival = loop.arrivals[place]
            let tokens = arrival.promptTokens + arrival.outputTokens
            guard tokens <= loop.kvTokens - reservedTokens else { break }
            reservedTokens += tokens
            nextWaiting += 1
            result.admit(place, at: moment.time)
            let request = VirtualRequest(
                id: UInt64(place), promptTokens: arrival.promptTokens, outputTokens: arrival.outputTokens,
                computed: 0, text: loop.text, seed: loop.seed)
            if request.decodes { decoding.append(request) } else { prefilling.append(request) }
        }
        if nextWaiting == waiting.count {
            waiting.removeAll(keepingCapacity: true)
            nextWaiting = 0
        }
    }

    private func snapshot(_ request: VirtualRequest) -> RequestSnapshot {
        RequestSnapshot(
            id: request.id, committed: request.context,
            computed: request.decodes ? request.context - 1 : request.computed)
    }

    // MARK: Targets

    /// Puts those that are due first in front, and says what the targets ask of the step.
    private mutating func demands() -> LatencyPlan {
        guard !loop.targets.isEmpty else { return LatencyPlan() }
        decoding = ranked(decoding)
        prefilling = ranked(prefilling)
        let plan = LatencyPlan(
            (decoding + prefilling).map { demand($0) }, costs: costs.current, stretch: stretch.value, now: moment.time,
            maxRows: loop.maxRows)
        for index in decoding.indices {
            decoding[index].neededTokens = plan.neededTokens[decoding[index].id] ?? 0
            decoding[index].targetTPOT = loop.targets.perOutputToken
        }
        return plan
    }

    private func demand(_ request: VirtualRequest) -> LatencyPlan.Request {
        let record = result.requests[Int(request.id)]
        var demand = LatencyDemand()
        demand.firstToken = record.firstToken
        demand.emitted = request.produced
        demand.remaining = min(Double(request.remaining), max(1, result.meanOutput - Double(request.produced)))
        demand.timePerToken = loop.targets.perOutputToken
        var asked = LatencyPlan.Request(snapshot(request))
        asked.demand = demand
        asked.mostTokens = Double(min(arm.longestDraft, max(0, request.remaining - 1)) + 1)
        asked.firstTokenDue = record.firstToken == nil ? loop.targets.firstToken.map { record.arrival + $0 } : nil
        return asked
    }

    private func ranked(_ requests: [VirtualRequest]) -> [VirtualRequest] {
        requests.map { ($0, urgency($0)) }.sorted { $0.1 < $1.1 }.map(\.0)
    }

    private func urgency(_ request: VirtualRequest) -> Urgency {
        let due =
            if let latest = latestToken[request.id] {
                loop.targets.perOutputToken.map { latest + $0 }
            } else {
                loop.targets.firstToken.map { loop.arrivals[Int(request.id)].time + $0 }
            }
        return Urgency(due: due.map { Int64(min($0, 1e18)) }, priority: 0, id: request.id)
    }

    // MARK: Execution

    private mutating func execute(_ planned: StepPlan, _ demands: LatencyPlan) -> LoggedStep {
        var view = StepView()
        (view.rowBudget, view.catchUpRows) = (planned.draftRows, demands.catchUpRows)
        let held = decoding.reduce(0) { $0 + $1.context } + prefilling.reduce(0) { $0 + $1.context }
        view.freeTokens = loop.kvTokens - held
        load(planned).add(to: &view)
        var random = SimulationRandom(seed: loop.seed, 6, UInt64(moment.step))
        view.coin = random.unit()
        var step = VirtualStep(
            loop.machine, view: view, longestDraft: arm.longestDraft, moment: moment, random: random)
        // As in the engine, no policy is asked where nobody may draft.
        let drafts = !demands.forbidsDrafts && arm.longestDraft > 0 && decoding.contains { $0.remaining > 1 }
        if drafts {
            step.draft(&decoding, policy: &policy, costs: costs)
        } else {
            step.decodePlainly(&decoding)
        }
        let plan = planned.withRoom(forDrafts: step.draftedRows)
        step.verify(&decoding, prefill: load(plan))
        if drafts { policy.commit(step.view, costs.current, step.outcome) }
        observeStretch(step)
        if !decoding.isEmpty { costs.observe(step.view, step.outcome) }
        let done = log(step, plan)
        for (index, chunk) in chunks(plan).enumerated() { prefilling[index].prefill(chunk, at: moment) }
        commit(done)
        return done
    }

    private mutating func observeStretch(_ step: VirtualStep) {
        if step.draftedRows == 0, step.outcome.draftPasses.isEmpty { return stretch.observePlain() }
        stretch.observe(
            time: step.outcome.stepTime, plain: costs.current.targetTime(step.view, drafted: 0, attended: 0))
    }

    private func log(_ step: VirtualStep, _ plan: StepPlan) -> LoggedStep {
        var log = LoggedStep()
        log.start = moment.time
        log.draftTime = step.outcome.draftTime
        log.targetTime = step.outcome.targetTime
        log.stepTime = step.outcome.stepTime
        log.waiting = waiting.count - nextWaiting
        log.draftPasses = step.outcome.draftPasses
        log.prompts = zip(prefilling, chunks(plan)).map { request, rows in
            LoggedStep.Prompt(
                request: Int(request.id), rows: rows, computed: request.computed,
                emitted: request.computed + rows >= request.promptTokens ? 1 : 0)
        }
        log.decoding = zip(step.view.requests, step.outcome.requests).map {
            LoggedStep.Decoding(request: Int($0.id), context: $0.context, $1)
        }
        return log
    }

    /// The plan has all that decode, then those of the others that there are rows for, in their order.
    private func chunks(_ plan: StepPlan) -> [Int] { plan.entries.dropFirst(decoding.count).map(\.rows) }

    private func load(_ plan: StepPlan) -> PrefillLoad {
        var load = PrefillLoad()
        for (request, rows) in zip(prefilling, chunks(plan)) { load.add(rows: rows, computed: request.computed) }
        return load
    }

    private mutating func commit(_ step: LoggedStep) {
        let end = step.end
        result.add(step)
        for request in step.decoding { result.first(request.request, at: end) }
        for prompt in step.prompts where prompt.emitted > 0 { result.first(prompt.request, at: end) }
        let begun = prefilling.filter(\.decodes)
        prefilling.removeAll(where: \.decodes)
        decoding += begun
        if !loop.targets.isEmpty {
            for request in decoding where request.produced > 0 { latestToken[request.id] = end }
        }
        for request in decoding where request.isDone { release(request, at: end) }
        decoding.removeAll(where: \.isDone)
        moment = Moment(step: moment.step + 1, time: end)
    }

    private mutating func release(_ request: VirtualRequest, at time: Double) {
        result.end(Int(request.id), at: time)
        policy.forget(request.id)
        latestToken[request.id] = nil
        reservedTokens -= request.promptTokens + (request.outputTokens ?? 0)
    }
}
