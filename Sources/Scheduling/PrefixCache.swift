/// Which block holds the keys and values of which tokens. Only full blocks are in it, each as the child of the block that
/// holds the tokens before, so that a path from a root spells a prefix. A block's place is its number: nothing is
/// allocated when one is inserted.
///
/// A block is *in use* while a request refers to it or a child of it is in use. Those that are not wait for eviction in
/// order of their last use. A parent thereby always comes after its children: it stops being in use after them.
struct PrefixCache: Sendable {
    /// Where a block number is expected: there is no such block.
    static let none: Int32 = -1
    /// Children that a search for a shared beginning looks at, newest first. It saves less than a block of tokens, so it
    /// must not cost more when thousands of prompts go on differently after the same system prompt.
    static let partialSearchLimit = 64

    /// What is known of a block. All but `isRegistered` is meaningless while the block is not registered.
    struct Node: Sendable {
        var isRegistered = false
        var parent = none
        var firstChild = none
        var nextSibling = none
        var previousSibling = none
        var nextInBucket = none
        /// Children in use, and one more while a request refers to the block.
        var uses: Int32 = 0
        /// Of all tokens up to and including the block's.
        var hash: UInt64 = 0
        var isolation: UInt64 = 0
    }

    let blockTokens: Int
    private let hashSeed: UInt64
    private let hashMask: UInt64
    private(set) var nodes: [Node]
    /// The tokens of block b are at b * blockTokens ..< (b + 1) * blockTokens.
    private var tokens: [Int32]
    /// The first block of each chain of the hash table; a power of two of them.
    private(set) var buckets: [Int32]
    /// By isolation: the newest of the blocks that begin a sequence.
    private(set) var roots: [UInt64: Int32] = [:]
    /// The registered blocks that are not in use.
    private(set) var idle: RecencyList
    private(set) var registeredCount = 0

    init(total: Int, blockTokens: Int, hashSeed: UInt64, hashMask: UInt64) {
        self.blockTokens = blockTokens
        self.hashSeed = hashSeed
        self.hashMask = hashMask
        nodes = Array(repeating: Node(), count: total)
        tokens = Array(repeating: 0, count: total * blockTokens)
        var size = 1
        while size < 2 * total { size *= 2 }
        buckets = Array(repeating: Self.none, count: size)
        idle = RecencyList(capacity: total)
    }

    func isRegistered(_ block: Int32) -> Bool { nodes[Int(block)].isRegistered }

    // MARK: Looking up

    /// Where in a forest and in a text the next block is looked for: after `parent`, with the tokens from `start` on.
    struct Place {
        var parent = none
        let isolation: UInt64
        var start = 0
    }

    /// The block that holds the blockTokens tokens from the place on. `text` must have as many.
    func find(_ text: [Int32], at place: Place) -> Int32? { find(text, at: place, hash: hash(text, at: place)) }

    private func find(_ text: [Int32], at place: Place, hash: UInt64) -> Int32? {
        var block = buckets[bucket(hash)]
        while block != Self.none {
            let node = nodes[Int(block)]
            // The parent is compared by number and these tokens one by one, so by induction the whole prefix is the
            // same: a collision of hashes costs time and nothing else.
            if node.hash == hash, node.parent == place.parent, node.isolation == place.isolation,
                sharedCount(block, text, at: place, limit: blockTokens) == blockTokens
            {
                return block
            }
            block = node.nextInBucket
        }
        return nil
    }

    /// The block after `parent` that begins with the most tokens of the text, at most `limit`, and how many these are.
    /// Of several equal ones it is the newest.
    func longestShared(_ text: [Int32], at place: Place, limit: Int) -> (block: Int32, tokens: Int)? {
        var best = (block: Self.none, tokens: 0)
        var child = firstChild(of: place.parent, place.isolation)
        var left = Self.partialSearchLimit
        while child != Self.none, left > 0, best.tokens < limit {
            let shared = sharedCount(child, text, at: place, limit: limit)
            if shared > best.tokens { best = (child, shared) }
            child = nodes[Int(child)].nextSibling
            left -= 1
        }
        return best.tokens > 0 ? best : nil
    }

    /// How many tokens of the block are those of the text, from the first on.
    private func sharedCount(_ block: Int32, _ text: [Int32], at place: Place, limit: Int) -> Int {
        let base = Int(block) * blockTokens
        var count = 0
        while count < limit, tokens[base + count] == text[place.start + count] { count += 1 }
        return count
    }

    func firstChild(of parent: Int32, _ isolation: UInt64) -> Int32 {
        parent == Self.none ? roots[isolation] ?? Self.none : nodes[Int(parent)].firstChild
    }

    // MARK: Hashing

