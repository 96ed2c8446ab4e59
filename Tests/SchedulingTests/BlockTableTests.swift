import Scheduling
import TestSupport
import Testing

@Suite struct BlockTableTests {
    @Test func aTableGrowsByWhatIsMissing() throws {
        var pool = BlockPool(total: 4, blockTokens: 4)
        var table = BlockTable()
        #expect(table.missingBlocks(for: 0, in: pool) == 0)
        #expect(table.missingBlocks(for: 1, in: pool) == 1)
        #expect(table.missingBlocks(for: 9, in: pool) == 3)
        #expect(table.reserve(0..<5, in: &pool) == Reservation())
        #expect(table.blocks.count == 2 && table.missingBlocks(for: 8, in: pool) == 0)
        #expect(table.attainableTokens(in: pool) == 16)
        let blocks = table.blocks
        #expect(table.reserve(5..<8, in: &pool) == Reservation())
        #expect(table.blocks == blocks)
        #expect(table.reserve(8..<17, in: &pool) == nil)
        #expect(table.blocks == blocks && pool.available == 2)
        #expect(table.reserve(8..<16, in: &pool) == Reservation())
        #expect(table.blocks.count == 4 && table.blocks.prefix(2) == blocks[...])
        #expect(pool.validate(tables: [table]) == [])
    }

    @Test func rejectedRowsGiveTheirBlocksBack() throws {
        var pool = BlockPool(total: 4, blockTokens: 4)
        var table = BlockTable()
        _ = try #require(table.reserve(0..<14, in: &pool))
        let blocks = table.blocks
        table.truncate(to: 8, in: &pool)
        #expect(table.blocks == Array(blocks.prefix(2)) && pool.available == 2)
        table.truncate(to: 20, in: &pool)
        #expect(table.blocks.count == 2)
        table.truncate(to: 1, in: &pool)
        #expect(table.blocks == [blocks[0]])
        table.release(in: &pool)
        #expect(table.blocks.isEmpty && pool.available == 4)
        #expect(pool.validate(tables: [table]) == [])
    }

    @Test func forksCopyTheLastBlockWhenOneOfThemWrites() throws {
        var pool = BlockPool(total: 5, blockTokens: 4)
        var first = try computed(Array(1...6), in: &pool)
        _ = try #require(first.reserve(6..<9, in: &pool))
        var second = first.fork(tokens: 6, in: &pool)
        #expect(second.blocks == Array(first.blocks.prefix(2)) && second.registered == 1)
        #expect(pool.validate(tables: [first, second]) == [])
        let shared = first.blocks[1]
        let reservation = try #require(second.reserve(6..<7, in: &pool))
        #expect(reservation.copy == BlockCopy(from: shared, to: second.blocks[1], tokens: 2))
        #expect(second.blocks[0] == first.blocks[0] && second.blocks[1] != shared)
        // The other one is alone with the block by now.
        #expect(first.reserve(6..<7, in: &pool) == Reservation())
        #expect(first.blocks[1] == shared)
        #expect(pool.validate(tables: [first, second]) == [])
    }

    @Test func aForkThatCannotCopyChangesNothing() throws {
        var pool = BlockPool(total: 3, blockTokens: 4)
        var first = BlockTable()
        _ = try #require(first.reserve(0..<6, in: &pool))
        var second = first.fork(tokens: 6, in: &pool)
        // One for the copy is there, but not one more to grow.
        #expect(second.reserve(6..<9, in: &pool) == nil)
        #expect(second.blocks == first.blocks && pool.available == 1)
        #expect(pool.validate(tables: [first, second]) == [])
        #expect(second.reserve(6..<8, in: &pool)?.copy?.tokens == 2)
    }

