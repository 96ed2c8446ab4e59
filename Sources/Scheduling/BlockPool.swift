/// The blocks of a KV cache: who refers to them, which are free, and which keep a prefix that nobody uses now but the next
/// prompt may. Integers only: the memory itself lives elsewhere.
///
/// Every block is free, cached (it keeps a prefix and can be had by evicting it) or used. Whoever got a block from
/// `allocate`, `retain` or `match` holds a reference and releases it once. Requests hold theirs in a `BlockTable`.
package struct BlockPool: Sendable {
    package let total: Int
    /// Tokens that a block holds.
    package let blockTokens: Int
    /// References of requests, by block. The cache's own are not counted.
    private(set) var counts: [Int32]
    private(set) var free: [Int32]
    private(set) var cache: PrefixCache
    private var counters = BlockStatistics()

    /// `hashSeed` should be random where prompts come from strangers: nobody can then make up prompts that collide in the
    /// prefix cache's hash table and slow it down. No result depends on it. `hashMask` weakens the hash for tests.
    package init(total: Int, blockTokens: Int, hashSeed: UInt64 = 0, hashMask: UInt64 = .max) {
        self.total = min(max(0, total), Int(Int32.max) - 1)
        self.blockTokens = max(1, blockTokens)
        counts = Array(repeating: 0, count: self.total)
        free = (0..<Int32(self.total)).reversed()
        cache = PrefixCache(
            total: self.total, blockTokens: self.blockTokens, hashSeed: hashSeed, hashMask: hashMask)
    }

    /// Blocks that `allocate` can give: the free ones, and those that only the cache keeps.
    package var available: Int { free.count + cache.idle.count }

    /// Counters since the start, and the blocks as they are now.
    package var statistics: BlockStatistics {
        var result = counters
        result.free = free.count
        result.cached = cache.idle.count
        result.used = total - available
        return result
    }

    /// Blocks that `tokens` tokens take.
    package func blocks(for tokens: Int) -> Int {
        let tokens = max(0, tokens)
        return tokens / blockTokens + (tokens % blockTokens == 0 ? 0 : 1)
    }

    // MARK: References

    /// A block to write, with one reference: a free one, else the least recently used of the cache. Nil when all are used.
    package mutating func allocate() -> Int32? {
        if let block = free.popLast() {
            counts[Int(block)] = 1
            return block
        }
        guard let block = cache.evictOldest() else { return nil }
        counters.evictions += 1
        counts[Int(block)] = 1
        return block
    }

    /// One more reference to a block that is used or cached.
    package mutating func retain(_ block: Int32) {
        let isFirst = counts[Int(block)] == 0
        precondition(!isFirst || cache.isRegistered(block), "a free block cannot be retained")
        counts[Int(block)] += 1
        if isFirst { cache.acquire(block) }
    }

    /// One reference less. After the last one the block is cached if it is registered, and free otherwise.
    package mutating func release(_ block: Int32) {
        precondition(counts[Int(block)] > 0, "a block was released more often than it was retained")
        counts[Int(block)] -= 1
        guard counts[Int(block)] == 0 else { return }
        if cache.isRegistered(block) { cache.relinquish(block) } else { free.append(block) }
    }

    /// Several requests refer to the block.
    package func isShared(_ block: Int32) -> Bool { counts[Int(block)] > 1 }

    /// The one reference to the block may write: nobody else reads it, and its contents are not promised to the cache.
    package func isWritable(_ block: Int32) -> Bool { counts[Int(block)] == 1 && !cache.isRegistered(block) }

    /// Copy on write: exchanges a reference for one to a block that may be written, the same if it may be already.
    /// Otherwise the contents have to come from `copyFrom`; `BlockCopy` says by when. Nil, and no change, when all
    /// blocks are used.
    package mutating func makeWritable(_ block: Int32) -> (block: Int32, copyFrom: Int32?)? {
        if isWritable(block) { return (block, nil) }
        guard let fresh = allocate() else { return nil }
        release(block)
        return (fresh, block)
    }

    // MARK: Prefixes

    /// The longest cached prefix of a sequence, with a reference to each of its blocks. It leaves at least one token to be
    /// computed, for its logits. Only blocks that were registered under the same isolation are found.
    package mutating func match(_ tokens: [Int32], isolation: UInt64 = 0) -> PrefixMatch {
        let usable = max(0, tokens.count - 1)
        var match = PrefixMatch(isolation: isolation, queriedTokens: tokens.count)
        var place = PrefixCache.Place(isolation: isolation)
        while place.start + blockTokens <= usable, let block = cache.find(tokens, at: place) {
            retain(block)
            match.blocks.append(block)
            place.parent = block
            place.start += blockTokens
        }
        match.tokens = place.start
        let limit = min(blockTokens, usable - place.start)
        if let shared = cache.longestShared(tokens, at: place, limit: limit) {
            retain(shared.block)
            match.partial = PrefixMatch.Partial(block: shared.block, tokens: shared.tokens)
        }
        return match
    }

    /// Gives a match back that is not used.
    package mutating func release(_ match: PrefixMatch) {
        if let partial = match.partial { release(partial.block) }
        for block in match.blocks.reversed() { release(block) }
    }

    /// Offers a full, computed block to the cache; it holds the tokens from `place.start` on. If the cache has a block for
    /// them already, the reference is exchanged for one to that. Nil, and no change, when the block keeps another prefix.
    mutating func register(_ block: Int32, _ tokens: [Int32], at place: PrefixCache.Place) -> Int32? {
        guard let canonical = cache.register(block, tokens, at: place) else { return nil }
        if canonical != block {
            counters.duplicates += 1
            retain(canonical)
            release(block)
        }
        return canonical
    }

    /// Counts a match of which `saved` tokens are used.
    mutating func count(_ match: PrefixMatch, saved: Int) {
        counters.lookups += 1
        counters.hits += saved > 0 ? 1 : 0
        counters.queriedTokens += match.queriedTokens
        counters.savedTokens += saved
    }
}

