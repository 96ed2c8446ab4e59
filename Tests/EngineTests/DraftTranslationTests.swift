import Engine
import Formats
import Kernels
import Speculation
import TestSupport
import Testing

/// A draft model with other tokens: what it proposes is its own choice after the request's text in its own tokens,
/// whatever its cache went through.
@Suite struct DraftTranslationTests {
    /// Of the target: token t is the byte t twice.
    private static let vocabulary = 60

    /// The tokens of a draft model: some of the target's, and single bytes for the rest, in some order.
    private struct Vocabulary {
        /// [target's tokens]: the draft's own, or nil.
        private(set) var twins: [Int?]
        /// [bytes]
        private(set) var singles: [Int] = []
        let count: Int

        init(_ seed: UInt64, lacks: (Int) -> Bool = { _ in false }) {
            var random = SplitMix64(seed: seed)
            let kept = (0..<vocabulary).filter { !lacks($0) }
            count = kept.count + vocabulary
            var ids = Array(0..<count)
            for index in ids.indices { ids.swapAt(index, random.int(index..<count)) }
            twins = [Int?](repeating: nil, count: vocabulary)
            for token in kept { twins[token] = ids.removeLast() }
            singles = ids
        }

        func own(_ token: Int32) -> [Int32] {
            twins[Int(token)].map { [Int32($0)] } ?? [Int32](repeating: Int32(singles[Int(token)]), count: 2)
        }

        func map() throws -> VocabularyMap {
            var tokens = [TokenMeaning](repeating: TokenMeaning(.nothing, []), count: count)
            for token in 0..<vocabulary {
                tokens[singles[token]] = TokenMeaning(.text, [UInt8(token)])
                if let twin = twins[token] { tokens[twin] = DraftTranslationTests.meaning(token) }
            }
            let target = (0..<vocabulary).map { DraftTranslationTests.meaning($0) }
            return try VocabularyMap(target: .init(target), draft: .init(tokens))
        }

        /// The logits of the draft in the target's ids.
        func row(_ logits: [Float]) -> [Float] { twins.map { $0.map { logits[$0] } ?? -.infinity } }
    }

    private static func meaning(_ token: Int) -> TokenMeaning {
        TokenMeaning(.text, [UInt8(token), UInt8(token)])
    }

    /// A request as it grows.
    private struct Growing {
        var id: UInt64
        var tokens: [Int32]
        var history: TokenHistory
        let parameters: SamplingParameters

        init(_ id: UInt64, _ random: inout SplitMix64) {
            var parameters = SamplingParameters()
            parameters.temperature = [0, 0.8, 1][Int(id % 3)]
            if id % 2 == 0 { parameters.frequencyPenalty = 2 }
            if id % 4 == 1 { parameters.topK = 20 }
            self.id = id
            self.parameters = parameters
            tokens = (0..<random.int(1..<50)).map { _ in Int32(random.int(0..<vocabulary)) }
            history = TokenHistory(prompt: tokens)
        }

        mutating func append(_ token: Int32) {
            tokens.append(token)
            history.append(token)
        }

        /// A draft model that shares the tokens uses these blocks, another one its own.
        func request(_ limit: Int) -> DraftRequest {
            DraftRequest(
                id: id, tokens: tokens, limit: limit, blocks: (0..<8).map { Int32(id % 5 * 8) + $0 },
                parameters: parameters, processors: parameters.processors, history: history,
                noise: GumbelNoise(seed: id))
        }

        /// By the definition: token by token, with all tokens each time.
        func expected(_ limit: Int, _ draft: Vocabulary, contextTokens: Int) throws -> [Int32] {
            var own = tokens.flatMap { draft.own($0) }
            var (result, seen): ([Int32], TokenHistory) = ([], history)
            while result.count < limit, own.count <= contextTokens {
                let row = draft.row(ScriptedExecutor.logits(after: own, vocabularySize: draft.count))
                let token = try Sampler().choose(
                    logits: row.span, parameters: parameters, processors: parameters.processors, history: seen,
                    noise: GumbelNoise(seed: id), position: tokens.count + result.count)
                result.append(token)
                own += draft.own(token)
                seen.append(token)
            }
            return result
        }
    }

