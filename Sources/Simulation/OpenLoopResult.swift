package import Scheduling

/// What one request met with. Times in microseconds from the start of the workload.
package struct RequestRecord: Sendable, Equatable {
    package let arrival: Double
    package let promptTokens: Int
    package let outputTokens: Int
    package var admitted: Double?
    package var firstToken: Double?
    package var end: Double?
    /// When it was really sent; nil on virtual time, where that is when it comes.
    package var sent: Double?
    package internal(set) var verified = 0
    package internal(set) var accepted = 0

    package init(_ arrival: Arrival) {
        self.arrival = arrival.time
        promptTokens = arrival.promptTokens
        outputTokens = arrival.outputTokens
    }

    package var timeToFirstToken: Double? { firstToken.map { $0 - arrival } }
    package var latency: Double? { end.map { $0 - arrival } }

    /// From the first token to the last, for each after the first; nil with one token only.
    package var timePerOutputToken: Double? {
        guard let firstToken, let end, outputTokens > 1 else { return nil }
        return (end - firstToken) / Double(outputTokens - 1)
    }

    /// Whether every target that can be judged was met; a request that was not served met none.
    package func attained(_ targets: Targets) -> Bool {
        guard let time = timeToFirstToken, end != nil else { return false }
        if let target = targets.firstToken, time > target { return false }
        if let target = targets.perOutputToken, let pace = timePerOutputToken, pace > target { return false }
        return true
    }
}

/// How a run went over time, in parts of equal length.
package struct Timeline: Sendable, Equatable {
    /// Microseconds.
    package let partLength: Double
    package internal(set) var parts: [Part] = []

    /// Sums over what came and the steps that began in a part of the time.
    package struct Part: Sendable, Equatable {
        /// Requests that came.
        package internal(set) var arrivals = 0
        package internal(set) var steps = 0
        package internal(set) var busyTime = 0.0
        package internal(set) var tokens = 0
        /// Decoding requests, drafted tokens that were verified, and requests that wait, each summed over steps.
        package internal(set) var decoding = 0
        package internal(set) var verified = 0
        package internal(set) var waiting = 0
    }

    package init(partLength: Double) { self.partLength = partLength }

    mutating func add(at time: Double, _ change: (inout Part) -> Void) {
        // A workload's end may take long; what comes much later is counted in the last part.
        let index = Int(min(time / partLength, 10_000))
        while parts.count <= index { parts.append(Part()) }
        change(&parts[index])
    }
}

/// What came of a workload.
package struct OpenLoopResult: Sendable, Equatable {
    package private(set) var requests: [RequestRecord]
    package let targets: Targets
    package private(set) var timeline: Timeline
    package private(set) var rejected = 0
    package private(set) var steps = 0
    /// Output tokens, and those of them that did not come with the end of a prompt.
    package private(set) var tokens = 0
    package private(set) var decodedTokens = 0
    /// Microseconds of all steps, of the draft model's passes, and of the steps that drafted nothing though requests
    /// decoded.
    package private(set) var busyTime = 0.0
    package private(set) var draftTime = 0.0
    package private(set) var offTime = 0.0
    /// Of the target's passes, and of policies; the latter take none on virtual time.
    package private(set) var targetTime = 0.0
    package private(set) var controlTime = 0.0
    /// Of the steps in which requests decoded.
    package private(set) var decodingTime = 0.0
    package private(set) var prefillRows = 0
    /// Rows of decoding requests through the target, drafts that were verified, and what was accepted of them.
    package private(set) var rows = 0
    package private(set) var drafts = 0
    package private(set) var accepted = 0
    /// Steps that drafted where the one before did not, and the other way round.
    package private(set) var switches = 0
    /// How far the policy's probabilities and what came of them are apart; nil where it has none.
    package var calibration: Calibration?
    private var wasOff: Bool?
    private var ended = 0

    package init(requests: [RequestRecord], targets: Targets, timeline: Timeline) {
        self.requests = requests
        self.targets = targets
        self.timeline = timeline
        for request in requests { self.timeline.add(at: request.arrival) { $0.arrivals += 1 } }
    }

    /// Tokens of an output that is there, on average; long while nothing is known.
    var meanOutput: Double { ended > 0 ? Double(tokens) / Double(ended) : .infinity }

    // MARK: What happens

    mutating func reject(_ place: Int) { rejected += 1 }

    package mutating func send(_ place: Int, at time: Double) { requests[place].sent = time }

    package mutating func admit(_ place: Int, at time: Double) { requests[place].admitted = time }

    /// The first token is there.
    package mutating func first(_ place: Int, at time: Double) {
        if requests[place].firstToken == nil { requests[place].firstToken = time }
    }

    package mutating func end(_ place: Int, at time: Double) {
        requests[place].end = time
        ended += 1
    }

    package mutating func add(_ step: LoggedStep) {
        steps += 1
        busyTime += step.stepTime
        draftTime += step.draftTime
        targetTime += step.targetTime
        controlTime += step.controlTime
        prefillRows += step.prefillRows
        tokens += step.emitted
        for request in step.decoding { add(request) }
        timeline.add(at: step.start) { part in
            part.steps += 1
            part.busyTime += step.stepTime
            part.decoding += step.decoding.count
            part.verified += step.verified
            part.waiting += step.waiting
        }
        if step.emitted > 0 { timeline.add(at: step.end) { $0.tokens += step.emitted } }
        guard !step.decoding.isEmpty else { return }
        decodingTime += step.stepTime
        if step.isOff { offTime += step.stepTime }
        if let wasOff, wasOff != step.isOff { switches += 1 }
        wasOff = step.isOff
    }

    private mutating func add(_ request: LoggedStep.Decoding) {
        decodedTokens += request.emitted
        rows += 1 + request.verified
        if request.verified > 0 { drafts += 1 }
        accepted += request.accepted
        requests[request.request].verified += request.verified
        requests[request.request].accepted += request.accepted
    }
}
