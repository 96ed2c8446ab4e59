import Scheduling

/// What the default policy promises under steady and changing loads on virtual time: it is as good as the best fixed length,
/// finds that at once, follows changes, comes back from off, and does not need to be told the truth about costs.
package enum GoodputGates {
    package static let all: [GateGroup] = [
        GateGroup(
            name: "grid", meaning: "tokens/s against the best fixed length, 1 to 64 requests, acceptance 0 to 0.95"
        ) {
            CostShape.allCases.flatMap { shape in [true, false].flatMap { grid(shape, isInformative: $0) } }
        },
        GateGroup(name: "useless drafter", meaning: "loss against no speculation when no draft is ever right") {
            CostShape.allCases.flatMap { uselessDrafter($0) }
        },
        GateGroup(name: "perfect drafter", meaning: "accepted tokens from step 10 on against the best fixed length") {
            CostShape.allCases.flatMap { shape in [1, 4].map { perfectDrafter(shape, batch: $0) } }
        },
        GateGroup(name: "change of text", meaning: "tokens/s after the change against the best fixed length then") {
            [1, 4, 16].flatMap { changeOfText(batch: $0) }
        },
        GateGroup(name: "change of load", meaning: "tokens/s from step 30 after it on against the best fixed length") {
            changeOfLoad()
        },
        GateGroup(name: "wrong costs", meaning: "tokens/s of 12 000 tokens against the best fixed length") {
            CostShape.allCases.flatMap { shape in [1, 8].flatMap { wrongCosts(shape, batch: $0) } }
        },
        GateGroup(name: "slower machine", meaning: "tokens/s after it halved its speed against before, from one half") {
            [slowerMachine()]
        },
        GateGroup(name: "calibration", meaning: "expected calibration error of the acceptance probabilities") {
            calibration()
        },
    ]

    private static func loop(
        _ shape: CostShape, batch: Int, _ text: AcceptanceProcess, tokens: Int? = 400
    ) -> ClosedLoop {
        var loop = ClosedLoop(
            concurrency: batch, text: TextModel(model: text), machine: VirtualMachine(shape.costs()))
        loop.outputTokens = tokens
        return loop
    }

    // MARK: Steady loads

    package static func grid(_ shape: CostShape, isInformative: Bool) -> [Gate] {
        [1, 2, 4, 8, 16, 32, 64].flatMap { batch in
            [0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95].map { alpha in
                let (loop, end) = cell(shape, batch: batch, alpha: alpha, isInformative: isInformative)
                let best = loop.bestFixed(until: end).result
                let own = loop.run(GoodputPolicy(costs: shape.costs()), until: end)
                let scene =
                    "\(shape), \(batch) requests, alpha \(alpha)" + (isInformative ? "" : ", scores that say nothing")
                return .atLeast(0.98, own.tokensPerSecond / best.tokensPerSecond, scene)
            }
        }
    }

    private static func cell(
        _ shape: CostShape, batch: Int, alpha: Double, isInformative: Bool
    ) -> (loop: ClosedLoop, end: ClosedLoop.End) {
        let text = AcceptanceProcess(.uniform(alpha), signal: isInformative ? DraftSignal() : .uninformative)
        var loop = loop(shape, batch: batch, text, tokens: 256)
        loop.maxRows = 1024
        return (loop, .tokens(6000 + 800 * batch))
    }

    package static func uselessDrafter(_ shape: CostShape) -> [Gate] {
        [1, 4, 16, 64].map { batch in
            let (loop, end) = cell(shape, batch: batch, alpha: 0, isInformative: false)
            let off = loop.run(FixedLengthPolicy(length: 0), until: end)
            let own = loop.run(GoodputPolicy(costs: shape.costs()), until: end)
            return .atMost(0.02, 1 - own.tokensPerSecond / off.tokensPerSecond, "\(shape), \(batch) requests")
        }
    }

    package static func perfectDrafter(_ shape: CostShape, batch: Int) -> Gate {
        let loop = loop(shape, batch: batch, .uniform(1), tokens: nil)
        let own = loop.run(GoodputPolicy(costs: shape.costs(), maxDraft: 8), until: .steps(30))
        let best = loop.bestFixed(until: .steps(30))
        return .atLeast(Double(best.length) - 0.3, own.part(10..<30).meanAccepted, "\(shape), \(batch) requests")
    }

    // MARK: Changes

    /// Steps that are half as good as the best fixed length for what holds now do not last.
    package static func changeOfText(batch: Int) -> [Gate] {
        let shape = CostShape.knee
        let (good, bad) = (0.9, 0.1)
        let change = 300
        return [(good, bad), (bad, good)].flatMap { first, second -> [Gate] in
            let text = AcceptanceProcess(
                Schedule(.uniform(first), changes: [(.step(change), AcceptanceProcess.Text.uniform(second))]))
            let own = loop(shape, batch: batch, text).run(GoodputPolicy(costs: shape.costs()), until: .steps(700))
            let best = loop(shape, batch: batch, .uniform(second)).bestFixed(until: .steps(300)).result
            func gate(_ least: Double, _ steps: Range<Int>) -> Gate {
                .atLeast(
                    least, own.part(steps).tokensPerSecond / best.tokensPerSecond,
                    "\(batch) requests, alpha \(first) to \(second), steps \(steps.lowerBound - change) to "
                        + "\(steps.upperBound - change) after it")
            }
            // From off the way back may take the guard's and the probes' time.
            let settled = gate(0.95, change + 120..<700)
            return first == good ? [settled, gate(0.93, change + 30..<change + 150)] : [settled]
        }
    }

    package static func changeOfLoad() -> [Gate] {
        let shape = CostShape.linear
        var changing = loop(shape, batch: 1, .uniform(0.8))
        changing.concurrency = Schedule(1, changes: [(.step(200), 32), (.step(400), 1)])
        let own = changing.run(GoodputPolicy(costs: shape.costs()), until: .steps(600))
        return [(230..<400, 32), (430..<600, 1)].map { steps, batch in
            let steady = loop(shape, batch: batch, .uniform(0.8)).bestFixed(until: .steps(200)).result
            return .atLeast(0.95, own.part(steps).tokensPerSecond / steady.tokensPerSecond, "to \(batch) requests")
        }
    }

    // MARK: Costs

    /// What the policy is told is wrong; the passes put it right.
    package static func wrongCosts(_ shape: CostShape, batch: Int) -> [Gate] {
        let truth = shape.costs()
        let told: [(String, StepCosts)] = [
            ("twice", truth.scaled(target: 2, draft: 2)), ("half", truth.scaled(target: 0.5, draft: 0.5)),
            ("draft twice", truth.scaled(draft: 2)), ("10 ms too long", truth.shifted(by: 10_000)),
            ("knee at twice the rows", truth.stretched(by: 2)),
        ]
        let loop = loop(shape, batch: batch, .uniform(0.8))
        let best = loop.bestFixed(until: .tokens(12_000)).result
        return told.map { name, stated in
            var costs = stated
            costs.target.measured = costs.target.widths.map { _ in false }
            var engine = VirtualEngine(loop, policy: GoodputPolicy(costs: costs), costs: LearnedCosts(costs))
            engine.run(until: .tokens(12_000))
            let ratio = engine.result.tokensPerSecond / best.tokensPerSecond
            return .atLeast(0.94, ratio, "\(shape), \(batch) requests, \(name)")
        }
    }

    package static func slowerMachine() -> Gate {
        let shape = CostShape.knee
        var loop = loop(shape, batch: 4, .uniform(0.8))
        loop.machine.slowdown = Schedule(1, changes: [(.step(300), 2)])
        loop.machine.noise = 0.05
        var engine = VirtualEngine(
            loop, policy: GoodputPolicy(costs: shape.costs()), costs: LearnedCosts(shape.costs()))
        engine.run(until: .steps(600))
        let (before, after) = (engine.result.part(100..<300), engine.result.part(330..<600))
        return .atMost(0.03, abs(after.tokensPerSecond / before.tokensPerSecond - 0.5), "knee, 4 requests, noise 5%")
    }

    // MARK: Estimates

    package static func calibration() -> [Gate] {
        [("scores that say much", DraftSignal()), ("scores that say nothing", .uninformative)].map { name, signal in
            let text = AcceptanceProcess(
                .stretches(easy: 0.95, hard: 0.4, easyLength: 20, hardLength: 10), signal: signal)
            var engine = VirtualEngine(
                loop(.knee, batch: 4, text), policy: GoodputPolicy(costs: CostShape.knee.costs()))
            engine.run(until: .tokens(20_000))
            let found = (engine.policy as? GoodputPolicy)?.survival.calibration
            // Few observations would prove nothing.
            let error = found.flatMap { $0.observations > 3000 ? $0.expectedError : nil }
            return .atMost(0.03, error ?? .nan, name)
        }
    }
}
