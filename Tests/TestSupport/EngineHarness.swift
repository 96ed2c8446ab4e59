package import Engine
package import Formats
import Kernels

/// What a request gave, bit for bit; what must not depend on speculation, batching or chunks.
package struct Outcome: Equatable, Sendable {
    package var tokens: [Int32] = []
    package var text: [UInt8] = []
    package var logprobs: [UInt32] = []
    package var topTokens: [Int32] = []
    package var topLogprobs: [UInt32] = []
    package var promptTokens: [Int32] = []
    package var promptLogprobs: [UInt32] = []
    package var promptTopTokens: [Int32] = []
    package var promptTopLogprobs: [UInt32] = []
    package var reason: FinishReason?
    package var failure: Failure.Code?

    package var string: String { String(decoding: text, as: UTF8.self) }
}

extension Outcome: CustomStringConvertible {
    package var description: String {
        "\(reason?.name ?? "no finish"), tokens \(tokens), logprobs \(logprobs.count) and \(promptLogprobs.count)"
    }
}

/// The events of requests, put together and checked for their order. A sample goes by the id of its request plus its index,
/// which no other request has.
package struct EventLog {
    package private(set) var outcomes: [UInt64: Outcome] = [:]
    package private(set) var finishes: [UInt64: Finish] = [:]
    package private(set) var finishOrder: [UInt64] = []
    package private(set) var problems: [String] = []
    package private(set) var eventCount = 0

    package init() {}

    package mutating func add(_ events: [EngineEvent]) {
        for event in events { add(event) }
    }

    private mutating func add(_ event: EngineEvent) {
        eventCount += 1
        let id = event.requestID + UInt64(event.sampleIndex)
        if finishes[id] != nil { problems.append("an event of request \(id) after its finish") }
        var outcome = outcomes[id] ?? Outcome()
        if String(validating: event.text, as: UTF8.self) == nil { problems.append("request \(id): broken UTF-8") }
        switch event.kind {
        case .tokens:
            if event.tokens.isEmpty && event.text.isEmpty { problems.append("request \(id): an empty event") }
            outcome.tokens += event.tokens
            outcome.text += event.text
            if let logprobs = event.logprobs {
                if logprobs.ofTokens.count != event.tokens.count { problems.append("request \(id): logprobs missing") }
                outcome.logprobs += logprobs.ofTokens.map(\.bitPattern)
                outcome.topTokens += logprobs.topTokens
                outcome.topLogprobs += logprobs.topLogprobs.map(\.bitPattern)
            }
        case .promptLogprobs:
            if event.sampleIndex > 0 { problems.append("request \(id): prompt log-probabilities of a later sample") }
            if outcome != Outcome() { problems.append("request \(id): prompt log-probabilities come late or twice") }
            outcome.promptTokens = event.tokens
            outcome.promptLogprobs = event.logprobs?.ofTokens.map(\.bitPattern) ?? []
            outcome.promptTopTokens = event.logprobs?.topTokens ?? []
            outcome.promptTopLogprobs = event.logprobs?.topLogprobs.map(\.bitPattern) ?? []
        case .finish:
            outcome.reason = event.finish?.reason
            outcome.failure = event.finish?.failure?.code
            finishes[id] = event.finish
            finishOrder.append(id)
            let count = event.finish?.statistics.completionTokens
            if count != outcome.tokens.count {
                problems.append("request \(id): \(count ?? -1) tokens reported, \(outcome.tokens.count) given")
            }
        }
        outcomes[id] = outcome
    }
}

/// Requests that ran to their end.
package struct Generation {
    /// In the order of submission, and of the samples of each request.
    package let outcomes: [Outcome]
    package let finishes: [Finish]
    package let statistics: EngineStatistics
    /// Broken promises, of any kind; empty when all is well.
    package var problems: [String]
}

extension InferenceEngine {
    /// Queues a request and says what its samples go by in an `EventLog`.
    package func submitSamples(_ request: RequestOptions) throws -> [UInt64] {
        let id = try submit(request)
        return (0..<request.samples).map { id + UInt64($0) }
    }
}

