import Engine
import Formats
import Kernels
import Model
import Scheduling
import Speculation
import TestSupport
import Testing

/// The promise on the trained pair: what a request gives does not depend on speculation, batch, chunks or threads.
@Suite(.serialized) struct PairEquivalenceTests {
    private static func engine(_ change: (inout EngineOptions) -> Void) throws -> InferenceEngine {
        var options = EngineOptions()
        options.policy = .off
        options.threads = 1
        options.draftModel = try TestModels.draft()
        change(&options)
        return try InferenceEngine(target: try TestModels.target(), options: options)
    }

    private static func plain(
        _ kv: KVFormat?, _ activations: Activations.Precision = .q8
    ) throws -> InferenceEngine {
        try engine {
            $0.draftModel = nil
            $0.activations = activations
            $0.kvFormat = kv
        }
    }

    private static let requests = Result {
        seededRequests(TestModels.builtInPrompts + (try TestModels.sharedPrompts(2)))
    }
    private static let reference = Result { try generateAlone(plain(nil), requests.get()) }

    @Test func theReferenceIsSound() throws {
        let reference = try Self.reference.get()
        #expect(reference.problems.isEmpty)
        #expect(reference.statistics.draftTokens == 0)
        // A prompt may be followed by the end at once, but not most of them.
        #expect(reference.outcomes.filter { $0.tokens.count == 40 }.count > reference.outcomes.count / 2)
        #expect(Set(reference.outcomes.map(\.string)).count > reference.outcomes.count / 2)
        let again = try generateAlone(Self.plain(nil), Array(Self.requests.get().prefix(2)))
        #expect(again.outcomes == Array(reference.outcomes.prefix(2)))
    }

