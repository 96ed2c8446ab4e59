import Engine
import Formats
import Kernels
import Model
import Scheduling

/// What an arm of `bench policies` is.
struct PolicyChoice {
    enum Kind {
        /// An engine without drafts or draft model.
        case unconfigured
        /// An engine that could draft, and requests that want no drafts.
        case off
        /// `length`: of drafts, or the most of it; 0: what the policy is known with.
        case policy(PolicyKind, length: Int)
    }
    let name: String
    let kind: Kind

    static let unconfigured = PolicyChoice(name: "unconfigured", kind: .unconfigured)

    /// The arms of a comma-separated option, behind the one that they are compared with.
    static func list(_ text: String) throws -> [PolicyChoice] {
        let named = try text.split(separator: ",", omittingEmptySubsequences: false).map { try PolicyChoice($0) }
        let choices = [unconfigured] + named.filter { $0.name != unconfigured.name }
        try refuseRepetition(choices.map(\.name), "--policies")
        return choices
    }

    private init(name: String, kind: Kind) { (self.name, self.kind) = (name, kind) }

    private init(_ part: Substring) throws {
        name = String(part)
        switch part {
        case "unconfigured", "again": kind = .unconfigured
        case "off": kind = .off
        default:
            let halves = part.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard let policy = PolicyKind(name: String(halves[0])), policy != .off else {
                let names = PolicyKind.allCases.map(\.name).joined(separator: ", ")
                throw Failure.invalid("--policies: \"\(part)\" is none of unconfigured, again, \(names)")
            }
            let most = RequestOptions.mostDraftTokens
            let length = halves.count > 1 ? Int(halves[1]) : 0
            guard let length, halves.count == 1 || (1...most).contains(length) else {
                throw Failure.invalid("--policies: \"\(part)\" needs a length from 1 to \(most) after the colon")
            }
            kind = .policy(policy, length: length)
        }
    }
}

/// A prompt of the file that `bench policies` reads.
struct BenchPrompt {
    let text: String
    /// In the file, from 1.
    let line: Int

    private static let limit = 64 << 20

    static func list(path: String, category: String?) throws -> [BenchPrompt] {
        let lines = try FileSource.contents(of: path, limit: limit).split(
            separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        let prompts = try lines.enumerated().compactMap { index, line -> BenchPrompt? in
            if line.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\r") }) { return nil }
            let place = "--prompts: \(path), line \(index + 1)"
            let entry: JSON
            do { entry = try JSON(parsing: Array(line)) } catch let failure as Failure {
                throw failure.prefixed(place)
            }
            guard let text = entry["prompt"]?.string else { throw Failure.invalid("\(place) has no text \"prompt\"") }
            if let category, entry["category"]?.string != category { return nil }
            return BenchPrompt(text: text, line: index + 1)
        }
        guard !prompts.isEmpty else {
            throw Failure.invalid("--prompts: \(path) holds no prompt" + (category.map { " of category \($0)" } ?? ""))
        }
        return prompts
    }

    /// As tokens, of which the last ones are kept. The line is the request's mark.
    func request(_ tokenizer: Tokenizer, fitting most: Int) throws -> RequestOptions {
        var tokens = try tokenizer.encodePrompt(text)
        let excess = tokens.count - most
        if excess > 0 {
            let keepsFirst = most > 1 && tokens.first == tokenizer.bos
            let start = keepsFirst ? 1 : 0
            tokens.removeSubrange(start..<start + excess)
        }
        var request = RequestOptions()
        request.prompt = .tokens(tokens)
        request.userData = UInt(line)
        return request
    }
}

/// An engine with its way to decide on drafts.
struct PolicyArm {
    let name: String
    let engine: InferenceEngine
    /// What its requests ask for: nil leaves drafts to the policy, 0 wants none.
    let requestedDraft: Int?

    init(_ choice: PolicyChoice, target: LanguageModel, base: EngineOptions) throws {
        name = choice.name
        var options = base
        switch choice.kind {
        case .unconfigured:
            options.policy = .off
            options.draftModel = nil
            options.drafter = .auto
            requestedDraft = nil
        case .off:
            options.policy = .goodput
            requestedDraft = 0
        case .policy(let policy, let length):
            options.policy = policy
            options.draftTokens = length
            requestedDraft = nil
        }
        engine = try InferenceEngine(target: target, options: options)
    }
}

/// Requests on their way through an arm.
private struct PolicyRun {
    let arm: PolicyArm
    let requests: [RequestOptions]
    let concurrency: Int
    private(set) var round: PolicyRound
    /// Which request an id is, and when it began in the arm's own time.
    private var running: [UInt64: (index: Int, start: Int64)] = [:]
    private var next = 0
    private let before: EngineStatistics

    init(_ arm: PolicyArm, _ requests: [RequestOptions], concurrency: Int) {
        (self.arm, self.requests, self.concurrency) = (arm, requests, concurrency)
        round = PolicyRound(texts: Array(repeating: [], count: requests.count))
        before = arm.engine.snapshot()
    }

    /// Goes on for so many microseconds; false once all have ended.
    mutating func advance(_ slice: Int64) throws -> Bool {
        let end = round.time + slice
        while round.time < end {
            guard next < requests.count || !running.isEmpty else { return false }
            try step()
        }
        return true
    }

