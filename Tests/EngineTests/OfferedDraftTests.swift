import Engine
import Formats
import Scheduling
import Speculation
import TestSupport
import Testing

/// Drafts that the host offers for requests that run.
@Suite struct OfferedDraftTests {
    private static func request(_ maxTokens: Int = 40) -> RequestOptions {
        var request = tokenRequest([3, 4, 5], maxTokens)
        request.ignoresEndOfGeneration = true
        return request
    }

    /// Runs one request; `offer` is called before each step with the request's id and its output so far.
    private static func run(
        _ scripted: ScriptedEngine, _ request: RequestOptions = request(),
        offer: (_ id: UInt64, _ output: [Int32]) throws -> Void
    ) throws -> (outcome: Outcome, statistics: RequestStatistics, problems: [String]) {
        let id = try scripted.engine.submit(request)
        var log = EventLog()
        repeat {
            if log.finishes[id] == nil { try offer(id, log.outcomes[id]?.tokens ?? []) }
            guard try scripted.engine.step() else { break }
            log.add(scripted.engine.poll(timeout: 0))
        } while true
        let problems = log.problems + scripted.executor.problems + inconsistencies(scripted.engine.snapshot())
        let statistics = try #require(log.finishes[id]?.statistics)
        return (try #require(log.outcomes[id]), statistics, problems)
    }

    private static let plain = Result { try ScriptedEngine().run([request()]).outcomes[0] }

    /// Runs with offers and compares the text with that of plain decoding.
    private static func figures(
        _ scripted: ScriptedEngine, _ request: RequestOptions = request(),
        offer: (_ id: UInt64, _ output: [Int32], _ plain: [Int32]) throws -> Void
    ) throws -> RequestStatistics {
        let plain = try plain.get()
        let result = try run(scripted, request) { try offer($0, $1, plain.tokens) }
        #expect(result.outcome == plain)
        #expect(result.problems.isEmpty)
        return result.statistics
    }

    @Test(arguments: [1, 4, 16]) func theWholeOutputInAdvance(_ length: Int) throws {
        let scripted = try ScriptedEngine(draftTokens: length)
        let statistics = try Self.figures(scripted) { id, output, plain in
            if output.isEmpty { try scripted.engine.offerDraft(id, position: 0, tokens: plain) }
        }
        // The first step is the prompt's; the others give length + 1 tokens.
        #expect(statistics.steps == 1 + (39 + length) / (length + 1))
        #expect(statistics.acceptedTokens == statistics.draftTokens && statistics.draftTokens > 0)
    }

    @Test func whatComesLaterIsKeptUntilThen() throws {
        let scripted = try ScriptedEngine(draftTokens: 16)
        let statistics = try Self.figures(scripted) { id, output, plain in
            if output.isEmpty { try scripted.engine.offerDraft(id, position: 30, tokens: Array(plain[30...])) }
        }
        // Plain up to position 30, and there the rest at once: the target adds the last.
        #expect(statistics.steps == 31 && statistics.acceptedTokens == 9)
    }

    @Test func anOfferThatIsBehindGoesOnWhereTheOutputIs() throws {
        let scripted = try ScriptedEngine(draftTokens: 4)
        let statistics = try Self.figures(scripted) { id, output, plain in
            if output.count == 5 { try scripted.engine.offerDraft(id, position: 2, tokens: Array(plain[2..<11])) }
        }
        #expect(statistics.steps == 35 && statistics.draftTokens == 5 && statistics.acceptedTokens == 5)
    }

    @Test func whatDiffersIsDropped() throws {
        let scripted = try ScriptedEngine(draftTokens: 4)
        let statistics = try Self.figures(scripted) { id, output, plain in
            guard output.isEmpty else { return }
            // Right but for the third token, from whose place on nothing is drafted any more.
            var tokens = plain
            tokens[2] ^= 1
            try scripted.engine.offerDraft(id, position: 0, tokens: tokens)
        }
        #expect(statistics.draftTokens == 4 && statistics.acceptedTokens == 1)
        let late = try Self.figures(scripted) { id, output, plain in
            if output.count == 5 {
                try scripted.engine.offerDraft(id, position: 4, tokens: [plain[4] ^ 1] + plain[5...])
            }
        }
        #expect(late.draftTokens == 0)
    }

    @Test func theLatestOfferCounts() throws {
        let scripted = try ScriptedEngine(draftTokens: 4)
        let engine = scripted.engine
        let replaced = try Self.figures(scripted) { id, output, plain in
            if output.count == 2 { try engine.offerDraft(id, position: 2, tokens: plain.map { $0 ^ 1 }) }
            if output.count == 2 { try engine.offerDraft(id, position: 2, tokens: Array(plain[2..<5])) }
        }
        #expect(replaced.draftTokens == 3 && replaced.acceptedTokens == 3)
        let withdrawn = try Self.figures(scripted) { id, output, plain in
            if output.count == 2 { try engine.offerDraft(id, position: 2, tokens: Array(plain[2...])) }
            if output.count > 2 { try engine.offerDraft(id, position: 0, tokens: []) }
        }
        #expect(withdrawn.draftTokens == 4 && withdrawn.acceptedTokens == 4)
    }

    /// The drafter is always wrong, the host right.
    @Test(arguments: PolicyKind.allCases) func policiesThatDraftFollowTheHost(_ policy: PolicyKind) throws {
        let scripted = try ScriptedEngine(
            drafts: { draft in (0..<8).map { _ in (draft.tokens.last ?? 0) ^ 1 } },
            change: {
                $0.policy = policy
                $0.traces = true
            })
        let statistics = try Self.figures(scripted) { id, output, plain in
            if output.isEmpty { try scripted.engine.offerDraft(id, position: 0, tokens: plain) }
        }
        let sources = try scripted.engine.decisions { records in
            (Set(records.flatMap(\.requests).compactMap(\.source)), isTaken: true)
        }
        if policy == .off {
            #expect(statistics.draftTokens == 0 && sources.isEmpty)
        } else if policy == .static {
            #expect(sources == [.host] && statistics.acceptedTokens == statistics.draftTokens)
            #expect(statistics.acceptedTokens > 20)
        } else {
            // Whether it pays is measured; what is drafted is what the host offers.
            #expect(sources.isSubset(of: [.host]) || policy == .goodput)
        }
    }

    @Test func requestsDecideForThemselves() throws {
        var none = Self.request()
        none.draftTokens = 0
        let speculative = try ScriptedEngine(draftTokens: 4)
        let refused = try Self.figures(speculative, none) { id, _, plain in
            try speculative.engine.offerDraft(id, position: 0, tokens: plain)
        }
        #expect(refused.draftTokens == 0)
        var some = Self.request()
        some.draftTokens = 3
        let plainEngine = try ScriptedEngine()
        let wanted = try Self.figures(plainEngine, some) { id, _, plain in
            try plainEngine.engine.offerDraft(id, position: 0, tokens: plain)
        }
        #expect(wanted.acceptedTokens == wanted.draftTokens && wanted.steps == 11)
    }

    @Test func samplesHaveTheirOwn() throws {
        let scripted = try ScriptedEngine(draftTokens: 4)
        var request = Self.request()
        request.samples = 3
        request.sampling.temperature = 1
        let plain = try ScriptedEngine().run([request]).outcomes
        let id = try scripted.engine.submit(request)
        for (sample, outcome) in plain.enumerated() where sample != 1 {
            try scripted.engine.offerDraft(id + UInt64(sample), position: 0, tokens: outcome.tokens)
        }
        while try scripted.engine.step() {}
        var log = EventLog()
        log.add(scripted.engine.poll(timeout: 0))
        #expect((0..<3).map { log.outcomes[id + $0] } == plain)
        #expect((0..<3).map { (log.finishes[id + $0]?.statistics.steps ?? 0) < 20 } == [true, false, true])
        #expect(failure { try scripted.engine.offerDraft(id + 3, position: 0, tokens: [1]) }?.code == .notFound)
    }

    /// Whatever is offered, whenever, and whether requests wait, run or have lost their blocks.
    @Test(arguments: UInt64(1)...8) func offersDoNotChangeTheText(_ seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let requests = (0..<12).map { index in
            let prompt = (0..<random.int(1..<60)).map { _ in Int32(random.int(1..<319)) }
            var request = tokenRequest(prompt, random.int(1..<58), temperature: [0, 0.8][index % 2])
            request.seed = random.next() >> 1
            return request
        }
        let alone = try generateAlone(ScriptedEngine().engine, requests).outcomes
        let scripted = try ScriptedEngine(
            draftTokens: Int(seed) * 2,
            change: {
                $0.maxRunningRequests = [3, 16][Int(seed % 2)]
                $0.kvBudgetBytes = 8 * 32 * 512
            })
        let engine = scripted.engine
        for request in requests { _ = try engine.submit(request) }
        var log = EventLog()
        var refused = 0
        for _ in 0..<mostSteps {
            for _ in 0..<4 {
                let index = random.int(0..<requests.count)
                let position = random.int(0..<alone[index].tokens.count + 2)
                var tokens = Array(alone[index].tokens.dropFirst(position).prefix(random.int(0..<40)))
                if random.int(0..<3) == 0, !tokens.isEmpty { tokens[random.int(0..<tokens.count)] = 7 }
                let id = UInt64(index + 1)
                let problem = failure { try engine.offerDraft(id, position: position, tokens: tokens) }
                #expect(problem == nil || problem?.code == .notFound && log.finishes[id] != nil)
                refused += problem == nil ? 0 : 1
            }
            let worked = try engine.step()
            log.add(engine.poll(timeout: 0))
            if !worked { break }
        }
        #expect((log.problems + scripted.executor.problems + inconsistencies(engine.snapshot())).isEmpty)
        #expect((0..<requests.count).map { log.outcomes[UInt64($0 + 1)] } == alone)
        let statistics = engine.snapshot()
        #expect(statistics.acceptedTokens > 20 && statistics.acceptedTokens < statistics.draftTokens && refused > 0)
    }

    @Test func whatCannotBeIsRefused() throws {
        let engine = try ScriptedEngine(draftTokens: 4).engine
        let id = try engine.submit(Self.request(3))
        func code(_ id: UInt64, _ position: Int, _ tokens: [Int32]) -> Failure.Code? {
            failure { try engine.offerDraft(id, position: position, tokens: tokens) }?.code
        }
        #expect(code(id, -1, [1]) == .invalidArgument && code(id, 129, [1]) == .invalidArgument)
        #expect(code(id, 0, [Int32](repeating: 1, count: 129)) == .invalidArgument)
        #expect(code(id, 0, [1, -1]) == .invalidArgument && code(id, 0, [319]) == .invalidArgument)
        #expect(code(id, 128, [Int32](repeating: 318, count: 128)) == nil)
        #expect(code(id + 1, 0, [1]) == .notFound && code(0, 0, [1]) == .notFound)
        while try engine.step() {}
        #expect(code(id, 0, [1]) == .notFound && code(id, 0, []) == .notFound)
    }
}
