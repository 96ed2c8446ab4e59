/// Drafts with suffix automata: of each request's own prompt and output, and of a pool of finished requests that all share.
/// For each request the match wins that promises more accepted tokens, its own if both do. See `SuffixAutomaton` for the sources.
package final class SuffixDrafter: RetrievalDrafter {
    package struct Options: Sendable {
        /// Memory for one request's text, in bytes. When it is full the older half is forgotten: with the default, a text
        /// of 100,000 tokens or more.
        package var requestBytes = 16 << 20
        /// Memory for finished texts, in bytes; 0 keeps none: nothing of a request outlives it.
        package var poolBytes = 64 << 20
        /// Tokens of finished texts that are learned in one step, each in some 0.2 us.
        package var learnedPerStep = 64
        /// For the hash tables; see `SuffixAutomaton`.
        package var hashSeed: UInt64 = 0

        package init() {}
    }

    /// What is known of one request's text.
    private struct Known {
        var store: SuffixStore
        var count = 0

        mutating func extend(_ tokens: [Int32]) {
            if count == 0 { store.begin(isolation: 0) }
            while count < tokens.count {
                store.append(tokens[count])
                count += 1
            }
        }
    }

    private let options: Options
    private var known: [UInt64: Known] = [:]
    private var pool: SuffixPool?

    package init(_ options: Options = Options()) {
        self.options = options
        if options.poolBytes > 0 {
            pool = SuffixPool(maximumBytes: options.poolBytes, hashSeed: options.hashSeed)
        }
    }

    package var bytes: Int { known.values.reduce(pool?.bytes ?? 0) { $0 + $1.store.bytes } }
    /// What finished texts take of it.
    package var poolBytes: Int { pool?.bytes ?? 0 }

    package func lookUp(_ requests: [DraftRequest]) -> [RetrievalDraft] {
        pool?.learn(tokens: options.learnedPerStep)
        return requests.map { request in
            let own = ownDraft(request)
            let shared = pool?.draft(request.tokens, isolation: request.isolation, limit: request.limit)
            return shared.map(own.orBetter) ?? own
        }
    }

    private func ownDraft(_ request: DraftRequest) -> RetrievalDraft {
        let fresh = Known(store: SuffixStore(maximumBytes: options.requestBytes, hashSeed: options.hashSeed))
        known[request.id, default: fresh].extend(request.tokens)
        return known[request.id, default: fresh].store.draftAtEnd(request.tokens, limit: request.limit)
    }

    package func observe(_ finished: FinishedText) { pool?.add(finished) }

    package func forget(_ id: UInt64) { known[id] = nil }
}
