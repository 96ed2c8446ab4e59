import Scheduling
import TestSupport
import Testing

@Suite struct BlockAllocatorTests {
    @Test(arguments: [1, 7, 64])
    func againstAReferenceSet(_ total: Int) {
        var random = SplitMix64(seed: UInt64(total))
        var allocator = BlockAllocator(total: total)
        var free = Set(0..<Int32(total))
        var held: [[Int32]] = []
        var (refused, granted) = (0, 0)
        for _ in 0..<4000 {
            if Bool.random(using: &random), let index = held.indices.randomElement(using: &random) {
                let blocks = held.remove(at: index)
                allocator.release(blocks)
                free.formUnion(blocks)
            } else {
                let count = Int.random(in: 0...max(1, total / 3), using: &random)
                let blocks = allocator.allocate(count)
                #expect((blocks == nil) == (count > free.count))
                if let blocks {
                    #expect(blocks.count == count && Set(blocks).count == count)
                    #expect(free.isSuperset(of: blocks))
                    free.subtract(blocks)
                    held.append(blocks)
                    granted += 1
                } else {
                    refused += 1
                }
            }
            #expect(allocator.available == free.count)
            #expect(allocator.used == total - free.count)
            #expect(allocator.total == total)
        }
        #expect(refused > 20 && granted > 20)
    }

    @Test func nothingIsTakenByARefusal() {
        var allocator = BlockAllocator(total: 4)
        #expect(allocator.allocate(5) == nil)
        #expect(allocator.available == 4)
        #expect(allocator.allocate(4).map { Set($0) } == [0, 1, 2, 3])
        #expect(allocator.allocate(1) == nil)
        #expect(allocator.allocate(0) == [])
    }

    @Test func anEmptyPool() {
        var allocator = BlockAllocator(total: 0)
        #expect(allocator.allocate(1) == nil)
        #expect(allocator.used == 0)
    }
}
