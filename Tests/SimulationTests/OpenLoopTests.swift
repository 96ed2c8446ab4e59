import Formats
import Scheduling
import Simulation
import Synchronization
import Testing

@Suite struct OpenLoopTests {
    /// 1000 us and 100 for each row, 10 for the step; draft passes of 50 us and 1 for each row.
    private static let costs = StepCosts(
        target: PassCosts(widths: [1, 2], base: [1100, 1200]), draft: PassCosts(widths: [1, 2], base: [51, 52]),
        overhead: 10)

    private static func loop(_ arrivals: [Arrival], alpha: Double = 0.8, running: Int = 8, rows: Int = 64) -> OpenLoop {
        OpenLoop(
            arrivals: arrivals, text: TextModel(model: .uniform(alpha)), machine: VirtualMachine(costs),
            maxRunning: running, maxRows: rows)
    }

    private static func arrival(_ time: Double, _ prompt: Int, _ output: Int) -> Arrival {
        Arrival(time: time, promptTokens: prompt, outputTokens: output)
    }

    /// A busy workload of mixed lengths.
    private static func mixed(_ count: Int = 300, rate: Double = 12) -> [Arrival] {
        ArrivalPattern.gamma(rate: rate, variation: 2).arrivals(count, .around(prompt: 90, output: 30), seed: 5)
    }

    @Test func oneRequestTakesWhatItsPassesTake() throws {
        let result = Self.loop([Self.arrival(5000, 100, 3)]).run(.off)
        let request = try #require(result.requests.first)
        // The prompt in chunks of 64 and 36 rows, of which the second gives the first token: 2 · 1010 + 100 · 100. Then two
        // steps of one row.
        #expect(request.admitted == 5000)
        #expect(request.timeToFirstToken == 12_020.0)
        #expect(request.timePerOutputToken == 1110)
        #expect(request.latency == 14_240.0)
        #expect(result.steps == 4 && result.tokens == 3 && result.prefillRows == 100)
        let metrics = OpenLoopMetrics(result)
        #expect(metrics.utilisation == 1 && metrics.finished == 1 && metrics.offShare == 1)
        #expect(metrics.attainment == nil)
    }

    @Test func theDraftModelSeesThePromptWhenItFirstDrafts() {
        let result = Self.loop([Self.arrival(0, 50, 4)], alpha: 1).run(.fixed(2))
        // Fifty-one tokens in the first draft pass, then one; two drafts and the target's own make the rest.
        #expect(result.draftTime == (50 + 51) + 51)
        #expect(result.steps == 2 && result.tokens == 4)
        #expect(result.requests[0].end == 6010.0 + 152 + 1310)
    }

    /// One place, one pass for each request: a queue with Poisson arrivals and constant service, for which Pollaczek
    /// and Khinchine's mean wait is S·ρ / (2·(1 - ρ)).
    @Test func waitsAreThoseOfAQueue() throws {
        let service = 1010.0 + 100 * 40
        let load = 0.7
        let times = ArrivalPattern.poisson(rate: load / service * 1e6)
            .arrivals(60_000, .around(prompt: 2, output: 2), seed: 11)
        let result = Self.loop(times.map { Self.arrival($0.time, 40, 1) }, running: 1).run(.off)
        let latency = try #require(OpenLoopMetrics(result).latency)
        let expected = service + service * load / (2 * (1 - load))
        #expect(abs(latency.mean / expected - 1) < 0.03)
        #expect(abs(OpenLoopMetrics(result).utilisation - load) < 0.02)
    }