    private static func drafter(
        _ executor: ScriptedExecutor, _ map: VocabularyMap?, blocks: Int = 64, opening: Int32? = nil,
        contextTokens: Int = 1000
    ) -> DraftModelDrafter {
        DraftModelDrafter(
            executor: executor, maxRows: 512, contextTokens: contextTokens, targetVocabulary: vocabulary,
            translation: map.map {
                DraftTranslation($0, opening: opening, blocks: blocks, targetVocabulary: vocabulary)
            })
    }

    /// Requests that grow, end and begin, drafted for now and then; `check` sees what was drafted for each.
    private static func drive(
        _ random: inout SplitMix64, _ drafters: [DraftModelDrafter],
        check: (_ request: Growing, _ limit: Int, _ drafts: [[Int32]]) throws -> Void
    ) throws {
        var requests = (UInt64(0)..<5).map { Growing($0, &random) }
        for _ in 0..<100 {
            let chosen = requests.indices.filter { _ in random.int(0..<4) > 0 }
            let limits = chosen.map { _ in random.int(1..<9) }
            let asked = zip(chosen, limits).map { requests[$0].request($1) }
            let drafts = try drafters.map { try $0.propose(asked) }
            for (at, index) in chosen.enumerated() {
                try check(requests[index], limits[at], drafts.map { $0[at] })
                let draft = drafts[0][at]
                for token in draft.prefix(random.int(0..<draft.count + 1)) { requests[index].append(token) }
                requests[index].append(Int32(random.int(0..<vocabulary)))
            }
            for index in requests.indices where requests[index].tokens.count >= 110 || random.int(0..<20) == 0 {
                for drafter in drafters { drafter.forget(requests[index].id) }
                requests[index] = Growing(requests[index].id + 5, &random)
            }
        }
    }

    /// Other ids for the same tokens change nothing.
    @Test(arguments: UInt64(1)...4) func idsDoNotMatter(_ seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let draft = Vocabulary(seed)
        let (same, other) = (
            ScriptedExecutor(vocabularySize: Self.vocabulary), ScriptedExecutor(vocabularySize: draft.count)
        )
        var back = [Int32](repeating: -1, count: draft.count)
        for (token, twin) in draft.twins.enumerated() { if let twin { back[twin] = Int32(token) } }
        other.onLogits = { tokens, logits in
            let plain = ScriptedExecutor.logits(after: tokens.map { back[Int($0)] }, vocabularySize: Self.vocabulary)
            for (id, token) in back.enumerated() { logits[id] = token < 0 ? 1000 : plain[Int(token)] }
        }
        var drafted = 0
        try Self.drive(&random, [Self.drafter(same, nil), Self.drafter(other, try draft.map())]) { _, limit, drafts in
            #expect(drafts[0] == drafts[1] && drafts[0].count == limit)
            drafted += limit
        }
        #expect(drafted > 500 && same.problems.isEmpty && other.problems.isEmpty)
        #expect((other.rows, other.passes) == (same.rows, same.passes))
    }

    /// Tokens that the draft lacks come to it in pieces, so that its texts are longer, and are never drafted.
    @Test(arguments: UInt64(1)...4) func missingTokens(_ seed: UInt64) throws {
        var random = SplitMix64(seed: seed + 10)
        let draft = Vocabulary(seed) { $0 % 4 == 1 }
        let executor = ScriptedExecutor(vocabularySize: draft.count)
        let drafter = Self.drafter(executor, try draft.map(), contextTokens: 120)
        var (drafted, short) = (0, 0)
        try Self.drive(&random, [drafter]) { request, limit, drafts in
            let expected = try request.expected(limit, draft, contextTokens: 120)
            #expect(drafts[0] == expected)
            #expect(drafts[0].allSatisfy { $0 % 4 != 1 })
            drafted += drafts[0].count
            if drafts[0].count < limit { short += 1 }
        }
        #expect(drafted > 300 && short > 0 && executor.problems.isEmpty)
    }

