/// What a pool with a prefix cache should do, written the slow way: prefixes as whole arrays, every question answered by
/// looking at all blocks.
struct BlockTwin {
    struct Entry {
        let isolation: UInt64
        let prefix: [Int32]
        /// When the block was last put out of use; nil while it is in use.
        var idleSince: Int?
    }
    let total: Int
    let blockTokens: Int
    private(set) var entries: [Int32: Entry] = [:]
    private(set) var counts: [Int32: Int] = [:]
    private var clock = 0

    init(total: Int, blockTokens: Int) {
        self.total = total
        self.blockTokens = blockTokens
    }

    func isInUse(_ block: Int32) -> Bool {
        if counts[block, default: 0] > 0 { return true }
        guard let entry = entries[block] else { return false }
        return entries.contains { other, its in
            counts[other, default: 0] > 0 && its.isolation == entry.isolation
                && its.prefix.starts(with: entry.prefix)
        }
    }

    var free: Set<Int32> {
        Set((0..<Int32(total)).filter { counts[$0, default: 0] == 0 && entries[$0] == nil })
    }
    var idle: [Int32] { entries.keys.filter { !isInUse($0) } }
    var available: Int { free.count + idle.count }

    /// The block that has to be evicted next.
    var oldest: Int32? { idle.min { (entries[$0]?.idleSince ?? .max) < (entries[$1]?.idleSince ?? .max) } }

    mutating func allocated(_ block: Int32) {
        entries[block] = nil
        counts[block] = 1
    }

    mutating func retain(_ block: Int32) {
        counts[block, default: 0] += 1
        settle()
    }

    /// One after the other: the first is the first to go out of use.
    mutating func release(_ blocks: some Sequence<Int32>) {
        for block in blocks {
            counts[block, default: 0] -= 1
            settle()
        }
    }

    /// Longer prefixes go out of use before the shorter ones that they begin with.
    private mutating func settle() {
        let newlyIdle = idle.filter { entries[$0]?.idleSince == nil }
        for block in newlyIdle.sorted(by: { entries[$0]?.prefix.count ?? 0 > entries[$1]?.prefix.count ?? 0 }) {
            clock += 1
            entries[block]?.idleSince = clock
        }
        for block in entries.keys where isInUse(block) { entries[block]?.idleSince = nil }
    }

    func block(_ isolation: UInt64, _ prefix: [Int32]) -> Int32? {
        entries.first { $0.value.isolation == isolation && $0.value.prefix == prefix }?.key
    }

    mutating func register(_ block: Int32, _ isolation: UInt64, _ prefix: [Int32]) {
        if let present = self.block(isolation, prefix) {
            guard present != block else { return }
            counts[present, default: 0] += 1
            counts[block, default: 0] -= 1
        } else {
            entries[block] = Entry(isolation: isolation, prefix: prefix, idleSince: nil)
        }
        settle()
    }

    /// The blocks of the longest cached prefix, and how many tokens more any cached block has.
    func match(_ tokens: [Int32], _ isolation: UInt64) -> (blocks: [Int32], partial: Int) {
        var blocks: [Int32] = []
        while (blocks.count + 1) * blockTokens < tokens.count,
            let next = block(isolation, Array(tokens.prefix((blocks.count + 1) * blockTokens)))
        {
            blocks.append(next)
        }
        let full = blocks.count * blockTokens
        let partial = entries.values.map { entry in
            guard entry.isolation == isolation, entry.prefix.count == full + blockTokens else { return 0 }
            let shared = zip(entry.prefix, tokens.dropLast()).prefix { $0 == $1 }.count
            return max(0, shared - full)
        }
        return (blocks, partial.max() ?? 0)
    }
}
