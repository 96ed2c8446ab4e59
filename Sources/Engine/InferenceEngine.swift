import CSystem
import Formats
import Glibc
import Kernels
package import Model
package import Scheduling
package import Speculation

/// Runs the requests of one target model. Any thread may submit, cancel, poll and ask for statistics; steps are taken
/// by the host or by a thread of the engine, one at a time.
package final class InferenceEngine: @unchecked Sendable {
    package let target: LanguageModel
    package let options: EngineOptions
    package let sizing: EngineSizing
    /// Readable while events wait.
    package let eventDescriptor: Int32

    private let runner: StepRunner
    private let grammars: GrammarLibrary
    private let stepLock = Lock()
    /// Held by who reads the decisions, so that each is read once.
    private let traceLock = Lock()
    private var thread: pthread_t?

    /// Guards everything below.
    private let state = Lock()
    private var inbox: [Submission] = []
    private var cancelled: Set<UInt64> = []
    /// How many samples each request still has.
    private var live: [UInt64: Int] = [:]
    private var liveSamples: Set<UInt64> = []
    /// Drafts of the host, by sample.
    private var offers: [UInt64: HostDraft] = [:]
    private var queued = 0
    private var nextID: UInt64 = 1
    private var events: [EngineEvent] = []
    private var statistics = EngineStatistics()
    private var decisionLog = DecisionLog()
    private var isBusy = false
    private var isStopping = false

    package convenience init(target: LanguageModel, options: EngineOptions) throws {
        // A draft model that is not drafted with takes no memory.
        let draft = options.usesDraftModel ? options.draftModel : nil
        let sizing = try EngineSizing(
            target: target.configuration, targetKV: target.defaultKVFormat, draft: draft?.configuration,
            options: options)
        let pool = ThreadPool(threads: sizing.threads)
        let drafting = try options.makeModelDrafter(target, sizing, pool)
        let executor = try ModelExecutor(target, sizing, pool, options)
        let costs = try ProfileSubject(
            target: target, draft: draft, sizing: sizing, targetExecutor: executor, draftExecutor: drafting?.executor,
            threads: pool.threads, options: options
        ).costs()
        let speculator = Speculator(
            policy: options.makePolicy(costs), isOff: options.policy == .off, branches: options.branches,
            costs: costs,
            retrieval: options.makeRetrieval(), model: drafting?.drafter, log: options.log,
            clock: options.clock)
        try self.init(
            target: target, options: options, sizing: sizing, threads: pool.threads, executor: executor,
            speculator: speculator)
    }

    /// An engine whose passes run elsewhere, those of a draft model too where `draftExecutor` is given; `target` gives
    /// tokenizer and sizes only. `other` is a second source of drafts, `costs` what passes are taken for at first: those of
    /// small models where it is nil.
    package convenience init(
        target: LanguageModel, options: EngineOptions, executor: any StepExecutor, drafter: any RetrievalDrafter,
        other: (any RetrievalDrafter)? = nil, draftExecutor: (any StepExecutor)? = nil, costs: StepCosts? = nil
    ) throws {
        let sizing = try EngineSizing(
            target: target.configuration, targetKV: target.defaultKVFormat, draft: nil, options: options)
        func guess(_ size: Int) -> PassCosts {
            .guess(weightsBytes: size, parameters: size, kvBytesPerToken: 1 << 10, maxRows: 256)
        }
        let costs = costs ?? StepCosts(target: guess(1 << 20), draft: draftExecutor.map { _ in guess(1 << 16) })
        let model = draftExecutor.map {
            DraftModelDrafter(
                executor: $0, maxRows: options.maxStepTokens, contextTokens: sizing.contextTokens,
                targetVocabulary: executor.vocabularySize, clock: options.clock)
        }
        model?.reportsProbability = options.policy == .adaspec
        let speculator = Speculator(
            policy: options.makePolicy(costs), isOff: options.policy == .off, branches: options.branches,
            costs: costs,
            retrieval: [(.lookup, drafter)] + (other.map { [(.suffix, $0)] } ?? []), model: model, log: options.log,
            clock: options.clock)
        try self.init(
            target: target, options: options, sizing: sizing, threads: sizing.threads, executor: executor,
            speculator: speculator)
    }

    private init(
        target: LanguageModel, options: EngineOptions, sizing: EngineSizing, threads: Int, executor: any StepExecutor,
        speculator: Speculator
    ) throws {
        self.target = target
        self.options = options
        self.sizing = sizing
        grammars = GrammarLibrary(tokenizer: target.tokenizer)
        runner = StepRunner(
            executor: executor, speculator: speculator, tokenizer: target.tokenizer, options: options,
            kvBlocks: sizing.kvBlocks)
        eventDescriptor = system_eventfd()
        guard eventDescriptor >= 0 else {
            throw Failure(.io, "cannot make an event descriptor: \(systemErrorText(errno))")
        }
        statistics = runner.statistics
        statistics.threads = threads
        if options.runsInBackground { try startBackgroundThread() }
        options.log.write(
            .info, "engine for \(target.path): \(threads) threads, KV cache of \(sizing.kvBlocks) blocks")
    }

    deinit { close(eventDescriptor) }

    // MARK: Requests

    /// Queues a request with all of its samples. Its id and the numbers after it, one for each sample, are never used again.
    package func submit(_ request: RequestOptions) throws -> UInt64 {
        let time = options.clock.microseconds
        let vocabulary = target.configuration.vocabularySize
        try request.validate(vocabularySize: vocabulary)
        let prompt = try request.promptTokens(tokenizer: target.tokenizer, vocabularySize: vocabulary)
        let limit = try tokenLimit(request, promptCount: prompt.count)
        let seed = request.seed ?? randomSeed()
        let constraint = try grammars.constraint(for: request)
        return try state.withLock {
            let id = try reserveNumbers(request.samples)
            for sample in 0..<request.samples {
                inbox.append(
                    Submission(
                        requestID: id, sample: sample, options: request, promptTokens: prompt, seed: seed, time: time,
                        limit: limit, constraint: constraint))
            }
            state.wake()
            return id
        }
    }

    /// The id of a request of so many samples, if they may all wait. To be called with the lock held.
    private func reserveNumbers(_ samples: Int) throws -> UInt64 {
        let most = options.maxQueuedRequests
        guard samples <= most else {
            throw Failure.invalid("n is \(samples), but max_queued_requests is \(most), and each sample takes a place")
        }
        guard queued + samples <= most else {
            throw Failure(
                .queueFull,
                "\(queued) requests wait already, and \(samples) more would exceed max_queued_requests, which is "
                    + "\(most); try again later")
        }
        let id = nextID
        nextID += UInt64(samples)
        live[id] = samples
        liveSamples.formUnion(id..<nextID)
        queued += samples
        statistics.submittedRequests += samples
        return id
    }

    /// The length at which the sequence ends; fails where it could never run.
    private func tokenLimit(_ request: RequestOptions, promptCount: Int) throws -> Int {
        let context = sizing.contextTokens
        let needed = promptCount + (request.maxTokens == 0 ? 0 : 1)
        guard needed <= context else {
            throw Failure(
                .contextTooLong, "the prompt has \(promptCount) tokens, but the context is \(context) tokens long")
        }
        let room = sizing.kvBlocks * kvBlockTokens
        // Beyond the context the sum may not even exist: max_tokens can be any positive number.
        let wanted = request.maxTokens.map { min(context, promptCount + min($0, context)) }
        guard max(needed, wanted ?? 0) <= room else {
            throw Failure(
                .outOfMemoryBudget,
                "the request may grow to \(max(needed, wanted ?? 0)) tokens, but the KV budget holds \(room); "
                    + "lower max_tokens or raise kv_budget_bytes")
        }
        return wanted ?? min(context, room)
    }

    /// Ends all samples of a request within one step.
    package func cancel(_ id: UInt64) throws {
        try state.withLock {
            guard live[id] != nil else {
                throw Failure(.notFound, "request \(id) is not known, or has finished already")
            }
            cancelled.insert(id)
            state.wake()
        }
    }

    /// Tokens that the host expects of a sample after `position` output tokens. They take the place of what it expected before;
    /// none expect nothing.
    package func offerDraft(_ sample: UInt64, position: Int, tokens: [Int32]) throws {
        let (context, vocabulary) = (sizing.contextTokens, target.configuration.vocabularySize)
        guard (0...context).contains(position) else {
            throw Failure.invalid("position is \(position); it must be from 0 to the context's \(context) tokens")
        }
        guard tokens.count <= context else {
            throw Failure.invalid("count is \(tokens.count), but the context is \(context) tokens long")
        }
        if let at = tokens.firstIndex(where: { $0 < 0 || Int($0) >= vocabulary }) {
            throw Failure.invalid("tokens[\(at)] is \(tokens[at]); token ids are from 0 to \(vocabulary - 1)")
        }
        try state.withLock {
            guard liveSamples.contains(sample) else {
                throw Failure(.notFound, "request \(sample) is not known, or has finished already")
            }
            offers[sample] = HostDraft(position: position, tokens: tokens)
        }
    }

    // MARK: Steps

    /// One step on this thread; false when there was nothing to do.
    package func step() throws -> Bool {
        guard !options.runsInBackground else {
            throw Failure(.wrongState, "the engine steps by itself: it was created with run_mode background")
        }
        return runStep()
    }

    private func runStep() -> Bool {
        stepLock.withLock { withDefaultFloatingPoint(takeStep) }
    }

    /// To be called with the step lock held.
    private func takeStep() -> Bool {
        let (arrived, ended, offered) = state.withLock {
            defer {
                inbox = []
                cancelled = []
                offers = [:]
            }
            return (inbox, cancelled, offers)
        }
        runner.add(arrived)
        runner.take(offered)
        var happened = runner.cancel(ended)
        let worked = !runner.isIdle
        happened += runner.step()
        publish(happened)
        return worked || !happened.isEmpty
    }

    private func publish(_ happened: [EngineEvent]) {
        state.withLock {
            if events.isEmpty, !happened.isEmpty { signal() }
            events += happened
            for event in happened where event.kind == .finish {
                let left = live[event.requestID, default: 1] - 1
                live[event.requestID] = left > 0 ? left : nil
                let sample = event.requestID + UInt64(event.sampleIndex)
                liveSamples.remove(sample)
                offers[sample] = nil
            }
            var fresh = runner.statistics
            fresh.submittedRequests = statistics.submittedRequests
            fresh.threads = statistics.threads
            statistics = fresh
            decisionLog.append(runner.records)
            queued = fresh.queuedRequests + inbox.count
            isBusy = !runner.isIdle
            state.wake()
        }
        if options.traces { runner.records.removeAll(keepingCapacity: true) }
    }

    private func signal() {
        var one: UInt64 = 1
        // A full counter would only mean that it is readable already.
        _ = unsafe write(eventDescriptor, &one, 8)
    }

    // MARK: Events

    /// All waiting events; waits up to `timeout` microseconds for one, for ever when nil. Empty when there was none.
    package func poll(timeout: Int64?) -> [EngineEvent] {
        let waits = options.runsInBackground
        let now = monotonicMicroseconds()
        let deadline = timeout.map { $0 > Int64.max - now ? Int64.max : now + $0 }
        return state.withLock {
            while events.isEmpty, waits, !isStopping {
                guard let deadline else {
                    state.wait()
                    continue
                }
                guard deadline > now, state.wait(until: deadline) else { break }
            }
            if events.isEmpty { return [] }
            defer { events = [] }
            var count: UInt64 = 0
            _ = unsafe read(eventDescriptor, &count, 8)
            return events
        }
    }

    package func snapshot() -> EngineStatistics {
        state.withLock {
            var result = statistics
            result.queuedRequests = queued
            return result
        }
    }

    /// Gives `body` what was decided in the latest steps, oldest first, and forgets it when `body` says that it has it.
    package func decisions<Result>(
        _ body: ([DecisionRecord]) throws -> (result: Result, isTaken: Bool)
    ) throws -> Result {
        guard options.traces else {
            throw Failure(.wrongState, "the engine keeps no trace: it was created with trace 0")
        }
        return try traceLock.withLock {
            // Steps go on meanwhile.
            let latest = state.withLock { Array(decisionLog.latest) }
            let (result, isTaken) = try body(latest)
            if isTaken, let last = latest.last { state.withLock { decisionLog.remove(through: last.step) } }
            return result
        }
    }

    /// How far the policy's estimates and what came of them are apart; waits for the step that is under way.
    package func calibration() -> Calibration? { stepLock.withLock { runner.speculator.calibration } }

    /// What passes are believed to cost; waits for the step that is under way.
    package func costs() -> StepCosts { stepLock.withLock { runner.speculator.costs } }

    /// What the requests that run hold; waits for the step that is under way.
    package func inspect() -> EngineInspection { stepLock.withLock { runner.inspection } }

    // MARK: The background thread

    private func startBackgroundThread() throws {
        thread = startThread { [unowned self] in runUntilStopped() }
        guard thread != nil else { throw Failure(.outOfMemoryBudget, "the system refused to start a thread") }
    }

    private func runUntilStopped() {
        while true {
            let goesOn = state.withLock {
                while !isStopping, !isBusy, inbox.isEmpty, cancelled.isEmpty { state.wait() }
                return !isStopping
            }
            guard goesOn else { return }
            _ = runStep()
        }
    }

    /// Ends the background thread; live requests go with the engine. To be called once, before the last release.
    package func stop() {
        state.withLock {
            isStopping = true
            state.wake()
        }
        if let thread { pthread_join(thread, nil) }
        thread = nil
    }
}

private func randomSeed() -> UInt64 {
    var generator = SystemRandomNumberGenerator()
    // The largest value is the API's mark for "none".
    return UInt64.random(in: 0..<UInt64.max, using: &generator)
}
