import Scheduling
import TestSupport
import Testing

@Suite struct PrefixCacheTests {
    @Test func aSecondPromptSharesFullBlocks() throws {
        var pool = BlockPool(total: 16, blockTokens: 4)
        let blocks = try cached(Array(1...10), in: &pool)
        #expect(blocks.count == 2)
        let match = pool.match([1, 2, 3, 4, 5, 6, 7, 8, 50, 51])
        #expect(match.blocks == blocks && match.tokens == 8 && match.partial == nil)
        #expect(pool.statistics.used == 2)
        #expect(pool.validate(tables: [], held: match.blocks) == [])
        pool.release(match)
        #expect(pool.statistics.used == 0 && pool.statistics.cached == 2)
        #expect(pool.match([2, 2, 3, 4, 5]).blocks.isEmpty)
    }

    @Test func oneTokenIsLeftToCompute() throws {
        var pool = BlockPool(total: 16, blockTokens: 4)
        let blocks = try cached(Array(1...8), in: &pool)
        let whole = pool.match(Array(1...8))
        #expect(whole.blocks == [blocks[0]] && whole.tokens == 4)
        #expect(whole.partial == PrefixMatch.Partial(block: blocks[1], tokens: 3))
        #expect(pool.validate(tables: [], held: blocks) == [])
        pool.release(whole)
        let longer = pool.match(Array(1...9))
        #expect(longer.blocks == blocks && longer.partial == nil)
        pool.release(longer)
        let single = pool.match([1])
        #expect(single.blocks.isEmpty && single.partial == nil && single.tokens == 0)
        #expect(pool.match([]).blocks.isEmpty)
    }

    @Test func theLongestSharedBeginningOfABlockIsFound() throws {
        var pool = BlockPool(total: 16, blockTokens: 4)
        let stem = try cached([1, 2, 3, 4, 5, 6, 9, 9], in: &pool)
        let other = try cached([1, 2, 3, 4, 5, 6, 7, 9], in: &pool)
        _ = try cached([1, 2, 3, 4, 5, 0, 0, 0], in: &pool)
        let match = pool.match([1, 2, 3, 4, 5, 6, 7, 8])
        #expect(match.blocks == [stem[0]])
        #expect(match.partial == PrefixMatch.Partial(block: other[1], tokens: 3))
        pool.release(match)
        // The newest of equals is taken.
        let either = pool.match([1, 2, 3, 4, 5, 6, 0, 0])
        #expect(either.partial == PrefixMatch.Partial(block: other[1], tokens: 2))
        pool.release(either)
        // Only what lies before the last token counts.
        let short = pool.match([1, 2, 3, 4, 5, 6, 7])
        #expect(short.partial == PrefixMatch.Partial(block: other[1], tokens: 2))
        pool.release(short)
        let root = pool.match([1, 2, 8, 8, 8])
        #expect(root.blocks.isEmpty && root.partial == PrefixMatch.Partial(block: stem[0], tokens: 2))
        pool.release(root)
        #expect(pool.validate(tables: []) == [])
    }

    @Test func theSearchForABeginningLooksAtTheNewestOnly() throws {
        var pool = BlockPool(total: 100, blockTokens: 2)
        for second in Int32(0)..<80 { try cached([second, 0], in: &pool) }
        #expect(pool.match([79, 1, 1]).partial?.tokens == 1)
        #expect(pool.match([16, 1, 1]).partial?.tokens == 1)
        #expect(pool.match([15, 1, 1]).partial == nil)
        // Whole blocks are found among any number.
        #expect(pool.match([15, 0, 1]).tokens == 2)
    }

    @Test func differentIsolationsNeverMeet() throws {
        var pool = BlockPool(total: 16, blockTokens: 2)
        let prompt: [Int32] = [1, 2, 3, 4, 5]
        let open = try cached(prompt, in: &pool)
        #expect(pool.match(prompt, isolation: 7).blocks.isEmpty)
        #expect(pool.match(prompt, isolation: 7).partial == nil)
        let secret = try cached(prompt, isolation: 7, in: &pool)
        #expect(Set(open).isDisjoint(with: secret))
        #expect(pool.statistics.duplicates == 0)
        let (first, second) = (pool.match(prompt), pool.match(prompt, isolation: 7))
        #expect(first.blocks == open && second.blocks == secret)
        #expect(pool.match(prompt, isolation: 8).blocks.isEmpty)
        var table = BlockTable()
        _ = table.adopt(second, in: &pool)
        #expect(table.isolation == 7)
        #expect(pool.validate(tables: [table], held: open) == [])
    }

