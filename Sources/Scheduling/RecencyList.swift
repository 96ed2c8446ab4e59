/// Blocks in order of their last use: a doubly linked list on two arrays, so that every operation is O(1) and none
/// allocates. The links run in a circle through one extra element, which spares all cases of an empty end.
struct RecencyList: Sendable {
    private static let unlinked: Int32 = -1
    private let end: Int32
    /// The neighbour that was used earlier, and the one that was used later.
    private var older: [Int32]
    private var newer: [Int32]
    private(set) var count = 0

    init(capacity: Int) {
        end = Int32(capacity)
        older = Array(repeating: Self.unlinked, count: capacity + 1)
        newer = older
        older[capacity] = end
        newer[capacity] = end
    }

    /// The least recently used block.
    var oldest: Int32? { newer[Int(end)] == end ? nil : newer[Int(end)] }

    func contains(_ block: Int32) -> Bool { newer[Int(block)] != Self.unlinked }

    /// Adds a block that is not in the list as the one used last.
    mutating func append(_ block: Int32) {
        let newest = older[Int(end)]
        older[Int(block)] = newest
        newer[Int(block)] = end
        newer[Int(newest)] = block
        older[Int(end)] = block
        count += 1
    }

    /// Takes a block out that is in the list.
    mutating func remove(_ block: Int32) {
        let (before, after) = (older[Int(block)], newer[Int(block)])
        newer[Int(before)] = after
        older[Int(after)] = before
        older[Int(block)] = Self.unlinked
        newer[Int(block)] = Self.unlinked
        count -= 1
    }

    /// The blocks from the least recently used on. What is wrong with the links goes to `violations`.
    func walk(_ violations: inout [String]) -> [Int32] {
        var blocks: [Int32] = []
        var block = newer[Int(end)]
        var before = end
        while block >= 0, block < end, blocks.count <= count {
            if older[Int(block)] != before { violations.append("recency: block \(block) does not link back") }
            blocks.append(block)
            before = block
            block = newer[Int(block)]
        }
        if block != end || older[Int(end)] != before { violations.append("recency: the list does not close") }
        if blocks.count != count { violations.append("recency: \(blocks.count) blocks, counted \(count)") }
        let linked = (0..<end).count { contains($0) }
        if linked != count { violations.append("recency: \(linked) blocks have links, counted \(count)") }
        return blocks
    }
}
