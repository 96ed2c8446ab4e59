import Speculation
import TestSupport
import Testing

@Suite struct SuffixAutomatonTests {
    private static let ample = 1 << 24

    /// Appends a whole text, and answers whether there was room.
    private func learn(_ text: [Int32], isolation: UInt64 = 0, _ automaton: inout SuffixAutomaton) -> Bool {
        automaton.begin(isolation: isolation) && text.allSatisfy { automaton.append($0) }
    }

    private func automaton(_ texts: [[Int32]], hashSeed: UInt64 = 0) -> SuffixAutomaton {
        var automaton = SuffixAutomaton(maximumBytes: Self.ample, hashSeed: hashSeed)
        let fit = texts.allSatisfy { learn($0, &automaton) }
        #expect(fit)
        return automaton
    }

    private func draftAtEnd(_ text: [Int32], limit: Int = 4) -> RetrievalDraft {
        let automaton = automaton([text])
        return automaton.draft(from: automaton.end, limit: limit, source: .request)
    }

    @Test func theMostFrequentFollowerWins() {
        // "2 1" had one follower, and that was 3; what mostly followed "1" alone does not count.
        #expect(draftAtEnd([2, 1, 3, 1, 2, 5, 1, 2, 1], limit: 1).tokens == [3])
        let single = draftAtEnd([5, 1, 2, 6, 1, 3, 7, 1, 2, 8, 1], limit: 1)
        #expect(single.tokens == [2])
        #expect(single.features == [MatchFeatures(matchLength: 1, support: 3, follows: 2)])
        #expect(abs(single.features[0].followProbability - 2.0 / 3) < 1e-12)
    }

    @Test func theMostRecentOfEqualsWins() {
        #expect(draftAtEnd([1, 2, 1, 3, 1], limit: 1).tokens == [3])
        #expect(draftAtEnd([1, 3, 1, 2, 1], limit: 1).tokens == [2])
        #expect(draftAtEnd([9, 1, 2, 8, 1, 3, 7, 1, 3, 6, 1, 2, 5, 1], limit: 1).tokens == [2])
    }

    @Test func aRepetitionGoesOn() {
        #expect(draftAtEnd([1, 2, 3, 1, 2, 3], limit: 8).tokens == [1, 2, 3, 1, 2, 3, 1, 2])
        #expect(draftAtEnd([5, 5], limit: 6).tokens == [5, 5, 5, 5, 5, 5])
        #expect(draftAtEnd([9, 4, 9, 4, 9], limit: 5).tokens == [4, 9, 4, 9, 4])
    }

