import Scheduling
import Simulation
import Testing

@Suite struct ClosedLoopTests {
    private static let noDraft = TextModel(model: nil)

    private static func loop(
        _ concurrency: Int, alpha: Double, shape: CostShape = .knee, seed: UInt64 = 1
    ) -> ClosedLoop {
        var loop = ClosedLoop(
            concurrency: concurrency, text: TextModel(model: .uniform(alpha)),
            machine: VirtualMachine(Self.flat(shape.costs())))
        loop.seed = seed
        return loop
    }

    /// Without what the context costs, and with draft passes whose price no row changes.
    private static func flat(_ costs: StepCosts) -> StepCosts {
        StepCosts(
            target: PassCosts(widths: costs.target.widths, base: costs.target.base),
            draft: PassCosts(widths: [1, 1024], base: [1700, 1700]), overhead: costs.overhead)
    }

    /// B·(1 - α^(k+1))/(1 - α) tokens in k·D + F(B·(k+1)) + overhead.
    private static func expected(_ loop: ClosedLoop, _ requests: Int, _ alpha: Double, _ length: Int) -> Double {
        let costs = loop.machine.costs
        let tokens = (0...length).reduce(0.0) { sum, power in
            sum + (0..<power).reduce(1.0) { product, _ in product * alpha }
        }
        let time =
            Double(length) * (costs.draft?.base(rows: requests) ?? 0)
            + costs.target.base(rows: requests * (length + 1)) + costs.overhead
        return Double(requests) * tokens / time * 1e6
    }

    @Test(arguments: CostShape.allCases) func aFixedLengthEarnsWhatTheFormulaSays(shape: CostShape) {
        for (requests, alpha, length) in [(1, 0.8, 4), (4, 0.6, 2), (8, 0.9, 7), (3, 0.3, 1), (6, 0.7, 0)] {
            let loop = Self.loop(requests, alpha: alpha, shape: shape)
            let result = loop.run(FixedLengthPolicy(length: length), until: .steps(20_000 / requests))
            let wanted = Self.expected(loop, requests, alpha, length)
            // The relative standard error of 20 000 draws of 1 to 8 tokens is below 0.6 %.
            #expect(abs(result.tokensPerSecond / wanted - 1) < 0.02, "\(requests) \(alpha) \(length)")
        }
    }

    @Test func theSameSeedGivesTheSameRun() {
        var loop = Self.loop(5, alpha: 0.7)
        loop.machine.noise = 0.1
        loop.outputTokens = 40
        let policy = FixedLengthPolicy(length: 3)
        let first = loop.run(policy, until: .steps(300))
        #expect(first == loop.run(policy, until: .steps(300)))
        loop.seed = 2
        #expect(first != loop.run(policy, until: .steps(300)))
    }

    @Test func theOffPathPaysForNoDraft() {
        let loop = Self.loop(4, alpha: 0.9)
        let result = loop.run(FixedLengthPolicy(length: 0), until: .steps(100))
        #expect(result.draftTime == 0 && result.offShare == 1)
        #expect(result.tokens == 400 && result.rowsPerToken == 1)
        let step = loop.machine.costs.target.base(rows: 4) + loop.machine.costs.overhead
        #expect(result.records.allSatisfy { $0.stepTime == step })
    }

    private static let texts: [AcceptanceProcess.Text] = [
        .uniform(0.7), .spread(low: 0.4, high: 1), .stretches(easy: 0.9, hard: 0.3, easyLength: 12, hardLength: 6),
    ]

    @Test(arguments: texts) func aPolicyMeetsTheSameTextsWhateverItDrafts(text: AcceptanceProcess.Text) {
        var loop = Self.loop(1, alpha: 0)
        loop.text.model = AcceptanceProcess(text)
        /// What was found at each position of the output that was looked at.
        func found(_ policy: any SpeculationPolicy) -> [Int: Bool] {
            var position = 0
            var answers: [Int: Bool] = [:]
            for record in loop.run(policy, until: .tokens(2000)).records {
                let judged = min(record.accepted[0] + 1, record.verified[0])
                for offset in 0..<judged { answers[position + offset] = offset < record.accepted[0] }
                position += record.emitted
            }
            return answers
        }
        let long = found(FixedLengthPolicy(length: 8))
        for other in [found(FixedLengthPolicy(length: 2)), found(Pause(period: 3, length: 1))] {
            let both = other.keys.filter { long[$0] != nil }
            #expect(both.count > 300)
            #expect(both.allSatisfy { other[$0] == long[$0] })
        }
    }

    /// Drafts in every so manieth step only.
    private struct Pause: SpeculationPolicy {
        let period: Int
        let length: Int
        var steps = 0

        init(period: Int, length: Int) {
            self.period = period
            self.length = length
        }

        mutating func begin(_ view: StepView, _ costs: StepCosts) -> [DraftWish] {
            steps += 1
            return FixedLengthPolicy(length: steps % period == 0 ? length : 0).begin(for: view)
        }
    }