    /// What the cache holds does not go through the model again.
    @Test func onlyMissingTokensAreComputed() throws {
        var random = SplitMix64(seed: 3)
        let draft = Vocabulary(3) { $0 == 7 }
        let executor = ScriptedExecutor(vocabularySize: draft.count)
        let drafter = Self.drafter(executor, try draft.map())
        var request = Growing(0, &random)
        request.tokens = [1, 7, 2]
        #expect(drafter.backlog(0, request.tokens) == 4)
        let tokens = try drafter.propose([request.request(3)])[0]
        #expect(tokens.count == 3 && executor.rows == 4 + 2)
        for token in tokens { request.append(token) }
        request.append(7)
        // The last drafted token, and the two pieces of the target's own.
        #expect(drafter.backlog(0, request.tokens) == 3)
        drafter.forgetCache(0)
        _ = try drafter.propose([request.request(1)])
        #expect(executor.rows == 6 + 3 && executor.problems.isEmpty)
        drafter.forget(0)
        #expect(drafter.backlog(0, request.tokens) == 9)
    }

    /// Blocks are those of the draft's own cache; a request that finds none is drafted for when there are some.
    @Test func blocksRunOut() throws {
        var random = SplitMix64(seed: 4)
        let draft = Vocabulary(4)
        let executor = ScriptedExecutor(vocabularySize: draft.count)
        let drafter = Self.drafter(executor, try draft.map(), blocks: 3)
        var (first, second, third) = (Growing(0, &random), Growing(1, &random), Growing(2, &random))
        first.tokens = (0..<Int32(kvBlockTokens) + 1).map { $0 }
        second.tokens = (0..<Int32(kvBlockTokens) - 1).map { $0 }
        third.tokens = first.tokens
        // The first takes two blocks; a third one has room for two drafted tokens, since the last one needs none, and is of no
        // use to the longer text.
        let drafts = try drafter.propose([first.request(8), third.request(8), second.request(8)])
        #expect(drafts.map(\.count) == [8, 0, 2])
        #expect(!drafter.lacksBlocks(0) && drafter.lacksBlocks(1) && drafter.lacksBlocks(2))
        for _ in 0..<3 { second.append(1) }
        #expect(try drafter.propose([second.request(8)]) == [[]])
        #expect(drafter.lacksBlocks(1))
        drafter.forget(0)
        #expect(try drafter.propose([second.request(8)])[0] == second.expected(8, draft, contextTokens: 1000))
        #expect(!drafter.lacksBlocks(1) && executor.problems.isEmpty)
    }

    /// Texts begin as the draft's do, whether or not the target's begin with a token of that meaning.
    @Test func openings() throws {
        let words = (0..<Self.vocabulary - 1).map { Self.meaning($0) }
        let target = VocabularyMap.Side(words + [TokenMeaning(.control, Array("<s>".utf8))], bos: 59)
        let draft = VocabularyMap.Side([TokenMeaning(.control, Array("<bos>".utf8))] + words, bos: 0)
        let executor = ScriptedExecutor(vocabularySize: Self.vocabulary)
        let drafter = Self.drafter(executor, try VocabularyMap(target: target, draft: draft), opening: 0)
        var seen: [[Int32]] = []
        executor.onLogits = { tokens, _ in seen.append(tokens) }
        var random = SplitMix64(seed: 5)
        for (id, tokens) in [[3, 4], [59, 3, 4], [59]].enumerated() {
            var request = Growing(UInt64(id), &random)
            request.tokens = tokens.map { Int32($0) }
            _ = try drafter.propose([request.request(1)])
        }
        #expect(seen == [[0, 4, 5], [0, 4, 5], [0]])
    }

    /// A text that the draft has no token for is not drafted for.
    @Test func textsThatTheDraftCannotSay() throws {
        let control = [TokenMeaning(.control, Array("<s>".utf8))]
        let words = (0..<10).map { Self.meaning($0) }
        let map = try VocabularyMap(target: .init(words + control), draft: .init(words))
        let executor = ScriptedExecutor(vocabularySize: 10)
        let drafter = Self.drafter(executor, map)
        var random = SplitMix64(seed: 6)
        var request = Growing(0, &random)
        request.tokens = [10]
        #expect(drafter.backlog(0, request.tokens) == 0)
        #expect(try drafter.propose([request.request(4)]) == [[]])
        #expect(executor.passes == 0)
        request.append(3)
        #expect(try drafter.propose([request.request(4)])[0].count == 4)
        // At the end of a text nothing is new; the latest token goes through the model again.
        request.append(10)
        #expect(try drafter.propose([request.request(4)])[0].count == 4)
        #expect(executor.problems.isEmpty)
    }
}
