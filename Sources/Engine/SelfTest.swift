import Formats
import Kernels
package import Model
import Scheduling
import Speculation

/// One comparison of the self-test.
package struct SelfTestCheck: Sendable {
    package let name: String
    package let passed: Bool
    /// What was compared, or the first difference.
    package let detail: String
}

/// Proves on a model and this machine that texts do not depend on how they are computed: each request alone, plain and with
/// one thread is the reference for batches, chunks, threads, speculation, preemption and the prefix cache.
package struct SelfTest {
    private let target: LanguageModel
    private let options: EngineOptions
    private let requests: [RequestOptions]

    /// Of `options` draft model, KV type, activations, threads and context are used.
    package init(target: LanguageModel, options: EngineOptions) throws {
        self.target = target
        self.options = options
        let own = target.configuration.contextLength
        let context = options.contextTokens > 0 ? min(options.contextTokens, own) : own
        requests = try Self.requests(target.tokenizer, context: context)
    }

    private static let outputTokens = 24

    /// Short prompts and one that is cut into chunks; greedy and drawn.
    private static func requests(_ tokenizer: Tokenizer, context: Int) throws -> [RequestOptions] {
        let texts = [
            "Once upon a time", "def main():\n    for i in range(10):", "1, 2, 3, 4, 5, 6,", "The weather today is",
            String(repeating: "A list of names: Anna, Bert, Carl, Dora. ", count: 12),
        ]
        let most = context - outputTokens - 1
        guard most > 0 else { throw Failure.invalid("a context of \(context) tokens is too short for the self-test") }
        return try texts.flatMap { text in
            let tokens = Array(try tokenizer.encodePrompt(text).prefix(most))
            return [Float(0), 0.8].map { temperature in
                var request = RequestOptions()
                request.prompt = .tokens(tokens)
                request.maxTokens = outputTokens
                request.ignoresEndOfGeneration = true
                request.sampling.temperature = temperature
                request.seed = 20
                return request
            }
        }
    }

    /// Runs all checks, also after one that fails, and reports each; `report` returns false to stop. Fails with the first
    /// difference.
    package func run(report: (SelfTestCheck) -> Bool) throws {
        let alone = try engine { $0.threads = 1 }
        let reference = try requests.map { try outputs(of: [$0], alone)[0] }
        var first: SelfTestCheck?
        for (name, arm) in arms(reference) {
            let (outputs, remark) = try arm()
            let check = Self.compare(name, outputs, with: reference, remark)
            if !check.passed, first == nil { first = check }
            guard report(check) else { throw Failure(.cancelled, "the self-test was stopped by its callback") }
        }
        if let first { throw Failure(.internalError, "self-test, \(first.name): \(first.detail)") }
    }

    // MARK: Arms

    /// How all requests are computed once more, and what to say of it.
    private typealias Arm = () throws -> (outputs: [[Int32]], remark: String)

    private func arms(_ reference: [[Int32]]) -> [(String, Arm)] {
        var arms: [(String, Arm)] = [
            ("batched", { try simple { $0.threads = 1 } }),
            ("threads", { try simple { $0.threads = max(2, options.threadCount) } }),
            ("chunked", { try simple { $0.maxStepTokens = 32 } }),
            ("speculative, prompt lookup", { try speculative(.static, .lookup) }),
            ("speculative, suffix automaton", { try speculative(.static, .suffix) }),
            ("speculative, drafts of the host", { try offered(reference) }),
        ]
        if options.draftModel != nil {
            arms.append(("speculative, draft model", { try speculative(.static, .model) }))
        }
        arms.append(("speculative, trees", { try speculative(.static, .auto, treeWidth: 2) }))
        for policy in [PolicyKind.smartspec, .turbospec, .adaspec, .goodput] {
            arms.append(("policy \(policy.name)", { try speculative(policy, .auto) }))
        }
        return arms + [("preempted", preempted), ("prefix cache", cached)]
    }

    private func engine(_ change: (inout EngineOptions) -> Void) throws -> InferenceEngine {
        var own = EngineOptions()
        own.policy = .off
        own.kvFormat = options.kvFormat
        own.activations = options.activations
        own.threads = options.threads
        own.contextTokens = options.contextTokens
        change(&own)
        return try InferenceEngine(target: target, options: own)
    }

    private func simple(_ change: (inout EngineOptions) -> Void) throws -> (outputs: [[Int32]], remark: String) {
        let engine = try engine(change)
        return (try outputs(of: requests, engine), "\(engine.snapshot().steps) steps")
    }

    private func speculative(
        _ policy: PolicyKind, _ drafter: EngineOptions.DrafterKind, treeWidth: Int = 0
    ) throws -> (outputs: [[Int32]], remark: String) {
        let engine = try engine {
            $0.policy = policy
            $0.drafter = drafter
            $0.treeWidth = treeWidth
            $0.draftModel = drafter == .model || drafter == .auto ? options.draftModel : nil
        }
        let outputs = try outputs(of: requests, engine)
        let figures = engine.snapshot()
        return (outputs, "\(figures.acceptedTokens) of \(figures.draftTokens) drafted tokens accepted")
    }

    /// The host knows the outputs, but for one token of each.
    private func offered(_ reference: [[Int32]]) throws -> (outputs: [[Int32]], remark: String) {
        let engine = try engine { $0.policy = .static }
        var collected = Collected()
        for (index, request) in requests.enumerated() {
            var draft = reference[index]
            let wrong = 4 + index
            if wrong < draft.count { draft[wrong] = draft[wrong] == 0 ? 1 : 0 }
            let id = try engine.submit(request)
            try engine.offerDraft(id, position: 0, tokens: draft)
            collected.expect(id)
        }
        while try collected.step(engine) {}
        let figures = engine.snapshot()
        return (collected.outputs, "\(figures.acceptedTokens) of \(figures.draftTokens) drafted tokens accepted")
    }

    /// Half of the requests lose their places to the others while they run.
    private func preempted() throws -> (outputs: [[Int32]], remark: String) {
        let engine = try engine { $0.maxRunningRequests = 2 }
        var collected = Collected()
        let half = requests.count / 2
        for request in requests[..<half] { collected.expect(try engine.submit(request)) }
        for _ in 0..<4 { try collected.step(engine) }
        for var request in requests[half...] {
            request.priority = 1
            collected.expect(try engine.submit(request))
        }
        while try collected.step(engine) {}
        let count = engine.snapshot().preemptions
        guard count > 0 else { throw Failure(.internalError, "self-test: no request was preempted") }
        return (collected.outputs, "\(count) preemptions")
    }

    /// The same requests again, after what the first time left behind.
    private func cached() throws -> (outputs: [[Int32]], remark: String) {
        let engine = try engine { _ in }
        _ = try outputs(of: requests, engine)
        let outputs = try outputs(of: requests, engine)
        return (outputs, "\(engine.snapshot().prefixCachedTokens) tokens from the cache")
    }

    // MARK: Comparison

    private func outputs(of requests: [RequestOptions], _ engine: InferenceEngine) throws -> [[Int32]] {
        var collected = Collected()
        for request in requests { collected.expect(try engine.submit(request)) }
        while try collected.step(engine) {}
        return collected.outputs
    }

    /// Both hold the output tokens of every request.
    package static func compare(
        _ name: String, _ outputs: [[Int32]], with reference: [[Int32]], _ remark: String
    ) -> SelfTestCheck {
        for (request, pair) in zip(reference, outputs).enumerated() where pair.0 != pair.1 {
            let position = zip(pair.0, pair.1).prefix { $0 == $1 }.count
            func token(_ tokens: [Int32]) -> String {
                position < tokens.count ? "token \(tokens[position])" : "the end"
            }
            return SelfTestCheck(
                name: name, passed: false,
                detail: "request \(request) differs at output position \(position): \(token(pair.0)) alone, "
                    + "\(token(pair.1)) here")
        }
        let tokens = reference.reduce(0) { $0 + $1.count }
        return SelfTestCheck(
            name: name, passed: true, detail: "\(reference.count) requests, \(tokens) tokens the same; \(remark)")
    }

    /// Output tokens of requests, in order of submission.
    private struct Collected {
        private var ids: [UInt64] = []
        private var tokens: [UInt64: [Int32]] = [:]

        mutating func expect(_ id: UInt64) { ids.append(id) }

        var outputs: [[Int32]] { ids.map { tokens[$0] ?? [] } }

        @discardableResult
        mutating func step(_ engine: InferenceEngine) throws -> Bool {
            let worked = try engine.step()
            for event in engine.poll(timeout: 0) {
                tokens[event.requestID, default: []] += event.tokens
                if let failure = event.finish?.failure { throw failure }
            }
            return worked
        }
    }
}
