import Engine
import Formats
import Kernels
import Speculation
import TestSupport
import Testing

/// Shared prefixes, few blocks, priorities and deadlines: the text is what it is alone.
@Suite struct MemoryPressureTests {
    /// The bytes of so many blocks of the scripted engine.
    private static func budget(_ blocks: Int) throws -> Int {
        try blocks * kvBlockTokens * ScriptedEngine().engine.sizing.kvBytesPerToken
    }

    private func tokens(_ count: Int, _ random: inout SplitMix64) -> [Int32] {
        (0..<count).map { _ in Int32(random.int(1..<319)) }
    }

    @Test(arguments: UInt64(1)...6)
    func aQuarterOfTheDemandIsEnough(seed: UInt64) throws {
        var random = SplitMix64(seed: seed &* 31)
        var requests = (0..<12).map { _ in tokenRequest(tokens(random.int(1..<80), &random), random.int(1..<48)) }
        for index in requests.indices {
            requests[index].sampling.temperature = index % 2 == 0 ? 0 : 0.9
            requests[index].promptLogprobs = index % 5 == 0 ? 1 : nil
            requests[index].priority = Int32(index % 3)
        }
        let alone = try generateAlone(ScriptedEngine().engine, requests)
        let demand = zip(requests, alone.finishes).reduce(0) { sum, pair in
            sum + (pair.1.statistics.promptTokens + (pair.0.maxTokens ?? 0) + kvBlockTokens - 1) / kvBlockTokens
        }
        let tight = try ScriptedEngine(
            draftTokens: 4, drafts: { request in [Int32](repeating: request.tokens[0], count: 4) },
            change: { $0.kvBudgetBytes = (try? Self.budget(max(4, demand / 4))) ?? 0 })
        #expect(tight.engine.sizing.kvBlocks <= max(4, demand / 4))
        let result = try tight.run(requests)
        #expect(result.problems.isEmpty)
        #expect(result.outcomes == alone.outcomes)
        #expect(result.finishes.map(\.statistics.preemptions).reduce(0, +) == result.statistics.preemptions)
    }

    @Test func growthBeyondTheBudgetPreempts() throws {
        var random = SplitMix64(seed: 3)
        let requests = (0..<4).map { _ in tokenRequest(tokens(20, &random), 90) }
        let alone = try generateAlone(ScriptedEngine().engine, requests)
        let tight = try ScriptedEngine(change: { $0.kvBudgetBytes = (try? Self.budget(6)) ?? 0 })
        let result = try tight.run(requests)
        #expect(result.problems.isEmpty)
        #expect(result.outcomes == alone.outcomes)
        #expect(result.statistics.preemptions > 0)
    }

    /// The second turn of a conversation computes only what the first one left open.
    @Test func laterTurnsFindTheEarlierOnes() throws {
        var random = SplitMix64(seed: 5)
        let scripted = try ScriptedEngine()
        var turn = tokens(70, &random)
        let first = try scripted.run([tokenRequest(turn, 20)])
        #expect(first.finishes[0].statistics.cachedTokens == 0)
        turn += first.outcomes[0].tokens + tokens(9, &random)
        let fresh = try ScriptedEngine().run([tokenRequest(turn, 10)])
        let second = try scripted.run([tokenRequest(turn, 10)])
        #expect(second.problems.isEmpty)
        #expect(second.outcomes == fresh.outcomes)
        // Whole blocks of what the first turn computed: all of it but its last token.
        let computed = 70 + first.outcomes[0].tokens.count - 1
        #expect(second.finishes[0].statistics.cachedTokens == computed / kvBlockTokens * kvBlockTokens)
        #expect(second.statistics.prefixCachedTokens == second.finishes[0].statistics.cachedTokens)
        #expect(second.statistics.kvBlocksUsed == 0 && second.statistics.kvBlocksCached > 0)
    }

    /// Within the last block a shared beginning is copied.
    @Test func promptsThatPartWithinABlock() throws {
        var random = SplitMix64(seed: 6)
        let common = tokens(50, &random)
        let requests = (0..<3).map { tokenRequest(common + [Int32(100 + $0)] + tokens(30, &random), 12) }
        let alone = try generateAlone(ScriptedEngine().engine, requests)
        let scripted = try ScriptedEngine()
        for (index, request) in requests.enumerated() {
            let result = try scripted.run([request])
            #expect(result.problems.isEmpty)
            #expect(result.outcomes[0] == alone.outcomes[index])
            #expect(result.finishes[0].statistics.cachedTokens == (index == 0 ? 0 : 50))
        }
    }

    @Test func promptLogprobsComputeEveryRow() throws {
        var random = SplitMix64(seed: 7)
        var request = tokenRequest(tokens(80, &random), 5)
        request.promptLogprobs = 2
        let scripted = try ScriptedEngine()
        let results = try (0..<2).map { _ in try scripted.run([request]) }
        #expect(results[1].problems.isEmpty && results[0].outcomes == results[1].outcomes)
        #expect(results[1].outcomes[0].promptLogprobs.count == 80)
    }

