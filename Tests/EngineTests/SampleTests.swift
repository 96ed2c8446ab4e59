import Engine
import Formats
import Kernels
import Speculation
import TestSupport
import Testing

/// Several samples of one prompt, and salts that keep prompts apart in the prefix cache.
@Suite struct SampleTests {
    private static func prompt(_ count: Int, _ seed: UInt64 = 1) -> [Int32] {
        var random = SplitMix64(seed: seed)
        return (0..<count).map { _ in Int32(random.int(1..<319)) }
    }

    private static func request(
        _ promptCount: Int, _ tokens: Int, samples: Int, temperature: Float = 0.9
    ) -> RequestOptions {
        var request = tokenRequest(prompt(promptCount), tokens, temperature: temperature)
        request.samples = samples
        request.ignoresEndOfGeneration = true
        return request
    }

    private static func budget(_ blocks: Int) throws -> Int {
        try blocks * kvBlockTokens * ScriptedEngine().engine.sizing.kvBytesPerToken
    }

    /// What the scripted target says under the noise of one sample, with no engine in between.
    private static func expected(_ promptCount: Int, _ tokens: Int, sample: UInt32) throws -> [Int32] {
        let parameters = request(promptCount, tokens, samples: 1).sampling
        let sampler = Sampler()
        var text = prompt(promptCount)
        for _ in 0..<tokens {
            let logits = ScriptedExecutor.logits(after: text, vocabularySize: 319)
            text.append(
                try sampler.choose(
                    logits: logits.span, parameters: parameters, processors: [], history: TokenHistory(prompt: []),
                    noise: GumbelNoise(seed: 1, sample: sample), position: text.count))
        }
        return Array(text.dropFirst(promptCount))
    }

