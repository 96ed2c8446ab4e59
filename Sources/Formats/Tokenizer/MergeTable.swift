/// Which pairs of tokens merge, in which order, and into what: an open-addressing table over pairs of ids.
struct MergeTable: Sendable {
    struct Merge: Sendable {
        let left: Int32
        let right: Int32
        let result: Int32
    }

    /// A merge's place in this list is its rank: the lowest merges first.
    let merges: [Merge]
    private var slots: [UInt32]
    private let multiplier: UInt64
    private static let empty = UInt32.max

    /// Where a pair is listed twice, `lastWins` says which rank counts; the field's tools differ.
    init(_ merges: [Merge], lastWins: Bool) {
        precondition(merges.count < Int(UInt32.max))
        var generator = SystemRandomNumberGenerator()
        multiplier = generator.next() | 1
        self.merges = merges
        var capacity = 16
        while capacity < 2 * merges.count { capacity *= 2 }
        slots = [UInt32](repeating: Self.empty, count: capacity)
        for rank in merges.indices {
            let slot = slot(merges[rank].left, merges[rank].right)
            if lastWins || slots[slot] == Self.empty { slots[slot] = UInt32(rank) }
        }
    }

    func rank(_ left: Int32, _ right: Int32) -> UInt32? {
        let found = slots[slot(left, right)]
        return found == Self.empty ? nil : found
    }

    /// Where the pair is, or would be put.
    private func slot(_ left: Int32, _ right: Int32) -> Int {
        let key = UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
        let product = key.multipliedFullWidth(by: multiplier)
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: product.high ^ product.low ^ product.low >> 32) & mask
        while slots[slot] != Self.empty {
            let merge = merges[Int(slots[slot])]
            if merge.left == left && merge.right == right { break }
            slot = (slot + 1) & mask
        }
        return slot
    }
}