    @Test(
        arguments: [PolicyKind.smartspec, .turbospec, .adaspec, .goodput],
        [EngineOptions.DrafterKind.auto, .lookup, .suffix, .model])
    func noPolicyChangesTheText(_ policy: PolicyKind, _ drafter: EngineOptions.DrafterKind) throws {
        let engine = try Self.engine {
            $0.policy = policy
            $0.drafter = drafter
        }
        let result = try generate(engine, Self.requests.get())
        #expect(result.problems.isEmpty)
        #expect(result.outcomes == (try Self.reference.get().outcomes))
        // It tries the draft model; else times may say that a model as small as this is not worth drafting for.
        if policy == .goodput, drafter == .auto || drafter == .model { #expect(result.statistics.draftTokens > 0) }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8, 16], [EngineOptions.DrafterKind.lookup, .model])
    func speculationDoesNotChangeTheText(_ length: Int, _ drafter: EngineOptions.DrafterKind) throws {
        let engine = try Self.engine {
            $0.policy = .static
            $0.draftTokens = length
            $0.drafter = drafter
            $0.maxStepTokens = length % 2 == 0 ? 32 : 256
            $0.threads = 1 + length % 2
            $0.maxRunningRequests = length % 3 == 0 ? 3 : 16
        }
        let result = try generate(engine, Self.requests.get())
        #expect(result.problems.isEmpty)
        #expect(result.outcomes == (try Self.reference.get().outcomes))
        let figures = result.statistics
        #expect(figures.acceptedTokens > 0)
        #expect(figures.steps < figures.emittedTokens)
        #expect((figures.draftPasses > 0) == (drafter == .model))
        #expect(figures.acceptedPerPosition[length...].allSatisfy { $0 == 0 })
    }

    /// Few blocks, and prompts that the prefix cache knows: the second time most are found there.
    @Test(arguments: [EngineOptions.DrafterKind.lookup, .model], [KVFormat.f16, .q8_0])
    func sharedAndScarceMemory(_ drafter: EngineOptions.DrafterKind, _ kv: KVFormat) throws {
        let requests = try Self.requests.get()
        let reference = try generateAlone(Self.plain(kv), requests).outcomes
        func engine(_ budget: Int) throws -> InferenceEngine {
            try Self.engine {
                $0.policy = .static
                $0.drafter = drafter
                $0.kvFormat = kv
                $0.kvBudgetBytes = budget
            }
        }
        let roomy = try engine(0)
        let most = requests.indices.map { reference[$0].tokens.count }.max() ?? 0
        let blocks = (most + 400) / kvBlockTokens + 4
        for engine in [roomy, try engine(blocks * kvBlockTokens * roomy.sizing.kvBytesPerToken)] {
            for _ in 0..<2 {
                let result = try generate(engine, requests)
                #expect(result.problems.isEmpty)
                #expect(result.outcomes == reference)
            }
            #expect(engine.snapshot().prefixCachedTokens > 0)
        }
    }

    /// A draft of the very same model under the same noise is right every time, in whatever batch it ran.
    @Test(arguments: [1, 4, 16])
    func theTargetAsItsOwnDraftIsAlwaysRight(_ length: Int) throws {
        let engine = try Self.engine {
            $0.policy = .static
            $0.draftTokens = length
            $0.draftModel = try? TestModels.target()
        }
        let requests = try Self.requests.get().map { request in
            var longer = request
            longer.ignoresEndOfGeneration = true
            return longer
        }
        let result = try generate(engine, requests)
        #expect(result.problems.isEmpty)
        #expect(result.statistics.draftTokens > 0)
        #expect(result.statistics.acceptedTokens == result.statistics.draftTokens)
    }

    /// A sample that begins in the middle of another's text leaves the draft model's keys and values of that one alone.
    @Test func samplesThatBeginLateLeaveDraftsRight() throws {
        let engine = try Self.engine {
            $0.policy = .static
            $0.draftTokens = 2
            $0.draftModel = try? TestModels.target()
            $0.maxRunningRequests = 2
        }
        let requests = [(6, 1), (24, 3)].map { tokens, samples in
            var request = RequestOptions()
            request.prompt = .text("def main():")
            request.maxTokens = tokens
            request.samples = samples
            request.seed = 5
            request.ignoresEndOfGeneration = true
            return request
        }
        let result = try generate(engine, requests)
        #expect(result.problems.isEmpty)
        #expect(try result.outcomes == generateAlone(Self.plain(nil), requests).outcomes)
        #expect(result.statistics.draftTokens > 0)
        #expect(result.statistics.acceptedTokens == result.statistics.draftTokens)
    }

    private static func mixed(_ tokens: Int) throws -> [RequestOptions] {
        mixedRequests(
            TestModels.builtInPrompts.map { .text($0) }, tokens: tokens,
            vocabularySize: try TestModels.target().configuration.vocabularySize)
    }
    private static let mixedReference = Result { try generateAlone(plain(nil), mixed(24)) }

    static let variants: [@Sendable (inout EngineOptions) -> Void] = [
        { $0.draftModel = nil },
        {
            $0.policy = .static
            $0.drafter = .lookup
        },
        {
            $0.policy = .static
            $0.draftTokens = 5
            $0.maxStepTokens = 32
        },
        {
            $0.policy = .static
            $0.draftTokens = 8
            $0.threads = 2
            $0.maxRunningRequests = 4
        },
        { $0.maxStepTokens = 32 },
    ]

    @Test(arguments: variants.indices)
    func everythingThatARequestCanAskForWorksWithSpeculation(_ variant: Int) throws {
        let reference = try Self.mixedReference.get()
        #expect(reference.problems.isEmpty)
        #expect(reference.outcomes.contains { $0.reason == .stop })
        #expect(reference.outcomes.contains { !$0.promptLogprobs.isEmpty })
        let result = try generate(Self.engine(Self.variants[variant]), Self.mixed(24))
        #expect(result.problems.isEmpty)
        for (index, pair) in zip(result.outcomes, reference.outcomes).enumerated() {
            #expect(pair.0 == pair.1, "request \(index)")
        }
        // Drafts that requests asked for themselves are made under any policy.
        #expect(result.statistics.draftTokens > 0)
    }

    @Test(arguments: KVFormat.allCases, [Activations.Precision.f32, .q8])
    func everyNumberFormat(_ format: KVFormat, _ activations: Activations.Precision) throws {
        let requests = Array(try Self.mixed(16).prefix(5))
        let reference = try generateAlone(Self.plain(format, activations), requests)
        for drafter in [EngineOptions.DrafterKind.lookup, .model] {
            let result = try generate(
                Self.engine {
                    $0.kvFormat = format
                    $0.activations = activations
                    $0.policy = .static
                    $0.drafter = drafter
                    $0.maxStepTokens = 32
                    $0.threads = 2
                }, requests)
            #expect(result.problems.isEmpty && reference.problems.isEmpty)
            #expect(result.outcomes == reference.outcomes)
        }
    }
}