    /// Prompts of one token, about a block, and several of them.
    @Test(arguments: [1, 2, 31, 32, 33, 64, 65, 90], [0, 3])
    func eachSampleFollowsItsOwnNoise(_ promptCount: Int, _ draftTokens: Int) throws {
        let scripted = try ScriptedEngine(draftTokens: draftTokens) { Array($0.tokens.prefix(3)) }
        let result = try scripted.run([Self.request(promptCount, 20, samples: 4)])
        #expect(result.problems.isEmpty)
        for sample in 0..<4 {
            #expect(
                try result.outcomes[sample].tokens == Self.expected(promptCount, 20, sample: UInt32(sample)),
                "sample \(sample)")
        }
        #expect(Set(result.outcomes.map(\.tokens)).count == 4)
        #expect(result.finishes.map(\.statistics.seed) == [1, 1, 1, 1])
        let single = try ScriptedEngine().run([Self.request(promptCount, 20, samples: 1)])
        #expect(single.outcomes[0] == result.outcomes[0])
    }

    @Test func greedySamplesAreEqual() throws {
        let result = try ScriptedEngine().run([Self.request(40, 30, samples: 3, temperature: 0)])
        #expect(result.problems.isEmpty)
        #expect(result.outcomes[0].tokens.count == 30 && Set(result.outcomes.map(\.tokens)).count == 1)
    }

    /// Every sample needs the logits after the prompt, and with them the prompt's last token; nothing else is shared out.
    @Test(arguments: [1, 20, 32, 33, 100], [256, 32])
    func thePromptIsComputedOnce(_ promptCount: Int, _ maxStepTokens: Int) throws {
        let scripted = try ScriptedEngine(change: { $0.maxStepTokens = maxStepTokens })
        let result = try scripted.run([Self.request(promptCount, 10, samples: 8)])
        #expect(result.problems.isEmpty)
        #expect(result.statistics.prefillTokens == promptCount + 7)
        #expect(scripted.executor.rows == promptCount + 7 + 8 * 9)
        #expect(result.finishes.map(\.statistics.cachedTokens) == [0] + Array(repeating: promptCount - 1, count: 7))
    }

    @Test func samplesThatWaitForAPlaceShareThePromptToo() throws {
        let alone = try ScriptedEngine().run([Self.request(100, 20, samples: 8)])
        for places in 1...3 {
            let scripted = try ScriptedEngine(change: { $0.maxRunningRequests = places })
            let result = try scripted.run([Self.request(100, 20, samples: 8)])
            #expect(result.problems.isEmpty && result.outcomes == alone.outcomes)
            // One after the other they find whole blocks in the prefix cache, and part of the last one.
            #expect(result.statistics.prefillTokens <= 100 + 7 * (places == 1 ? 4 : 1))
        }
    }

    /// The prompt's whole blocks are there once, and each sample has a last block of its own.
    @Test func samplesShareBlocks() throws {
        let engine = try ScriptedEngine().engine
        _ = try engine.submit(Self.request(100, 10, samples: 8))
        #expect(try engine.step())
        #expect(engine.snapshot().kvBlocksUsed == 4 && engine.snapshot().queuedRequests == 7)
        #expect(try engine.step())
        #expect(engine.snapshot().kvBlocksUsed == 3 + 8 && engine.snapshot().runningRequests == 8)
        #expect(inconsistencies(engine.inspect()).isEmpty)
    }

    /// While a long prompt is computed for all samples, later requests get no more than the places that are left.
    @Test func aPlaceIsKeptForEachSample() throws {
        let engine = try ScriptedEngine(change: {
            $0.maxStepTokens = 32
            $0.maxRunningRequests = 5
        }).engine
        let first = try engine.submitSamples(Self.request(100, 5, samples: 4))
        for _ in 0..<3 { _ = try engine.submit(tokenRequest([1, 2], 20)) }
        #expect(try engine.step())
        #expect(engine.snapshot().runningRequests == 2)
        var log = EventLog()
        while try engine.step() { log.add(engine.poll(timeout: 0)) }
        #expect(log.problems.isEmpty && log.finishes.count == 7)
        #expect(Set(log.finishOrder.prefix(4)) == Set(first))
    }

    private static func randomRequests(_ random: inout SplitMix64) -> [RequestOptions] {
        (0..<10).map { index in
            let tokens = (0..<random.int(1..<70)).map { _ in Int32(random.int(1..<319)) }
            var request = tokenRequest(tokens, random.int(1..<40), temperature: [0.8, 1.2, 0][index % 3])
            request.samples = 1 + random.int(0..<5)
            request.seed = random.next() >> 1
            request.priority = Int32(index % 3)
            request.cacheSalt = UInt64(index % 2)
            if index % 4 == 1 { request.sampling.frequencyPenalty = 0.5 }
            if index % 4 == 2 { request.logprobs = 1 }
            if index % 5 == 3 { request.promptLogprobs = 1 }
            if index % 3 == 1 { request.stopTexts = ["a", "th"] }
            return request
        }
    }

    /// Whatever batch, chunk, draft, order or shortage of memory a sample meets, it says what it says alone.
    @Test(arguments: UInt64(1)...12)
    func samplesAreTheSameAloneAndInACrowd(_ seed: UInt64) throws {
        var random = SplitMix64(seed: seed &* 131)
        let requests = Self.randomRequests(&random)
        let alone = try generateAlone(ScriptedEngine().engine, requests)
        #expect(alone.problems.isEmpty)
        let scripted = try ScriptedEngine(
            draftTokens: Int(seed % 5),
            drafts: { request in (0..<3).map { request.tokens[request.tokens.count * $0 / 3] } },
            change: {
                $0.kvBudgetBytes = (try? Self.budget([4, 6, 16][Int(seed % 3)])) ?? 0
                $0.maxStepTokens = [32, 64, 256][Int(seed % 3)]
                $0.maxRunningRequests = [3, 7, 16][Int(seed / 3 % 3)]
            })
        let result = try scripted.run(requests)
        #expect(result.problems.isEmpty)
        #expect(result.outcomes.count == alone.outcomes.count)
        for (index, pair) in zip(result.outcomes, alone.outcomes).enumerated() {
            #expect(pair.0 == pair.1, "output \(index)")
        }
        #expect(result.statistics.preemptions > 0 || seed % 3 > 0)
        #expect(Set(scripted.drafter.forgotten).count == result.outcomes.count)
    }

    @Test func promptLogprobsComeOnceAndFirst() throws {
        for maxStepTokens in [32, 256] {
            let engine = try ScriptedEngine(change: { $0.maxStepTokens = maxStepTokens }).engine
            var request = Self.request(97, 4, samples: 3)
            request.promptLogprobs = 1
            _ = try engine.submit(request)
            while try engine.step() {}
            let events = engine.poll(timeout: 0)
            #expect(events.first?.kind == .promptLogprobs && events.first?.sampleIndex == 0)
            #expect(events.filter { $0.kind == .promptLogprobs }.count == 1)
            #expect(engine.snapshot().prefillTokens == 99)
            request.maxTokens = 0
            let scored = try generate(engine, [request])
            #expect(scored.problems.isEmpty)
            #expect(scored.outcomes.map(\.promptLogprobs.count) == [97, 0, 0])
            #expect(scored.outcomes.map(\.reason) == [.length, .length, .length])
        }
    }

    // MARK: Ends

    @Test func cancelEndsAllSamples() throws {
        let engine = try ScriptedEngine(change: { $0.maxRunningRequests = 3 }).engine
        let early = try engine.submitSamples(Self.request(20, 50, samples: 3))
        try engine.cancel(early[0])
        var log = EventLog()
        for expected in [early, try engine.submitSamples(Self.request(20, 50, samples: 5))] {
            for _ in 0..<6 where expected != early { #expect(try engine.step()) }
            #expect(expected == early || engine.snapshot().queuedRequests == 2)
            try engine.cancel(expected[0])
            #expect(try engine.step())
            log.add(engine.poll(timeout: 0))
            #expect(expected.allSatisfy { log.outcomes[$0]?.reason == .cancelled })
            #expect(failure { try engine.cancel(expected[0]) }?.code == .notFound)
        }
        #expect((log.problems + inconsistencies(engine.snapshot())).isEmpty)
        #expect(engine.snapshot().finishedRequests == 8)
    }

    /// The id is known until the last sample has ended; cancelling ends those that are left.
    @Test func anIdLastsAsLongAsOneSample() throws {
        let scripted = try ScriptedEngine(change: { $0.maxRunningRequests = 1 })
        let ids = try scripted.engine.submitSamples(Self.request(5, 3, samples: 3))
        var log = EventLog()
        while log.finishes.count < 2 {
            #expect(try scripted.engine.step())
            log.add(scripted.engine.poll(timeout: 0))
        }
        // The samples' own numbers mean nothing to the host.
        #expect(failure { try scripted.engine.cancel(ids[1]) }?.code == .notFound)
        try scripted.engine.cancel(ids[0])
        #expect(try scripted.engine.step())
        log.add(scripted.engine.poll(timeout: 0))
        #expect(ids.map { log.outcomes[$0]?.reason } == [.length, .length, .cancelled])
        #expect(failure { try scripted.engine.cancel(ids[0]) }?.code == .notFound)
        #expect(try scripted.engine.submit(tokenRequest([1], 1)) == ids[2] + 1)
        #expect(log.problems.isEmpty)
    }

    @Test func aDeadlineEndsAllSamples() throws {
        let engine = try ScriptedEngine(change: { $0.maxRunningRequests = 2 }).engine
        var late = Self.request(10, 100, samples: 4)
        late.deadline = 1
        let result = try generate(engine, [late])
        #expect(result.problems.isEmpty)
        #expect(result.outcomes.allSatisfy { $0.reason == .deadline })
    }

    /// A sample that fails leaves the others to compute the prompt themselves.
    @Test func aFailedPassLeavesTheSamplesThatWait() throws {
        let alone = try ScriptedEngine().run([Self.request(20, 5, samples: 3)])
        let scripted = try ScriptedEngine()
        scripted.executor.onForward = { pass in
            if pass == 1 { throw Failure(.io, "the wire is cut") }
        }
        let result = try scripted.run([Self.request(20, 5, samples: 3)])
        #expect(result.problems.isEmpty)
        #expect(result.outcomes.map(\.reason) == [.error, .length, .length])
        #expect(Array(result.outcomes[1...]) == Array(alone.outcomes[1...]))
    }

    // MARK: The queue

    @Test func eachSampleTakesAPlaceInTheQueue() throws {
        let engine = try ScriptedEngine(change: { $0.maxQueuedRequests = 4 }).engine
        _ = try engine.submit(Self.request(5, 3, samples: 3))
        let full = failure { _ = try engine.submit(Self.request(5, 3, samples: 2)) }
        #expect(full?.code == .queueFull && full?.message.contains("max_queued_requests") == true)
        #expect(engine.snapshot().queuedRequests == 3 && engine.snapshot().submittedRequests == 3)
        _ = try engine.submit(Self.request(5, 3, samples: 1))
        let never = failure { _ = try engine.submit(Self.request(5, 3, samples: 5)) }
        #expect(never?.code == .invalidArgument && never?.message.contains("n is 5") == true)
        while try engine.step() {}
        var log = EventLog()
        log.add(engine.poll(timeout: 0))
        #expect((log.problems + inconsistencies(engine.snapshot())).isEmpty && log.finishes.count == 4)
    }

    // MARK: Salts

    @Test func saltsKeepPromptsApart() throws {
        let scripted = try ScriptedEngine()
        func cached(_ salt: UInt64) throws -> Int {
            var request = Self.request(80, 4, samples: 1)
            request.cacheSalt = salt
            let result = try scripted.run([request])
            #expect(result.problems.isEmpty)
            #expect(try result.outcomes[0].tokens == Self.expected(80, 4, sample: 0))
            return result.finishes[0].statistics.cachedTokens
        }
        #expect(try [0, 7, 9, UInt64.max].map(cached) == [0, 0, 0, 0])
        #expect(try [0, 7, 9, UInt64.max].map(cached) == [64, 64, 64, 64])
        #expect(try cached(8) == 0)
    }

    /// Drafts from the texts of others must not tell what those are.
    @Test func draftersLearnTheSalt() throws {
        var request = Self.request(10, 20, samples: 2)
        request.cacheSalt = 9
        var other = Self.request(5, 20, samples: 1)
        other.cacheSalt = 0
        let scripted = try ScriptedEngine(draftTokens: 2) { draft in
            draft.isolation == (draft.id == 3 ? 0 : 9) ? [draft.tokens[0]] : []
        }
        let result = try scripted.run([request, other])
        #expect(result.problems.isEmpty)
        #expect(result.finishes.allSatisfy { $0.statistics.draftTokens > 0 })
    }

    /// Samples share the prompt whatever the salt, and requests that run at once under other salts share no block.
    @Test func saltedSamplesShareOnlyAmongThemselves() throws {
        let engine = try ScriptedEngine().engine
        for salt in [1, 2] as [UInt64] {
            var request = Self.request(80, 10, samples: 3)
            request.cacheSalt = salt
            _ = try engine.submit(request)
        }
        for _ in 0..<2 { #expect(try engine.step()) }
        let tables = engine.inspect().requests.sorted { $0.id < $1.id }.map { Set($0.blocks) }
        #expect(tables.count == 6 && engine.snapshot().kvBlocksUsed == 2 * (2 + 3))
        let own = tables[..<3].reduce(Set()) { $0.union($1) }
        #expect(own.isDisjoint(with: tables[3...].reduce(Set()) { $0.union($1) }))
        while try engine.step() {}
        #expect(engine.snapshot().prefillTokens == 2 * (80 + 2))
    }
}
