import Engine
import Formats
import Kernels
import Model
import Speculation
import Scheduling
import TestSupport
import Testing

/// Everything with everything: each option of a request with each other one, under each option of the engine with each
/// other one. Whatever the engine does, a request gives what it gives alone and plain, bit for bit.
@Suite(.serialized) struct MatrixTests {
    /// What the engine may do; the first value of each goes with all values of the others.
    private struct EngineRow {
        var drafter: EngineOptions.DrafterKind?
        var draftTokens = 1
        var treeWidth = 1
        var maxStepTokens = 256
        var isScarce = false
        var maxRunningRequests = 16
        var threads = 1
        /// Requests that are submitted before the others, so that batches differ.
        var rotation = 0
    }
    private typealias Change = @Sendable (inout EngineRow) -> Void

    private static let factors: [[Change]] = [
        [{ $0.drafter = .lookup }, { $0.drafter = .model }, { $0.drafter = nil }],
        (1...8).map { length in { $0.draftTokens = length } },
        [{ $0.maxStepTokens = 256 }, { $0.maxStepTokens = 32 }],
        [{ $0.isScarce = false }, { $0.isScarce = true }],
        [{ $0.maxRunningRequests = 16 }, { $0.maxRunningRequests = 5 }],
        [{ $0.threads = 1 }, { $0.threads = 2 }],
        [{ $0.rotation = 0 }, { $0.rotation = 11 }],
        [{ $0.treeWidth = 1 }, { $0.treeWidth = 2 }],
    ]
    private static let engineRows: [EngineRow] = {
        // Without a drafter there is one length only.
        let cover = PairwiseCover(factors.map(\.count), seed: 3) { a, b in
            a == .init(0, 2) && b.factor == 1 && b.value > 0
        }
        return cover.rows.map { choice in
            var row = EngineRow()
            for (values, index) in zip(factors, choice) { values[index](&row) }
            return row
        }
    }()

    private static func plain() throws -> InferenceEngine {
        var options = EngineOptions()
        options.policy = .off
        options.threads = 1
        return try InferenceEngine(target: try TestModels.target(), options: options)
    }

    private static func withoutDrafts(_ request: RequestOptions) -> RequestOptions {
        var plain = request
        plain.draftTokens = 0
        return plain
    }

    private static let matrix = RequestMatrix(seeds: 20...24)
    private static let requests = Result {
        let scouts = try generateAlone(plain(), matrix.requests.map(withoutDrafts))
        return matrix.withStops(scouts.outcomes, tokenizer: try TestModels.target().tokenizer)
    }
    private static let reference = Result { try generateAlone(plain(), requests.get().map(withoutDrafts)) }

    @Test func theReferenceIsSound() throws {
        let requests = try Self.requests.get()
        let reference = try Self.reference.get()
        #expect(reference.problems.isEmpty)
        #expect(reference.statistics.draftTokens == 0)
        let outcomes = reference.outcomes
        #expect(outcomes.allSatisfy { $0.reason == .stop || $0.reason == .length })
        #expect(outcomes.count { $0.tokens.count > 8 } > outcomes.count / 4)
        var stopped = (byText: 0, byToken: 0, byGrammar: 0)
        for (request, outcome) in zip(requests, outcomes) {
            #expect((outcome.promptLogprobs.isEmpty) == (request.promptLogprobs == nil))
            #expect(outcome.logprobs.count == (request.logprobs == nil ? 0 : outcome.tokens.count))
            guard outcome.reason == .stop else { continue }
            if request.grammar != nil || request.jsonSchema != nil { stopped.byGrammar += 1 }
            if request.stopTexts.count == 2 { stopped.byText += 1 }
            if request.stopTokens.count == 1 { stopped.byToken += 1 }
        }
        #expect(stopped.byText > 9 && stopped.byToken > 9 && stopped.byGrammar > 9, "\(stopped)")
    }

    /// Blocks that suffice for the longest request, and not for two of the longer ones.
    private static func scarceBudget(_ options: EngineOptions) throws -> Int {
        let longest = zip(try requests.get(), try reference.get().finishes).map { request, finish in
            finish.statistics.promptTokens + (request.maxTokens ?? 0)
        }
        let blocks = EngineSizing.blocks(forTokens: longest.max() ?? 0) + 1
        let target = try TestModels.target()
        let draft = options.drafter == .lookup ? nil : options.draftModel?.configuration
        let sizing = try EngineSizing(
            target: target.configuration, targetKV: target.defaultKVFormat, draft: draft, options: options)
        return blocks * kvBlockTokens * sizing.kvBytesPerToken
    }

    private static func engine(_ row: EngineRow) throws -> InferenceEngine {
        var options = EngineOptions()
        options.policy = .off
        options.policy = row.drafter == nil ? .off : .static
        options.drafter = row.drafter ?? .auto
        options.draftTokens = row.draftTokens
        options.treeWidth = row.drafter == nil ? 1 : row.treeWidth
        options.draftModel = row.drafter == .lookup ? nil : try TestModels.draft()
        options.maxStepTokens = row.maxStepTokens
        options.maxRunningRequests = row.maxRunningRequests
        options.threads = row.threads
        if row.isScarce { options.kvBudgetBytes = try scarceBudget(options) }
        return try InferenceEngine(target: try TestModels.target(), options: options)
    }

    @Test(arguments: engineRows.indices)
    func everythingWithEverything(_ index: Int) throws {
        let row = Self.engineRows[index]
        let requests = try Self.requests.get()
        let order = requests.indices.map { ($0 + row.rotation) % requests.count }
        let result = try generate(Self.engine(row), order.map { requests[$0] })
        #expect(result.problems.isEmpty)
        let reference = try Self.reference.get().outcomes
        for (index, outcome) in zip(order, result.outcomes) {
            #expect(outcome == reference[index], "request \(index), \(row): \(requests[index])")
        }
        let figures = result.statistics
        // Drafts that requests ask for themselves are made under any policy.
        #expect(figures.acceptedTokens > 0 && figures.draftTokens > figures.acceptedTokens)
        #expect((figures.draftPasses > 0) == (row.drafter != .lookup))
        #expect((figures.preemptions > 0) == row.isScarce)
    }
}