    @Test(arguments: ["off", "static:3", "static:8", "smartspec", "turbospec", "adaspec", "goodput"])
    func everyRequestIsServed(name: String) throws {
        let arrivals = Self.mixed()
        let result = Self.loop(arrivals).run(try Arm(parsing: name, longestDraft: 6))
        #expect(result.tokens == arrivals.reduce(0) { $0 + $1.outputTokens })
        // The last token of a prompt may be left to the first step of decoding.
        let prompts = arrivals.reduce(0) { $0 + $1.promptTokens }
        #expect(result.prefillRows <= prompts && result.prefillRows >= prompts - arrivals.count)
        for request in result.requests {
            let (admitted, first, end) = try (
                #require(request.admitted), #require(request.firstToken), #require(request.end)
            )
            #expect(request.arrival <= admitted && admitted < first && first <= end)
            #expect((first < end) == (request.outputTokens > 1))
        }
        let parts = result.timeline.parts
        #expect(parts.reduce(0) { $0 + $1.tokens } == result.tokens)
        #expect(parts.reduce(0) { $0 + $1.steps } == result.steps)
        #expect(parts.reduce(0) { $0 + $1.arrivals } == arrivals.count)
        #expect(abs(parts.reduce(0) { $0 + $1.busyTime } - result.busyTime) < 1)
    }

    @Test func theSameSeedGivesTheSameRun() {
        var loop = Self.loop(Self.mixed())
        loop.machine.noise = 0.2
        let first = loop.run(.fixed(4))
        #expect(first == loop.run(.fixed(4)))
        loop.seed = 2
        #expect(first != loop.run(.fixed(4)))
    }

    /// Keeps what a policy was shown.
    private final class Log: Sendable {
        let views = Mutex<[StepView]>([])
        let outcomes = Mutex<[StepOutcome]>([])
    }

    private struct Listener: SpeculationPolicy {
        let log: Log
        let length: Int
        mutating func begin(_ view: StepView, _ costs: StepCosts) -> [DraftWish] {
            log.views.withLock { $0.append(view) }
            return view.requests.map { FixedLengthPolicy.wish($0, length: length) }
        }
        mutating func commit(_ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome) {
            log.outcomes.withLock { $0.append(outcome) }
        }
    }

    private static func listen(
        _ loop: OpenLoop, length: Int
    ) -> (views: [StepView], outcomes: [StepOutcome], result: OpenLoopResult) {
        let log = Log()
        let result = loop.run(Arm(name: "listener", longestDraft: 8) { _ in Listener(log: log, length: length) })
        return (log.views.withLock { $0 }, log.outcomes.withLock { $0 }, result)
    }

    @Test func theRowsOfAStepAreKept() {
        let (views, outcomes, result) = Self.listen(Self.loop(Self.mixed(), running: 6), length: 8)
        #expect(views.count > 500 && views.contains { $0.prefillRows > 0 && $0.rowBudget > 0 })
        for (view, outcome) in zip(views, outcomes) {
            #expect(view.requests.count <= 6 && view.requests.allSatisfy { $0.room <= 8 })
            #expect(view.requests.count + view.prefillRows <= 64)
            // A prompt that waits leaves drafts half of what decoding leaves.
            let rest = 64 - view.requests.count
            #expect(view.rowBudget == (view.prefillRows > 0 ? rest / 2 : rest))
            let rows = ((outcome.targetTime - 1010) / 100).rounded()
            let decoding = view.requests.count + outcome.requests.reduce(0) { $0 + $1.verified }
            #expect(rows <= 64 && Int(rows) - decoding <= view.prefillRows)
        }
        #expect(result.timeline.parts.contains { $0.waiting > 0 })
    }

    @Test func promptsGiveWayToDrafts() throws {
        // The second prompt is there when the first request decodes; eight drafts leave it 55 of 64 rows.
        let loop = Self.loop([Self.arrival(0, 1, 40), Self.arrival(1, 300, 2)], alpha: 1)
        let (views, outcomes, _) = Self.listen(loop, length: 8)
        let step = try #require(views.firstIndex { $0.prefillRows > 0 })
        #expect(views[step].prefillRows == 63 && views[step].rowBudget == 31)
        #expect(outcomes[step].requests[0].verified == 8)
        #expect(outcomes[step].targetTime == 1010.0 + 100 * 64)
    }

