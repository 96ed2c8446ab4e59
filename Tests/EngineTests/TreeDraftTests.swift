import Engine
import Formats
import Scheduling
import Speculation
import TestSupport
import Testing

/// Drafts that branch, on the scripted target, which notes every slot of the cache that does not hold what it should.
@Suite struct TreeDraftTests {
    private static func plain(_ requests: [RequestOptions]) throws -> Generation {
        try generateAlone(ScriptedEngine().engine, requests)
    }

    private static func engine(
        _ length: Int, drafts: @escaping (DraftRequest) throws -> [Int32],
        others: @escaping (DraftRequest) throws -> [Int32], change: (inout EngineOptions) -> Void = { _ in }
    ) throws -> ScriptedEngine {
        try ScriptedEngine(
            draftTokens: length, drafts: drafts, others: others,
            change: {
                $0.treeWidth = 2
                $0.traces = true
                change(&$0)
            })
    }

    /// The draft goes wrong at one position, and another source has the right token there: with the tree the step gives that
    /// and the token after it.
    @Test(arguments: [1, 2], [0, 1, 3])
    func aRightBranchGivesOneTokenMore(_ width: Int, _ wrong: Int) throws {
        var request = tokenRequest([3, 4, 5], 61)
        request.ignoresEndOfGeneration = true
        let plain = try Self.plain([request]).outcomes
        let right = plain[0].tokens
        func future(_ draft: DraftRequest) -> [Int32] { Array(right.dropFirst(draft.tokens.count - 3)) }
        let scripted = try Self.engine(
            4,
            drafts: { draft in
                future(draft).prefix(4).enumerated().map { $0 == wrong ? ($1 + 1) % 319 : $1 }
            },
            // Shorter, so that the other one is the draft.
            others: { Array(future($0).prefix(wrong + 1)) }, change: { $0.treeWidth = width })
        let result = try scripted.run([request])
        #expect(result.problems.isEmpty)
        #expect(result.outcomes == plain)
        let perStep = wrong + width
        let entries = try scripted.engine.decisions { ($0, isTaken: true) }.flatMap(\.requests)
        let whole = entries.filter { $0.verified == 4 + width - 1 }
        #expect(whole.count >= 10)
        #expect(whole.allSatisfy { $0.emitted == perStep && $0.branches == width - 1 && $0.drafted == $0.verified })
        #expect(whole.allSatisfy { $0.accepted == perStep - 1 && $0.acceptedBranches == width - 1 })
        #expect(entries.reduce(0) { $0 + $1.branches } == result.statistics.branchTokens)
        #expect(entries.reduce(0) { $0 + $1.acceptedBranches } == result.statistics.acceptedBranches)
        #expect(result.statistics.emittedTokens == 61)
    }

