import Speculation
import TestSupport
import Testing

@Suite struct SuffixStoreTests {
    private func learn(_ text: [Int32], isolation: UInt64 = 0, _ store: inout SuffixStore) {
        store.begin(isolation: isolation)
        for token in text { store.append(token) }
    }

    /// A text of its own tokens, so that nothing but itself matches it.
    private func text(_ number: Int32, _ length: Int32 = 100) -> [Int32] { (0..<length).map { number * 1000 + $0 } }

    @Test func oldTextsLeaveAndMemoryIsBounded() {
        let maximum = 64 << 10
        var store = SuffixStore(maximumBytes: maximum)
        #expect(store.bytes == 0)
        for number in 0..<Int32(60) {
            learn(text(number), &store)
            #expect(store.bytes <= maximum)
        }
        #expect(store.evictions > 0)
        let found = (0..<Int32(60)).map { number in
            store.draft(text(number, 50), isolation: 0, limit: 1).tokens == [number * 1000 + 50]
        }
        // The latest texts are there, the first are gone, and between them lies one border.
        #expect(found.last == true && found.first == false)
        #expect(zip(found, found.dropFirst()).count { $0 != $1 } == 1)
        #expect(found.count { $0 } >= 4)
    }

    /// The older automaton serves as long as it is there, also the text that is being appended.
    @Test func aTextGoesOnAfterItsBeginningAged() {
        var random = SplitMix64(seed: 11)
        // Each automaton has room for about 400 tokens.
        var store = SuffixStore(maximumBytes: 64 << 10)
        var text: [Int32] = []
        func append(_ tokens: some Sequence<Int32>) {
            for token in tokens { store.append(token) }
            text += tokens
        }
        func appendNoise() { append((0..<500).map { _ in Int32.random(in: 0..<9000, using: &random) }) }
        let piece = (0..<Int32(40)).map { 10_000 + $0 }
        store.begin(isolation: 3)
        append(piece)
        appendNoise()
        append(piece.prefix(20))
        #expect(store.evictions == 0)
        let draft = store.draftAtEnd(text, limit: 2)
        #expect(draft.tokens == [10_020, 10_021])
        #expect(draft.features.map(\.matchLength) == [20, 21])
        appendNoise()
        append(piece[25..<30])
        #expect(store.evictions == 1)
        #expect(store.draftAtEnd(text, limit: 2).tokens.isEmpty)
    }

    @Test func aTextThatComesAgainStays() {
        var store = SuffixStore(maximumBytes: 64 << 10)
        for number in 1..<Int32(100) {
            learn(text(0), &store)
            learn(text(number), &store)
            #expect(store.draft(text(0, 50), isolation: 0, limit: 1).tokens == [50])
        }
        #expect(store.evictions > 0)
    }

    @Test func withoutRoomNothingIsStored() {
        for maximum in [0, 1, 400] {
            var store = SuffixStore(maximumBytes: maximum)
            learn([1, 2, 1, 2, 1], &store)
            #expect(store.bytes <= maximum)
            #expect(store.draftAtEnd([1, 2, 1, 2, 1], limit: 4).tokens.isEmpty)
            #expect(store.draft([1], isolation: 0, limit: 4).tokens.isEmpty)
        }
    }

    @Test func aLongTextStaysBounded() {
        var random = SplitMix64(seed: 12)
        for alphabet in [1, 2, 20_000] as [Int32] {
            let maximum = 1 << 20
            var store = SuffixStore(maximumBytes: maximum)
            store.begin(isolation: 0)
            let text = random.text(100_000, alphabet: alphabet)
            var most = 0
            for token in text {
                store.append(token)
                most = max(most, store.bytes)
            }
            #expect(most > maximum / 4 && most <= maximum)
        }
    }

    @Test func thePoolLearnsInPortions() {
        var pool = SuffixPool(maximumBytes: 1 << 20)
        pool.add(FinishedText(id: 1, tokens: [1, 2, 3, 4, 5]))
        pool.add(FinishedText(id: 2, tokens: [1, 2, 9]))
        #expect(pool.draft([1, 2], isolation: 0, limit: 3).tokens.isEmpty)
        #expect(pool.bytes == 8 * 4)
        pool.learn(tokens: 3)
        #expect(pool.draft([1, 2], isolation: 0, limit: 3).tokens == [3])
        pool.learn(tokens: 4)
        #expect(pool.draft([1, 2], isolation: 0, limit: 3).tokens == [3, 4, 5])
        #expect(pool.draft([1, 2], isolation: 0, limit: 1).features[0].support == 1)
        pool.learn(tokens: 100)
        // Both followed once; the more recent wins.
        #expect(pool.draft([1, 2], isolation: 0, limit: 3).tokens == [9])
        #expect(pool.draft([1, 2], isolation: 0, limit: 1).features[0].support == 2)
        #expect(pool.draft([1, 2], isolation: 1, limit: 1).tokens.isEmpty)
        #expect(pool.dropped == 0)
    }

    @Test func theQueueOfThePoolIsBounded() {
        // Room for 16,384 tokens that wait.
        var pool = SuffixPool(maximumBytes: 512 << 10)
        for number in 0..<Int32(20) { pool.add(FinishedText(id: 0, tokens: text(number, 1000))) }
        #expect(pool.dropped == 4 && pool.bytes == 64_000)
        pool.learn(tokens: 1 << 20)
        #expect(pool.draft(text(3, 10), isolation: 0, limit: 1).tokens.isEmpty)
        #expect(pool.draft(text(19, 10), isolation: 0, limit: 1).tokens == [19_010])
        #expect(pool.bytes <= 512 << 10)
        // Of a text that is too long by itself the end is kept, and one without any follower is not.
        pool.add(FinishedText(id: 0, tokens: (0..<40_000).map { $0 + 100_000 }))
        pool.add(FinishedText(id: 0, tokens: [7]))
        pool.add(FinishedText(id: 0, tokens: []))
        #expect(pool.dropped == 4)
        pool.learn(tokens: 1 << 20)
        #expect(pool.draft([139_000], isolation: 0, limit: 1).tokens == [139_001])
        #expect(pool.draft([110_000], isolation: 0, limit: 1).tokens.isEmpty)
    }

    /// A text dropped while it is learned leaves the next one whole.
    @Test func dropsInTheMiddleOfLearning() {
        var pool = SuffixPool(maximumBytes: 128 << 10)
        pool.add(FinishedText(id: 0, tokens: text(10, 3000)))
        pool.learn(tokens: 2000)
        pool.add(FinishedText(id: 0, tokens: text(20, 3000)))
        #expect(pool.dropped == 1)
        pool.learn(tokens: 500)
        let draft = pool.draft([20_100], isolation: 0, limit: 1)
        #expect(draft.tokens == [20_101])
        #expect(draft.features == [MatchFeatures(matchLength: 1, support: 1, follows: 1)])
    }
}
