import Engine
import Formats
import Speculation
import TestSupport
import Testing

/// The step loop without a model.
@Suite struct ScriptedStepTests {
    private static func randomRequests(_ random: inout SplitMix64, _ count: Int) -> [RequestOptions] {
        (0..<count).map { index in
            let prompt = (0..<random.int(1..<70)).map { _ in Int32(random.int(1..<319)) }
            var request = tokenRequest(prompt, random.int(1..<58), temperature: [0, 0.8, 1.2][index % 3])
            request.seed = random.next() >> 1
            request.draftTokens = index % 4 == 0 ? random.int(0..<17) : nil
            if index % 5 == 1 { request.sampling.frequencyPenalty = 0.5 }
            if index % 5 == 2 { request.logprobs = 1 }
            if index % 6 == 3 { request.promptLogprobs = 1 }
            if index % 7 == 5 { request.stopTexts = ["a", "th"] }
            return request
        }
    }

    @Test func plainDecodingRunsEveryTokenOnce() throws {
        let scripted = try ScriptedEngine()
        let requests = [(1, 20), (40, 30), (100, 28), (64, 1)].map { prompt, tokens in
            var request = tokenRequest([Int32](repeating: 9, count: prompt), tokens)
            request.ignoresEndOfGeneration = true
            return request
        }
        let result = try scripted.run(requests)
        #expect(result.problems.isEmpty)
        #expect(result.outcomes.map(\.tokens.count) == [20, 30, 28, 1])
        // The last token of a request needs no pass.
        #expect(scripted.executor.rows == 205 + 79 - 4)
        #expect(scripted.executor.passes == 30)
        #expect(result.statistics.prefillTokens == 205)
        #expect(result.statistics.emittedTokens == 79)
        #expect(result.statistics.targetPasses == 30 && result.statistics.steps == 30)
        #expect(result.finishes.map(\.statistics.steps) == [20, 30, 28, 1])
    }

    /// Drafts that are always right give draft length + 1 tokens a step.
    @Test(arguments: 1...16)
    func rightDraftsSaveSteps(_ length: Int) throws {
        var request = tokenRequest([3, 4, 5], 68)
        request.ignoresEndOfGeneration = true
        let plain = try ScriptedEngine().run([request]).outcomes[0]
        let scripted = try ScriptedEngine(draftTokens: length) { draft in
            Array(plain.tokens.dropFirst(draft.tokens.count - 3))
        }
        let result = try scripted.run([request])
        #expect(result.problems.isEmpty)
        #expect(result.outcomes == [plain])
        let statistics = result.finishes[0].statistics
        // The first step is the prompt's; the others give length + 1 tokens.
        #expect(statistics.steps == 1 + (67 + length) / (length + 1))
        #expect(statistics.acceptedTokens == statistics.draftTokens)
        #expect(statistics.completionTokens == statistics.steps + statistics.acceptedTokens)
        #expect(scripted.drafter.forgotten == [1])
    }

    /// Whatever a drafter says, and wherever it is wrong, the text stays.
    @Test(arguments: UInt64(1)...12)
    func wrongDraftsDoNotMatter(_ seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let requests = Self.randomRequests(&random, 14)
        let alone = try generateAlone(ScriptedEngine().engine, requests.map(withoutDrafts))
        #expect(alone.problems.isEmpty)
        var noise = SplitMix64(seed: seed)
        let scripted = try ScriptedEngine(
            draftTokens: 1 + Int(seed),
            drafts: { request in
                let future = alone.outcomes[Int(request.id) - 1].tokens
                let prompt = alone.finishes[Int(request.id) - 1].statistics.promptTokens
                let right = future.dropFirst(request.tokens.count - prompt)
                let tail = (0..<noise.int(0..<17)).map { _ in Int32(noise.int(0..<319)) }
                return noise.int(0..<4) == 0 ? tail : Array(right.prefix(noise.int(0..<17))) + tail
            },
            change: {
                $0.maxStepTokens = [32, 64, 256][Int(seed % 3)]
                $0.maxRunningRequests = [4, 16][Int(seed % 2)]
                // Room for two full contexts: requests wait for blocks, and blocks pass from one to the next.
                $0.kvBudgetBytes = seed % 4 == 0 ? 0 : 8 * 32 * 512
            })
        let result = try scripted.run(requests)
        #expect(result.problems.isEmpty)
        for (index, pair) in zip(result.outcomes, alone.outcomes).enumerated() {
            #expect(pair.0 == pair.1, "request \(index)")
        }
        #expect(result.statistics.acceptedTokens > 0)
        #expect(result.statistics.acceptedTokens < result.statistics.draftTokens)
        #expect(result.finishes.map(\.statistics.draftTokens).reduce(0, +) == result.statistics.draftTokens)
        #expect(result.finishes.map(\.statistics.acceptedTokens).reduce(0, +) == result.statistics.acceptedTokens)
        #expect(result.finishes.map(\.statistics.completionTokens).reduce(0, +) == result.statistics.emittedTokens)
        let prompts = result.finishes.map(\.statistics.promptTokens).reduce(0, +)
        let cached = result.finishes.map(\.statistics.cachedTokens).reduce(0, +)
        // Those that were preempted compute some of theirs again.
        if result.statistics.preemptions == 0 {
            #expect(prompts - cached == result.statistics.prefillTokens)
        } else {
            #expect(prompts - cached <= result.statistics.prefillTokens)
        }
    }

