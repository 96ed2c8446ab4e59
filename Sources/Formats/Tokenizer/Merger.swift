/// The merge loop, with the buffers it reuses from word to word.
///
/// Symbols form a linked list over positions; a binary heap holds the possible merges as `key << 32 | position`,
/// so that the best merge, leftmost among equals, comes first. Entries are not removed when a merge makes them
/// stale: `keys[position]` tells what is current. Each merge adds at most two entries: O(n log n) for any word.
struct Merger {
    private let model: MergeModel
    private(set) var work = EncodingWork()
    private var word: [UInt8] = []
    private var ids: [Int32] = []
    private var starts: [Int32] = []
    private var ends: [Int32] = []
    private var next: [Int32] = []
    private var previous: [Int32] = []
    /// The key of the merge of a symbol with its successor; `none` where they do not merge.
    private var keys: [UInt32] = []
    /// What that merge gives.
    private var results: [Int32] = []
    private var heap: [UInt64] = []
    private var last: Int32?

    private static let none = UInt32.max

    init(model: MergeModel) { self.model = model }

    /// Appends the tokens of the word `scalars[lower..<upper]`.
    mutating func encode(_ scalars: [UInt32], _ lower: Int, _ upper: Int, into out: inout [Int32]) {
        guard model.cutsAtSpaceMark else { return encodeWhole(scalars, lower, upper, into: &out) }
        last = nil
        var start = lower
        var index = lower + 1
        while index < upper {
            if scalars[index] == MergeModel.spaceMark, scalars[index - 1] != MergeModel.spaceMark {
                encodePart(scalars, start, index, into: &out)
                start = index
            }
            index += 1
        }
        encodePart(scalars, start, upper, into: &out)
    }

    private mutating func encodeWhole(
        _ scalars: [UInt32], _ lower: Int, _ upper: Int, into out: inout [Int32]
    ) {
        last = nil
        if model.ignoresMerges {
            fillWord(scalars, lower, upper)
            if let id = model.vocabulary.find(word, 0, word.count), model.vocabulary.isOrdinary(id) {
                return out.append(id)
            }
        }
        encodePart(scalars, lower, upper, into: &out)
    }

    private mutating func encodePart(
        _ scalars: [UInt32], _ lower: Int, _ upper: Int, into out: inout [Int32]
    ) {
        guard lower < upper else { return }
        fillSymbols(scalars, lower, upper)
        work.symbols += ids.count
        link()
        while let top = pop() { merge(top) }
        collect(into: &out)
    }

    private mutating func fillWord(_ scalars: [UInt32], _ lower: Int, _ upper: Int) {
        word.removeAll(keepingCapacity: true)
        for index in lower..<upper { appendUTF8(scalars[index], to: &word) }
    }

    private mutating func fillSymbols(_ scalars: [UInt32], _ lower: Int, _ upper: Int) {
        word.removeAll(keepingCapacity: true)
        ids.removeAll(keepingCapacity: true)
        starts.removeAll(keepingCapacity: true)
        ends.removeAll(keepingCapacity: true)
        for index in lower..<upper {
            let start = word.count
            appendUTF8(scalars[index], to: &word)
            if let id = model.symbol(scalars[index], word, start, word.count) {
                appendSymbol(id, start)
            } else if case .scored = model.order {
                // Here even a character without a token can be part of one.
                appendSymbol(-1, start)
            } else {
                for id in substitute(start, word.count, after: ids.last ?? last) { appendSymbol(id, start) }
            }
        }
    }

    private mutating func substitute(_ start: Int, _ end: Int, after previous: Int32?) -> [Int32] {
        guard let substitutes = model.substitute(word, start, end, after: previous) else {
            work.omissions += 1
            return []
        }
        return substitutes
    }

    private mutating func appendSymbol(_ id: Int32, _ start: Int) {
        ids.append(id)
        starts.append(Int32(truncatingIfNeeded: start))
        ends.append(Int32(truncatingIfNeeded: word.count))
    }

    private mutating func link() {
        let count = ids.count
        next.removeAll(keepingCapacity: true)
        previous.removeAll(keepingCapacity: true)
        keys.removeAll(keepingCapacity: true)
        results.removeAll(keepingCapacity: true)
        for index in 0..<count {
            next.append(index + 1 < count ? Int32(truncatingIfNeeded: index + 1) : -1)
            previous.append(Int32(truncatingIfNeeded: index - 1))
            keys.append(Self.none)
            results.append(-1)
        }
        for index in 0..<max(count - 1, 0) { consider(index) }
    }

    /// Looks up the merge of the symbol at `position` with its successor, and queues it.
    private mutating func consider(_ position: Int) {
        keys[position] = Self.none
        let right = Int(next[position])
        guard right >= 0 else { return }
        switch model.order {
        case .ranked(let table):
            guard let rank = table.rank(ids[position], ids[right]) else { return }
            keys[position] = rank
            results[position] = table.merges[Int(rank)].result
        case .scored(let order):
            let found = model.vocabulary.find(word, Int(starts[position]), Int(ends[right]))
            guard let found, model.vocabulary.isOrdinary(found) else { return }
            keys[position] = order[Int(found)]
            results[position] = found
        }
        push(UInt64(keys[position]) << 32 | UInt64(position))
    }

    private mutating func merge(_ entry: UInt64) {
        let position = Int(entry & 0xFFFF_FFFF)
        guard keys[position] == UInt32(entry >> 32) else { return }
        let right = Int(next[position])
        work.merges += 1
        ids[position] = results[position]
        ends[position] = ends[right]
        keys[right] = Self.none
        let after = next[right]
        next[position] = after
        if after >= 0 { previous[Int(after)] = Int32(truncatingIfNeeded: position) }
        consider(position)
        if previous[position] >= 0 { consider(Int(previous[position])) }
    }

    private mutating func collect(into out: inout [Int32]) {
        var position = ids.isEmpty ? -1 : 0
        while position >= 0 {
            let id = ids[position]
            if id < 0 {
                let (start, end) = (Int(starts[position]), Int(ends[position]))
                let substitutes = substitute(start, end, after: last)
                out += substitutes
                last = substitutes.last ?? last
            } else {
                if model.hasControlParts { model.emit(id, into: &out) } else { out.append(id) }
                last = id
            }
            position = Int(next[position])
        }
    }

    // MARK: Binary heap, smallest first

    private mutating func push(_ entry: UInt64) {
        work.queueOperations += 1
        var index = heap.count
        heap.append(entry)
        while index > 0 {
            let parent = (index - 1) / 2
            guard heap[parent] > entry else { break }
            heap[index] = heap[parent]
            index = parent
        }
        heap[index] = entry
    }

    private mutating func pop() -> UInt64? {
        guard let top = heap.first, let entry = heap.popLast() else { return nil }
        work.queueOperations += 1
        guard !heap.isEmpty else { return top }
        var index = 0
        while true {
            var child = 2 * index + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
            guard heap[child] < entry else { break }
            heap[index] = heap[child]
            index = child
        }
        heap[index] = entry
        return top
    }
}