    @Test func theCacheBoundsWhoRuns() {
        var loop = Self.loop((0..<6).map { Self.arrival(Double($0), 30, 10) } + [Self.arrival(9, 90, 20)])
        loop.kvTokens = 100
        let (views, _, result) = Self.listen(loop, length: 0)
        #expect(result.rejected == 1 && OpenLoopMetrics(result).finished == 6)
        #expect(result.requests[6].admitted == nil)
        #expect(views.map(\.requests.count).max() == 2)
        #expect(views.allSatisfy { $0.freeTokens >= 0 })
    }

    @Test func targetsAreJudgedFromTheTimes() {
        var loop = Self.loop(Self.mixed())
        let plain = loop.run(.off)
        #expect(OpenLoopMetrics(plain).attainment == nil)
        let times = plain.requests.compactMap(\.timePerOutputToken).sorted()
        loop.targets = Targets(perOutputToken: times[times.count / 2])
        let judged = OpenLoopMetrics(loop.run(.off))
        #expect((judged.attainment ?? 0) > 0.3 && (judged.attainment ?? 1) < 0.7)
        loop.targets = Targets(firstToken: 1e12, perOutputToken: 1e12)
        #expect(OpenLoopMetrics(loop.run(.off)).attainment == 1)
        loop.targets = Targets(firstToken: 1)
        #expect(OpenLoopMetrics(loop.run(.off)).attainment == 0)
    }

    @Test func aRequestNeedsWhatItsTargetAsksFor() throws {
        var loop = Self.loop([Self.arrival(0, 10, 30)], alpha: 0)
        loop.targets = Targets(perOutputToken: 555)
        // Plain steps take 1110 us, twice the target: each falls one token further behind, until the target is lost.
        let views = Self.listen(loop, length: 0).views
        let needed = views.map { $0.requests[0].neededTokens }
        #expect(views.count == 28 && Array(needed.prefix(4)) == [2, 3, 4, 5])
        #expect(needed.allSatisfy { $0 <= 9 } && needed.last == 0)
        #expect(views.allSatisfy { $0.requests[0].targetTPOT == 555 })
    }

    @Test func whatATargetNeedsIsCountedInStepsWithDrafts() throws {
        var loop = Self.loop([Self.arrival(0, 10, 60)], alpha: 0)
        // A step of three rows and two passes takes 1412 us and gives a token, plain 1110 us: just in time.
        loop.targets = Targets(perOutputToken: 1412)
        let needed = Self.listen(loop, length: 2).views.map { $0.requests[0].neededTokens }
        #expect(needed.count > 50 && needed[40..<50].allSatisfy { abs($0 - 1) < 0.02 })
    }

    @Test func aTargetLimitsWhatTheDraftModelReads() throws {
        let arrivals = [Self.arrival(0, 4, 60), Self.arrival(5000, 50, 20)]
        var costs = Self.costs
        costs.draft = PassCosts(widths: [1, 2], base: [70, 90])
        func most(_ target: Double?) -> Int {
            var loop = OpenLoop(
                arrivals: arrivals, text: TextModel(model: .uniform(0)), machine: VirtualMachine(costs), maxRunning: 8,
                maxRows: 64)
            if let target { loop.targets = Targets(perOutputToken: target) }
            let outcomes = Self.listen(loop, length: 2).outcomes
            #expect(outcomes.contains { $0.requests.count == 2 && $0.requests[1].features.count == 2 })
            return outcomes.flatMap(\.draftPasses).map(\.rows).max() ?? 0
        }
        #expect(most(nil) == 52)
        // Behind: a third of a step of 1210 us is 423 us, 18 rows of 20 us and 50 us; and a row of the first request.
        #expect(most(800) == 19)
    }

