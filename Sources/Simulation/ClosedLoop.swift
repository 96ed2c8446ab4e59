package import Scheduling

/// A steady load: as many requests as stated at any time; one that ends is replaced at once, and prompts cost nothing.
package struct ClosedLoop: Sendable {
    /// Requests at the same time.
    package var concurrency: Schedule<Int>
    package var text: TextModel
    package var machine: VirtualMachine
    /// What the policy is told of the costs; nil: the truth.
    package var given: StepCosts?
    package var promptTokens = 128
    /// nil: requests never end.
    package var outputTokens: Int?
    /// The most tokens of a draft.
    package var longestDraft = 16
    /// The most rows of a step.
    package var maxRows = 256
    package var seed: UInt64 = 1

    package init(concurrency: Int, text: TextModel, machine: VirtualMachine) {
        self.concurrency = Schedule(concurrency)
        self.text = text
        self.machine = machine
    }

    /// When a run is over.
    package enum End: Sendable {
        case steps(Int)
        /// Microseconds.
        case time(Double)
        case tokens(Int)
    }

    /// Runs a policy. The same seed meets every policy with the same texts and coins.
    package func run(_ policy: any SpeculationPolicy, until end: End) -> ClosedLoopResult {
        var engine = VirtualEngine(self, policy: policy)
        engine.run(until: end)
        return engine.result
    }

    /// Each fixed length in turn.
    package func fixedLengths(_ lengths: ClosedRange<Int> = 0...8, until end: End) -> [ClosedLoopResult] {
        lengths.map { run(FixedLengthPolicy(length: $0), until: end) }
    }

    /// The fixed length that gives the most tokens per second.
    package func bestFixed(
        _ lengths: ClosedRange<Int> = 0...8, until end: End
    ) -> (length: Int, result: ClosedLoopResult) {
        let results = zip(lengths, fixedLengths(lengths, until: end)).map { (length: $0, result: $1) }
        return results.dropFirst().reduce(results[0]) {
            $1.result.tokensPerSecond > $0.result.tokensPerSecond ? $1 : $0
        }
    }
}

/// A policy at work under a closed loop. Costs and policy may be looked at, and changed, between steps.
package struct VirtualEngine: Sendable {
    private let loop: ClosedLoop
    package var policy: any SpeculationPolicy
    package var costs: any CostSource
    package private(set) var requests: [VirtualRequest] = []
    package private(set) var moment = Moment()
    package private(set) var result = ClosedLoopResult()
    private var submitted: UInt64 = 0

    package init(_ loop: ClosedLoop, policy: any SpeculationPolicy) {
        self.init(loop, policy: policy, costs: StatedCosts(loop.given ?? loop.machine.costs))
    }

    package init(_ loop: ClosedLoop, policy: any SpeculationPolicy, costs: any CostSource) {
        self.loop = loop
        self.policy = policy
        self.costs = costs
    }

    package mutating func run(until end: ClosedLoop.End) {
        func isOver() -> Bool {
            switch end {
            case .steps(let count): moment.step >= count
            case .time(let time): moment.time >= time
            case .tokens(let count): result.tokens >= count
            }
        }
        while !isOver() { step() }
    }

    @discardableResult
    package mutating func step() -> StepRecord {
        fill()
        var view = StepView()
        view.rowBudget = max(0, loop.maxRows - requests.count)
        var random = SimulationRandom(seed: loop.seed, 3, UInt64(moment.step))
        view.coin = random.unit()
        var step = VirtualStep(
            loop.machine, view: view, longestDraft: loop.longestDraft, moment: moment, random: random)
        step.draft(&requests, policy: &policy, costs: costs)
        step.verify(&requests, prefill: PrefillLoad())
        policy.commit(step.view, costs.current, step.outcome)
        costs.observe(step.view, step.outcome)
        let record = StepRecord(at: moment, step.view, step.wishes, step.outcome)
        result.add(record)
        moment = Moment(step: moment.step + 1, time: moment.time + step.outcome.stepTime)
        for request in requests where request.isDone { policy.forget(request.id) }
        requests.removeAll(where: \.isDone)
        return record
    }

    private mutating func fill() {
        let wanted = max(1, loop.concurrency.value(at: moment))
        while requests.count > wanted { policy.forget(requests.removeLast().id) }
        while requests.count < wanted {
            submitted += 1
            requests.append(
                VirtualRequest(
                    id: submitted, promptTokens: loop.promptTokens, outputTokens: loop.outputTokens, text: loop.text,
                    seed: loop.seed))
        }
    }
}
