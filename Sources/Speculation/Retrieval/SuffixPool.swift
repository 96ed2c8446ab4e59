/// The texts of finished requests, for all requests of an engine. They wait in a queue and are learned a few tokens a
/// step, so that the end of a long request does not make a step long.
package struct SuffixPool: Sendable {
    private var store: SuffixStore
    private var waiting: [FinishedText] = []
    private let maximumWaitingTokens: Int
    private var waitingTokens = 0
    /// Tokens of the first waiting text that are learned.
    private var learned = 0
    /// Texts that were dropped before they were learned: they came faster than they could be.
    package private(set) var dropped = 0

    /// It never holds more than `maximumBytes`, an eighth of it for texts that wait.
    package init(maximumBytes: Int, hashSeed: UInt64 = 0) {
        let waitingBytes = maximumBytes / 8
        store = SuffixStore(maximumBytes: maximumBytes - waitingBytes, hashSeed: hashSeed)
        maximumWaitingTokens = waitingBytes / MemoryLayout<Int32>.stride
    }

    package var bytes: Int { store.bytes + waitingTokens * MemoryLayout<Int32>.stride }
    package var evictions: Int { store.evictions }

    /// Takes a text into the queue. Where it is full the oldest texts leave; one that is too long by itself loses its
    /// beginning.
    package mutating func add(_ text: FinishedText) {
        let kept = Array(text.tokens.suffix(maximumWaitingTokens))
        guard kept.count > 1 else { return }
        while waitingTokens + kept.count > maximumWaitingTokens {
            dropFirst()
            dropped += 1
        }
        waiting.append(FinishedText(id: text.id, tokens: kept, isolation: text.isolation))
        waitingTokens += kept.count
    }

    private mutating func dropFirst() {
        waitingTokens -= waiting.removeFirst().tokens.count
        learned = 0
    }

    /// Learns at most so many tokens of the waiting texts.
    package mutating func learn(tokens limit: Int) {
        var left = limit
        while left > 0, let text = waiting.first {
            if learned == 0 { store.begin(isolation: text.isolation) }
            let end = min(text.tokens.count, learned + left)
            for token in text.tokens[learned..<end] { store.append(token) }
            left -= end - learned
            learned = end
            if learned == text.tokens.count { dropFirst() }
        }
    }

    package func draft(_ tokens: [Int32], isolation: UInt64, limit: Int) -> RetrievalDraft {
        store.draft(tokens, isolation: isolation, limit: limit)
    }
}
