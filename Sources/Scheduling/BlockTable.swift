/// The block table of one request: which block holds which of its tokens. A value; every operation goes through the pool
/// that the blocks come from. `release` has to be called before it is dropped.
package struct BlockTable: Sendable {
    /// Requests with different numbers never share blocks; 0 is everybody who asks for nothing else.
    package private(set) var isolation: UInt64
    /// Maps position / blockTokens to blocks.
    package private(set) var blocks: [Int32] = []
    /// So many blocks, from the first on, are in the prefix cache.
    package private(set) var registered = 0

    package init(isolation: UInt64 = 0) { self.isolation = isolation }

    // MARK: Room

    /// How many more blocks `tokens` tokens need.
    package func missingBlocks(for tokens: Int, in pool: BlockPool) -> Int {
        max(0, pool.blocks(for: tokens) - blocks.count)
    }

    /// The most tokens that could be reserved for now.
    package func attainableTokens(in pool: BlockPool) -> Int {
        (blocks.count + pool.available) * pool.blockTokens
    }

    /// Makes the positions writable that a pass will write, and all before them present. The tokens before stay as they
    /// are; what is at these positions or after them is lost. Nil, and no change, when there are not enough blocks.
    package mutating func reserve(_ positions: Range<Int>, in pool: inout BlockPool) -> Reservation? {
        guard !positions.isEmpty else { return Reservation() }
        let first = max(0, positions.lowerBound) / pool.blockTokens
        let needed = pool.blocks(for: positions.upperBound)
        let present = min(needed, blocks.count)
        let unwritable = first < present ? (first..<present).count { !pool.isWritable(blocks[$0]) } : 0
        guard unwritable + needed - present <= pool.available else { return nil }
        var result = Reservation()
        if unwritable > 0 {
            result.copy = replace(first..<present, keeping: positions.lowerBound % pool.blockTokens, in: &pool)
            registered = min(registered, first)
        }
        while blocks.count < needed, let block = pool.allocate() { blocks.append(block) }
        return result
    }

    /// Puts writable blocks in a range of the table. Only the first has tokens that are still wanted.
    private mutating func replace(_ range: Range<Int>, keeping tokens: Int, in pool: inout BlockPool) -> BlockCopy? {
        var copy: BlockCopy?
        for index in range {
            guard let writable = pool.makeWritable(blocks[index]) else { break }
            blocks[index] = writable.block
            if index == range.lowerBound, tokens > 0, let source = writable.copyFrom {
                copy = BlockCopy(from: source, to: writable.block, tokens: tokens)
            }
        }
        return copy
    }

    /// Gives back what is not needed for the first `tokens` tokens, such as the rows of rejected drafts.
    package mutating func truncate(to tokens: Int, in pool: inout BlockPool) {
        let kept = pool.blocks(for: tokens)
        // From the end, so that of the cached ones the later blocks are evicted first.
        while blocks.count > kept { pool.release(blocks.removeLast()) }
        registered = min(registered, max(0, tokens) / pool.blockTokens)
    }

    /// Gives all blocks back. Those in the prefix cache stay there as long as there is room.
    package mutating func release(in pool: inout BlockPool) { truncate(to: 0, in: &pool) }

    // MARK: Sharing

    /// A table for a sequence that goes on from the same first `tokens` tokens. No block is copied before one of the two
    /// writes to it.
    package func fork(tokens: Int, in pool: inout BlockPool) -> BlockTable {
        var result = BlockTable(isolation: isolation)
        result.blocks = Array(blocks.prefix(pool.blocks(for: tokens)))
        result.registered = min(registered, max(0, tokens) / pool.blockTokens)
        for block in result.blocks { pool.retain(block) }
        return result
    }

    /// Starts an empty table with what the cache has of the sequence, and counts it in the statistics. A partial match is
    /// used when it has at least `minimumPartial` tokens and there is a block to copy it to.
    package mutating func adopt(_ match: PrefixMatch, minimumPartial: Int = 1, in pool: inout BlockPool) -> Adoption {
        precondition(blocks.isEmpty, "a prefix can only be the beginning of a table")
        isolation = match.isolation
        blocks = match.blocks
        registered = match.blocks.count
        var result = Adoption(tokens: match.tokens)
        if let partial = match.partial {
            // Released first: if this is the only block to be had, its contents are where they are wanted.
            pool.release(partial.block)
            if partial.tokens >= minimumPartial, let fresh = pool.allocate() {
                blocks.append(fresh)
                result.tokens += partial.tokens
                if fresh != partial.block {
                    result.copy = BlockCopy(from: partial.block, to: fresh, tokens: partial.tokens)
                }
            }
        }
        pool.count(match, saved: result.tokens)
        return result
    }

    /// Offers the full blocks among the first `computed` tokens to the prefix cache. To be called after commit, with
    /// committed tokens only. Where another request was first with the same tokens its block replaces the request's
    /// own; keys and values are the same, bit for bit. The result is the first position for which that happened: what is
    /// kept elsewhere by block number has to be looked at again from there on.
    @discardableResult
    package mutating func register(_ tokens: [Int32], computed: Int, in pool: inout BlockPool) -> Int? {
        let full = min(blocks.count, max(0, min(computed, tokens.count)) / pool.blockTokens)
        var replaced: Int?
        while registered < full {
            let place = PrefixCache.Place(
                parent: registered == 0 ? PrefixCache.none : blocks[registered - 1], isolation: isolation,
                start: registered * pool.blockTokens)
            guard let block = pool.register(blocks[registered], tokens, at: place) else { break }
            if block != blocks[registered], replaced == nil { replaced = place.start }
            blocks[registered] = block
            registered += 1
        }
        return replaced
    }
}

/// What has to be done before reserved positions are written.
package struct Reservation: Sendable, Equatable {
    package internal(set) var copy: BlockCopy?

    package init(copy: BlockCopy? = nil) { self.copy = copy }
}

/// What a request starts with.
package struct Adoption: Sendable, Equatable {
    /// Tokens that need not be computed, once the copy is made.
    package internal(set) var tokens: Int
    package internal(set) var copy: BlockCopy?
}
