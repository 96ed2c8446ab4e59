/// Texts in bounded memory: a suffix automaton that grows, and its predecessor, which is only read. When the younger one
/// has half of the memory, the older one and all that it knows is dropped. A text that comes again thereby
/// stays, because the younger one learns it anew, and forgetting costs nothing but the release of memory.
///
/// Texts are stored hash-consed: one that comes again takes no more memory in the same automaton, nor does the common
/// beginning of several; only their counts grow.
package struct SuffixStore: Sendable {
    private var young: SuffixAutomaton
    private var old: SuffixAutomaton?
    private let maximumBytes: Int
    private let hashSeed: UInt64
    private var isolation: UInt64 = 0
    /// How often old text was dropped.
    package private(set) var evictions = 0

    package init(maximumBytes: Int, hashSeed: UInt64 = 0) {
        self.maximumBytes = maximumBytes
        self.hashSeed = hashSeed
        young = SuffixAutomaton(maximumBytes: maximumBytes / 2, hashSeed: hashSeed)
    }

    /// Memory held; at most the maximum.
    package var bytes: Int { young.bytes + (old?.bytes ?? 0) }

    /// A new text starts.
    package mutating func begin(isolation: UInt64) {
        self.isolation = isolation
        if !young.begin(isolation: isolation) { rotate() }
    }

    /// Appends a token to the text that was begun. Of a text across two automata each knows its part.
    package mutating func append(_ token: Int32) {
        guard !young.append(token) else { return }
        rotate()
        // Where not even one token fits, nothing is stored.
        _ = young.append(token)
    }

    private mutating func rotate() {
        if old != nil { evictions += 1 }
        old = young
        young = SuffixAutomaton(maximumBytes: maximumBytes / 2, hashSeed: hashSeed)
        _ = young.begin(isolation: isolation)
    }

    /// Continues the text that is being appended, of which `tokens` is all or the last, after earlier occurrences of its end.
    package func draftAtEnd(_ tokens: [Int32], limit: Int) -> RetrievalDraft {
        let recent = young.draft(from: young.end, limit: limit, source: .request)
        return recent.orBetter(earlier(tokens, isolation: isolation, limit: limit, source: .request))
    }

    /// Continues any text after occurrences of its end in texts of this isolation.
    package func draft(_ tokens: [Int32], isolation: UInt64, limit: Int) -> RetrievalDraft {
        let place = young.locate(tokens, isolation: isolation)
        let recent = young.draft(from: place, limit: limit, source: .pool)
        return recent.orBetter(earlier(tokens, isolation: isolation, limit: limit, source: .pool))
    }

    private func earlier(
        _ tokens: [Int32], isolation: UInt64, limit: Int, source: RetrievalDraft.Source
    ) -> RetrievalDraft {
        guard let old else { return RetrievalDraft(source: source) }
        return old.draft(from: old.locate(tokens, isolation: isolation), limit: limit, source: source)
    }
}
