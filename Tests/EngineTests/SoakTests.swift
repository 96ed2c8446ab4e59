import Engine
import Formats
import Glibc
import Kernels
import Speculation
import TestSupport
import Testing

/// 64 threads submit, cancel and poll on one engine that steps by itself: every request ends exactly once, with what it
/// gives alone. `FTK_SOAK_SECONDS` is how long they go on; without it each thread submits a few requests.
@Suite(.timeLimit(.minutes(30))) struct SoakTests {
    private static let threads = 64
    private static let requestsPerThread = 25

    private static let kinds: [RequestOptions] = {
        var random = SplitMix64(seed: 64)
        let system = (0..<40).map { _ in Int32(random.int(1..<319)) }
        return (0..<48).map { kind in
            let own = (0..<random.int(1..<30)).map { _ in Int32(random.int(1..<319)) }
            var request = tokenRequest((kind % 3 == 0 ? system : []) + own, random.int(1..<24))
            request.sampling.temperature = kind % 2 == 0 ? 0 : 0.8
            request.sampling.frequencyPenalty = kind % 5 == 0 ? 0.3 : 0
            request.priority = Int32(kind % 4) - 1
            request.logprobs = kind % 6 == 0 ? 2 : nil
            request.promptLogprobs = kind % 7 == 0 ? 1 : nil
            request.stopTokens = [Int32(random.int(1..<319))]
            request.verification = VerificationKind.allCases[kind / 2 % 3]
            if isDrawn(request) { (request.stopTokens, request.ignoresEndOfGeneration) = ([], true) }
            return request
        }
    }()

    /// Whether the text depends on drafts; its length does not, as nothing ends it before.
    fileprivate static func isDrawn(_ request: RequestOptions) -> Bool {
        request.verification != .coupled && !request.sampling.isGreedy
    }

    /// Of the four tokens that the scripted target may well say next, the one of that number; and so on.
    private static func guesses(after token: Int32?, _ number: Int) -> [Int32] {
        var token = token ?? 0
        return (0..<3).map { _ in
            var successors = SplitMix64(seed: UInt64(bitPattern: Int64(token)))
            for _ in 0...number { token = Int32(successors.int(1..<319)) }
            return token
        }
    }

    private static func engine() throws -> ScriptedEngine {
        let blockBytes = try ScriptedEngine().engine.sizing.kvBytesPerToken * kvBlockTokens
        return try ScriptedEngine(
            draftTokens: 3, drafts: { guesses(after: $0.tokens.last, 0) },
            others: { guesses(after: $0.tokens.last, 1) },
            change: {
                $0.runsInBackground = true
                $0.treeWidth = 2
                $0.kvBudgetBytes = 14 * blockBytes
                $0.maxRunningRequests = 8
                // Less than what the threads have in flight, so that some are turned away.
                $0.maxQueuedRequests = 100
                $0.maxStepTokens = 64
            })
    }

    @Test func everyRequestEndsExactlyOnce() throws {
        let alone = try generateAlone(ScriptedEngine().engine, Self.kinds)
        #expect(alone.problems.isEmpty)
        let scripted = try Self.engine()
        let engine = scripted.engine
        let ledger = Shared(
            SoakLedger(alone: alone.outcomes, isDrawn: Self.kinds.map(Self.isDrawn), submitters: Self.threads))
        let seconds = getenv("FTK_SOAK_SECONDS").flatMap { Int64(String(cString: $0)) }
        let end = seconds.map { monotonicMicroseconds() + $0 * 1_000_000 }
        let workers = try (0..<Self.threads).map { number in
            let worker = SoakWorker(
                number: number, kinds: Self.kinds, alone: alone.outcomes, engine: engine, ledger: ledger)
            return try #require(
                startThread {
                    worker.submit { round in
                        end.map { monotonicMicroseconds() < $0 } ?? (round < Self.requestsPerThread)
                    }
                    worker.drain()
                })
        }
        for worker in workers { pthread_join(worker, nil) }
        engine.stop()
        let result = ledger.use { $0 }
        #expect(result.problems.isEmpty)
        #expect(result.finished == result.submitted && result.unclaimed == 0)
        #expect((scripted.executor.problems + inconsistencies(engine.snapshot())).isEmpty)
        #expect(engine.snapshot().finishedRequests == result.submitted)
        #expect(engine.poll(timeout: 0).isEmpty)
        #expect(result.submitted >= Self.threads && result.cancelled > 0 && result.cancelled < result.submitted)
        let figures = engine.snapshot()
        #expect(result.offered > 0 && figures.acceptedTokens > 0 && figures.acceptedBranches > 0)
        if let seconds {
            print(
                "\(result.submitted) requests in \(seconds) s, \(result.cancelled) of them cancelled,",
                "\(result.refused) refused, \(figures.preemptions) preemptions; \(result.offered) drafts offered,",
                "\(figures.acceptedTokens) of \(figures.draftTokens) drafted tokens accepted,",
                "\(figures.acceptedBranches) of \(figures.branchTokens) on branches")
        }
    }
}

/// One of the threads.
private struct SoakWorker: Sendable {
    let number: Int
    let kinds: [RequestOptions]
    let alone: [Outcome]
    let engine: InferenceEngine
    let ledger: Shared<SoakLedger>

