import Scheduling
import TestSupport
import Testing

/// A table whose tokens are all computed and offered to the cache.
func computed(_ tokens: [Int32], isolation: UInt64 = 0, in pool: inout BlockPool) throws -> BlockTable {
    var table = BlockTable(isolation: isolation)
    _ = try #require(table.reserve(0..<tokens.count, in: &pool))
    table.register(tokens, computed: tokens.count, in: &pool)
    return table
}

/// Leaves a sequence in the cache; its full blocks, first to last.
@discardableResult
func cached(_ tokens: [Int32], isolation: UInt64 = 0, in pool: inout BlockPool) throws -> [Int32] {
    var table = try computed(tokens, isolation: isolation, in: &pool)
    let blocks = Array(table.blocks.prefix(table.registered))
    table.release(in: &pool)
    return blocks
}

extension BlockPool {
    /// A block where there has to be one.
    mutating func take() throws -> Int32 {
        let block = allocate()
        return try #require(block)
    }

    mutating func takeWritable(_ block: Int32) throws -> (block: Int32, copyFrom: Int32?) {
        let writable = makeWritable(block)
        return try #require(writable)
    }
}

@Suite struct BlockPoolTests {
    @Test func freeBlocksComeFirstAndThenNone() throws {
        var pool = BlockPool(total: 3, blockTokens: 2)
        let blocks = try (0..<3).map { _ in try pool.take() }
        #expect(blocks == [0, 1, 2])
        #expect(pool.available == 0)
        let before = pool.statistics
        #expect(pool.allocate() == nil)
        #expect(pool.statistics == before)
        pool.release(1)
        #expect(pool.available == 1)
        #expect(pool.validate(tables: [], held: [0, 2]) == [])
        #expect(pool.allocate() == 1)
    }

    @Test func referencesAreCounted() throws {
        var pool = BlockPool(total: 2, blockTokens: 2)
        let block = try pool.take()
        #expect(!pool.isShared(block) && pool.isWritable(block))
        pool.retain(block)
        #expect(pool.isShared(block) && !pool.isWritable(block))
        #expect(pool.validate(tables: [], held: [block, block]) == [])
        pool.release(block)
        #expect(pool.isWritable(block) && pool.available == 1)
        pool.release(block)
        #expect(pool.available == 2)
        #expect(pool.validate(tables: []) == [])
    }

    @Test func aSharedBlockIsCopiedBeforeItIsWritten() throws {
        var pool = BlockPool(total: 2, blockTokens: 2)
        let block = try pool.take()
        let own = try pool.takeWritable(block)
        #expect(own.block == block && own.copyFrom == nil)
        pool.retain(block)
        let copy = try pool.takeWritable(block)
        #expect(copy.block != block && copy.copyFrom == block)
        #expect(!pool.isShared(block))
        #expect(pool.validate(tables: [], held: [block, copy.block]) == [])
        pool.retain(block)
        #expect(pool.makeWritable(block)?.block == nil)
        #expect(pool.validate(tables: [], held: [block, block, copy.block]) == [])
    }

    @Test func aCachedBlockIsCopiedBeforeItIsWritten() throws {
        var pool = BlockPool(total: 2, blockTokens: 2)
        let table = try computed([1, 2], in: &pool)
        #expect(!pool.isShared(table.blocks[0]) && !pool.isWritable(table.blocks[0]))
        let copy = try pool.takeWritable(table.blocks[0])
        #expect(copy.block != table.blocks[0] && copy.copyFrom == table.blocks[0])
        #expect(pool.statistics.cached == 1)
        #expect(pool.validate(tables: [], held: [copy.block]) == [])
    }

    @Test func theLeastRecentlyUsedPrefixIsEvictedFromItsEnd() throws {
        var pool = BlockPool(total: 6, blockTokens: 2)
        let first = try cached([1, 2, 3, 4], in: &pool)
        let second = try cached([5, 6, 7, 8], in: &pool)
        let third = try cached([9, 10], in: &pool)
        pool.release(pool.match([1, 2, 3, 4, 0]))
        let free = try pool.take()
        #expect(!(first + second + third).contains(free))
        let evicted = try (0..<5).map { _ in try pool.take() }
        #expect(evicted == [second[1], second[0], third[0], first[1], first[0]])
        #expect(pool.allocate() == nil)
        #expect(pool.statistics.evictions == 5)
        #expect(pool.validate(tables: [], held: [free] + evicted) == [])
    }

    @Test func aParentThatWasUsedWithoutItsChildIsEvictedByItsOwnAge() throws {
        var pool = BlockPool(total: 5, blockTokens: 1)
        let chain = try cached([1, 2], in: &pool)
        let other = try cached([3], in: &pool)
        let late = try cached([1, 4], in: &pool)
        #expect(late[0] == chain[0])
        let evicted = try (0..<5).map { _ in try pool.take() }
        // The first one is the copy of chain[0] that was computed needlessly.
        #expect(evicted.dropFirst() == [chain[1], other[0], late[1], chain[0]])
    }

    @Test func blocksInUseAreNeverEvictedNorAreTheirAncestors() throws {
        var pool = BlockPool(total: 3, blockTokens: 1)
        let chain = try cached([1, 2, 3], in: &pool)
        // A reference to the middle alone: what comes before it has to stay, or nobody could find it.
        pool.retain(chain[1])
        #expect(pool.validate(tables: [], held: [chain[1]]) == [])
        #expect(pool.statistics.used == 2 && pool.statistics.cached == 1)
        #expect(pool.allocate() == chain[2])
        #expect(pool.allocate() == nil)
        pool.release(chain[1])
        #expect(pool.allocate() == chain[1])
        #expect(pool.allocate() == chain[0])
    }

    @Test func sizesThatMakeNoSense() {
        var empty = BlockPool(total: 0, blockTokens: 0)
        #expect(empty.allocate() == nil && empty.available == 0)
        #expect(empty.match([1, 2, 3]) == empty.match([1, 2, 3]))
        #expect(empty.validate(tables: []) == [])
        var negative = BlockPool(total: -5, blockTokens: -1)
        #expect(negative.total == 0 && negative.blockTokens == 1 && negative.allocate() == nil)
        #expect(negative.blocks(for: -3) == 0 && negative.blocks(for: .max) == .max)
        #expect(negative.statistics.hitRate == 0)
        #expect(BlockPool(total: 1, blockTokens: 32).blocks(for: .max) == Int.max / 32 + 1)
        var table = BlockTable()
        #expect(table.reserve(0..<Int.max, in: &negative) == nil)
        #expect(table.reserve(-4 ..< -1, in: &negative) == Reservation())
        table.truncate(to: -1, in: &negative)
        #expect(table.register([1, 2], computed: 5, in: &negative) == nil)
    }

    @Test func theValidatorSeesReferencesThatNobodyHolds() throws {
        var pool = BlockPool(total: 4, blockTokens: 2)
        let table = try computed([1, 2, 3], in: &pool)
        #expect(pool.validate(tables: [table]) == [])
        #expect(pool.validate(tables: []).count == 2)
        #expect(pool.validate(tables: [table, table]).count == 2)
        #expect(pool.validate(tables: [table], held: [3]).count == 1)
        #expect(pool.validate(tables: [table], held: [4]).count == 1)
        #expect(pool.validate(tables: [BlockTable()], held: table.blocks) == [])
        var dropped = table
        dropped.release(in: &pool)
        #expect(pool.validate(tables: [table]).count >= 2)
    }
}
