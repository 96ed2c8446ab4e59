/// Which blocks of a KV cache are free. Integers only: the memory itself lives elsewhere.
package struct BlockAllocator: Sendable {
    package let total: Int
    private var free: [Int32]

    package init(total: Int) {
        self.total = total
        free = (0..<Int32(total)).reversed()
    }

    package var available: Int { free.count }
    package var used: Int { total - free.count }

    /// `count` blocks, or nil when there are not as many.
    package mutating func allocate(_ count: Int) -> [Int32]? {
        guard count <= free.count else { return nil }
        let taken = Array(free.suffix(count).reversed())
        free.removeLast(count)
        return taken
    }

    /// Gives blocks back; each must have been allocated.
    package mutating func release(_ blocks: [Int32]) { free.append(contentsOf: blocks.reversed()) }
}
