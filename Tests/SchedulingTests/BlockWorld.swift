import Scheduling
import TestSupport
import Testing

/// Requests that come, generate, branch, are cut back, preempted and finished, over a pool and its twin. Each slot of the
/// imagined memory holds the whole text up to its token, so that any wrong sharing shows as a wrong text.
struct BlockWorld {
    private struct Request {
        var table: BlockTable
        var tokens: [Int32]
        var computed: Int
    }
    private(set) var pool: BlockPool
    private var twin: BlockTwin
    private var random: SplitMix64
    private let isolations: UInt64
    private var requests: [Request] = []
    private var waiting: [(tokens: [Int32], isolation: UInt64)] = []
    private var texts: [[Int32]] = [[]]
    private var held: [Int32] = []
    private var memory: [[[Int32]]]
    private let log = Log()
    var violations: [String] { log.lines }
    private(set) var refusals = 0
    private(set) var copies = 0

    init(seed: UInt64) {
        random = SplitMix64(seed: seed)
        let total = random.int(4..<24)
        let blockTokens = random.int(1..<5)
        pool = BlockPool(
            total: total, blockTokens: max(2, blockTokens), hashSeed: seed, hashMask: [.max, 7, 0][Int(seed % 3)])
        twin = BlockTwin(total: total, blockTokens: max(2, blockTokens))
        isolations = seed % 2 + 1
        memory = Array(repeating: Array(repeating: [], count: pool.blockTokens), count: total)
    }

    /// One random operation, and everything checked.
    mutating func act() throws {
        switch random.int(0..<16) {
        case 0..<3: try start(fresh())
        case 3: if let request = waiting.popLast() { try start(request) }
        case 4..<9: try advance()
        case 9: try fork()
        case 10: truncate()
        case 11: finish(preempted: true)
        case 12: finish(preempted: false)
        case 13: try hold()
        case 14: letGo()
        default: try lookUp()
        }
        check()
    }

    mutating func finish() throws {
        while !requests.isEmpty { finish(preempted: false) }
        while !held.isEmpty { letGo() }
        check()
        #expect(pool.available == pool.total)
    }

    private mutating func fresh() -> (tokens: [Int32], isolation: UInt64) {
        let stem = texts[random.int(0..<texts.count)]
        let tail = (0..<random.int(1..<8)).map { _ in Int32(random.int(0..<3)) }
        return (stem.prefix(random.int(0..<stem.count + 1)) + tail, UInt64(random.int(0..<Int(isolations))))
    }

    // MARK: Operations

    private mutating func match(_ tokens: [Int32], _ isolation: UInt64) -> PrefixMatch {
        let expected = twin.match(tokens, isolation)
        let match = pool.match(tokens, isolation: isolation)
        expect(match.blocks == expected.blocks, "matched \(match), expected \(expected)")
        expect(match.tokens == expected.blocks.count * pool.blockTokens, "wrong count of tokens in \(match)")
        expect(match.partial?.tokens ?? 0 == expected.partial, "partial \(match), expected \(expected)")
        for block in match.blocks { twin.retain(block) }
        if let partial = match.partial { twin.retain(partial.block) }
        return match
    }

    private mutating func lookUp() throws {
        let (tokens, isolation) = fresh()
        let match = match(tokens, isolation)
        expect(pool.validate(tables: requests.map(\.table), held: held + match.all) == [], "during a match")
        pool.release(match)
        twin.release(match.all)
    }

    private mutating func start(_ new: (tokens: [Int32], isolation: UInt64)) throws {
        let match = match(new.tokens, new.isolation)
        let minimum = random.int(1..<3)
        var request = Request(table: BlockTable(), tokens: new.tokens, computed: 0)
        if let partial = match.partial { twin.release([partial.block]) }
        let predicted = predictions(1)
        let before = pool.statistics.savedTokens
        let adoption = request.table.adopt(match, minimumPartial: minimum, in: &pool)
        expect(pool.statistics.savedTokens - before == adoption.tokens, "saved tokens")
        request.computed = adoption.tokens
        if request.table.blocks.count > match.blocks.count {
            took(request.table.blocks.last.map { [$0] } ?? [], predicted)
        }
        let usesPartial = (match.partial?.tokens ?? 0) >= minimum && predicted != nil
        let expected = match.tokens + (usesPartial ? match.partial?.tokens ?? 0 : 0)
        expect(adoption.tokens == expected, "adopted \(adoption), expected \(expected)")
        copy(adoption.copy)
        requests.append(request)
        try advance(requests.count - 1)
    }

