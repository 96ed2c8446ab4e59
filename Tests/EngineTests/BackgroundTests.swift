import Engine
import Formats
import Glibc
import Kernels
import Scheduling
import Speculation
import TestSupport
import Testing

/// An engine that steps by itself, used by several threads.
@Suite(.timeLimit(.minutes(10))) struct BackgroundTests {
    private static func requests() -> [RequestOptions] {
        mixedRequests(
            [.tokens([1, 2, 3]), .tokens([Int32](repeating: 7, count: 50)), .tokens([9])], tokens: 30,
            vocabularySize: 319, stop: "a")
    }

    /// Polls until `count` requests have finished.
    private static func collect(_ engine: InferenceEngine, _ count: Int, timeout: Int64?) -> EventLog {
        var log = EventLog()
        while log.finishes.count < count { log.add(engine.poll(timeout: timeout)) }
        return log
    }

    @Test(arguments: [nil, Int64(0), 50, 1_000_000])
    func theSameEventsAsInManualMode(_ timeout: Int64?) throws {
        let manual = try generate(ScriptedEngine(draftTokens: 4) { [$0.tokens[0]] }.engine, Self.requests())
        let scripted = try ScriptedEngine(
            draftTokens: 4, drafts: { [$0.tokens[0]] }, change: { $0.runsInBackground = true })
        let engine = scripted.engine
        defer { engine.stop() }
        let ids = try Self.requests().flatMap { try engine.submitSamples($0) }
        let log = Self.collect(engine, ids.count, timeout: timeout)
        #expect(log.problems.isEmpty)
        #expect(ids.map { log.outcomes[$0] } == manual.outcomes)
        #expect(engine.poll(timeout: 0).isEmpty)
        #expect(failure { _ = try engine.step() }?.code == .wrongState)
        #expect(inconsistencies(engine.snapshot()).isEmpty)
    }

    @Test func realModelsInTheBackground() throws {
        let model = try TestModels.random("qwen3")
        let draft = try TestModels.random("smollm-like")
        var options = EngineOptions()
        options.threads = 2
        let requests = Self.requests()
        let plain = try generate(InferenceEngine(target: model, options: options), requests)
        options.runsInBackground = true
        options.policy = .static
        options.draftModel = draft
        let engine = try InferenceEngine(target: model, options: options)
        defer { engine.stop() }
        let ids = try requests.flatMap { try engine.submitSamples($0) }
        let log = Self.collect(engine, ids.count, timeout: nil)
        #expect(ids.map { log.outcomes[$0] } == plain.outcomes)
        #expect((log.problems + plain.problems + inconsistencies(engine.snapshot())).isEmpty)
    }

    @Test func pollingAnIdleEngineReturnsEmpty() throws {
        let engine = try ScriptedEngine(change: { $0.runsInBackground = true }).engine
        defer { engine.stop() }
        #expect(engine.poll(timeout: 0).isEmpty)
        let start = monotonicMicroseconds()
        #expect(engine.poll(timeout: 2000).isEmpty)
        // Not before its time; how late is the system's business.
        #expect(monotonicMicroseconds() - start >= 2000)
    }

    @Test func stoppingWithLiveRequests() throws {
        let scripted = try ScriptedEngine(change: { $0.runsInBackground = true })
        for _ in 0..<30 { _ = try scripted.engine.submit(tokenRequest([1], 100)) }
        _ = scripted.engine.poll(timeout: nil)
        scripted.engine.stop()
        // A stopped engine does not make anybody wait.
        while !scripted.engine.poll(timeout: nil).isEmpty {}
        #expect(scripted.executor.problems.isEmpty)
    }

    @Test func stoppingWakesThoseWhoWait() throws {
        let engine = try ScriptedEngine(change: { $0.runsInBackground = true }).engine
        let polled = Shared(0)
        let waiting = try (0..<3).map { _ in
            try #require(
                startThread {
                    let events = engine.poll(timeout: nil)
                    polled.use { $0 += events.isEmpty ? 1 : 100 }
                })
        }
        engine.stop()
        for thread in waiting { pthread_join(thread, nil) }
        #expect(polled.use { $0 } == 3)
    }

    @Test func stoppingAtOnceAndAnIdleEngine() throws {
        for _ in 0..<20 { try ScriptedEngine(change: { $0.runsInBackground = true }).engine.stop() }
        try ScriptedEngine().engine.stop()
    }

    /// Eight threads submit, cancel and poll at the same time: every request ends exactly once, and right.
    @Test(arguments: [true, false])
    func manyThreads(_ background: Bool) throws {
        let perThread = 25
        let prompts = (0..<8).map { [Int32($0 + 1), 5, 6] }
        let alone = try generateAlone(
            ScriptedEngine().engine, prompts.map { tokenRequest($0, 20, temperature: 0.8) }
        ).outcomes
        let scripted = try ScriptedEngine(
            draftTokens: 3, drafts: { [$0.tokens[0], 4] },
            change: {
                $0.runsInBackground = background
                $0.maxRunningRequests = 5
                $0.maxStepTokens = 32
            })
        let engine = scripted.engine
        let total = 8 * perThread
        let log = Shared(EventLog())
        let owners = Shared([UInt64: Int]())
        let problems = Shared([String]())
        let threads = try (0..<8).map { number in
            try #require(
                startThread {
                    do {
                        for round in 0..<perThread {
                            let id = try engine.submit(tokenRequest(prompts[number], 20, temperature: 0.8))
                            owners.use { $0[id] = number }
                            if round % 5 == number % 5 { try? engine.cancel(id) }
                            if !background { _ = try engine.step() }
                            // The lock keeps batches in the order of their polls.
                            log.use { $0.add(engine.poll(timeout: 0)) }
                            if engine.snapshot().runningRequests > 5 { problems.use { $0.append("too many run") } }
                        }
                        while log.use({ $0.finishes.count }) < total, problems.use({ $0.isEmpty }) {
                            if !background { _ = try engine.step() }
                            log.use { $0.add(engine.poll(timeout: 100)) }
                        }
                    } catch {
                        problems.use { $0.append("thread \(number): \(error)") }
                    }
                })
        }
        for thread in threads { pthread_join(thread, nil) }
        engine.stop()
        #expect(problems.use { $0 }.isEmpty)
        let result = log.use { $0 }
        #expect((result.problems + scripted.executor.problems + inconsistencies(engine.snapshot())).isEmpty)
        #expect(result.finishes.count == total)
        var cancelled = 0
        for (id, number) in owners.use({ $0 }) {
            let outcome = try #require(result.outcomes[id])
            if outcome.reason == .cancelled {
                cancelled += 1
                #expect(alone[number].tokens.starts(with: outcome.tokens))
            } else {
                #expect(outcome == alone[number])
            }
        }
        #expect(cancelled <= 8 * perThread / 5)
    }
}