    @Test func catchingUpIsCharged() throws {
        // Ten steps without a draft, then one with: the draft model has eleven tokens to see.
        var loop = Self.loop(1, alpha: 0)
        loop.machine.costs.draft = PassCosts(widths: [1, 2], base: [1000, 1100])
        let records = loop.run(Pause(period: 11, length: 1), until: .steps(22)).records
        #expect(records[10].draftPasses == 1 && records[10].draftRows == 11)
        #expect(records[10].draftTime == 2000)
        #expect(records[21].draftRows == 11)
        #expect(records[9].draftTime == 0)
    }

    @Test func aFullyAcceptedDraftLeavesOneTokenMoreToSee() {
        let records = Self.loop(1, alpha: 1).run(FixedLengthPolicy(length: 3), until: .steps(3)).records
        #expect(records.map(\.accepted) == [[3], [3], [3]])
        #expect(records.map(\.draftRows) == [3, 4, 4])
        let refused = Self.loop(1, alpha: 0).run(FixedLengthPolicy(length: 3), until: .steps(3)).records
        #expect(refused.map(\.draftRows) == [3, 3, 3])
    }

    @Test func aColdDraftModelSeesThePromptFirst() {
        var loop = Self.loop(2, alpha: 1)
        loop.text.draftStartsCold = true
        loop.promptTokens = 300
        let records = loop.run(FixedLengthPolicy(length: 1), until: .steps(4)).records
        // 256 rows a pass. The first request has its 301 in the second step, which gives it two tokens to see next; the
        // second one, which nothing waits for, in the third.
        #expect(records.map(\.draftRows) == [256, 256, 2 + 91, 4])
        #expect(records.map(\.drafted) == [[0, 0], [1, 0], [1, 1], [1, 1]])
    }

    @Test func requestsEndAndAreReplaced() {
        var loop = Self.loop(3, alpha: 0.8)
        loop.outputTokens = 10
        struct Watch: SpeculationPolicy {
            var forgotten = 0
            var most = 0
            mutating func begin(_ view: StepView, _ costs: StepCosts) -> [DraftWish] {
                most = max(most, view.requests.map(\.room).max() ?? 0)
                return FixedLengthPolicy(length: 16).begin(for: view)
            }
            mutating func forget(_ id: UInt64) { forgotten += 1 }
        }
        var engine = VirtualEngine(loop, policy: Watch())
        engine.run(until: .steps(200))
        #expect(engine.result.records.allSatisfy { $0.requests == 3 })
        let watch = engine.policy as? Watch
        #expect(watch?.most == 9)
        let unfinished = engine.requests.reduce(0) { $0 + $1.produced }
        #expect((watch?.forgotten ?? 0) * 10 + unfinished == engine.result.tokens)
    }

    @Test func theRowsOfAStepAreKept() {
        var loop = Self.loop(8, alpha: 0.9)
        loop.maxRows = 20
        let records = loop.run(FixedLengthPolicy(length: 8), until: .steps(20)).records
        #expect(records.allSatisfy { $0.verified.reduce(0, +) == 12 })
    }

    @Test func loadChangesWhenStated() {
        var loop = Self.loop(1, alpha: 0.9)
        loop.concurrency = Schedule(1, changes: [(.step(10), 8), (.step(20), 2)])
        let records = loop.run(FixedLengthPolicy(length: 1), until: .steps(30)).records
        #expect(
            records.map(\.requests) == Array(repeating: 1, count: 10) + Array(repeating: 8, count: 10)
                + Array(repeating: 2, count: 10))
    }

    @Test func aMachineMayBecomeSlower() {
        var loop = Self.loop(1, alpha: 0.9)
        loop.machine.slowdown = Schedule(1, changes: [(.step(5), 2)])
        let records = loop.run(FixedLengthPolicy(length: 0), until: .steps(10)).records
        #expect(records[9].stepTime == 2 * records[0].stepTime)
    }

    @Test func theBestFixedLengthIsTheBest() {
        for (alpha, requests) in [(0.2, 16), (0.8, 1), (0.9, 4)] {
            let loop = Self.loop(requests, alpha: alpha)
            let all = loop.fixedLengths(until: .steps(500))
            let best = loop.bestFixed(until: .steps(500))
            #expect(all.count == 9)
            #expect(all.allSatisfy { $0.tokensPerSecond <= best.result.tokensPerSecond })
            #expect(all[best.length] == best.result)
        }
        #expect(Self.loop(16, alpha: 0.2).bestFixed(until: .steps(500)).length == 0)
        #expect(Self.loop(1, alpha: 0.8).bestFixed(until: .steps(500)).length > 2)
    }

    @Test func aPolicyMayBeToldWrongCosts() {
        struct Listener: SpeculationPolicy {
            var heard: StepCosts?
            mutating func begin(_ view: StepView, _ costs: StepCosts) -> [DraftWish] {
                heard = costs
                return view.requests.map { _ in .none(.gain) }
            }
        }
        var loop = Self.loop(1, alpha: 0.5)
        loop.given = loop.machine.costs.scaled(target: 2).shifted(by: 7)
        var engine = VirtualEngine(loop, policy: Listener())
        let record = engine.step()
        #expect((engine.policy as? Listener)?.heard == loop.given)
        #expect(record.stepTime == loop.machine.costs.target.base(rows: 1) + loop.machine.costs.overhead)
    }
}

extension FixedLengthPolicy {
    fileprivate func begin(for view: StepView) -> [DraftWish] {
        view.requests.map { Self.wish($0, length: length) }
    }
}
