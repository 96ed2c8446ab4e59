import Engine
import Formats
import Glibc
import Speculation
import TestSupport
import Testing

/// Submitting, waiting, cancelling, and what an engine says about it.
@Suite struct LifecycleTests {
    private static func isReadable(_ descriptor: Int32) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return Glibc.poll(&entry, 1, 0) == 1 && entry.revents & Int16(POLLIN) != 0
    }

    @Test func cancelQueuedRunningFinishedAndUnknown() throws {
        let scripted = try ScriptedEngine(change: { $0.maxRunningRequests = 1 })
        let engine = scripted.engine
        let running = try engine.submit(tokenRequest([1], 50))
        let queued = try engine.submit(tokenRequest([2], 50))
        let last = try engine.submit(tokenRequest([3], 2))
        let inbox = try engine.submit(tokenRequest([4], 2))
        try engine.cancel(inbox)
        #expect(try engine.step())
        #expect(engine.snapshot().runningRequests == 1 && engine.snapshot().queuedRequests == 2)
        try engine.cancel(queued)
        try engine.cancel(queued)
        #expect(try engine.step())
        try engine.cancel(running)
        #expect(try engine.step())
        var log = EventLog()
        log.add(engine.poll(timeout: 0))
        #expect(log.finishOrder == [inbox, queued, running])
        #expect(log.outcomes[running]?.tokens.count == 2)
        #expect(log.outcomes[queued]?.tokens.isEmpty == true)
        #expect(log.finishes[queued]?.statistics.queueTime == nil)
        #expect(log.finishes[running]?.statistics.queueTime != nil)
        for id in [running, queued, inbox, 0, 99] {
            #expect(failure { try engine.cancel(id) }?.code == .notFound)
        }
        while try engine.step() {}
        log.add(engine.poll(timeout: 0))
        #expect(log.outcomes[last]?.reason == .length)
        #expect(failure { try engine.cancel(last) }?.code == .notFound)
        #expect((log.problems + inconsistencies(engine.snapshot())).isEmpty)
        #expect(try !engine.step())
        #expect(scripted.drafter.forgotten.sorted() == [running, last])
    }

    @Test func aCancelThatComesTooLateDoesNothing() throws {
        let scripted = try ScriptedEngine()
        let first = try scripted.engine.submit(tokenRequest([1], 1))
        scripted.executor.onForward = { _ in try scripted.engine.cancel(first) }
        #expect(try scripted.engine.step())
        scripted.executor.onForward = nil
        let events = scripted.engine.poll(timeout: 0)
        #expect(events.last?.finish?.reason == .length)
        #expect(try !scripted.engine.step())
        #expect(scripted.engine.poll(timeout: 0).isEmpty)
    }

    @Test func fullQueue() throws {
        let scripted = try ScriptedEngine(change: {
            $0.maxQueuedRequests = 2
            $0.maxRunningRequests = 1
        })
        let engine = scripted.engine
        let first = try engine.submit(tokenRequest([1], 3))
        let second = try engine.submit(tokenRequest([1], 3))
        let problem = failure { _ = try engine.submit(tokenRequest([1], 3)) }
        #expect(problem?.code == .queueFull)
        #expect(problem?.message.contains("2 requests wait") == true)
        #expect(try engine.step())
        let third = try engine.submit(tokenRequest([1], 3))
        #expect(failure { _ = try engine.submit(tokenRequest([1], 3)) }?.code == .queueFull)
        #expect(engine.snapshot().submittedRequests == 3)
        while try engine.step() {}
        var log = EventLog()
        log.add(engine.poll(timeout: 0))
        #expect(log.finishOrder == [first, second, third])
        #expect(first < second && second < third)
        #expect((log.problems + inconsistencies(engine.snapshot())).isEmpty)
    }

    @Test func promptsThatDoNotFit() throws {
        let engine = try ScriptedEngine().engine
        let problem = failure { _ = try engine.submit(tokenRequest([Int32](repeating: 1, count: 200), 5)) }
        #expect(problem?.code == .contextTooLong)
        #expect(problem?.message.contains("200") == true && problem?.message.contains("128") == true)
        let full = [Int32](repeating: 1, count: 128)
        #expect(failure { _ = try engine.submit(tokenRequest(full, nil)) }?.code == .contextTooLong)
        var scored = tokenRequest(full, 0)
        scored.promptLogprobs = 0
        let result = try generate(engine, [scored, tokenRequest(Array(full.dropLast()), nil)])
        #expect(result.problems.isEmpty)
        #expect(result.outcomes.map(\.tokens.count) == [0, 1])
        #expect(result.outcomes.map(\.reason) == [.length, .length])
    }

    @Test func requestsBeyondTheKVBudget() throws {
        let engine = try ScriptedEngine(change: { $0.kvBudgetBytes = 2 * 32 * 512 + 100 }).engine
        #expect(engine.sizing.kvBlocks == 2)
        let problem = failure { _ = try engine.submit(tokenRequest([1, 2, 3], 62)) }
        #expect(problem?.code == .outOfMemoryBudget)
        #expect(problem?.message.contains("65") == true && problem?.message.contains("64") == true)
        #expect(problem?.message.contains("kv_budget_bytes") == true)
        var open = tokenRequest([1, 2, 3], nil)
        open.ignoresEndOfGeneration = true
        // Both need all there is, so they run one after the other.
        let result = try generate(engine, [tokenRequest([1, 2, 3], 61), open])
        #expect(result.problems.isEmpty)
        #expect(result.outcomes[1].tokens.count == 61)
        let tooSmall = failure { _ = try ScriptedEngine(change: { $0.kvBudgetBytes = 1000 }) }
        #expect(tooSmall?.code == .outOfMemoryBudget)
        #expect(tooSmall?.message.contains("1000") == true && tooSmall?.message.contains("16384") == true)
    }

    static let mistakes: [(field: String, make: @Sendable (inout RequestOptions) -> Void)] = [
        ("max_tokens", { $0.maxTokens = -2 }), ("max_tokens", { $0.maxTokens = 0 }),
        ("temperature", { $0.sampling.temperature = -0.1 }), ("temperature", { $0.sampling.temperature = .nan }),
        ("temperature", { $0.sampling.temperature = .infinity }), ("top_k", { $0.sampling.topK = -1 }),
        ("top_p", { $0.sampling.topP = 0 }), ("top_p", { $0.sampling.topP = 1.01 }),
        ("top_p", { $0.sampling.topP = .nan }), ("min_p", { $0.sampling.minP = -0.1 }),
        ("min_p", { $0.sampling.minP = 2 }), ("repetition_penalty", { $0.sampling.repetitionPenalty = 0 }),
        ("repetition_penalty", { $0.sampling.repetitionPenalty = .infinity }),
        ("presence_penalty", { $0.sampling.presencePenalty = .nan }),
        ("frequency_penalty", { $0.sampling.frequencyPenalty = -.infinity }),
        ("logit_bias", { $0.sampling.logitBias = [.init(token: 319, bias: 0)] }),
        ("logit_bias", { $0.sampling.logitBias = [.init(token: -1, bias: 0)] }),
        ("logit_bias", { $0.sampling.logitBias = [.init(token: 1, bias: .infinity)] }),
        ("logit_bias", { $0.sampling.logitBias = [.init(token: 1, bias: .nan)] }),
        ("stop holds", { $0.stopTexts = ["a", ""] }), ("stop_tokens", { $0.stopTokens = [1, 4000] }),
        ("logprobs", { $0.logprobs = -1 }), ("logprobs", { $0.logprobs = 1025 }),
        ("prompt_logprobs", { $0.promptLogprobs = 1025 }), ("speculation", { $0.draftTokens = 17 }),
        ("n is 0;", { $0.samples = 0 }), ("n is 65;", { $0.samples = 65 }),
        ("speculation", { $0.draftTokens = -1 }), ("prompt", { $0.prompt = .tokens([]) }),
        ("prompt", { $0.prompt = .text("") }), ("prompt", { $0.prompt = .tokens([319]) }),
        ("prompt", { $0.prompt = .tokens([-1]) }),
    ]

    @Test(arguments: mistakes.indices)
    func mistakesNameTheField(_ index: Int) throws {
        let engine = try ScriptedEngine().engine
        var request = tokenRequest([1, 2], 5)
        Self.mistakes[index].make(&request)
        let problem = failure { _ = try engine.submit(request) }
        #expect(problem?.code == .invalidArgument)
        #expect(problem?.message.contains(Self.mistakes[index].field) == true, "\(problem?.message ?? "no error")")
        #expect(engine.snapshot().submittedRequests == 0)
        #expect(try !engine.step())
    }

    static let engineMistakes: [(field: String, make: @Sendable (inout EngineOptions) -> Void)] = [
        ("draft_tokens", { $0.draftTokens = -1 }), ("draft_tokens", { $0.draftTokens = 17 }),
        ("kv_budget_bytes", { $0.kvBudgetBytes = -1 }), ("threads", { $0.threads = 513 }),
        ("max_running_requests", { $0.maxRunningRequests = 0 }),
        ("max_queued_requests", { $0.maxQueuedRequests = 0 }), ("max_step_tokens", { $0.maxStepTokens = 31 }),
        ("max_step_tokens", { $0.maxRunningRequests = 300 }), ("draft_model", { $0.drafter = .model }),
        ("context_tokens", { $0.contextTokens = 129 }),
    ]

    @Test(arguments: engineMistakes.indices)
    func mistakesOfAnEngineNameTheField(_ index: Int) {
        let problem = failure { _ = try ScriptedEngine(change: Self.engineMistakes[index].make) }
        #expect(problem?.code == .invalidArgument)
        #expect(problem?.message.contains(Self.engineMistakes[index].field) == true)
    }

    @Test func eventDescriptorIsReadableWhileEventsWait() throws {
        let engine = try ScriptedEngine().engine
        #expect(!Self.isReadable(engine.eventDescriptor))
        _ = try engine.submit(tokenRequest([1], 3))
        #expect(!Self.isReadable(engine.eventDescriptor))
        for _ in 0..<3 {
            #expect(try engine.step())
            #expect(Self.isReadable(engine.eventDescriptor))
            #expect(!engine.poll(timeout: 0).isEmpty)
            #expect(!Self.isReadable(engine.eventDescriptor))
            #expect(engine.poll(timeout: 0).isEmpty)
        }
        _ = try engine.submit(tokenRequest([1], 3))
        while try engine.step() { #expect(Self.isReadable(engine.eventDescriptor)) }
        #expect(engine.poll(timeout: nil).count == 4)
        #expect(!Self.isReadable(engine.eventDescriptor))
    }

    @Test func manualPollNeverBlocks() throws {
        let engine = try ScriptedEngine().engine
        #expect(engine.poll(timeout: nil).isEmpty)
        #expect(engine.poll(timeout: .max).isEmpty)
    }

    @Test func statisticsBeforeDuringAndAfter() throws {
        let scripted = try ScriptedEngine(change: { $0.maxRunningRequests = 2 })
        let engine = scripted.engine
        let total = engine.snapshot().kvBlocksTotal
        #expect(total == engine.sizing.kvBlocks && total == 512)
        #expect(engine.snapshot().threads == 1)
        for first in 1...3 as ClosedRange<Int32> {
            var request = tokenRequest([Int32](repeating: first, count: 40), 10)
            request.ignoresEndOfGeneration = true
            _ = try engine.submit(request)
        }
        #expect(engine.snapshot().queuedRequests == 3 && engine.snapshot().kvBlocksUsed == 0)
        #expect(try engine.step())
        var now = engine.snapshot()
        #expect(now.runningRequests == 2 && now.queuedRequests == 1 && now.kvBlocksUsed == 4)
        #expect(now.prefillTokens == 80 && now.emittedTokens == 2 && now.steps == 1 && now.finishedRequests == 0)
        while try engine.step() {}
        now = engine.snapshot()
        #expect(inconsistencies(now).isEmpty)
        #expect(now.prefillTokens == 120 && now.emittedTokens == 30 && now.steps == 20)
        for finish in engine.poll(timeout: 0).compactMap(\.finish) {
            let figures = finish.statistics
            #expect(figures.promptTokens == 40 && figures.completionTokens == 10 && figures.steps == 10)
            #expect(figures.seed == 1)
            let (queue, first) = (try #require(figures.queueTime), try #require(figures.timeToFirstToken))
            #expect(queue >= 0 && first >= queue && figures.totalTime >= first)
            #expect(try #require(figures.timePerOutputToken) * 9 <= figures.totalTime)
        }
    }

    @Test func userDataAndSeedsComeBack() throws {
        let engine = try ScriptedEngine().engine
        var request = tokenRequest([1], 8, temperature: 1)
        request.seed = nil
        request.userData = 0xABCD
        let first = try engine.submit(request)
        while try engine.step() {}
        let events = engine.poll(timeout: 0)
        #expect(events.allSatisfy { $0.userData == 0xABCD && $0.requestID == first })
        // The seed that was drawn gives the same text again.
        let finish = try #require(events.last?.finish)
        request.seed = finish.statistics.seed
        let again = try generate(engine, [request])
        #expect(again.outcomes[0].tokens == events.flatMap(\.tokens))
        #expect(again.finishes[0].statistics.seed == finish.statistics.seed)
    }

    /// With requests in every state, stepped by hand and by the engine's own thread.
    @Test func enginesEndAtAnyStep() throws {
        var random = SplitMix64(seed: 12)
        weak var last: InferenceEngine?
        for round in 0..<1000 {
            let engine = try ScriptedEngine(
                draftTokens: round % 3, drafts: { Array($0.tokens.suffix(2)) }, others: { Array($0.tokens.prefix(2)) },
                change: {
                    $0.runsInBackground = round % 2 == 1
                    $0.maxRunningRequests = 2
                    $0.treeWidth = round % 3 > 0 ? 1 + round / 6 % 2 : 0
                }
            ).engine
            for index in 0..<random.int(0..<5) {
                let length = 1 + random.int(0..<40)
                var request = tokenRequest([Int32(index + 1), 7, 8], length, temperature: [0, 1][random.int(0..<2)])
                request.verification = VerificationKind.allCases[random.int(0..<3)]
                let id = try engine.submit(request)
                guard random.int(0..<2) == 0 else { continue }
                let offered = (0..<random.int(0..<6)).map { _ in Int32(random.int(1..<319)) }
                let problem = failure { try engine.offerDraft(id, position: random.int(0..<8), tokens: offered) }
                #expect(problem == nil || problem?.code == .notFound && round % 2 == 1)
            }
            for _ in 0..<random.int(0..<12) {
                if round % 2 == 0 { _ = try engine.step() } else { _ = engine.poll(timeout: 50) }
            }
            engine.stop()
            last = engine
        }
        #expect(last == nil)
    }
}