    @Test func theSamePrefixComputedTwiceBecomesOneBlock() throws {
        var pool = BlockPool(total: 16, blockTokens: 2)
        var first = BlockTable()
        var second = BlockTable()
        let prompt: [Int32] = [1, 2, 3, 4, 5]
        _ = try #require(first.reserve(0..<5, in: &pool))
        _ = try #require(second.reserve(0..<5, in: &pool))
        #expect(first.register(prompt, computed: 3, in: &pool) == nil)
        #expect(second.register(prompt, computed: 5, in: &pool) == 0)
        #expect(second.blocks[0] == first.blocks[0] && second.registered == 2)
        #expect(pool.statistics.used == 5 && pool.statistics.duplicates == 1)
        #expect(first.register(prompt, computed: 5, in: &pool) == 2)
        #expect(second.blocks.prefix(2) == first.blocks.prefix(2) && second.blocks[2] != first.blocks[2])
        #expect(pool.statistics.used == 4)
        #expect(pool.validate(tables: [first, second]) == [])
        #expect(first.register(prompt, computed: 5, in: &pool) == nil)
    }

    @Test(arguments: [0, 1, 3] as [UInt64])
    func collisionsOfHashesChangeNothing(_ mask: UInt64) throws {
        var pool = BlockPool(total: 64, blockTokens: 2, hashMask: mask)
        var random = SplitMix64(seed: 5)
        var known: [[Int32]: [Int32]] = [:]
        for _ in 0..<14 {
            let text = (0..<4).map { _ in Int32(random.int(0..<3)) }
            let blocks = try cached(text, in: &pool)
            #expect(known[text] == nil || known[text] == blocks)
            known[text] = blocks
        }
        #expect(pool.validate(tables: []) == [])
        for (text, blocks) in known {
            let match = pool.match(text + [0])
            #expect(match.blocks == blocks)
            pool.release(match)
        }
        // The same tokens after other ones are another prefix.
        for (text, blocks) in known where text[0...1] != text[2...3] {
            let match = pool.match(text[2...3] + text[2...3] + [0])
            #expect(!match.blocks.contains(blocks[1]))
            pool.release(match)
        }
    }

    @Test func aBlockKeepsThePrefixThatItWasRegisteredFor() throws {
        var pool = BlockPool(total: 8, blockTokens: 2)
        var table = try computed([1, 2, 3, 4], in: &pool)
        // Truncated and offered under other tokens without having been reserved, that is written, anew.
        table.truncate(to: 3, in: &pool)
        #expect(table.registered == 1)
        #expect(table.register([1, 2, 3, 9], computed: 4, in: &pool) == nil)
        #expect(table.registered == 1)
        #expect(pool.match([1, 2, 3, 9, 9]).partial?.tokens == 1)
    }

    @Test func chainsOfTenThousandBlocks() throws {
        let length = 10_000
        var pool = BlockPool(total: length, blockTokens: 1)
        let text = (0..<Int32(length)).map { $0 % 7 }
        let blocks = try cached(text, in: &pool)
        #expect(blocks.count == length && pool.statistics.cached == length)
        let match = pool.match(text + [0])
        #expect(match.blocks == blocks)
        pool.release(match)
        // The longest way: a reference to the leaf alone puts all of its ancestors in use.
        let leaf = try #require(blocks.last)
        pool.retain(leaf)
        #expect(pool.available == 0)
        pool.release(leaf)
        #expect(pool.available == length)
        #expect(pool.validate(tables: []) == [])
        let evicted = (0..<length).compactMap { _ in pool.allocate() }
        #expect(evicted == blocks.reversed())
        #expect(pool.validate(tables: [], held: evicted) == [])
    }

    @Test func statisticsOfAChat() throws {
        var pool = BlockPool(total: 8, blockTokens: 4)
        var history = (0..<Int32(10)).map { $0 }
        #expect(pool.statistics.misses == 0 && pool.statistics.hitRate == 0)
        for turn in 0..<3 {
            var table = BlockTable()
            let adoption = table.adopt(pool.match(history), in: &pool)
            // The full blocks of the turn before; its last tokens did not fill one.
            #expect(adoption.tokens == [0, 12, 16][turn] && adoption.copy == nil)
            _ = try #require(table.reserve(adoption.tokens..<history.count + 2, in: &pool))
            history += [100, 101]
            table.register(history, computed: history.count, in: &pool)
            table.release(in: &pool)
            history += [7, 8, 9]
            #expect(pool.validate(tables: []) == [])
        }
        let figures = pool.statistics
        #expect(figures.lookups == 3 && figures.hits == 2 && figures.misses == 1)
        #expect(figures.queriedTokens == 10 + 15 + 20 && figures.savedTokens == 12 + 16)
        #expect(figures.hitRate == 28.0 / 45.0 && figures.evictions == 0 && figures.duplicates == 0)
        #expect(figures.used == 0 && figures.cached == 5 && figures.free == 3)
    }
}