    private func withoutDrafts(_ request: RequestOptions) -> RequestOptions {
        var plain = request
        plain.draftTokens = nil
        return plain
    }

    /// Requests that come and are cancelled at any step leave the others as they are.
    @Test(arguments: UInt64(1)...10)
    func comingAndGoing(_ seed: UInt64) throws {
        var random = SplitMix64(seed: seed &* 77)
        let requests = Self.randomRequests(&random, 40)
        let alone = try generateAlone(ScriptedEngine().engine, requests.map(withoutDrafts)).outcomes
        let scripted = try ScriptedEngine(
            draftTokens: 5,
            drafts: { request in (0..<3).map { request.tokens[request.tokens.count * $0 / 3] } },
            change: {
                $0.maxStepTokens = 40
                $0.maxRunningRequests = 6
                $0.kvBudgetBytes = 14 * 32 * 512
            })
        let engine = scripted.engine
        var log = EventLog()
        var problems: [String] = []
        var waiting = requests[...]
        var cancelled = Set<UInt64>()
        var lost = 0
        for _ in 0..<mostSteps {
            for _ in 0..<random.int(0..<3) {
                if let next = waiting.popFirst() { #expect(try engine.submit(next) == UInt64(41 - waiting.count - 1)) }
            }
            if random.int(0..<6) == 0 {
                let id = UInt64(random.int(1..<41))
                if failure(of: { try engine.cancel(id) }) == nil {
                    cancelled.insert(id)
                } else {
                    lost += 1
                    #expect(log.finishes[id] != nil || id > UInt64(40 - waiting.count))
                }
            }
            let worked = try engine.step()
            if problems.count < 5 { problems += inconsistencies(engine.inspect()) }
            log.add(engine.poll(timeout: 0))
            if !worked, waiting.isEmpty { break }
        }
        problems += log.problems + scripted.executor.problems + inconsistencies(engine.snapshot())
        #expect(problems.isEmpty)
        #expect(log.finishes.count == 40)
        #expect(!cancelled.isEmpty)
        for id in UInt64(1)...40 {
            let (outcome, whole) = (try #require(log.outcomes[id]), alone[Int(id) - 1])
            if outcome.reason == .cancelled {
                #expect(cancelled.contains(id))
                #expect(whole.tokens.starts(with: outcome.tokens))
            } else {
                #expect(outcome == whole)
            }
        }
        let ran = log.finishes.filter { $0.value.statistics.queueTime != nil }.keys
        #expect(Set(scripted.drafter.forgotten) == Set(ran))
    }

    @Test func longPromptsComeInChunksAndLateArrivalsDoNotWait() throws {
        let scripted = try ScriptedEngine(change: { $0.maxStepTokens = 32 })
        let engine = scripted.engine
        let first = try engine.submit(tokenRequest([1, 2], 20))
        #expect(try engine.step())
        let second = try engine.submit(tokenRequest([Int32](repeating: 8, count: 100), 5))
        var order: [UInt64] = []
        for _ in 0..<4 {
            #expect(try engine.step())
            order += engine.poll(timeout: 0).map(\.requestID)
        }
        // 31 rows of the prompt fit beside the first request's: the fourth step ends the prompt.
        #expect(order.filter { $0 == first }.count == 5)
        #expect(order.filter { $0 == second }.count == 1)
        #expect(scripted.executor.problems.isEmpty)
    }
}
