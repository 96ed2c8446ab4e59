import Scheduling
import TestSupport
import Testing

/// Random requests over a pool, beside a slow twin that knows whole prefixes and what every slot of the memory holds.
@Suite struct BlockPoolPropertyTests {
    @Test(arguments: 0..<24 as Range<UInt64>)
    func randomOperations(_ seed: UInt64) throws {
        var world = BlockWorld(seed: seed)
        for _ in 0..<1500 { try world.act() }
        try world.finish()
        #expect(world.violations == [])
        let figures = world.pool.statistics
        #expect(world.refusals > 0 && world.copies > 0)
        #expect(figures.hits > 0 && figures.evictions > 0 && figures.duplicates > 0)
    }
}
