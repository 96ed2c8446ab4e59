import Glibc
import Kernels
import TestSupport
import Testing

/// The keys and values of one sequence in one layer, by position, and where its blocks lie.
private struct Past {
    let format: KVFormat
    let kvHeads: Int
    let size: Int
    let count: Int
    var instructionSet = InstructionSet.native
    /// Where positions from `count - places.count` on lie instead.
    var places: [Int] = []
    var keys: [Float]  // [count, kvHeads, size]
    var values: [Float]

    init(_ format: KVFormat, kvHeads: Int, size: Int, count: Int, _ random: inout SplitMix64) {
        (self.format, self.kvHeads, self.size, self.count) = (format, kvHeads, size, count)
        keys = random.floats(count * kvHeads * size, bound: 2)
        values = random.floats(count * kvHeads * size, bound: 2)
    }

    private var headBytes: Int { format.bytes(of: size) ?? 0 }

    /// What is read back of stored elements.
    func stored(_ elements: [Float]) -> [Float] {
        var bytes = [UInt8](repeating: 0, count: elements.count / size * headBytes)
        var result = elements
        let blockFormat: BlockFormat = format == .f32 ? .f32 : format == .f16 ? .f16 : .q8_0
        bytes.withUnsafeMutableBytes { memory in
            guard let base = memory.baseAddress else { return }
            for head in 0..<elements.count / size {
                elements.withUnsafeBufferPointer { source in
                    guard let from = source.baseAddress else { return }
                    storeKV(from + head * size, count: size, as: format, at: base + head * headBytes)
                }
            }
            dequantize(blockFormat, base, count: elements.count, into: &result)
        }
        return result
    }

    /// The attention of rows from `position` on over the cache, whose unused memory reads as NaN. `blocks` is the table.
    /// query and result: [rows, heads, size]
    func attend(
        _ query: [Float], rows: Int = 1, position: Int, heads: Int, window: Int, scale: Float, blocks: [Int32]
    ) -> [Float] {
        let most = (blocks.max().map { Int($0) } ?? 0) + 1
        let bytes = most * kvBlockTokens * headBytes * kvHeads
        var (keyMemory, valueMemory) = ([UInt8](repeating: 0xFF, count: bytes), [UInt8](repeating: 0xFF, count: bytes))
        let shape = AttentionShape(
            heads: heads, kvHeads: kvHeads, headDimension: size, scale: scale, window: window)
        var output = [Float](repeating: .nan, count: rows * heads * size)
        var scratch = [Float](repeating: .nan, count: shape.scratch)
        let latestFirst = places.reversed().map { Int32($0) }
        keyMemory.withUnsafeMutableBytes { keys in
            valueMemory.withUnsafeMutableBytes { values in
                guard let keys = keys.baseAddress, let values = values.baseAddress,
                    let layer = KVLayer(
                        keys: keys, values: values, format: format, kvHeads: kvHeads, headDimension: size)
                else { return }
                fill(layer, blocks)
                latestFirst.withUnsafeBufferPointer { latestFirst in
                    let path = latestFirst.baseAddress.flatMap {
                        places.isEmpty ? nil : TreePath(first: count - places.count, last: count - 1, places: $0)
                    }
                    for kvHead in 0..<kvHeads {
                        Kernels.attend(
                            query: query, rows: rows, position: position, kvHead: kvHead, layer: layer, blocks: blocks,
                            path: path, shape: shape, scratch: &scratch, output: &output,
                            instructionSet: instructionSet)
                    }
                }
            }
        }
        return output
    }

    private func fill(_ layer: KVLayer, _ blocks: [Int32]) {
        for position in 0..<count {
            let own = count - places.count
            let place = position < own ? position : places[position - own]
            let slot = Int(blocks[place / kvBlockTokens]) * kvBlockTokens + place % kvBlockTokens
            for head in 0..<kvHeads {
                let at = (position * kvHeads + head) * size
                layer.store(
                    key: Array(keys[at..<at + size]), value: Array(values[at..<at + size]), kvHead: head, slot: slot)
            }
        }
    }