    @Test func nothingMatchesNothing() {
        for text: [Int32] in [[], [1], [1, 2, 3]] { #expect(draftAtEnd(text).tokens.isEmpty) }
        #expect(draftAtEnd([1, 1], limit: 0).tokens.isEmpty)
        let unused = SuffixAutomaton(maximumBytes: Self.ample)
        #expect(unused.end == nil && unused.locate([1], isolation: 0) == nil && unused.bytes == 0)
        #expect(unused.draft(from: nil, limit: 4, source: .request).tokens.isEmpty)
    }

    @Test func anyTokenIdsAreTokens() {
        let ids: [Int32] = [.max, .min, 0, -1, .max, .min, 0]
        #expect(draftAtEnd(ids, limit: 2).tokens == [-1, .max])
    }

    @Test func matchesEndAtTheLongest() {
        let period = (0..<Int32(100)).map { $0 }
        let draft = draftAtEnd(period + period.prefix(50), limit: 3)
        #expect(draft.tokens == [50, 51, 52])
        let expected = MatchFeatures(matchLength: SuffixAutomaton.longestMatch, support: 1, follows: 1)
        #expect(draft.features == [expected, expected, expected])
    }

    /// Where the same tokens come before them makes no difference to contexts of the greatest length.
    @Test func whatIsBeforeTheLongestMatchDoesNotCount() {
        let run = (0..<Int32(SuffixAutomaton.longestMatch)).map { $0 }
        let draft = draftAtEnd([100] + run + [51, 101] + run + [52, 102] + run + [52, 100] + run, limit: 1)
        #expect(draft.tokens == [52])
        let longest = SuffixAutomaton.longestMatch
        #expect(draft.features == [MatchFeatures(matchLength: longest, support: 3, follows: 2)])
    }

    /// Match lengths, counts, probabilities and tokens are those of a search through the text, while it grows.
    @Test(arguments: [1, 2, 3, 4, 8] as [Int32])
    func aGrowingTextEqualsItsTwin(_ alphabet: Int32) {
        var random = SplitMix64(seed: UInt64(alphabet))
        var drafted = 0
        for round in 0..<400 {
            let text = random.text(random.int(1..<(round % 20 == 0 ? 200 : 50)), alphabet: alphabet)
            var automaton = SuffixAutomaton(maximumBytes: Self.ample, hashSeed: random.next())
            var twin = RetrievalTwin(texts: [(0, [])])
            var fits = automaton.begin(isolation: 0)
            for token in text {
                fits = automaton.append(token) && fits
                twin.texts[0].tokens.append(token)
                guard random.int(0..<6) == 0 else { continue }
                let limit = random.int(1..<9)
                let draft = automaton.draft(from: automaton.end, limit: limit, source: .request)
                #expect(draft == twin.mostFrequent(twin.texts[0].tokens, limit: limit))
                drafted += draft.tokens.count
            }
            #expect(fits)
        }
        #expect(drafted > 4000)
    }

    /// The same for many texts and for contexts that are none of them, and no text is seen from another isolation.
    @Test func manyTextsEqualTheirTwin() {
        var random = SplitMix64(seed: 21)
        let isolations: [UInt64] = [0, 1, 1 << 32, .max]
        var drafted = 0
        for _ in 0..<400 {
            let alphabet = Int32(random.int(1..<5))
            var automaton = SuffixAutomaton(maximumBytes: Self.ample)
            var twin = RetrievalTwin()
            for _ in 0..<random.int(1..<7) {
                let isolation = isolations[random.int(0..<4)]
                var text = random.text(random.int(0..<40), alphabet: alphabet)
                if let known = twin.texts.last, random.int(0..<3) == 0 { text = known.tokens }
                twin.texts.append((isolation, text))
                let fits = learn(text, isolation: isolation, &automaton)
                #expect(fits)
            }
            for isolation in isolations {
                var context = random.text(random.int(0..<12), alphabet: alphabet)
                if let known = twin.texts.last, random.int(0..<2) == 0 {
                    context += known.tokens.prefix(random.int(0..<40))
                }
                let draft = automaton.draft(
                    from: automaton.locate(context, isolation: isolation), limit: 6, source: .pool)
                #expect(draft == twin.mostFrequent(context, isolation: isolation, limit: 6, source: .pool))
                drafted += draft.tokens.count
            }
        }
        #expect(drafted > 2000)
    }

    @Test func knownTextsTakeNothing() {
        let text: [Int32] = [1, 2, 3, 1, 2, 4, 1, 2, 3]
        let once = automaton([text])
        let often = automaton(Array(repeating: text, count: 50) + [Array(text.prefix(5)), []])
        #expect(often.stateCount == once.stateCount && often.transitionCount == once.transitionCount)
        #expect(often.bytes == once.bytes)
        let draft = often.draft(from: often.locate([4, 1, 2], isolation: 0), limit: 1, source: .pool)
        #expect(draft.features == [MatchFeatures(matchLength: 3, support: 50, follows: 50)])
        // Under another isolation it is another text.
        var both = once
        let fits = learn(text, isolation: 1, &both)
        #expect(fits)
        #expect(both.stateCount >= 2 * once.stateCount - 2)
    }

    /// At most two states and three transitions for each token, whatever the text.
    @Test func theSizeIsLinear() {
        var random = SplitMix64(seed: 5)
        for alphabet in [1, 2, 3, 50, 30_000] as [Int32] {
            let text = random.text(2000, alphabet: alphabet)
            let automaton = automaton([text])
            // Two states and transitions lead to the isolation's.
            #expect(automaton.stateCount <= 2 * text.count + 2)
            #expect(automaton.transitionCount <= 3 * text.count + 2)
        }
    }

    @Test func memoryIsBoundedAndRefusalChangesNothing() {
        var random = SplitMix64(seed: 6)
        for maximum in [0, 100, 1000, 10_000, 100_000] {
            var automaton = SuffixAutomaton(maximumBytes: maximum)
            var twin = RetrievalTwin(texts: [(0, [])])
            guard automaton.begin(isolation: 0) else {
                let appends = automaton.append(1)
                #expect(!appends && maximum < 1000)
                continue
            }
            let text = random.text(4000, alphabet: 4)
            for token in text {
                #expect(automaton.bytes <= maximum)
                guard automaton.append(token) else { break }
                twin.texts[0].tokens.append(token)
            }
            let known = twin.texts[0].tokens
            #expect(known.count < text.count && known.count > maximum / 200)
            #expect(automaton.bytes > maximum - 200)
            let draft = automaton.draft(from: automaton.end, limit: 5, source: .request)
            #expect(draft == twin.mostFrequent(known, limit: 5))
        }
    }

    @Test func theHashSeedChangesNothing() {
        var random = SplitMix64(seed: 7)
        let text = random.text(500, alphabet: 6)
        let drafts = [0, 1, .max].map { (seed: UInt64) in
            let automaton = automaton([text], hashSeed: seed)
            return automaton.draft(from: automaton.end, limit: 16, source: .request)
        }
        #expect(drafts[0] == drafts[1] && drafts[1] == drafts[2])
    }
}