    @Test func forkedBlocksAfterTheFirstWrittenAreReplacedWithoutCopies() throws {
        var pool = BlockPool(total: 8, blockTokens: 2)
        let first = try computed(Array(1...7), in: &pool)
        var second = first.fork(tokens: 7, in: &pool)
        let reservation = try #require(second.reserve(3..<7, in: &pool))
        #expect(reservation.copy == BlockCopy(from: first.blocks[1], to: second.blocks[1], tokens: 1))
        #expect(second.blocks[0] == first.blocks[0] && second.registered == 1)
        #expect(Set(second.blocks.dropFirst()).isDisjoint(with: first.blocks))
        #expect(pool.available == 1)
        #expect(pool.validate(tables: [first, second]) == [])
        var third = first.fork(tokens: 4, in: &pool)
        // At the start of a block nothing of it is wanted any more.
        #expect(third.reserve(2..<3, in: &pool) == Reservation())
        #expect(third.blocks[1] != first.blocks[1])
        #expect(pool.validate(tables: [first, second, third]) == [])
    }

    @Test func aPartialMatchIsCopied() throws {
        var pool = BlockPool(total: 8, blockTokens: 4)
        let blocks = try cached(Array(1...8), in: &pool)
        var table = BlockTable()
        let adoption = table.adopt(pool.match([1, 2, 3, 4, 5, 6, 50, 60]), in: &pool)
        #expect(adoption.tokens == 6)
        #expect(table.blocks.count == 2 && table.blocks[0] == blocks[0] && table.registered == 1)
        #expect(adoption.copy == BlockCopy(from: blocks[1], to: table.blocks[1], tokens: 2))
        #expect(table.reserve(6..<8, in: &pool) == Reservation())
        #expect(pool.validate(tables: [table]) == [])
        var other = BlockTable()
        let none = other.adopt(pool.match([1, 2, 3, 4, 5, 6, 50, 60]), minimumPartial: 3, in: &pool)
        #expect(none.tokens == 4 && none.copy == nil && other.blocks == [blocks[0]])
        #expect(pool.statistics.savedTokens == 10 && pool.statistics.queriedTokens == 16)
        #expect(pool.validate(tables: [table, other]) == [])
    }

    @Test func aPartialMatchWithoutRoomForACopyTakesTheBlockItself() throws {
        var pool = BlockPool(total: 2, blockTokens: 4)
        let blocks = try cached(Array(1...8), in: &pool)
        var table = BlockTable()
        let adoption = table.adopt(pool.match(Array(1...8)), in: &pool)
        #expect(adoption.tokens == 7 && adoption.copy == nil && table.blocks == blocks)
        #expect(table.registered == 1 && pool.statistics.evictions == 1)
        #expect(pool.validate(tables: [table]) == [])
        var other = BlockTable()
        table.register(Array(1...8), computed: 8, in: &pool)
        let less = other.adopt(pool.match(Array(1...8)), in: &pool)
        #expect(less.tokens == 4 && less.copy == nil && other.blocks == [blocks[0]])
        #expect(pool.validate(tables: [table, other]) == [])
    }

    @Test func aPreemptedRequestFindsItsBlocksAgain() throws {
        var pool = BlockPool(total: 4, blockTokens: 2)
        let tokens = (0..<Int32(8)).map { $0 }
        var table = try computed(Array(tokens.prefix(7)), in: &pool)
        let blocks = table.blocks
        table.release(in: &pool)
        // Another one takes what it needs from the end of the prefix.
        var urgent = BlockTable()
        _ = try #require(urgent.reserve(0..<4, in: &pool))
        #expect(Set(urgent.blocks) == [blocks[3], blocks[2]])
        let adoption = table.adopt(pool.match(tokens), in: &pool)
        #expect(adoption.tokens == 4 && table.blocks == Array(blocks.prefix(2)))
        #expect(table.reserve(4..<8, in: &pool) == nil)
        urgent.release(in: &pool)
        #expect(table.reserve(4..<8, in: &pool) == Reservation())
        #expect(pool.validate(tables: [table, urgent]) == [])
    }
}
