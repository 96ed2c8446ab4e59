import Speculation
import TestSupport
import Testing

@Suite struct PromptLookupTests {
    private func request(_ tokens: [Int32], limit: Int, id: UInt64 = 1) -> DraftRequest {
        DraftRequest(
            id: id, tokens: tokens, limit: limit, blocks: [], parameters: SamplingParameters(), processors: [],
            history: TokenHistory(prompt: []), noise: GumbelNoise(seed: 0))
    }

    private func draft(_ tokens: [Int32], limit: Int = 4) -> [Int32] {
        PromptLookup().lookUp([request(tokens, limit: limit)])[0].tokens
    }

    @Test func longestMatchFirst() {
        // The latest "3" is followed by 9, the latest "2 3" by 8, the only "1 2 3" by 7.
        #expect(draft([1, 2, 3, 7, 2, 3, 8, 3, 9, 1, 2, 3], limit: 1) == [7])
        #expect(draft([1, 2, 3, 7, 2, 3, 8, 3, 9, 5, 2, 3], limit: 1) == [8])
        #expect(draft([1, 2, 3, 7, 2, 3, 8, 3, 9, 5, 5, 3], limit: 1) == [9])
    }

    @Test func latestOccurrenceWins() {
        #expect(draft([1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3], limit: 1) == [5])
        #expect(draft([6, 1, 6, 2, 6], limit: 1) == [2])
    }

    @Test func repetitionGoesOn() {
        #expect(draft([1, 2, 3, 1, 2, 3], limit: 8) == [1, 2, 3, 1, 2, 3, 1, 2])
        #expect(draft([5, 5], limit: 6) == [5, 5, 5, 5, 5, 5])
        #expect(draft([9, 4, 9, 4, 9], limit: 5) == [4, 9, 4, 9, 4])
    }

    @Test func theEndDoesNotFindItself() {
        #expect(draft([1]).isEmpty)
        #expect(draft([1, 2, 3]).isEmpty)
        #expect(draft([]).isEmpty)
    }

    @Test func limitIsKept() {
        for limit in 1...16 { #expect(draft([1, 2, 3, 4, 5, 6, 1], limit: limit).count == limit) }
    }

    /// What the definition says, without an index.
    private func reference(_ tokens: [Int32], limit: Int) -> [Int32] {
        for length in stride(from: min(3, tokens.count), to: 0, by: -1) {
            let suffix = tokens.suffix(length)
            for end in stride(from: tokens.count - 1, through: length, by: -1)
            where tokens[end - length..<end].elementsEqual(suffix) {
                var all = tokens
                for offset in 0..<limit { all.append(all[end + offset]) }
                return Array(all[tokens.count...])
            }
        }
        return []
    }

    /// An index that grows with its sequences, several at once and not in every step, answers as a fresh one does.
    @Test func incrementalEqualsFromScratch() {
        var random = SplitMix64(seed: 3)
        let lookup = PromptLookup()
        var sequences: [UInt64: [Int32]] = [1: [], 2: [0], 3: [1, 2, 1]]
        var found = 0
        for _ in 0..<400 {
            var requests: [DraftRequest] = []
            for id in sequences.keys.sorted() {
                let alphabet = id == 1 ? 3 : Int32(12)
                for _ in 0..<Int.random(in: 0...3, using: &random) {
                    sequences[id, default: []].append(Int32.random(in: 0..<alphabet, using: &random))
                }
                if Bool.random(using: &random) {
                    requests.append(
                        request(sequences[id] ?? [], limit: Int.random(in: 1...16, using: &random), id: id))
                }
            }
            let drafts = lookup.lookUp(requests)
            #expect(lookup.lookUp(requests).map(\.tokens) == drafts.map(\.tokens))
            #expect(drafts.count == requests.count)
            for (request, draft) in zip(requests, drafts) {
                let tokens = reference(request.tokens, limit: request.limit)
                #expect(draft.tokens == tokens)
                let twin = RetrievalTwin(texts: [(0, request.tokens)])
                #expect(draft == twin.describe(tokens, after: request.tokens, longest: PromptLookup.longestMatch))
                if !tokens.isEmpty { found += 1 }
            }
        }
        #expect(found > 300)
        #expect(lookup.passes == 0)
    }

    @Test func featuresCountAllOccurrences() {
        func features(_ tokens: [Int32]) -> [MatchFeatures] {
            PromptLookup().lookUp([request(tokens, limit: 3)])[0].features
        }
        // The latest "1" is followed by 3, as one of three: 2 follows more often. "1 3" never had another follower.
        #expect(
            features([1, 2, 1, 2, 1, 3, 9, 1]) == [
                MatchFeatures(matchLength: 1, support: 3, follows: 1),
                MatchFeatures(matchLength: 2, support: 1, follows: 1),
                MatchFeatures(matchLength: 3, support: 1, follows: 1),
            ])
        // The pair at the very end counts as follower, not as a match of its own: what it repeats is the first 5.
        #expect(features([5, 5]) == Array(repeating: MatchFeatures(matchLength: 1, support: 1, follows: 1), count: 3))
        #expect(features([1, 2, 3]).isEmpty)
    }

    @Test func forgetDropsTheIndex() {
        let lookup = PromptLookup()
        #expect(lookup.bytes == 0)
        #expect(lookup.lookUp([request([1, 2, 1], limit: 1)]).map(\.tokens) == [[2]])
        // The same id with another text would be answered from the old index.
        lookup.forget(1)
        #expect(lookup.lookUp([request([7, 8, 9, 1], limit: 1)]).map(\.tokens) == [[]])
        #expect(lookup.lookUp([request([7, 8, 9, 1, 7], limit: 2)]).map(\.tokens) == [[8, 9]])
        lookup.forget(99)
        #expect(lookup.bytes > 0)
        lookup.forget(1)
        #expect(lookup.bytes == 0)
    }
}