/// What the cache has of a sequence. It holds references: give it to `BlockTable.adopt` or to `BlockPool.release`, once.
package struct PrefixMatch: Sendable, Equatable {
    /// The block after those that match as a whole begins like the rest of the sequence.
    package struct Partial: Sendable, Equatable {
        package let block: Int32
        /// How many of its tokens are the sequence's.
        package let tokens: Int

        package init(block: Int32, tokens: Int) {
            self.block = block
            self.tokens = tokens
        }
    }
    package let isolation: UInt64
    /// The length of the sequence that was looked up.
    package let queriedTokens: Int
    package internal(set) var blocks: [Int32] = []
    /// Tokens in `blocks`.
    package internal(set) var tokens = 0
    package internal(set) var partial: Partial?
}

/// Keys and values to copy within the KV memory: the first `tokens` tokens of a block. Copies are to be made in the order
/// in which they were handed out, before anything else is written: the source may be free or have a new owner by then.
package struct BlockCopy: Sendable, Equatable {
    package let from: Int32
    package let to: Int32
    package let tokens: Int

    package init(from: Int32, to: Int32, tokens: Int) {
        self.from = from
        self.to = to
        self.tokens = tokens
    }
}

/// Figures of a block pool and its prefix cache.
package struct BlockStatistics: Sendable, Equatable {
    /// Sequences that were looked up and then ran.
    package internal(set) var lookups = 0
    /// Those of them that began with something cached.
    package internal(set) var hits = 0
    package internal(set) var queriedTokens = 0
    /// Tokens that did not have to be computed.
    package internal(set) var savedTokens = 0
    /// Cached blocks that were given up for others.
    package internal(set) var evictions = 0
    /// Blocks that were computed although the cache had the same by then.
    package internal(set) var duplicates = 0
    package internal(set) var used = 0
    package internal(set) var cached = 0
    package internal(set) var free = 0

    package init() {}

    package var misses: Int { lookups - hits }
    /// The share of all tokens looked up that did not have to be computed.
    package var hitRate: Double { queriedTokens == 0 ? 0 : Double(savedTokens) / Double(queriedTokens) }
}