    /// Whatever two sources say, wherever they are wrong, with little memory and in chunks: the text stays.
    @Test(arguments: UInt64(1)...12)
    func branchesNeverChangeTheText(_ seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let requests = (0..<14).map { index in
            let prompt = (0..<random.int(1..<70)).map { _ in Int32(random.int(1..<319)) }
            var request = tokenRequest(prompt, random.int(1..<58), temperature: [0, 0.8, 1.2][index % 3])
            request.seed = random.next() >> 1
            if index % 4 == 0 { request.draftTokens = random.int(0..<17) }
            if index % 5 == 1 { request.sampling.frequencyPenalty = 0.5 }
            if index % 5 == 2 { request.logprobs = 1 }
            if index % 6 == 3 { request.promptLogprobs = 1 }
            if index % 7 == 5 { request.stopTexts = ["a", "th"] }
            return request
        }
        let alone = try Self.plain(
            requests.map {
                var plain = $0
                plain.draftTokens = nil
                return plain
            })
        #expect(alone.problems.isEmpty)
        func right(_ draft: DraftRequest) -> ArraySlice<Int32> {
            let prompt = alone.finishes[Int(draft.id) - 1].statistics.promptTokens
            return alone.outcomes[Int(draft.id) - 1].tokens.dropFirst(draft.tokens.count - prompt)
        }
        var noise = SplitMix64(seed: seed)
        func tail(_ count: Int) -> [Int32] { (0..<count).map { _ in Int32(noise.int(0..<319)) } }
        let scripted = try Self.engine(
            1 + Int(seed), drafts: { Array(right($0).prefix(noise.int(0..<9))) + tail(8) },
            others: { draft in
                let wrong = noise.int(0..<3) == 0
                return Array(right(draft).prefix(noise.int(0..<9))) + tail(wrong ? 9 : 0)
            },
            change: {
                $0.maxStepTokens = [32, 64, 256][Int(seed % 3)]
                $0.maxRunningRequests = [4, 16][Int(seed % 2)]
                // Room for two full contexts: requests wait for blocks, and blocks pass from one to the next.
                $0.kvBudgetBytes = seed % 4 == 0 ? 0 : 8 * 32 * 512
            })
        let result = try scripted.run(requests)
        #expect(result.problems.isEmpty)
        for (index, pair) in zip(result.outcomes, alone.outcomes).enumerated() {
            #expect(pair.0 == pair.1, "request \(index)")
        }
        #expect(result.statistics.acceptedBranches > 0)
        #expect(result.statistics.branchTokens > result.statistics.acceptedBranches)
        #expect(result.finishes.map(\.statistics.draftTokens).reduce(0, +) == result.statistics.draftTokens)
        #expect(result.finishes.map(\.statistics.acceptedTokens).reduce(0, +) == result.statistics.acceptedTokens)
    }

    /// A branch takes a place in memory only where one is left: what there is belongs to the drafted tokens.
    @Test func branchesGiveWayToMemory() throws {
        // Two requests with two blocks of 32 tokens each, and no block besides.
        let requests = [(Int32(3), 50, 25), (7, 40, 20)].map { token, prompt, tokens in
            var request = tokenRequest([Int32](repeating: token, count: prompt), tokens)
            request.ignoresEndOfGeneration = true
            return request
        }
        let plain = try Self.plain(requests).outcomes
        /// What the target does not say next.
        func wrong(_ draft: DraftRequest, by distance: Int32) -> Int32 {
            (plain[Int(draft.id) - 1].tokens[draft.tokens.count - [50, 40][Int(draft.id) - 1]] + distance) % 319
        }
        let scripted = try Self.engine(
            3, drafts: { [wrong($0, by: 1), 1, 1] }, others: { [wrong($0, by: 2)] },
            change: { $0.kvBudgetBytes = 4 * 32 * 512 })
        #expect(scripted.engine.sizing.kvBlocks == 4)
        let result = try scripted.run(requests)
        #expect(result.problems.isEmpty)
        #expect(result.outcomes == plain)
        // A token a step, so that the first request has 61 once: three drafted tokens fill its blocks.
        let entries = try scripted.engine.decisions { ($0, isTaken: true) }.flatMap(\.requests)
        #expect(entries.count { $0.verified == 4 && $0.branches == 1 } > 20)
        #expect(entries.contains { $0.id == 1 && $0.verified == 3 && $0.branches == 0 })
        #expect(entries.allSatisfy { $0.accepted == 0 })
    }

    @Test func onlyTreesOfTwoAreKnown() throws {
        var options = EngineOptions()
        for width in 0...2 {
            options.treeWidth = width
            #expect(failure { try options.validate() } == nil)
        }
        for width in [-1, 3] {
            options.treeWidth = width
            let refused = failure { try options.validate() }
            #expect(refused?.code == .invalidArgument && refused?.message.contains("tree_width") == true)
        }
        options.treeWidth = 2
        options.policy = .adaspec
        #expect(failure { try options.validate() }?.message.contains("tree_width is 2") == true)
    }
}
