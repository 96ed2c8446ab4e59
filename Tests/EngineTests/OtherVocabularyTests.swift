import Engine
import Formats
import Kernels
import Model
import Scheduling
import Speculation
import TestSupport
import Testing

/// The trained pair with its draft's tokens at other ids, and with some of them gone.
@Suite(.serialized) struct OtherVocabularyTests {
    private static let file = Result { try RearrangedModel(path: TestModels.draftPath) }

    /// The draft without every token whose id leaves `remainder` when divided by `divisor`, but for single bytes.
    private static func draft(without remainders: Range<Int> = 0..<0, of divisor: Int = 1) throws -> LanguageModel {
        let tokenizer = try TestModels.draft().tokenizer
        let removed = (0..<Int32(tokenizer.vocabularySize)).filter {
            remainders.contains(Int($0) % divisor) && tokenizer.piece($0).count > 1 && !tokenizer.isControl($0)
        }
        let file = try file.get()
        return try file.load(places: file.shuffled(seed: 8), without: Set(removed))
    }
    private static let shuffled = Result { try draft() }

    private static func engine(
        _ draft: LanguageModel?, _ change: (inout EngineOptions) -> Void = { _ in }
    ) throws -> InferenceEngine {
        var options = EngineOptions()
        options.policy = draft == nil ? .off : .static
        options.threads = 1
        options.draftModel = draft
        change(&options)
        return try InferenceEngine(target: try TestModels.target(), options: options)
    }

    private static let requests = Result {
        seededRequests(TestModels.builtInPrompts + (try TestModels.sharedPrompts(2)))
    }
    private static let reference = Result { try generateAlone(engine(nil), requests.get()) }
    /// With the draft as it is shipped.
    private static let original = Result { try generate(engine(TestModels.draft()), requests.get()) }

    private static func acceptance(_ statistics: EngineStatistics) -> Double {
        Double(statistics.acceptedTokens) / Double(max(1, statistics.draftTokens))
    }

    /// Nothing is missing: the same drafts at other ids.
    @Test(arguments: [1, 4]) func idsDoNotMatter(_ length: Int) throws {
        let shuffled = try Self.shuffled.get()
        #expect(shuffled.tokenizer.storedText(7) != (try TestModels.draft().tokenizer.storedText(7)))
        let results = try [TestModels.draft(), shuffled].map { draft in
            try generate(Self.engine(draft) { $0.draftTokens = length }, Self.requests.get())
        }
        for result in results {
            #expect(result.problems.isEmpty)
            #expect(result.outcomes == (try Self.reference.get().outcomes))
        }
        let (one, other) = (results[0].statistics, results[1].statistics)
        #expect(one.draftTokens > 0 && one.acceptedTokens > 0)
        #expect(one.acceptedPerPosition == other.acceptedPerPosition)
        #expect((one.draftTokens, one.draftPasses, one.steps) == (other.draftTokens, other.draftPasses, other.steps))
    }

    /// Ratio tests draw from the draft's distribution and weigh it against the target's, both over the target's ids.
    @Test(arguments: [VerificationKind.rejection, .block]) func idsDoNotMatterUnderRatioTests(
        _ verification: VerificationKind
    ) throws {
        let requests = try Self.requests.get().map { request in
            var other = request
            other.verification = verification
            return other
        }
        let results = try [TestModels.draft(), Self.shuffled.get()].map { try generate(Self.engine($0), requests) }
        #expect(results.allSatisfy(\.problems.isEmpty) && results[0].outcomes == results[1].outcomes)
        #expect(results[0].statistics.acceptedTokens > 0)
        #expect(results[0].statistics.acceptedPerPosition == results[1].statistics.acceptedPerPosition)
        // The greedy ones.
        let reference = try Self.reference.get().outcomes
        let missing = try generate(Self.engine(Self.draft(without: 2..<3, of: 10)), requests)
        for index in stride(from: 0, to: requests.count, by: 2) {
            #expect(results[1].outcomes[index] == reference[index] && missing.outcomes[index] == reference[index])
        }
        #expect(missing.problems.isEmpty && missing.statistics.acceptedTokens > 0)
    }

    /// A tenth, or more than a half, of the tokens is missing.
    @Test(arguments: [(2..<3, 0.85), (0..<6, 0.35)]) func missingTokensCostAcceptance(
        _ remainders: Range<Int>, _ share: Double
    ) throws {
        let draft = try Self.draft(without: remainders, of: 10)
        let map = try #require(try vocabularyMap(target: TestModels.target(), draft: draft))
        #expect(map.share > share && map.share < share + 0.1)
        let result = try generate(Self.engine(draft), Self.requests.get())
        #expect(result.problems.isEmpty)
        #expect(result.outcomes == (try Self.reference.get().outcomes))
        #expect(result.statistics.acceptedTokens > 0)
        #expect(Self.acceptance(result.statistics) < Self.acceptance(try Self.original.get().statistics))
    }