    private mutating func step() throws {
        while running.count < concurrency, next < requests.count {
            var request = requests[next]
            request.draftTokens = arm.requestedDraft
            running[try arm.engine.submit(request)] = (next, round.time)
            next += 1
        }
        if Interrupt.isRequested { throw Failure(.cancelled, "interrupted") }
        let start = monotonicMicroseconds()
        guard try arm.engine.step() else {
            throw Failure(.internalError, "\(arm.name): the engine is idle, but \(running.count) requests run")
        }
        round.time += monotonicMicroseconds() - start
        for event in arm.engine.poll(timeout: 0) {
            guard let (index, start) = running[event.requestID] else { continue }
            round.texts[index] += event.tokens
            guard let finish = event.finish else { continue }
            if let failure = finish.failure { throw failure }
            round.add(finish.statistics, latency: round.time - start)
            running[event.requestID] = nil
        }
    }

    /// Once all have ended.
    func finished() -> PolicyRound {
        var result = round
        result.add(arm.engine.snapshot(), since: before)
        return result
    }
}

/// What came of running some requests once. Times in microseconds.
struct PolicyRound {
    /// The tokens of each request.
    var texts: [[Int32]]
    /// In steps.
    var time: Int64 = 0
    /// Summed over requests.
    private(set) var latency: Int64 = 0
    private(set) var passes = 0
    private(set) var steps = 0
    private(set) var drafted = 0
    private(set) var accepted = 0
    private(set) var draftTime: Int64 = 0
    private(set) var verifyTime: Int64 = 0
    private(set) var controlTime = 0.0

    init(texts: [[Int32]]) { self.texts = texts }

    var tokens: Int { texts.reduce(0) { $0 + $1.count } }
    var tokensPerSecond: Double { Double(tokens) / Double(max(1, time)) * 1e6 }

    mutating func add(_ request: RequestStatistics, latency time: Int64) {
        latency += time
        passes += request.steps
    }

    mutating func add(_ engine: EngineStatistics, since before: EngineStatistics) {
        steps += engine.steps - before.steps
        drafted += engine.draftTokens - before.draftTokens
        accepted += engine.acceptedTokens - before.acceptedTokens
        draftTime += engine.draftTime - before.draftTime
        verifyTime += engine.verifyTime - before.verifyTime
        controlTime += engine.controlTime - before.controlTime
    }
}

/// The arms with their requests, and the text that each request must have.
struct PolicyBench {
    let arms: [PolicyArm]
    /// One for each prompt; a cell that has more requests takes them again.
    let requests: [RequestOptions]
    let repeats: Int
    private var rounds: UInt64 = 0
    /// By request; they do not depend on the load either.
    private var texts: [Int: [Int32]] = [:]

    init(arms: [PolicyArm], requests: [RequestOptions], repeats: Int) {
        (self.arms, self.requests, self.repeats) = (arms, requests, repeats)
    }

    func stop() {
        for arm in arms { arm.engine.stop() }
    }

    /// The cells of one load, one for each arm.
    mutating func measure(concurrency: Int, requests count: Int) throws -> [PolicyCell] {
        var measured = arms.map { _ in [PolicyRound]() }
        for round in 0...repeats {  // the first round warms up
            let requests = nextRequests(round > 0 ? count : min(count, max(2, concurrency)))
            for (index, result) in try takeTurns(requests, concurrency).enumerated() {
                try compare(result.texts, arms[index].name, concurrency)
                if round > 0 { measured[index].append(result) }
            }
        }
        let plain = measured[0].map(\.tokensPerSecond).median
        return zip(arms, measured).map {
            PolicyCell(policy: $0.name, concurrency: concurrency, rounds: $1, unconfigured: plain)
        }
    }

    /// All arms with these requests. A slow spell of the machine must not fall on one arm alone, so they take turns, a slice
    /// of time each, there and back.
    private func takeTurns(_ requests: [RequestOptions], _ concurrency: Int) throws -> [PolicyRound] {
        let slice: Int64 = 250_000
        var runs = arms.map { PolicyRun($0, requests, concurrency: concurrency) }
        var open = Array(runs.indices)
        while !open.isEmpty {
            open = try open.filter { try runs[$0].advance(slice) }
            open.reverse()
        }
        return runs.map { $0.finished() }
    }

    /// The requests of a round. Nothing that is kept of other rounds' texts, or of the same prompt's earlier in the round,
    /// serves them: their salt is another one.
    private mutating func nextRequests(_ count: Int) -> [RequestOptions] {
        rounds += 1
        return (0..<count).map { index in
            var request = requests[index % requests.count]
            request.seed = UInt64(index)
            request.cacheSalt = rounds << 32 | UInt64(index / requests.count)
            return request
        }
    }

    private mutating func compare(_ found: [[Int32]], _ arm: String, _ concurrency: Int) throws {
        for (index, text) in found.enumerated() {
            guard let expected = texts[index] else {
                texts[index] = text
                continue
            }
            if text == expected { continue }
            let position = zip(text, expected).prefix { $0 == $1 }.count
            throw Failure(
                .internalError,
                "\(arm) at concurrency \(concurrency) gave another text: request \(index), of the prompt in line "
                    + "\(requests[index % requests.count].userData), differs from token \(position) on")
        }
    }
}
