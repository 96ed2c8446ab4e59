import Speculation
import TestSupport
import Testing

@Suite struct SuffixDrafterTests {
    private func request(
        _ tokens: [Int32], limit: Int = 4, id: UInt64 = 1, isolation: UInt64 = 0
    ) -> DraftRequest {
        DraftRequest(
            id: id, tokens: tokens, limit: limit, blocks: [], parameters: SamplingParameters(), processors: [],
            history: TokenHistory(prompt: []), noise: GumbelNoise(seed: 0), isolation: isolation)
    }

    private func drafter(poolBytes: Int) -> SuffixDrafter {
        var options = SuffixDrafter.Options()
        options.poolBytes = poolBytes
        options.learnedPerStep = 1000
        return SuffixDrafter(options)
    }

    /// Sequences that grow, several at once and not in every step, are answered as by a search through each.
    @Test func aBatchEqualsItsTwins() {
        var random = SplitMix64(seed: 31)
        let drafter = drafter(poolBytes: 0)
        var sequences: [UInt64: [Int32]] = [:]
        var found = 0
        for step in 0..<600 {
            var requests: [DraftRequest] = []
            for id in UInt64(0)..<4 where random.int(0..<2) == 0 {
                let more = random.text(random.int(0..<4), alphabet: Int32(id) + 2)
                sequences[id, default: []] += more
                requests.append(request(sequences[id, default: []], limit: random.int(1..<9), id: id))
            }
            if step % 50 == 49 {
                drafter.forget(2)
                sequences[2] = []
                requests.removeAll { $0.id == 2 }
            }
            let drafts = drafter.lookUp(requests)
            #expect(drafts.count == requests.count)
            for (request, draft) in zip(requests, drafts) {
                let twin = RetrievalTwin(texts: [(0, request.tokens)])
                #expect(draft == twin.mostFrequent(request.tokens, limit: request.limit))
                found += draft.tokens.count
            }
        }
        #expect(found > 3000)
        #expect(drafter.passes == 0)
    }

    @Test func finishedTextsServeOthers() {
        let drafter = drafter(poolBytes: 1 << 20)
        #expect(drafter.lookUp([request([1, 2, 3])]).map(\.tokens) == [[]])
        drafter.observe(FinishedText(id: 7, tokens: [1, 2, 3, 4, 5, 6]))
        let draft = drafter.lookUp([request([1, 2, 3])])[0]
        #expect(draft.tokens == [4, 5, 6] && draft.source == .pool)
        #expect(draft.features.map(\.matchLength) == [3, 4, 5])
        #expect(drafter.poolBytes > 0 && drafter.bytes > drafter.poolBytes)
    }

    /// Wherever it is from, the longer match wins, and the request's own where they are equal.
    @Test func theBetterMatchWins() {
        let drafter = drafter(poolBytes: 1 << 20)
        drafter.observe(FinishedText(id: 7, tokens: [1, 2, 3, 4, 8]))
        let shorter = drafter.lookUp([request([9, 3, 5, 1, 2, 3], limit: 1, id: 1)])[0]
        #expect(shorter.tokens == [4] && shorter.source == .pool)
        let longer = drafter.lookUp([request([6, 1, 2, 3, 5, 6, 1, 2, 3], limit: 1, id: 2)])[0]
        #expect(longer.tokens == [5] && longer.source == .request)
        let equal = drafter.lookUp([request([1, 2, 3, 5, 1, 2, 3], limit: 1, id: 3)])[0]
        #expect(equal.tokens == [5] && equal.source == .request)
    }

    /// What some requests leave changes nothing for those of another isolation.
    @Test func isolationsNeverMeet() {
        var random = SplitMix64(seed: 33)
        // They share the memory, which therefore has to suffice.
        let (shared, alone) = (drafter(poolBytes: 1 << 24), drafter(poolBytes: 1 << 24))
        var found = 0
        for id in UInt64(0)..<300 {
            let text = random.text(random.int(1..<60), alphabet: 5)
            let isolation = UInt64(random.int(0..<3)) << 32
            shared.observe(FinishedText(id: id, tokens: text, isolation: isolation))
            if isolation == 0 { alone.observe(FinishedText(id: id, tokens: text)) }
            let asked = request(random.text(random.int(1..<20), alphabet: 5), limit: 6, id: 1000 + id)
            let drafts = alone.lookUp([asked])
            #expect(shared.lookUp([asked]) == drafts)
            found += drafts[0].source == .pool ? 1 : 0
        }
        #expect(found > 100)
    }

    @Test func offKeepsNothing() {
        let drafter = drafter(poolBytes: 0)
        drafter.observe(FinishedText(id: 7, tokens: [1, 2, 3, 4, 5, 6]))
        #expect(drafter.lookUp([request([1, 2, 3])]).map(\.tokens) == [[]])
        drafter.forget(1)
        #expect(drafter.bytes == 0 && drafter.poolBytes == 0)
        // Its own text a request still drafts from.
        #expect(drafter.lookUp([request([1, 2, 3, 1, 2], id: 2)]).map(\.tokens) == [[3, 1, 2, 3]])
    }

    @Test func forgetDropsTheText() {
        let drafter = drafter(poolBytes: 0)
        #expect(drafter.lookUp([request([1, 2, 1], limit: 1)]).map(\.tokens) == [[2]])
        drafter.forget(1)
        #expect(drafter.lookUp([request([7, 8, 9, 1], limit: 1)]).map(\.tokens) == [[]])
        drafter.forget(99)
    }

    @Test func sameTextTwiceTakesNoMore() {
        var random = SplitMix64(seed: 34)
        let drafter = drafter(poolBytes: 1 << 22)
        let text = random.text(3000, alphabet: 1000)
        func observe() -> Int {
            drafter.observe(FinishedText(id: 1, tokens: text))
            for _ in 0..<4 { _ = drafter.lookUp([]) }
            return drafter.poolBytes
        }
        let once = observe()
        for _ in 0..<20 { #expect(observe() == once) }
    }

    @Test func theSameCallsGiveTheSameDrafts() {
        func run() -> [[RetrievalDraft]] {
            var random = SplitMix64(seed: 35)
            var options = SuffixDrafter.Options()
            (options.requestBytes, options.poolBytes, options.learnedPerStep) = (8000, 20_000, 16)
            let drafter = SuffixDrafter(options)
            return (0..<UInt64(200)).map { step in
                drafter.observe(FinishedText(id: 0, tokens: random.text(50, alphabet: 4)))
                return drafter.lookUp((0..<3).map { request(random.text(30, alphabet: 4), id: UInt64(step * 3 + $0)) })
            }
        }
        let (first, second) = (run(), run())
        #expect(first == second && first.joined().contains { $0.source == .pool })
    }

    @Test func longerThenLikelierMatchesAreBetter() {
        func draft(_ token: Int32, _ matchLength: Int, _ follows: Int) -> RetrievalDraft {
            var draft = RetrievalDraft(source: .request)
            draft.append(token, MatchFeatures(matchLength: matchLength, support: 4, follows: follows))
            return draft
        }
        let (base, none) = (draft(1, 3, 2), RetrievalDraft(source: .pool))
        for worse in [none, draft(2, 2, 4), draft(2, 3, 1), draft(2, 3, 2)] {
            #expect(base.orBetter(worse) == base)
        }
        for better in [draft(2, 4, 1), draft(2, 3, 3)] {
            #expect(base.orBetter(better) == better && better.orBetter(base) == better)
        }
        #expect(none.orBetter(base) == base && none.orBetter(none) == none)
    }
}