    /// What allocations should yield: any free block, and when there is none the given one. Nil when there are not enough.
    private func predictions(_ count: Int) -> (free: Set<Int32>, evictions: [Int32])? {
        guard count <= twin.available else { return nil }
        var later = twin
        var evictions: [Int32] = []
        for _ in 0..<max(0, count - twin.free.count) {
            guard let block = later.oldest else { break }
            evictions.append(block)
            later.allocated(block)
        }
        return (twin.free, evictions)
    }

    private mutating func took(_ blocks: [Int32], _ predicted: (free: Set<Int32>, evictions: [Int32])?) {
        guard let predicted else { return log.add("allocated \(blocks) where nothing was left") }
        let fromFree = blocks.filter { predicted.free.contains($0) }
        expect(fromFree.count == min(blocks.count, predicted.free.count), "free blocks come first")
        expect(blocks.filter { !predicted.free.contains($0) } == predicted.evictions, "evicted others: \(blocks)")
        for block in blocks { twin.allocated(block) }
    }

    private mutating func advance() throws {
        if !requests.isEmpty { try advance(random.int(0..<requests.count)) }
    }

    /// A chunk of missing tokens, or the latest token and a draft of which some is accepted.
    private mutating func advance(_ index: Int) throws {
        var request = requests[index]
        if request.tokens.count == request.computed { request.tokens.append(Int32(random.int(0..<3))) }
        let rows = random.int(1..<request.tokens.count - request.computed + 1)
        let decodes = request.computed + rows == request.tokens.count
        let draft = decodes ? (0..<random.int(0..<5)).map { _ in Int32(random.int(0..<3)) } : []
        let range = request.computed..<request.computed + rows + draft.count
        guard reserve(range, &request) else { return refuse(index) }
        write(Array((request.tokens + draft)[range]), range, request)
        request.computed += rows
        if !draft.isEmpty {
            let accepted = random.int(0..<draft.count + 1)
            request.tokens += draft.prefix(accepted)
            request.computed += accepted
            cut(&request, to: request.computed)
        }
        register(&request)
        requests[index] = request
    }

    private mutating func reserve(_ range: Range<Int>, _ request: inout Request) -> Bool {
        let before = request.table.blocks
        let last = (range.upperBound - 1) / pool.blockTokens
        let first = range.lowerBound / pool.blockTokens
        let unwritable = before.indices.filter { index in
            index >= first && index <= last && (twin.counts[before[index]] != 1 || twin.entries[before[index]] != nil)
        }
        let missing = max(0, last + 1 - before.count)
        let needed = unwritable.count + missing
        expect(request.table.missingBlocks(for: range.upperBound, in: pool) == missing, "missing")
        let available = twin.available
        guard let reservation = request.table.reserve(range, in: &pool) else {
            expect(needed > available, "refused \(needed) of \(available)")
            expect(request.table.blocks == before, "a refusal changed the table")
            return false
        }
        expect(needed <= available, "granted \(needed) of \(available)")
        for index in request.table.blocks.indices where index >= before.count || unwritable.contains(index) {
            // One by one, as the released ones may be evicted for those that follow.
            let block = request.table.blocks[index]
            expect(twin.free.contains(block) || twin.free.isEmpty && twin.oldest == block, "wrong block \(block)")
            twin.allocated(block)
            if index < before.count { twin.release([before[index]]) }
        }
        let wantsCopy = unwritable.first == first && range.lowerBound % pool.blockTokens > 0
        expect((reservation.copy != nil) == wantsCopy, "copy \(reservation)")
        copy(reservation.copy)
        return true
    }

    private mutating func register(_ request: inout Request) {
        let (before, from) = (request.table.blocks, request.table.registered)
        let replaced = request.table.register(request.tokens, computed: request.computed, in: &pool)
        var expected: Int?
        for index in from..<max(from, request.computed / pool.blockTokens) {
            let prefix = Array(request.tokens.prefix((index + 1) * pool.blockTokens))
            let present = twin.block(request.table.isolation, prefix)
            // A block that kept another prefix stays as it is, and so do those after it.
            if present == nil, twin.entries[before[index]] != nil { break }
            if let present, present != before[index], expected == nil { expected = index * pool.blockTokens }
            twin.register(before[index], request.table.isolation, prefix)
            expect(request.table.blocks[index] == present ?? before[index], "registered at \(index)")
        }
        expect(replaced == expected, "replaced from \(String(describing: replaced))")
    }

    private mutating func refuse(_ index: Int) {
        refusals += 1
        if random.int(0..<2) == 0 { drop(index, preempted: true) }
    }

