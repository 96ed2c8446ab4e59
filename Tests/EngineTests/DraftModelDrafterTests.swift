import Engine
import Formats
import Speculation
import TestSupport
import Testing

/// The draft model's side: what it proposes is its own choice after exactly the tokens of the request, whatever its
/// cache went through. A stale entry would only cost acceptance, so the text of requests cannot show it.
@Suite struct DraftModelDrafterTests {
    private static let vocabulary = 60

    /// A request as it grows.
    private struct Growing {
        let id: UInt64
        var tokens: [Int32]
        var history: TokenHistory
        let parameters: SamplingParameters
        let blocks: [Int32]

        mutating func append(_ token: Int32) {
            tokens.append(token)
            history.append(token)
        }

        func request(_ limit: Int) -> DraftRequest {
            DraftRequest(
                id: id, tokens: tokens, limit: limit, blocks: blocks, parameters: parameters,
                processors: parameters.processors, history: history, noise: GumbelNoise(seed: id))
        }

        /// By the definition: token by token, with all tokens each time.
        func expected(_ limit: Int, targetVocabulary: Int, contextTokens: Int) throws -> [Int32] {
            var all = tokens
            var seen = history
            let room = min(limit, contextTokens - tokens.count + 1)
            for _ in 0..<max(0, room) {
                let logits = ScriptedExecutor.logits(after: all, vocabularySize: vocabulary)
                let token = try Sampler().choose(
                    logits: logits.span.extracting(first: targetVocabulary), parameters: parameters,
                    processors: parameters.processors, history: seen, noise: GumbelNoise(seed: id),
                    position: all.count)
                all.append(token)
                seen.append(token)
            }
            return Array(all[tokens.count...])
        }
    }

    private static func growing(_ id: UInt64, _ random: inout SplitMix64) -> Growing {
        var parameters = SamplingParameters()
        parameters.temperature = [0, 0.8, 1][Int(id % 3)]
        if id % 2 == 0 {
            parameters.frequencyPenalty = 2
            parameters.repetitionPenalty = 1.5
        }
        let prompt = (0..<random.int(1..<50)).map { _ in Int32(random.int(0..<vocabulary)) }
        return Growing(
            id: id, tokens: prompt, history: TokenHistory(prompt: prompt), parameters: parameters,
            blocks: (0..<4).map { Int32(id * 4) + Int32($0) })
    }

    @Test(arguments: UInt64(1)...6, [60, 50])
    func proposalsAreTheModelsOwnChoices(_ seed: UInt64, _ targetVocabulary: Int) throws {
        var random = SplitMix64(seed: seed)
        let executor = ScriptedExecutor(vocabularySize: Self.vocabulary)
        let drafter = DraftModelDrafter(
            executor: executor, maxRows: 512, contextTokens: 110, targetVocabulary: targetVocabulary)
        var requests = (UInt64(0)..<5).map { Self.growing($0, &random) }
        var (drafted, short) = (0, 0)
        for _ in 0..<150 {
            let chosen = requests.indices.filter { requests[$0].tokens.count < 120 && random.int(0..<4) > 0 }
            let limits = chosen.map { _ in random.int(1..<9) }
            let drafts = try drafter.propose(zip(chosen, limits).map { requests[$0].request($1) })
            #expect(drafts.count == chosen.count)
            for (at, index) in chosen.enumerated() {
                let expected = try requests[index].expected(
                    limits[at], targetVocabulary: targetVocabulary, contextTokens: 110)
                #expect(drafts[at] == expected)
                drafted += drafts[at].count
                if drafts[at].count < limits[at] { short += 1 }
                // The target takes some of the draft and adds a token of its own, behind a branch two.
                for token in drafts[at].prefix(random.int(0..<drafts[at].count + 1)) { requests[index].append(token) }
                for _ in 0..<random.int(1..<3) { requests[index].append(Int32(random.int(0..<Self.vocabulary))) }
            }
            // Others go on without drafts, or end and make room for a new request in the same blocks.
            for index in requests.indices where !chosen.contains(index) {
                if requests[index].tokens.count >= 120 || random.int(0..<12) == 0 {
                    drafter.forget(requests[index].id)
                    let old = requests[index]
                    let next = Self.growing(old.id, &random)
                    requests[index] = Growing(
                        id: old.id + 5, tokens: next.tokens, history: next.history, parameters: next.parameters,
                        blocks: old.blocks)
                } else {
                    for _ in 0..<random.int(0..<5) { requests[index].append(Int32(random.int(0..<Self.vocabulary))) }
                }
            }
        }
        #expect(executor.problems.isEmpty)
        #expect(drafted > 300)
        #expect(short > 0)
        #expect(drafter.passes == executor.passes)
    }