    /// Softmax over the visible positions as it is defined, in double.
    func reference(_ query: [Float], position: Int, heads: Int, window: Int, scale: Float) -> [Double] {
        let (keys, values) = (stored(keys), stored(values))
        let first = window > position ? 0 : position + 1 - window
        return (0..<heads).flatMap { head -> [Double] in
            let kvHead = head / (heads / kvHeads)
            let scores = (first...position).map { at in
                Double(scale)
                    * (0..<size).reduce(0) {
                        $0 + Double(query[head * size + $1]) * Double(keys[(at * kvHeads + kvHead) * size + $1])
                    }
            }
            let top = scores.max() ?? 0
            let weights = scores.map { exp($0 - top) }
            let sum = weights.reduce(0, +)
            return (0..<size).map { element in
                weights.indices.reduce(0) {
                    $0 + weights[$1] / sum * Double(values[((first + $1) * kvHeads + kvHead) * size + element])
                }
            }
        }
    }
}

@Suite struct AttentionTests {
    private static let shapes: [(heads: Int, kvHeads: Int, size: Int)] = [
        (1, 1, 32), (4, 4, 8), (4, 1, 24), (6, 2, 64), (8, 2, 96), (3, 1, 12),
    ]
    private static let windows = [Int.max, 1, 2, 5, 31, 32, 33, 64, 70, 1000]

    private func table(_ count: Int, _ random: inout SplitMix64) -> [Int32] {
        Array((0..<Int32(12)).shuffled(using: &random).prefix((count + kvBlockTokens - 1) / kvBlockTokens))
    }