    private mutating func cut(_ request: inout Request, to tokens: Int) {
        let before = request.table.blocks
        request.table.truncate(to: tokens, in: &pool)
        expect(request.table.blocks.count == min(before.count, pool.blocks(for: tokens)), "truncated")
        twin.release(before[request.table.blocks.count...].reversed())
    }

    private mutating func fork() throws {
        guard let parent = requests.randomElement(using: &random), requests.count < 8 else { return }
        let shared = random.int(0..<parent.computed + 1)
        var child = Request(
            table: parent.table.fork(tokens: shared, in: &pool), tokens: Array(parent.tokens.prefix(shared)),
            computed: shared)
        for block in child.table.blocks { twin.retain(block) }
        child.tokens.append(Int32(random.int(0..<3)))
        requests.append(child)
    }

    private mutating func truncate() {
        guard !requests.isEmpty else { return }
        let index = random.int(0..<requests.count)
        let kept = random.int(0..<requests[index].computed + 1)
        var request = requests[index]
        // Without this the next reservation finds blocks in its way.
        if random.int(0..<2) == 0 { cut(&request, to: kept) }
        request.tokens = request.tokens.prefix(kept) + [Int32(random.int(0..<3))]
        request.computed = kept
        requests[index] = request
    }

    private mutating func finish(preempted: Bool) {
        if !requests.isEmpty { drop(random.int(0..<requests.count), preempted: preempted) }
    }

    private mutating func drop(_ index: Int, preempted: Bool) {
        var request = requests.remove(at: index)
        cut(&request, to: 0)
        expect(request.table.registered == 0, "registered after release")
        texts.append(request.tokens.prefix(40) + [])
        if texts.count > 12 { texts.removeFirst() }
        if preempted, request.tokens.count < 40 { waiting.append((request.tokens, request.table.isolation)) }
    }

    /// References outside tables, some to blocks that are in the cache alone.
    private mutating func hold() throws {
        guard held.count < 4 else { return }
        let known = twin.entries.keys.sorted()
        if random.int(0..<2) == 0, let block = known.randomElement(using: &random) {
            pool.retain(block)
            twin.retain(block)
            held.append(block)
        } else if let predicted = predictions(1) {
            let block = try pool.take()
            took([block], predicted)
            held.append(block)
        } else {
            expect(pool.allocate() == nil, "allocated where nothing was left")
        }
    }

    private mutating func letGo() {
        guard !held.isEmpty else { return }
        let block = held.remove(at: random.int(0..<held.count))
        pool.release(block)
        twin.release([block])
    }

    // MARK: The imagined memory

    private mutating func write(_ tokens: [Int32], _ range: Range<Int>, _ request: Request) {
        var text = Array(request.tokens.prefix(range.lowerBound))
        for (position, token) in zip(range, tokens) {
            text.append(token)
            let block = request.table.blocks[position / pool.blockTokens]
            expect(pool.isWritable(block), "wrote to block \(block)")
            memory[Int(block)][position % pool.blockTokens] = text
        }
    }

    private mutating func copy(_ copy: BlockCopy?) {
        guard let copy else { return }
        copies += 1
        for slot in 0..<copy.tokens { memory[Int(copy.to)][slot] = memory[Int(copy.from)][slot] }
    }

    // MARK: Checks

    private func expect(_ condition: Bool, _ message: @autoclosure () -> String) {
        if !condition { log.add(message()) }
    }

    private func check() {
        let found = pool.validate(tables: requests.map(\.table), held: held)
        expect(found == [], "\(found)")
        let figures = pool.statistics
        expect(figures.free == twin.free.count && figures.cached == twin.idle.count, "\(figures)")
        expect(pool.available == twin.available, "available \(pool.available)")
        for request in requests {
            for position in 0..<request.computed {
                let slot = memory[Int(request.table.blocks[position / pool.blockTokens])][position % pool.blockTokens]
                expect(slot == Array(request.tokens.prefix(position + 1)), "wrong text at \(position): \(slot)")
            }
        }
        for (block, entry) in twin.entries {
            expect(memory[Int(block)].last == entry.prefix, "block \(block) does not hold what the cache says")
        }
    }
}

private final class Log {
    private(set) var lines: [String] = []
    /// The first ones tell; those that follow from them do not.
    func add(_ line: String) { if lines.count < 8 { lines.append(line) } }
}

extension PrefixMatch {
    /// In the order in which they are given back.
    fileprivate var all: [Int32] { (partial.map { [$0.block] } ?? []) + blocks.reversed() }
}