    @Test func aHigherPriorityTakesThePlace() throws {
        var random = SplitMix64(seed: 8)
        var (low, high) = (tokenRequest(tokens(20, &random), 60), tokenRequest(tokens(20, &random), 5))
        low.priority = -1
        high.priority = 7
        low.ignoresEndOfGeneration = true
        let alone = try generateAlone(ScriptedEngine().engine, [low, high])
        let engine = try ScriptedEngine(change: { $0.maxRunningRequests = 1 }).engine
        var log = EventLog()
        let first = try engine.submit(low)
        for _ in 0..<10 { #expect(try engine.step()) }
        let second = try engine.submit(high)
        while try engine.step() { #expect(inconsistencies(engine.inspect()).isEmpty) }
        log.add(engine.poll(timeout: 0))
        #expect(log.finishOrder == [second, first])
        #expect(log.outcomes[first] == alone.outcomes[0] && log.outcomes[second] == alone.outcomes[1])
        #expect(log.finishes[first]?.statistics.preemptions == 1)
    }

    /// What is due first stays first, whatever the priority of those that wait.
    @Test func aHigherPriorityDoesNotPushOutWhatIsDueEarlier() throws {
        let engine = try ScriptedEngine(change: { $0.maxRunningRequests = 1 }).engine
        var (due, high) = (tokenRequest([1, 2], 20), tokenRequest([3, 4], 5))
        due.ignoresEndOfGeneration = true
        due.targetTimeToFirstToken = 1 << 50
        due.targetTimePerOutputToken = 1 << 50
        high.priority = 7
        let first = try engine.submit(due)
        #expect(try engine.step())
        let second = try engine.submit(high)
        while try engine.step() {}
        var log = EventLog()
        log.add(engine.poll(timeout: 0))
        #expect(log.finishOrder == [first, second] && engine.snapshot().preemptions == 0)
    }

    @Test func deadlinesEndRequestsWithWhatTheyHave() throws {
        let engine = try ScriptedEngine(change: { $0.maxRunningRequests = 1 }).engine
        var late = tokenRequest([5, 6], nil)
        late.ignoresEndOfGeneration = true
        late.deadline = 1
        let ids = try [late, late].map { try engine.submit($0) }
        let plain = try engine.submit(tokenRequest([5, 6], 3))
        while try engine.step() {}
        var log = EventLog()
        log.add(engine.poll(timeout: 0))
        #expect(ids.allSatisfy { log.outcomes[$0]?.reason == .deadline })
        #expect(log.outcomes[plain]?.reason == .length || log.outcomes[plain]?.reason == .stop)
        #expect(log.problems.isEmpty)
        late.deadline = 0
        #expect(failure { _ = try engine.submit(late) }?.message.contains("deadline_us") == true)
    }

    /// Ten thousand requests that come, go, starve and push each other out, with checks after every step.
    @Test func tenThousandRequests() throws {
        var random = SplitMix64(seed: 2026)
        let systems = (0..<5).map { _ in tokens(40, &random) }
        let kinds = (0..<150).map { kind -> RequestOptions in
            let shared = random.int(0..<2) == 0 ? systems[random.int(0..<5)] : []
            var request = tokenRequest(shared + tokens(random.int(1..<30), &random), random.int(1..<24))
            request.sampling.temperature = kind % 3 == 0 ? 0.8 : 0
            request.priority = Int32(random.int(0..<3))
            request.stopTokens = [Int32(random.int(1..<319))]
            request.samples = kind % 7 == 3 ? 2 + kind % 2 : 1
            return request
        }
        let alone = try kinds.map { try generateAlone(ScriptedEngine().engine, [$0]).outcomes }
        let scripted = try ScriptedEngine(
            draftTokens: 3, drafts: { request in Array(request.tokens.suffix(3)) },
            change: {
                $0.kvBudgetBytes = (try? Self.budget(14)) ?? 0
                $0.maxStepTokens = 64
                $0.maxRunningRequests = 12
            })
        var workload = Workload(engine: scripted.engine, kinds: kinds, random: random)
        try workload.run(count: 10_000)
        #expect(workload.problems.isEmpty && scripted.executor.problems.isEmpty)
        #expect(workload.log.finishes.count == workload.submitted.reduce(0) { $0 + alone[$1.kind].count })
        for (id, kind) in workload.submitted {
            for (sample, whole) in alone[kind].enumerated() {
                let outcome = try #require(workload.log.outcomes[id + UInt64(sample)])
                if outcome.reason == .cancelled {
                    #expect(workload.cancelled.contains(id) && whole.tokens.starts(with: outcome.tokens))
                } else {
                    #expect(outcome == whole, "request \(id) of kind \(kind), sample \(sample)")
                }
            }
        }
        let figures = scripted.engine.snapshot()
        #expect(figures.preemptions > 100 && figures.prefixCachedTokens > 10_000 && workload.cancelled.count > 100)
    }
}

/// A random load, the same for the same seed.
private struct Workload {
    let engine: InferenceEngine
    let kinds: [RequestOptions]
    var random: SplitMix64
    var log = EventLog()
    var problems: [String] = []
    var cancelled = Set<UInt64>()
    var submitted: [(id: UInt64, kind: Int)] = []

    mutating func run(count: Int) throws {
        var steps = 0
        while true {
            // In waves: sometimes nobody comes, sometimes many do.
            let wave = steps / 40 % 2 == 0 ? 8 : 2
            let arrivals = engine.snapshot().queuedRequests < 60 ? random.int(0..<wave) : 0
            for _ in 0..<arrivals where submitted.count < count {
                let kind = random.int(0..<kinds.count)
                submitted.append((try engine.submit(kinds[kind]), kind))
            }
            if random.int(0..<10) == 0, submitted.count > 20 {
                let late = submitted[submitted.count - 1 - random.int(0..<20)].id
                if failure(of: { try engine.cancel(late) }) == nil { cancelled.insert(late) }
            }
            let worked = try engine.step()
            steps += 1
            if problems.count < 5 { problems += inconsistencies(engine.inspect()) }
            log.add(engine.poll(timeout: 0))
            if (!worked && submitted.count == count) || steps > 1_000_000 { break }
        }
        problems += log.problems + inconsistencies(engine.snapshot())
    }
}
