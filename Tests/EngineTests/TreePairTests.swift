import Engine
import Formats
import Kernels
import Model
import Scheduling
import Speculation
import TestSupport
import Testing

/// Trees on the trained pair: the next best token of every position is verified, and texts stay what they are.
@Suite(.serialized) struct TreePairTests {
    private static func engine(_ change: (inout EngineOptions) -> Void) throws -> InferenceEngine {
        var options = EngineOptions()
        options.policy = .static
        options.treeWidth = 2
        options.threads = 1
        options.draftModel = try TestModels.draft()
        change(&options)
        return try InferenceEngine(target: try TestModels.target(), options: options)
    }

    private static func plain(
        _ kv: KVFormat? = nil, _ activations: Activations.Precision = .q8
    ) throws -> InferenceEngine {
        try engine {
            $0.policy = .off
            $0.treeWidth = 1
            $0.draftModel = nil
            $0.kvFormat = kv
            $0.activations = activations
        }
    }

    private static let requests = seededRequests(TestModels.builtInPrompts)
    private static let reference = Result { try generateAlone(plain(), requests) }

    @Test(arguments: [1, 2, 3, 4, 6, 8, 16], [EngineOptions.DrafterKind.model, .auto])
    func treesDoNotChangeTheText(_ length: Int, _ drafter: EngineOptions.DrafterKind) throws {
        let engine = try Self.engine {
            $0.draftTokens = length
            $0.drafter = drafter
            // Without a model lookup and the suffix automaton draft, and differ now and then.
            if drafter == .auto { $0.draftModel = nil }
            $0.maxStepTokens = length % 2 == 0 ? 32 : 256
            $0.threads = 1 + length % 2
            $0.maxRunningRequests = length % 3 == 0 ? 3 : 16
        }
        let result = try generate(engine, Self.requests)
        #expect(result.problems.isEmpty)
        #expect(result.outcomes == (try Self.reference.get().outcomes))
        let figures = result.statistics
        if drafter == .model { #expect(figures.acceptedBranches > 0) }
        #expect(figures.branchTokens > figures.acceptedBranches)
        // As many leaves as there are tokens, where the rows of the step suffice.
        if drafter == .model, length % 2 == 1 { #expect(2 * figures.branchTokens == figures.draftTokens) }
        #expect(figures.acceptedPerPosition[length...].allSatisfy { $0 == 0 })
    }

    /// Everything that a request can ask for, with few blocks and without.
    @Test(arguments: [false, true])
    func treesWorkWithEverything(isScarce: Bool) throws {
        let requests = mixedRequests(
            TestModels.builtInPrompts.map { .text($0) }, tokens: 24,
            vocabularySize: try TestModels.target().configuration.vocabularySize)
        let reference = try generateAlone(Self.plain(), requests)
        #expect(reference.problems.isEmpty)
        func engine(_ budget: Int) throws -> InferenceEngine {
            try Self.engine {
                $0.draftTokens = 5
                $0.kvBudgetBytes = budget
            }
        }
        var chosen = try engine(0)
        if isScarce { chosen = try engine(8 * kvBlockTokens * chosen.sizing.kvBytesPerToken) }
        for _ in 0..<2 {
            let result = try generate(chosen, requests)
            #expect(result.problems.isEmpty)
            for (index, pair) in zip(result.outcomes, reference.outcomes).enumerated() {
                #expect(pair.0 == pair.1, "request \(index)")
            }
            #expect(result.statistics.acceptedBranches > 0)
            #expect((result.statistics.preemptions > 0) == isScarce)
        }
    }

    @Test(arguments: KVFormat.allCases, [Activations.Precision.f32, .q8])
    func everyNumberFormat(_ format: KVFormat, _ activations: Activations.Precision) throws {
        let reference = try generateAlone(Self.plain(format, activations), Self.requests)
        let result = try generate(
            Self.engine {
                $0.kvFormat = format
                $0.activations = activations
                $0.maxStepTokens = 40
                $0.threads = 2
            }, Self.requests)
        #expect(result.problems.isEmpty && reference.problems.isEmpty)
        #expect(result.outcomes == reference.outcomes)
        #expect(result.statistics.acceptedBranches > 0)
    }

    /// The model's cache holds the chain only: after a branch was taken it goes on from where that began, and the same model
    /// is still right every time.
    @Test(arguments: [1, 4])
    func theTargetAsItsOwnDraftNeedsNoBranch(_ length: Int) throws {
        let engine = try Self.engine {
            $0.draftTokens = length
            $0.draftModel = try? TestModels.target()
        }
        let requests = Self.requests.map { request in
            var longer = request
            longer.ignoresEndOfGeneration = true
            return longer
        }
        let result = try generate(engine, requests)
        #expect(result.problems.isEmpty)
        let figures = result.statistics
        #expect(figures.branchTokens > 0 && figures.acceptedBranches == 0)
        #expect(figures.acceptedTokens == figures.draftTokens - figures.branchTokens)
    }
}
