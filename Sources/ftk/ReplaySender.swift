import Engine
import Formats
import Kernels
import Simulation

/// What came of requests that were sent. It holds nothing of the engine.
struct SentRun {
    var run: RecordedRun
    var cut: ReplaySender.Cut?
    /// What each of the run's requests asked for, and its output as far as it came.
    var texts: [TextReview.Text]
}

/// Sends requests when they are due, whatever the engine does, and notes what comes of them. Times of requests are those of
/// the sender's clock: what a user of the engine would see.
struct ReplaySender {
    private let engine: InferenceEngine
    private let requests: [RequestOptions]
    /// Microseconds after which the run is cut off.
    private let longest: Double
    private var origin: Int64 = 0
    private var places: [UInt64: Int] = [:]
    private var next = 0
    private var finished = 0
    private(set) var sent: SentRun

    /// Why a run was cut off.
    enum Cut: String {
        case time, interrupt
    }

    /// Looks at Ctrl-C and at the time at least that often, in microseconds.
    private static let longestWait = 50_000.0

    /// An engine in the background, and a request for each of the run's.
    init(_ engine: InferenceEngine, _ run: RecordedRun, requests: [RequestOptions], longest: Double) {
        precondition(run.requests.count == requests.count, "a request for each arrival")
        (self.engine, self.requests, self.longest) = (engine, requests, longest)
        sent = SentRun(run: run, texts: requests.map { TextReview.Text(request: $0, output: []) })
    }

    /// `progress` gets the requests that ended, now and then.
    mutating func send(_ progress: (_ finished: Int) -> Void) throws {
        guard try warmUp() else {
            sent.cut = .interrupt
            return keep(0)
        }
        sent.run.costs = engine.costs()
        origin = monotonicMicroseconds()
        while finished < requests.count {
            if Interrupt.isRequested { return try cutOff(.interrupt) }
            // Before the cut: what came by then is part of the run, however late the sender is.
            while next < requests.count, sent.run.requests[next].arrival <= min(clock, longest) { try submit() }
            if clock >= longest { return try cutOff(.time) }
            let due = next < requests.count ? sent.run.requests[next].arrival - clock : .infinity
            let events = engine.poll(timeout: Int64(max(0, min(due, Self.longestWait)).rounded(.up)))
            let now = clock
            for event in events { try note(event, at: now) }
            try takeSteps()
            progress(finished)
        }
    }

    /// Microseconds since the start.
    private var clock: Double { Double(monotonicMicroseconds() - origin) }

    /// One request that nobody counts: memory is touched, and threads are there. Nothing is drafted for it: its slow steps would
    /// teach the policy what does not hold later, and the run would not begin where a simulation does. False when it was
    /// interrupted.
    private func warmUp() throws -> Bool {
        guard var request = requests.first else { return true }
        (request.maxTokens, request.draftTokens) = (8, 0)
        request.cacheSalt = .max
        let id = try engine.submit(request)
        while !engine.poll(timeout: Int64(Self.longestWait)).contains(where: { $0.requestID == id && $0.finish != nil })
        {
            if Interrupt.isRequested { return false }
        }
        return try engine.decisions { _ in (true, isTaken: true) }
    }

    private mutating func submit() throws {
        sent.run.requests[next].sent = clock
        places[try engine.submit(requests[next])] = next
        next += 1
    }

    private mutating func note(_ event: EngineEvent, at time: Double) throws {
        guard let place = places[event.requestID] else { return }
        sent.texts[place].add(event)
        var request = sent.run.requests[place]
        defer { sent.run.requests[place] = request }
        if event.kind == .tokens, request.firstToken == nil { request.firstToken = time }
        guard let finish = event.finish else { return }
        if let failure = finish.failure { throw failure }
        finished += 1
        guard finish.reason == .length else { return }
        request.end = time
        if let waited = finish.statistics.queueTime, let start = request.sent {
            request.admitted = start + Double(waited)
        }
    }

    /// What was not sent by then is no part of the run; what has not ended is cancelled.
    private mutating func cutOff(_ reason: Cut) throws {
        let time = clock
        try takeSteps()
        sent.cut = reason
        sent.run.end = time
        for (id, place) in places where sent.run.requests[place].end == nil { try cancel(id) }
        while finished < next {
            for event in engine.poll(timeout: Int64(Self.longestWait)) {
                guard let place = places[event.requestID] else { continue }
                // The steps may be ahead of the events that were seen.
                sent.texts[place].add(event)
                if event.finish != nil { finished += 1 }
            }
        }
        keep(next)
    }

    private mutating func keep(_ count: Int) {
        sent.run.requests.removeLast(sent.run.requests.count - count)
        sent.texts.removeLast(sent.texts.count - count)
    }

    /// A request that ends in this moment needs no cancelling.
    private func cancel(_ id: UInt64) throws {
        do { try engine.cancel(id) } catch let failure as Failure where failure.code == .notFound {}
    }

    // MARK: Steps

    private mutating func takeSteps() throws {
        let records = try engine.decisions { ($0, isTaken: true) }
        for record in records where record.start >= origin { sent.run.steps.append(step(record)) }
    }

    private func step(_ record: DecisionRecord) -> LoggedStep {
        var step = LoggedStep()
        step.start = Double(record.start - origin)
        step.draftTime = record.draftTime
        step.targetTime = record.time - record.draftTime
        step.stepTime = record.stepTime
        step.controlTime = record.controlTime
        step.waiting = record.waiting
        step.draftPasses = record.draftPasses
        for request in record.requests {
            guard let place = places[request.id] else { continue }
            if request.isPrefill {
                step.prompts.append(
                    LoggedStep.Prompt(
                        request: place, rows: request.rows, computed: request.context, emitted: request.emitted))
            } else {
                step.decoding.append(Self.decoding(place, request))
            }
        }
        return step
    }

    private static func decoding(_ place: Int, _ request: DecisionRecord.Request) -> LoggedStep.Decoding {
        if let outcome = request.outcome {
            return LoggedStep.Decoding(request: place, context: request.context, outcome)
        }
        var part = LoggedStep.Decoding(request: place, context: request.context)
        part.source = request.source
        part.drafted = request.drafted
        part.verified = request.verified
        part.accepted = request.accepted
        part.emitted = request.emitted
        return part
    }
}