    /// Submits while `goesOn`, which is given the number of requests so far; drafts for some, cancels some and polls in
    /// between.
    func submit(while goesOn: (_ round: Int) -> Bool) {
        var random = SplitMix64(seed: UInt64(number))
        var round = 0
        while goesOn(round), !ledger.use({ $0.isBroken }) {
            let kind = random.int(0..<kinds.count)
            do {
                let id = try engine.submit(kinds[kind])
                round += 1
                ledger.use { $0.claim(id, kind) }
                if random.int(0..<2) == 0 { offer(id, kind, &random) }
                // Its own request, or one of any other thread that may have ended long ago.
                if random.int(0..<4) == 0 { cancel(random.int(0..<2) == 0 ? id : id - min(id - 1, 40)) }
            } catch let problem as Failure where problem.code == .queueFull {
                ledger.use { $0.refused += 1 }
                waitForRoom()
            } catch {
                ledger.use { $0.problems.append("thread \(number): \(error)") }
            }
            receive(timeout: [0, 0, 50][random.int(0..<3)])
        }
        ledger.use { $0.submitters -= 1 }
    }

    /// Polls until everything that anybody submitted has ended.
    func drain() {
        while !ledger.use({ $0.isComplete || $0.isBroken }) { receive(timeout: 1000) }
    }

    private func waitForRoom() {
        repeat { receive(timeout: 1000) } while engine.snapshot().queuedRequests > 50 && !ledger.use { $0.isBroken }
    }

    private func receive(timeout: Int64) {
        let events = engine.poll(timeout: timeout)
        if !events.isEmpty { ledger.use { $0.add(events) } }
    }

    private func cancel(_ id: UInt64) {
        ledger.use { $0.expectCancel(id) }
        check(failure { try engine.cancel(id) })
    }

    /// What the request gives alone, from some place on and not always right.
    private func offer(_ id: UInt64, _ kind: Int, _ random: inout SplitMix64) {
        let position = random.int(0..<alone[kind].tokens.count + 1)
        var tokens = Array(alone[kind].tokens.dropFirst(position))
        if random.int(0..<3) == 0, !tokens.isEmpty { tokens[random.int(0..<tokens.count)] = 7 }
        let problem = failure { try engine.offerDraft(id, position: position, tokens: tokens) }
        if problem == nil { ledger.use { $0.offered += 1 } } else { check(problem) }
    }

    /// The request may have ended.
    private func check(_ problem: Failure?) {
        if let problem, problem.code != .notFound { ledger.use { $0.problems.append(problem.message) } }
    }
}

/// What became of each request. Batches of events come here in any order, so that tokens are compared as counts of each;
/// what is settled is dropped.
private struct SoakLedger {
    private struct Account {
        var kind: Int?
        var counts: [Int32: Int] = [:]
        var tokens = 0
        var textBytes = 0
        var finish: Finish?
    }

    let alone: [Outcome]
    /// Of which kinds only the length is known.
    let isDrawn: [Bool]
    /// Threads that may submit more.
    var submitters: Int
    var refused = 0
    var offered = 0
    var problems: [String] = []
    private(set) var submitted = 0
    private(set) var finished = 0
    private(set) var cancelled = 0
    private var accounts: [UInt64: Account] = [:]
    private var settled = Set<UInt64>()
    private var cancelRequested = Set<UInt64>()

    init(alone: [Outcome], isDrawn: [Bool], submitters: Int) {
        self.alone = alone
        self.isDrawn = isDrawn
        self.submitters = submitters
    }

    /// Requests with events that nobody submitted, or that did not end.
    var unclaimed: Int { accounts.count }
    var isComplete: Bool { submitters == 0 && accounts.isEmpty }
    var isBroken: Bool { problems.count > 5 }

    mutating func expectCancel(_ id: UInt64) { cancelRequested.insert(id) }

    /// To be called by who submitted `id`; its events may have come before.
    mutating func claim(_ id: UInt64, _ kind: Int) {
        submitted += 1
        if accounts[id]?.kind != nil || settled.contains(id) { problems.append("id \(id) was given twice") }
        accounts[id, default: Account()].kind = kind
        settle(id)
    }

    mutating func add(_ events: [EngineEvent]) {
        for event in events {
            let id = event.requestID
            if settled.contains(id) { problems.append("an event of request \(id), which had ended") }
            var account = accounts[id] ?? Account()
            if event.kind == .tokens {
                account.tokens += event.tokens.count
                account.textBytes += event.text.count
                for token in event.tokens { account.counts[token, default: 0] += 1 }
            }
            if let finish = event.finish {
                if account.finish != nil { problems.append("request \(id) ended twice") }
                account.finish = finish
                finished += 1
            }
            accounts[id] = account
            settle(id)
        }
    }

    /// Compares a request that is known, has ended and has given all of its tokens, and drops it.
    private mutating func settle(_ id: UInt64) {
        guard let account = accounts[id], let kind = account.kind, let finish = account.finish else { return }
        let expected = finish.statistics.completionTokens
        // The rest is in a batch that another thread has polled and not yet put in.
        if account.tokens < expected { return }
        if finish.reason == .cancelled {
            cancelled += 1
            if !cancelRequested.contains(id) { problems.append("request \(id) was cancelled by nobody") }
        }
        if let problem = difference(account, kind, finish.reason) {
            problems.append("request \(id): \(problem)")
        }
        accounts[id] = nil
        settled.insert(id)
    }

    private func difference(_ account: Account, _ kind: Int, _ reason: FinishReason) -> String? {
        let outcome = alone[kind]
        let isCut = reason == .cancelled
        if !isCut && reason != outcome.reason { return "ended by \(reason.name)" }
        if account.tokens > outcome.tokens.count || (!isCut && account.tokens < outcome.tokens.count) {
            return "\(account.tokens) tokens, \(outcome.tokens.count) alone"
        }
        if isDrawn[kind] { return nil }
        var counts: [Int32: Int] = [:]
        for token in outcome.tokens.prefix(account.tokens) { counts[token, default: 0] += 1 }
        if counts != account.counts { return "other tokens" }
        if !isCut && account.textBytes != outcome.text.count { return "\(account.textBytes) bytes of text" }
        return nil
    }
}
