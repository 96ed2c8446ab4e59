import Engine
import Formats
import Kernels
import Model
import Scheduling
import Speculation
import TestSupport
import Testing

/// Ratio tests with everything: each option of a request with each other one, under engines that draft in different ways.
/// A text is another one than without drafts, so what must hold of any text is checked.
@Suite(.serialized) struct VerificationMatrixTests {
    /// What an engine may do.
    enum Setting: CaseIterable {
        case model, lookup, longDrafts, goodput, adaspec, smallSteps, scarceMemory, off

        func options() throws -> EngineOptions {
            var options = EngineOptions()
            options.threads = 1
            options.policy = .static
            options.draftTokens = 3
            options.draftModel = self == .lookup ? nil : try TestModels.draft()
            switch self {
            case .model: options.drafter = .model
            case .lookup: options.drafter = .lookup
            case .longDrafts: options.draftTokens = 16
            case .goodput: (options.policy, options.draftTokens) = (.goodput, 0)
            case .adaspec: (options.policy, options.draftTokens) = (.adaspec, 0)
            case .smallSteps: (options.maxStepTokens, options.maxRunningRequests) = (32, 9)
            case .scarceMemory: options.kvBudgetBytes = try blocks(14, options)
            case .off: options.policy = .off
            }
            return options
        }

        private func blocks(_ count: Int, _ options: EngineOptions) throws -> Int {
            let target = try TestModels.target()
            let sizing = try EngineSizing(
                target: target.configuration, targetKV: target.defaultKVFormat,
                draft: options.draftModel?.configuration, options: options)
            return count * kvBlockTokens * sizing.kvBytesPerToken
        }
    }

    private static func plain() throws -> InferenceEngine {
        var options = EngineOptions()
        options.policy = .off
        options.threads = 1
        return try InferenceEngine(target: try TestModels.target(), options: options)
    }

    private static let matrix = RequestMatrix(seeds: 31...32)
    /// Coupled, without drafts.
    private static let reference = Result { () -> (requests: [RequestOptions], outcomes: [Outcome]) in
        func withoutDrafts(_ requests: [RequestOptions]) -> [RequestOptions] {
            requests.map {
                var plain = $0
                plain.draftTokens = 0
                return plain
            }
        }
        let scouts = try generateAlone(plain(), withoutDrafts(matrix.requests))
        let requests = matrix.withStops(scouts.outcomes, tokenizer: try TestModels.target().tokenizer)
        return (requests, try generateAlone(plain(), withoutDrafts(requests)).outcomes)
    }

    private static func requests(_ verification: VerificationKind) throws -> [RequestOptions] {
        try reference.get().requests.map {
            var request = $0
            request.verification = verification
            return request
        }
    }

    @Test(arguments: Setting.allCases, [VerificationKind.rejection, .block])
    func everythingWithEverything(_ setting: Setting, _ verification: VerificationKind) throws {
        let requests = try Self.requests(verification)
        let engine = try InferenceEngine(target: try TestModels.target(), options: setting.options())
        let result = try generate(engine, requests)
        #expect(result.problems.isEmpty)
        let reference = try Self.reference.get().outcomes
        for (index, outcome) in result.outcomes.enumerated() {
            let request = requests[index]
            let faults =
                Self.faults(outcome, request, reference: reference[index]) + (try Self.faultsOfText(outcome, request))
            #expect(faults.isEmpty, "request \(index): \(request)")
        }
        #expect(try Self.faultsOfLogprobs(requests, result.outcomes).isEmpty)
        let figures = result.statistics
        // Drafts that requests ask for themselves are made under any policy.
        #expect(figures.acceptedTokens > 0 && figures.draftTokens > figures.acceptedTokens)
        #expect((figures.preemptions > 0) == (setting == .scarceMemory))
    }

    /// What is wrong with the numbers of an outcome.
    private static func faults(_ outcome: Outcome, _ request: RequestOptions, reference: Outcome) -> [String] {
        var faults: [String] = []
        func check(_ holds: Bool, _ name: String) {
            if !holds { faults.append(name) }
        }
        let count = outcome.tokens.count
        check(outcome.reason == .stop || outcome.reason == .length, "the reason is \(outcome)")
        check(count <= request.maxTokens ?? count, "too long")
        check(outcome.reason != .length || count == request.maxTokens, "too short")
        check(outcome.logprobs.count == (request.logprobs == nil ? 0 : count), "log-probabilities")
        check(outcome.topTokens.count == (request.logprobs ?? 0) * count, "likeliest tokens")
        check(outcome.promptLogprobs == reference.promptLogprobs, "log-probabilities of the prompt")
        check(!request.sampling.isGreedy || outcome == reference, "a greedy text that differs")
        if request.logprobsKind == .processed {
            check(
                outcome.logprobs.allSatisfy { Float(bitPattern: $0) > -.infinity },
                "a token that the distribution rules out")
        }
        return faults
    }

    /// What is wrong with its text.
    private static func faultsOfText(_ outcome: Outcome, _ request: RequestOptions) throws -> [String] {
        var faults: [String] = []
        for stop in request.stopTexts where outcome.string.contains(stop) { faults.append("a stop text") }
        for token in request.stopTokens where outcome.tokens.contains(token) { faults.append("a stop token") }
        for entry in request.sampling.logitBias where entry.bias == -.infinity {
            if outcome.tokens.contains(entry.token) { faults.append("a forbidden token") }
        }
        let stopped = request.stopTexts.count < 2 && request.stopTokens.isEmpty && outcome.reason == .stop
        if stopped, request.jsonSchema != nil {
            let value = try JSON(parsing: outcome.text)
            if !["list", "tree"].contains(value["kind"]?.string ?? "") { faults.append("not of the schema") }
        }
        if stopped, request.grammar != nil {
            let lines = outcome.string.split(separator: "\n")
            if lines.count != 2 || !lines.allSatisfy({ $0.hasPrefix("- ") }) { faults.append("not of the grammar") }
        }
        return faults
    }

    /// Raw log-probabilities of outputs are those of the same tokens in a prompt, bit for bit: each token came from the row
    /// that it was reported with, and all rows before it saw the right text.
    private static func faultsOfLogprobs(_ requests: [RequestOptions], _ outcomes: [Outcome]) throws -> [Int] {
        let target = try TestModels.target()
        let engine = try plain()
        return try zip(requests, outcomes).enumerated().compactMap { index, pair in
            let (request, outcome) = pair
            guard request.logprobs != nil, request.logprobsKind == .raw, !outcome.tokens.isEmpty else { return nil }
            let prompt = try request.promptTokens(
                tokenizer: target.tokenizer, vocabularySize: target.configuration.vocabularySize)
            var forced = RequestOptions()
            forced.prompt = .tokens(prompt + outcome.tokens)
            (forced.maxTokens, forced.promptLogprobs) = (0, 0)
            let expected = try generate(engine, [forced]).outcomes[0].promptLogprobs
            let own = expected[(prompt.count - 1)...].prefix(outcome.tokens.count)
            return Array(own) == outcome.logprobs ? nil : index
        }
    }

    /// The same requests in the same order on a new engine whose policy goes by no clock.
    @Test(arguments: [VerificationKind.rejection, .block])
    func whatRepeatsGivesTheSameTexts(_ verification: VerificationKind) throws {
        let requests = try Self.requests(verification)
        func run(_ setting: Setting) throws -> [Outcome] {
            try generate(InferenceEngine(target: TestModels.target(), options: setting.options()), requests).outcomes
        }
        let first = try run(.model)
        #expect(try run(.model) == first)
        #expect(try run(.lookup) != first)
    }
}