    @Test func aTargetHoldsPromptsBack() throws {
        var loop = Self.loop([Self.arrival(0, 10, 40), Self.arrival(1, 300, 2)], alpha: 0)
        func prefillRows() -> [Int] { Self.listen(loop, length: 0).views.map(\.prefillRows).filter { $0 > 0 } }
        #expect(prefillRows().max() == 63)
        loop.targets = Targets(perOutputToken: 3000)
        // 1010 us and 100 for each row: a request that decodes and 18 rows of prompts are done in time at first.
        let held = prefillRows()
        #expect(held.count > 10 && (held.max() ?? 0) < 30)
        // A first token that is due at once makes the prompt go first, and nobody drafts beside it.
        loop.targets = Targets(firstToken: 40_000, perOutputToken: 3000)
        let hurried = Self.listen(loop, length: 0)
        #expect(hurried.result.requests[1].attained(Targets(firstToken: 40_000)))
        #expect(hurried.views.count < hurried.result.steps)
    }

    @Test func gainsAreSharedAsJainsIndexSays() throws {
        let loop = Self.loop(Self.mixed(rate: 6), alpha: 0.9)
        let (plain, fast) = (loop.run(.off), loop.run(.fixed(4)))
        let gain = try #require(SpeedUp(fast, plain: plain))
        #expect(gain.mean > 1.3 && gain.minimum < gain.mean && gain.fairness > 0.5 && gain.fairness < 1)
        let same = try #require(SpeedUp(plain, plain: plain))
        #expect(gain.percentiles.count == 101 && gain.percentiles == gain.percentiles.sorted())
        #expect(gain.percentiles.first == gain.minimum && same.percentiles.allSatisfy { $0 == 1 })
        #expect(same.mean == 1 && same.minimum == 1 && same.slowerShare == 0 && abs(same.fairness - 1) < 1e-12)
    }

    @Test func aPolicyThatEstimatesIsJudged() throws {
        let loop = Self.loop(Self.mixed(rate: 6))
        #expect(loop.run(.fixed(4)).calibration == nil)
        let calibration = try #require(loop.run(try Arm(parsing: "goodput")).calibration)
        let bins = calibration.bins
        #expect(bins.reduce(0) { $0 + $1.count } == calibration.observations && calibration.observations > 500)
        #expect(bins.allSatisfy { $0.count > 0 && (0...1).contains($0.predicted) && (0...1).contains($0.accepted) })
        let error = bins.reduce(0) { $0 + abs($1.predicted - $1.accepted) * Double($1.count) }
        #expect(abs(error / Double(calibration.observations) - calibration.expectedError) < 1e-9)
    }

    @Test func theLoadIsThatOfTheArrivals() {
        let arrivals = [0, 1e6, 4e6].map { Self.arrival($0, 3, 2) }
        #expect(OpenLoopMetrics(Self.loop(arrivals).run(.off)).requestsPerSecond == 0.5)
        #expect(OpenLoopMetrics(Self.loop([Self.arrival(0, 3, 2)]).run(.off)).requestsPerSecond == 0)
    }

    @Test func percentilesAreTheNearestRank() throws {
        let hundred = try #require(Distribution((1...100).map(Double.init).shuffled()))
        #expect(hundred.mean == 50.5)
        #expect([hundred.p50, hundred.p90, hundred.p95, hundred.p99] == [50, 90, 95, 99])
        let one = try #require(Distribution([7]))
        #expect(one.p50 == 7 && one.p99 == 7)
        #expect(Distribution([]) == nil)
    }

    @Test(arguments: ["", "of", "static", "static:0", "static:17", "static:x", "off:1", "goodput:2"])
    func anUnknownArmIsRefused(name: String) throws {
        let failure = try #require(throws: Failure.self) { try Arm(parsing: name, longestDraft: 8) }
        #expect(failure.message.contains(name.isEmpty ? "\"\"" : name))
    }
}