    /// What the cache holds does not go through the model again, and requests share passes.
    @Test func onlyMissingTokensAreComputed() throws {
        let executor = ScriptedExecutor(vocabularySize: Self.vocabulary)
        let drafter = DraftModelDrafter(executor: executor, maxRows: 512, contextTokens: 128, targetVocabulary: 60)
        var random = SplitMix64(seed: 9)
        var pair = [Self.growing(0, &random), Self.growing(1, &random)]
        let prompts = pair.reduce(0) { $0 + $1.tokens.count }
        let drafts = try drafter.propose(pair.map { $0.request(4) })
        #expect(drafts.map(\.count) == [4, 4])
        // The last drafted token needs no pass.
        #expect(executor.rows == prompts + 2 * 3)
        for index in pair.indices {
            for token in drafts[index] { pair[index].append(token) }
            pair[index].append(1)
        }
        let (rows, passes) = (executor.rows, executor.passes)
        _ = try drafter.propose(pair.map { $0.request(4) })
        // Accepted in full: the last drafted token and the target's own are missing, then three drafted ones.
        #expect(executor.rows - rows == 2 * (2 + 3))
        #expect(executor.passes - passes == 4)
        #expect(executor.problems.isEmpty)
    }

    /// A prompt that is longer than a pass is caught up with over several steps, one pass in each, and then drafted for.
    @Test func longPromptsTakeSeveralSteps() throws {
        let executor = ScriptedExecutor(vocabularySize: Self.vocabulary)
        let drafter = DraftModelDrafter(executor: executor, maxRows: 16, contextTokens: 128, targetVocabulary: 60)
        var random = SplitMix64(seed: 12)
        var long = Self.growing(0, &random)
        long.tokens = (0..<40).map { _ in Int32(random.int(0..<Self.vocabulary)) }
        for step in 0..<2 {
            #expect(try drafter.propose([long.request(3)]) == [[]])
            #expect(executor.passes == step + 1 && executor.rows == 16 * (step + 1))
        }
        #expect(try drafter.propose([long.request(3)])[0] == long.expected(3, targetVocabulary: 60, contextTokens: 128))
        #expect(executor.passes == 5 && executor.rows == 40 + 2)
        #expect(executor.problems.isEmpty)
    }

    /// Others are drafted for while a long prompt is caught up with in few rows a step.
    @Test func catchingUpLeavesTheOthersAlone() throws {
        let executor = ScriptedExecutor(vocabularySize: Self.vocabulary)
        let drafter = DraftModelDrafter(executor: executor, maxRows: 64, contextTokens: 128, targetVocabulary: 60)
        var random = SplitMix64(seed: 12)
        var pair = [Self.growing(0, &random), Self.growing(1, &random)]
        pair[0].tokens = (0..<40).map { _ in Int32(random.int(0..<Self.vocabulary)) }
        pair[1].tokens = [5, 6, 7]
        for step in 1...4 {
            let drafts = try drafter.draft(pair.map { $0.request(3) }, catchUpRows: 10) { $0.map { _ in true } }
            let expected = try pair.map { try $0.expected(3, targetVocabulary: 60, contextTokens: 128) }
            #expect(drafts.map { $0.map(\.token) } == [step == 4 ? expected[0] : [], expected[1]])
            #expect(drafter.latestPasses.map(\.rows) == (step == 4 ? [11, 2, 2] : [step == 1 ? 13 : 11, 1, 1]))
        }
        #expect(executor.problems.isEmpty)
    }

    @Test func padding() throws {
        let executor = ScriptedExecutor(vocabularySize: 40)
        let drafter = DraftModelDrafter(executor: executor, maxRows: 512, contextTokens: 128, targetVocabulary: 60)
        var random = SplitMix64(seed: 2)
        var known = Self.growing(0, &random)
        known.tokens = known.tokens.map { $0 % 40 }
        var unknown = known
        unknown.tokens.append(40)
        let drafts = try drafter.propose([known.request(3)])
        #expect(drafts[0].count == 3)
        drafter.forget(0)
        #expect(try drafter.propose([unknown.request(3)]) == [[]])
        #expect(executor.problems.isEmpty)
    }
}