    @Test(arguments: KVFormat.allCases, InstructionSet.available)
    func agreesWithPlainSoftmax(format: KVFormat, set: InstructionSet) {
        var random = SplitMix64(seed: UInt64(format.rawValue) + 1)
        for (heads, kvHeads, size) in Self.shapes where format.bytes(of: size) != nil {
            for position in [0, 1, 30, 31, 32, 33, 63, 64, 130, 200] {
                var past = Past(format, kvHeads: kvHeads, size: size, count: position + 1, &random)
                past.instructionSet = set
                let query = random.floats(heads * size, bound: 2)
                let blocks = table(position + 1, &random)
                for window in [Int.max, Self.windows[random.int(0..<Self.windows.count)]] {
                    let scale = 1 / Float(size).squareRoot()
                    let ours = past.attend(
                        query, position: position, heads: heads, window: window, scale: scale, blocks: blocks)
                    let truth = past.reference(query, position: position, heads: heads, window: window, scale: scale)
                    let errors = zip(ours, truth).map { abs(Double($0) - $1) }
                    #expect(
                        errors.allSatisfy { $0 < 1e-5 },
                        "\(heads)/\(kvHeads) heads of \(size), position \(position), window \(window)")
                }
            }
        }
    }

    @Test(arguments: windows)
    func windowsHideWhatIsOlder(window: Int) {
        var random = SplitMix64(seed: 21)
        var past = Past(.f32, kvHeads: 2, size: 16, count: 151, &random)
        let query = random.floats(4 * 16)
        let blocks = table(151, &random)
        let before = past.attend(query, position: 150, heads: 4, window: window, scale: 0.25, blocks: blocks)
        let visible = min(window, 151)
        for index in 0..<(151 - visible) * 2 * 16 {
            past.keys[index] = .nan
            past.values[index] = .infinity
        }
        let after = past.attend(query, position: 150, heads: 4, window: window, scale: 0.25, blocks: blocks)
        #expect(before.map(\.bitPattern) == after.map(\.bitPattern))
        // The oldest visible one does matter.
        past.values[(151 - visible) * 2 * 16] += 100
        let other = past.attend(query, position: 150, heads: 4, window: window, scale: 0.25, blocks: blocks)
        #expect(before.map(\.bitPattern) != other.map(\.bitPattern))
    }

    /// The same past in other blocks, and with a longer future behind it, gives the same bits.
    @Test(arguments: KVFormat.allCases)
    func bitsDoNotDependOnBlocksOrFuture(format: KVFormat) {
        var random = SplitMix64(seed: 31)
        let whole = Past(format, kvHeads: 2, size: 32, count: 140, &random)
        for position in [0, 31, 32, 77, 127, 139] {
            let query = random.floats(6 * 32)
            for window in [Int.max, 40] {
                let tables = (0..<6).map { _ in table(140, &random) }
                let results = tables.map {
                    whole.attend(query, position: position, heads: 6, window: window, scale: 0.2, blocks: $0)
                        .map(\.bitPattern)
                }
                for result in results { #expect(result == results[0]) }
            }
        }
    }

    /// A head's result depends on its own query and KV head alone: grouping only shares loads.
    @Test func groupedHeadsEqualSeparateOnes() {
        var random = SplitMix64(seed: 41)
        let past = Past(.f16, kvHeads: 1, size: 24, count: 70, &random)
        let query = random.floats(5 * 24)
        let blocks = table(70, &random)
        let grouped = past.attend(query, position: 69, heads: 5, window: .max, scale: 0.3, blocks: blocks)
        for head in 0..<5 {
            let own = Array(query[head * 24..<(head + 1) * 24])
            let alone = past.attend(own, position: 69, heads: 1, window: .max, scale: 0.3, blocks: blocks)
            #expect(alone.map(\.bitPattern) == grouped[head * 24..<(head + 1) * 24].map(\.bitPattern))
        }
    }

    /// Rows that share a reading of the cache get the bits that each gets alone, also where windows and blocks begin or
    /// end between them, and whatever a later row holds.
    @Test(arguments: KVFormat.allCases, InstructionSet.available)
    func rowsTogetherEqualRowsAlone(format: KVFormat, set: InstructionSet) {
        var random = SplitMix64(seed: UInt64(format.rawValue) + 71)
        for (heads, kvHeads, size) in [(8, 8, 32), (4, 2, 64), (8, 2, 96), (3, 1, 32), (9, 1, 32), (2, 2, 40)]
        where format.bytes(of: size) != nil {
            var past = Past(format, kvHeads: kvHeads, size: size, count: 140, &random)
            past.instructionSet = set
            for window in [Int.max, 1, 3, 33, 64, 100] {
                let most = max(1, attentionVectors / (heads / kvHeads))
                let rows = random.int(1..<most + 1)
                let position = random.int(0..<140 - rows + 1)
                let query = random.floats(rows * heads * size, bound: 2)
                let blocks = table(140, &random)
                let together = past.attend(
                    query, rows: rows, position: position, heads: heads, window: window, scale: 0.2, blocks: blocks)
                for row in 0..<rows {
                    var own = past
                    for at in (position + row + 1) * kvHeads * size..<140 * kvHeads * size {
                        (own.keys[at], own.values[at]) = (.nan, .infinity)
                    }
                    let part = row * heads * size..<(row + 1) * heads * size
                    let alone = own.attend(
                        Array(query[part]), position: position + row, heads: heads, window: window, scale: 0.2,
                        blocks: blocks)
                    #expect(
                        alone.map(\.bitPattern) == together[part].map(\.bitPattern),
                        "\(heads)/\(kvHeads) heads of \(size), row \(row) of \(rows) at \(position), window \(window)")
                }
            }
        }
    }

    /// Rows of a draft tree get the bits that they get where their ancestors lie at their positions.
    @Test(arguments: KVFormat.allCases, InstructionSet.available)
    func pathsEqualRowsInLine(format: KVFormat, set: InstructionSet) {
        var random = SplitMix64(seed: UInt64(format.rawValue) + 81)
        for (heads, kvHeads, size) in [(8, 8, 32), (4, 2, 64), (3, 1, 12), (9, 1, 32)]
        where format.bytes(of: size) != nil {
            for (count, latest) in [(1, 1), (20, 5), (33, 2), (36, 16), (70, 3), (100, 50), (96, 1)] {
                var past = Past(format, kvHeads: kvHeads, size: size, count: count, &random)
                past.instructionSet = set
                let rows = random.int(1..<min(latest, max(1, attentionVectors / (heads / kvHeads))) + 1)
                let query = random.floats(rows * heads * size, bound: 2)
                let blocks = table(count + 100, &random)
                for window in [Int.max, 3, 40] {
                    func result(_ past: Past) -> [UInt32] {
                        past.attend(
                            query, rows: rows, position: count - rows, heads: heads, window: window, scale: 0.2,
                            blocks: blocks
                        ).map(\.bitPattern)
                    }
                    var tree = past
                    let places = (count - latest + 1..<count + 100).shuffled(using: &random).prefix(latest)
                    tree.places = places.sorted()
                    #expect(result(tree) == result(past), "\(latest) of \(count) elsewhere, window \(window)")
                }
            }
        }
    }

    /// A row that moves is stored there as if it had been stored there at once, and touches nothing else.
    @Test(arguments: KVFormat.allCases)
    func movedRowsAreStoredAlike(format: KVFormat) throws {
        var random = SplitMix64(seed: 91)
        let (kvHeads, size) = (2, 64)
        let bytes = 3 * kvHeads * kvBlockTokens * (try #require(format.bytes(of: size)))
        let old = random.bytes(2 * bytes)
        let row = random.floats(2 * kvHeads * size)
        /// The memory after the row was stored at some places, and moved.
        func stored(at places: [Int], moving: (from: Int, to: Int)? = nil) throws -> [UInt8] {
            let blocks: [Int32] = [2, 0, 1]
            var memory = old
            try memory.withUnsafeMutableBytes { memory in
                let base = try #require(memory.baseAddress)
                let layer = try #require(
                    KVLayer(
                        keys: base, values: base + bytes, format: format, kvHeads: kvHeads, headDimension: size))
                for place in places {
                    let slot = Int(blocks[place / kvBlockTokens]) * kvBlockTokens + place % kvBlockTokens
                    for head in 0..<kvHeads {
                        layer.store(
                            key: Array(row[2 * head * size..<(2 * head + 1) * size]),
                            value: Array(row[(2 * head + 1) * size..<(2 * head + 2) * size]), kvHead: head, slot: slot)
                    }
                }
                if let moving { layer.copyRow(from: moving.from, to: moving.to, blocks: blocks) }
            }
            return memory
        }
        for (from, to) in [(1, 0), (31, 30), (40, 7), (95, 0), (64, 31)] {
            #expect(try stored(at: [from], moving: (from, to)) == stored(at: [from, to]))
        }
    }

    /// Scores of -infinity weigh nothing, wherever they stand; a whole block of them too.
    @Test(arguments: [0..<1, 0..<32, 5..<40, 32..<64, 10..<99, 64..<96])
    func minusInfinityWeighsNothing(hidden: Range<Int>) {
        var random = SplitMix64(seed: 51)
        var past = Past(.f32, kvHeads: 1, size: 8, count: 100, &random)
        var query = random.floats(8)
        query[0] = 2
        for at in hidden { past.keys[at * 8] = -.greatestFiniteMagnitude }
        let blocks = table(100, &random)
        let ours = past.attend(query, position: 99, heads: 1, window: .max, scale: 1, blocks: blocks)
        let truth = past.reference(query, position: 99, heads: 1, window: .max, scale: 1)
        for (ours, truth) in zip(ours, truth) { #expect(abs(Double(ours) - truth) < 1e-5) }
    }

    /// Scores far apart, where a softmax without its maximum would overflow.
    @Test func largeScoresDoNotOverflow() {
        var random = SplitMix64(seed: 61)
        let past = Past(.f32, kvHeads: 1, size: 8, count: 90, &random)
        let query = random.floats(8, bound: 1000)
        let blocks = table(90, &random)
        for position in 0..<90 {
            let ours = past.attend(query, position: position, heads: 1, window: .max, scale: 1, blocks: blocks)
            let truth = past.reference(query, position: position, heads: 1, window: .max, scale: 1)
            for (ours, truth) in zip(ours, truth) { #expect(abs(Double(ours) - truth) < 2e-3) }
        }
    }
}
