import Scheduling
import Simulation
import Testing

/// What the default policy promises apart from steady loads: it finds its length at once, follows changes, comes back from
/// off, and does not need to be told the truth about costs.
@Suite struct GoodputGateTests {
    private func loop(
        _ shape: CostShape, batch: Int, _ text: AcceptanceProcess, tokens: Int? = 400
    ) -> ClosedLoop {
        var loop = ClosedLoop(
            concurrency: batch, text: TextModel(model: text), machine: VirtualMachine(shape.costs()))
        loop.outputTokens = tokens
        return loop
    }

    @Test(arguments: CostShape.allCases, [1, 4])
    func aPerfectDrafterIsUsedToTheFullWithinTenSteps(_ shape: CostShape, _ batch: Int) {
        let loop = loop(shape, batch: batch, .uniform(1), tokens: nil)
        let own = loop.run(GoodputPolicy(costs: shape.costs(), maxDraft: 8), until: .steps(30))
        let best = loop.bestFixed(until: .steps(30))
        let late = own.part(10..<30)
        #expect(late.meanAccepted >= Double(best.length) - 0.3, "\(late.meanAccepted) of \(best.length)")
    }

    /// Steps that are half as good as the best fixed length for what holds now do not last.
    @Test(arguments: [1, 4, 16])
    func followsTheText(_ batch: Int) {
        let shape = CostShape.knee
        let (good, bad) = (AcceptanceProcess.Text.uniform(0.9), AcceptanceProcess.Text.uniform(0.1))
        let change = 300
        for (first, second) in [(good, bad), (bad, good)] {
            let text = AcceptanceProcess(Schedule(first, changes: [(.step(change), second)]))
            let own = loop(shape, batch: batch, text).run(GoodputPolicy(costs: shape.costs()), until: .steps(700))
            let best = loop(shape, batch: batch, AcceptanceProcess(second)).bestFixed(until: .steps(300)).result
            // From off the way back may take the guard's and the probes' time.
            let settled = own.part(change + 120..<700)
            #expect(settled.tokensPerSecond >= 0.95 * best.tokensPerSecond, "\(first) to \(second)")
            if case .uniform(0.9) = first {
                let soon = own.part(change + 30..<change + 150)
                #expect(soon.tokensPerSecond >= 0.93 * best.tokensPerSecond, "\(first) to \(second)")
            }
        }
    }

    @Test func followsTheLoad() {
        let shape = CostShape.linear
        var loop = loop(shape, batch: 1, .uniform(0.8))
        loop.concurrency = Schedule(1, changes: [(.step(200), 32), (.step(400), 1)])
        let own = loop.run(GoodputPolicy(costs: shape.costs()), until: .steps(600))
        for (range, batch) in [(230..<400, 32), (430..<600, 1)] {
            let steady = self.loop(shape, batch: batch, .uniform(0.8)).bestFixed(until: .steps(200)).result
            #expect(own.part(range).tokensPerSecond >= 0.95 * steady.tokensPerSecond, "\(batch) requests")
        }
    }

    /// What the policy is told is wrong; the passes put it right.
    @Test(arguments: CostShape.allCases, [1, 8])
    func wrongCostsAreCorrected(_ shape: CostShape, _ batch: Int) {
        let truth = shape.costs()
        let told: [(String, StepCosts)] = [
            ("twice", truth.scaled(target: 2, draft: 2)), ("half", truth.scaled(target: 0.5, draft: 0.5)),
            ("draft twice", truth.scaled(draft: 2)), ("shifted", truth.shifted(by: 10_000)),
            ("knee", truth.stretched(by: 2)),
        ]
        let loop = loop(shape, batch: batch, .uniform(0.8))
        let best = loop.bestFixed(until: .tokens(12_000)).result
        for (name, stated) in told {
            var costs = stated
            costs.target.measured = costs.target.widths.map { _ in false }
            var engine = VirtualEngine(loop, policy: GoodputPolicy(costs: costs), costs: LearnedCosts(costs))
            engine.run(until: .tokens(12_000))
            let ratio = engine.result.tokensPerSecond / best.tokensPerSecond
            #expect(ratio >= 0.94, "\(name)")
        }
    }

    @Test func survivesAMachineThatBecomesHalfAsFast() {
        let shape = CostShape.knee
        var loop = loop(shape, batch: 4, .uniform(0.8))
        loop.machine.slowdown = Schedule(1, changes: [(.step(300), 2)])
        loop.machine.noise = 0.05
        var engine = VirtualEngine(
            loop, policy: GoodputPolicy(costs: shape.costs()), costs: LearnedCosts(shape.costs()))
        engine.run(until: .steps(600))
        let (before, after) = (engine.result.part(100..<300), engine.result.part(330..<600))
        #expect(abs(after.tokensPerSecond / before.tokensPerSecond - 0.5) < 0.03)
    }

    @Test func estimatesAreCalibrated() {
        for signal in [DraftSignal(), .uninformative] {
            let text = AcceptanceProcess(
                .stretches(easy: 0.95, hard: 0.4, easyLength: 20, hardLength: 10), signal: signal)
            var engine = VirtualEngine(
                loop(.knee, batch: 4, text), policy: GoodputPolicy(costs: CostShape.knee.costs()))
            engine.run(until: .tokens(20_000))
            let calibration = (engine.policy as? GoodputPolicy)?.survival.calibration
            #expect(calibration?.observations ?? 0 > 3000)
            #expect(calibration?.expectedError ?? 1 <= 0.03)
        }
    }

}