    @Test(arguments: [PolicyKind.smartspec, .turbospec, .adaspec, .goodput])
    func noPolicyChangesTheText(_ policy: PolicyKind) throws {
        let draft = try Self.draft(without: 2..<3, of: 10)
        let engine = try Self.engine(draft) {
            $0.policy = policy
            $0.drafter = .model
            $0.threads = 2
            $0.maxStepTokens = 32
        }
        let result = try generate(engine, Self.requests.get())
        #expect(result.problems.isEmpty)
        #expect(result.outcomes == (try Self.reference.get().outcomes))
    }

    /// Texts of the draft are longer than the target's, and its blocks run out first; requests push each other out.
    @Test func scarceMemory() throws {
        let draft = try Self.draft(without: 0..<6, of: 10)
        let requests = try Self.requests.get()
        let roomy = try Self.engine(draft)
        let most = try Self.reference.get().outcomes.map(\.tokens.count).max() ?? 0
        let blocks = (most + 400) / kvBlockTokens + 4
        let tight = try Self.engine(draft) {
            $0.kvBudgetBytes = blocks * kvBlockTokens * roomy.sizing.kvBytesPerToken
        }
        for _ in 0..<2 {
            let result = try generate(tight, requests)
            #expect(result.problems.isEmpty)
            #expect(result.outcomes == (try Self.reference.get().outcomes))
            #expect(result.statistics.draftTokens > 0)
        }
        #expect(tight.snapshot().preemptions > 0)
    }

    /// There is room for the target's text, but not for all of the draft's, which is longer.
    @Test func theDraftsOwnMemoryRunsOut() throws {
        let draft = try Self.draft(without: 0..<6, of: 10)
        var request = try Self.requests.get()[0]
        request.maxTokens = 60
        request.ignoresEndOfGeneration = true
        let plain = try generateAlone(Self.engine(nil), [request])
        let prompt = plain.finishes[0].statistics.promptTokens
        let bytes = try Self.engine(draft).sizing.kvBytesPerToken
        let engine = try Self.engine(draft) {
            $0.kvBudgetBytes = (prompt + 60 + kvBlockTokens - 1) / kvBlockTokens * kvBlockTokens * bytes
            $0.traces = true
        }
        let result = try generate(engine, [request])
        #expect(result.problems.isEmpty && result.outcomes == plain.outcomes)
        let decisions = try engine.decisions { ($0, isTaken: true) }.flatMap(\.requests)
        #expect(decisions.contains { $0.verified > 0 })
        #expect(decisions.contains { $0.limit == .memory && $0.drafted == 0 })
    }

    /// Everything that a request can ask for: penalties, biases, grammars, samples, stops.
    @Test func everythingThatARequestCanAskFor() throws {
        let requests = mixedRequests(
            TestModels.builtInPrompts.map { .text($0) }, tokens: 24,
            vocabularySize: try TestModels.target().configuration.vocabularySize)
        let reference = try generateAlone(Self.engine(nil), requests)
        for draft in [try Self.shuffled.get(), try Self.draft(without: 2..<3, of: 10)] {
            let result = try generate(Self.engine(draft), requests)
            #expect(result.problems.isEmpty)
            for (index, pair) in zip(result.outcomes, reference.outcomes).enumerated() {
                #expect(pair.0 == pair.1, "request \(index)")
            }
            #expect(result.statistics.acceptedTokens > 0)
        }
    }

    /// The log says what is shared, and where that is next to nothing the engine is refused with the same figures.
    @Test func whatIsSharedIsSaid() throws {
        let messages = Shared<[String]>([])
        func create(_ draft: LanguageModel) throws {
            _ = try Self.engine(draft) {
                $0.log.level = .info
                $0.log.sink = { _, message in messages.use { $0.append(message) } }
            }
        }
        try create(TestModels.draft())
        #expect(!messages.use { $0 }.contains { $0.contains("vocabulary") })
        let map = try #require(try vocabularyMap(target: TestModels.target(), draft: Self.shuffled.get()))
        #expect(map.sharedTokens == map.comparedTokens)
        try create(Self.shuffled.get())
        let all = "it shares \(map.comparedTokens) of the target's \(map.comparedTokens) tokens"
        #expect(messages.use { $0 }.contains { $0.contains(all) && $0.contains("(100.0%)") })

        let hopeless = try Self.draft(without: 0..<97, of: 100)
        let problem = failure { try create(hopeless) }
        #expect(problem?.code == .vocabularyMismatch)
        for part in [" of the target's \(map.comparedTokens) tokens", "at least 5.0%"] {
            #expect(problem?.message.contains(part) == true, "\(problem?.message ?? "no error")")
        }
    }
}