/// More steps than any test needs.
package let mostSteps = 20_000

/// Submits the requests at once and steps until nothing is left, with checks after every step.
package func generate(_ engine: InferenceEngine, _ requests: [RequestOptions]) throws -> Generation {
    var log = EventLog()
    var problems: [String] = []
    let ids = try requests.flatMap { try engine.submitSamples($0) }
    var steps = 0
    while try engine.step() {
        steps += 1
        if steps > mostSteps {
            problems.append("no end after \(steps) steps")
            break
        }
        // The first ones tell enough.
        if problems.count < 5 { problems += inconsistencies(engine.inspect()) }
        log.add(engine.poll(timeout: 0))
    }
    let statistics = engine.snapshot()
    problems += log.problems + inconsistencies(statistics)
    for id in ids where log.finishes[id] == nil { problems.append("request \(id) did not finish") }
    return Generation(
        outcomes: ids.map { log.outcomes[$0] ?? Outcome() }, finishes: ids.compactMap { log.finishes[$0] },
        statistics: statistics, problems: problems)
}

/// Each request by itself.
package func generateAlone(_ engine: InferenceEngine, _ requests: [RequestOptions]) throws -> Generation {
    let each = try requests.map { try generate(engine, [$0]) }
    return Generation(
        outcomes: each.flatMap(\.outcomes), finishes: each.flatMap(\.finishes), statistics: engine.snapshot(),
        problems: each.flatMap(\.problems))
}

/// What is wrong with the state between two steps.
package func inconsistencies(_ state: EngineInspection) -> [String] {
    var problems: [String] = []
    problems += state.problems
    let blocks = Set(state.requests.flatMap(\.blocks))
    if blocks.count != state.usedBlocks { problems.append("\(state.usedBlocks) blocks used, \(blocks.count) owned") }
    if !blocks.allSatisfy({ $0 >= 0 && Int($0) < state.totalBlocks }) { problems.append("a block does not exist") }
    let ids = state.requests.map(\.id)
    if Set(ids).count != ids.count { problems.append("requests \(ids) run twice") }
    for request in state.requests {
        let name = "request \(request.id)"
        if request.committed > request.limit { problems.append("\(name) is longer than its limit") }
        if request.published != request.committed { problems.append("\(name) has tokens that nobody saw") }
        if request.computed < 0 || request.computed >= request.committed {
            problems.append("\(name): \(request.computed) of \(request.committed) computed")
        }
        if request.blocks.count * kvBlockTokens < request.computed { problems.append("\(name) has too few blocks") }
    }
    return problems
}

/// What is wrong with the figures of an engine that has nothing left to do.
package func inconsistencies(_ figures: EngineStatistics) -> [String] {
    var problems: [String] = []
    func check(_ holds: Bool, _ name: String) {
        if !holds { problems.append(name) }
    }
    check(figures.kvBlocksUsed == 0, "\(figures.kvBlocksUsed) blocks are still used")
    check(figures.runningRequests == 0 && figures.queuedRequests == 0, "requests are left")
    check(figures.finishedRequests == figures.submittedRequests, "submitted is not finished")
    check(figures.acceptedTokens <= figures.draftTokens, "more accepted than drafted")
    check(figures.acceptedPerPosition.reduce(0, +) == figures.acceptedTokens, "accepted per position")
    check(figures.drafts <= figures.draftTokens, "empty drafts are counted")
    check(figures.branchTokens <= figures.draftTokens, "more branches than tokens")
    check(
        figures.acceptedBranches <= min(figures.branchTokens, figures.acceptedTokens),
        "more branches accepted than there are")
    let perPosition = figures.acceptedPerPosition
    check(zip(perPosition, perPosition.dropFirst()).allSatisfy { $0 >= $1 }, "a later position is accepted more often")
    check((perPosition.first ?? 0) <= figures.drafts, "more first positions than drafts")
    check(figures.draftTime >= 0 && figures.verifyTime >= 0 && figures.controlTime >= 0, "a time is negative")
    check(figures.draftTime + figures.verifyTime <= figures.stepTime, "the parts of steps take longer than the steps")
    return problems
}