    private func bucket(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: hash) & (buckets.count - 1) }

    private func hash(_ text: [Int32], at place: Place) -> UInt64 {
        var hash = rootHash(place.isolation)
        if place.parent != Self.none { hash = nodes[Int(place.parent)].hash }
        for token in text[place.start..<place.start + blockTokens] {
            hash = folded(hash ^ UInt64(UInt32(bitPattern: token)), 0x9E6C_63D0_876A_3F6B)
        }
        return hash & hashMask
    }

    private func rootHash(_ isolation: UInt64) -> UInt64 {
        folded(isolation ^ hashSeed ^ 0xA3B1_95A5_4B4D_1F35, 0xD1B5_4A32_D192_ED03)
    }

    private func folded(_ value: UInt64, _ factor: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: factor)
        return product.high ^ product.low
    }

    // MARK: Registration

    /// The block that already holds these tokens at this place, or `block`, which a request refers to, once it is
    /// registered there. Nil when `block` is registered, but elsewhere: its contents are promised to another prefix.
    mutating func register(_ block: Int32, _ text: [Int32], at place: Place) -> Int32? {
        let hash = hash(text, at: place)
        if let present = find(text, at: place, hash: hash) { return present }
        guard !isRegistered(block) else { return nil }
        for offset in 0..<blockTokens { tokens[Int(block) * blockTokens + offset] = text[place.start + offset] }
        nodes[Int(block)] = Node(
            isRegistered: true, parent: place.parent, nextInBucket: buckets[bucket(hash)], uses: 1, hash: hash,
            isolation: place.isolation)
        buckets[bucket(hash)] = block
        linkToParent(block)
        acquire(place.parent)
        registeredCount += 1
        return block
    }

    /// Takes the least recently used block that is not in use out of the cache. It has no children: they went before.
    mutating func evictOldest() -> Int32? {
        guard let block = idle.oldest else { return nil }
        idle.remove(block)
        unlinkFromParent(block)
        unlinkFromBucket(block)
        nodes[Int(block)].isRegistered = false
        registeredCount -= 1
        return block
    }

    private mutating func linkToParent(_ block: Int32) {
        let (parent, isolation) = (nodes[Int(block)].parent, nodes[Int(block)].isolation)
        let next = firstChild(of: parent, isolation)
        nodes[Int(block)].nextSibling = next
        if next != Self.none { nodes[Int(next)].previousSibling = block }
        setFirstChild(of: parent, isolation, block)
    }

    private mutating func unlinkFromParent(_ block: Int32) {
        let node = nodes[Int(block)]
        if node.nextSibling != Self.none { nodes[Int(node.nextSibling)].previousSibling = node.previousSibling }
        if node.previousSibling != Self.none {
            nodes[Int(node.previousSibling)].nextSibling = node.nextSibling
        } else {
            setFirstChild(of: node.parent, node.isolation, node.nextSibling)
        }
    }

    private mutating func setFirstChild(of parent: Int32, _ isolation: UInt64, _ child: Int32) {
        if parent != Self.none {
            nodes[Int(parent)].firstChild = child
        } else {
            roots[isolation] = child == Self.none ? nil : child
        }
    }

    private mutating func unlinkFromBucket(_ block: Int32) {
        let (chain, next) = (bucket(nodes[Int(block)].hash), nodes[Int(block)].nextInBucket)
        guard buckets[chain] != block else {
            buckets[chain] = next
            return
        }
        var before = buckets[chain]
        while before != Self.none, nodes[Int(before)].nextInBucket != block {
            before = nodes[Int(before)].nextInBucket
        }
        if before != Self.none { nodes[Int(before)].nextInBucket = next }
    }

    // MARK: Use

    /// A request refers to the block from now on. Ancestors that were idle are in use too; a request refers to
    /// those itself as a rule, so that the walk ends at the first.
    mutating func acquire(_ block: Int32) {
        var current = block
        while current != Self.none {
            nodes[Int(current)].uses += 1
            guard nodes[Int(current)].uses == 1 else { return }
            idle.remove(current)
            current = nodes[Int(current)].parent
        }
    }

    /// No request refers to the block any more.
    mutating func relinquish(_ block: Int32) {
        var current = block
        while current != Self.none {
            nodes[Int(current)].uses -= 1
            guard nodes[Int(current)].uses == 0 else { return }
            idle.append(current)
            current = nodes[Int(current)].parent
        }
    }

    // MARK: For the validator

    func tokens(of block: Int32) -> ArraySlice<Int32> {
        tokens[Int(block) * blockTokens..<(Int(block) + 1) * blockTokens]
    }

    /// What the hash of a registered block should be.
    func expectedHash(of block: Int32) -> UInt64 {
        let node = nodes[Int(block)]
        return hash(Array(tokens(of: block)), at: Place(parent: node.parent, isolation: node.isolation))
    }

    func bucketOf(_ block: Int32) -> Int { bucket(nodes[Int(block)].hash) }
}
