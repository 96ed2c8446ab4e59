// Attention over a paged KV cache, for rows of a request that follow each other.

/// Tokens in a block of the KV cache, and positions between two rescalings of the online softmax.
package let kvBlockTokens = 32

/// Query vectors that one reading of the cache serves.
package let attentionVectors = 8

/// One layer of the cache: keys and values as [block, kvHeads] pieces of kvBlockTokens tokens. A piece of keys lies
/// transposed, [headDimension, token]; with Q8_0 every 32 elements have the scales of all tokens in front. A piece of
/// values is [token, headDimension].
package struct KVLayer: @unchecked Sendable {
    private let keys: UnsafeMutableRawPointer
    private let values: UnsafeMutableRawPointer
    let format: KVFormat
    let kvHeads: Int
    let headDimension: Int
    let headBytes: Int

    /// `keys` and `values` hold kvHeads · headDimension elements for every token. nil where the format cannot.
    package init?(
        keys: UnsafeMutableRawPointer, values: UnsafeMutableRawPointer, format: KVFormat, kvHeads: Int,
        headDimension: Int
    ) {
        guard let headBytes = format.bytes(of: headDimension) else { return nil }
        self.keys = keys
        self.values = values
        self.format = format
        self.kvHeads = kvHeads
        self.headDimension = headDimension
        self.headBytes = headBytes
    }

    /// Bytes of the keys, or of the values, of one block and kv head.
    var pieceBytes: Int { kvBlockTokens * headBytes }

    private func offset(_ block: Int, _ kvHead: Int) -> Int { (block * kvHeads + kvHead) * pieceBytes }

    func keys(_ block: Int32, _ kvHead: Int) -> UnsafeMutableRawPointer { keys + offset(Int(block), kvHead) }

    func values(_ block: Int32, _ kvHead: Int) -> UnsafeMutableRawPointer { values + offset(Int(block), kvHead) }

    package func copy(from source: Int, to target: Int) {
        let (from, to) = (offset(source, 0), offset(target, 0))
        let bytes = kvHeads * pieceBytes
        (keys + to).copyMemory(from: keys + from, byteCount: bytes)
        (values + to).copyMemory(from: values + from, byteCount: bytes)
    }

    /// Stores the key and the value of one token and head, [headDimension] each, in slot block · kvBlockTokens + token.
    package func store(key: UnsafePointer<Float>, value: UnsafePointer<Float>, kvHead: Int, slot: Int) {
        let token = slot % kvBlockTokens
        let piece = offset(slot / kvBlockTokens, kvHead)
        storeKeys(key, count: headDimension, as: format, token: token, at: keys + piece)
        storeKV(value, count: headDimension, as: format, at: values + piece + token * headBytes)
    }
}

package struct AttentionShape: Sendable {
    package let heads: Int
    package let kvHeads: Int
    package let headDimension: Int
    package let scale: Float
    /// A row sees this many latest positions, itself included; `Int.max` for all.
    package let window: Int

    package init(heads: Int, kvHeads: Int, headDimension: Int, scale: Float, window: Int) {
        self.heads = heads
        self.kvHeads = kvHeads
        self.headDimension = headDimension
        self.scale = scale
        self.window = window
    }

    fileprivate var group: Int { heads / kvHeads }

    /// Rows that share a reading of the cache.
    package var rowsTogether: Int { max(1, attentionVectors / group) }

    /// Floats of scratch that `attend` needs: queries, results, scores, sums and maxima; and the keys and values of a
    /// block of a tree's path.
    package var scratch: Int { readingScratch + 2 * kvBlockTokens * headDimension }

    fileprivate var readingScratch: Int { attentionVectors * (2 * headDimension + kvBlockTokens + 16 + 1) }
}

/// The attention of `rows` <= rowsTogether rows at `position`, `position` + 1, … for the query heads of one kv head.
/// query and output: [rows, heads, headDimension]. `blocks` maps position / kvBlockTokens to a block; where `path` says
/// that positions lie elsewhere, their keys and values are brought to where they would be, so that what is computed
/// is the same.
///
/// Online softmax (Milakov and Gimelshein, arXiv 1805.02867) that rescales at multiples of kvBlockTokens of the
/// absolute position; lanes follow the position within the block: the bits depend on the row's own past only.
package func attend(
    query: UnsafePointer<Float>, rows: Int, position: Int, kvHead: Int, layer: KVLayer, blocks: UnsafePointer<Int32>,
    path: TreePath? = nil, shape: AttentionShape, scratch: UnsafeMutablePointer<Float>,
    output: UnsafeMutablePointer<Float>, instructionSet: InstructionSet = .native
) {
    precondition(rows <= shape.rowsTogether, "more rows than share a reading")
    // A group of more heads than there are vectors takes several readings.
    for first in stride(from: 0, to: shape.group, by: attentionVectors) {
        let heads = min(attentionVectors, shape.group - first)
        let offset = (kvHead * shape.group + first) * shape.headDimension
        let reading = Reading(
            heads: heads, rows: rows, position: position, shape: shape, scratch: scratch, instructionSet: instructionSet
        )
        reading.begin(query + offset)
        let oldest = reading.oldest
        let end = position + rows
        for index in oldest / kvBlockTokens...(end - 1) / kvBlockTokens {
            if let path, path.first < (index + 1) * kvBlockTokens {
                let keys = UnsafeMutableRawPointer(scratch + shape.readingScratch)
                let values = keys + layer.pieceBytes
                layer.assemble(
                    index, of: path, before: end, kvHead: kvHead, blocks: blocks, keys: keys, values: values)
                reading.visit(index, keys: keys, values: values, layer)
            } else {
                reading.visit(
                    index, keys: layer.keys(blocks[index], kvHead), values: layer.values(blocks[index], kvHead), layer)
            }
        }
        reading.end(output + offset)
    }
}

/// Some query vectors on their way through the cache.
private struct Reading {
    let heads: Int
    let rows: Int
    let position: Int
    let shape: AttentionShape
    let instructionSet: InstructionSet
    /// Vectors rounded up to what the kernels take: 1, 2, 4 or 8.
    let width: Int
    let queries: UnsafeMutablePointer<Float>  // [headDimension, 8], scaled
    let results: UnsafeMutablePointer<Float>  // [8, headDimension]
    let scores: UnsafeMutablePointer<Float>  // [8, kvBlockTokens]
    let sums: UnsafeMutablePointer<Float>  // [8, 16]: of the weights, lane by lane
    let maxima: UnsafeMutablePointer<Float>  // [8]

    init(
        heads: Int, rows: Int, position: Int, shape: AttentionShape, scratch: UnsafeMutablePointer<Float>,
        instructionSet: InstructionSet
    ) {
        self.heads = heads
        self.rows = rows
        self.position = position
        self.shape = shape
        self.instructionSet = instructionSet
        let vectors = heads * rows
        width = vectors == 1 ? 1 : vectors == 2 ? 2 : vectors <= 4 ? 4 : 8
        queries = scratch
        results = queries + attentionVectors * shape.headDimension
        scores = results + attentionVectors * shape.headDimension
        sums = scores + attentionVectors * kvBlockTokens
        maxima = sums + attentionVectors * 16
    }

    private func oldest(_ row: Int) -> Int {
        shape.window > position + row ? 0 : position + row + 1 - shape.window
    }

    var oldest: Int { oldest(0) }

    func begin(_ query: UnsafePointer<Float>) {
        let size = shape.headDimension
        queries.update(repeating: 0, count: attentionVectors * size)
        results.update(repeating: 0, count: attentionVectors * size)
        sums.update(repeating: 0, count: attentionVectors * 16)
        maxima.update(repeating: -.infinity, count: attentionVectors)
        for vector in 0..<heads * rows {
            let from = query + (vector / heads * shape.heads + vector % heads) * size
            for element in 0..<size { queries[element * attentionVectors + vector] = from[element] * shape.scale }
        }
    }

    /// The tokens of block `index` that a row sees.
    private func visible(_ row: Int, _ index: Int) -> Range<Int> {
        let start = index * kvBlockTokens
        let from = min(max(oldest(row) - start, 0), kvBlockTokens)
        return from..<max(from, min(position + row + 1 - start, kvBlockTokens))
    }

    func visit(_ index: Int, keys: UnsafeRawPointer, values: UnsafeRawPointer, _ layer: KVLayer) {
        let size = shape.headDimension
        instructionSet.scoreBlock(
            format: layer.format.index, count: width, queries: queries, size: size, keys: keys, scores: scores)
        var common = 0..<kvBlockTokens
        for row in 0..<rows {
            let range = visible(row, index)
            common =
                max(
                    common.lowerBound, range.lowerBound)..<max(
                    common.lowerBound, range.lowerBound, min(common.upperBound, range.upperBound))
            for vector in row * heads..<(row + 1) * heads {
                instructionSet.weighScores(
                    scores + vector * kvBlockTokens, from: range.lowerBound, to: range.upperBound,
                    maximum: maxima + vector, sums: sums + vector * 16, result: results + vector * size, size: size)
            }
        }
        // What all rows see is read once for all. A row adds its tokens in order, those that others do not see too.
        for row in 0..<rows where common.isEmpty || visible(row, index).lowerBound < common.lowerBound {
            let range = visible(row, index)
            let part = common.isEmpty ? range : range.lowerBound..<common.lowerBound
            for head in 0..<heads { add(row * heads + head, part, values, layer) }
        }
        if common.isEmpty { return }
        instructionSet.weighBlock(
            format: layer.format.index, count: width, weights: scores, size: size, values: values,
            valueBytes: layer.headBytes, from: common.lowerBound, to: common.upperBound, results: results)
        for row in 0..<rows where visible(row, index).upperBound > common.upperBound {
            let part = common.upperBound..<visible(row, index).upperBound
            for head in 0..<heads { add(row * heads + head, part, values, layer) }
        }
    }

    private func add(_ vector: Int, _ tokens: Range<Int>, _ values: UnsafeRawPointer, _ layer: KVLayer) {
        instructionSet.weighBlock(
            format: layer.format.index, count: 1, weights: scores + vector * kvBlockTokens, size: shape.headDimension,
            values: values, valueBytes: layer.headBytes, from: tokens.lowerBound, to: tokens.upperBound,
            results: results + vector * shape.headDimension)
    }

    func end(_ output: UnsafeMutablePointer<Float>) {
        let size = shape.headDimension
        for vector in 0..<heads * rows {
            let to = output + (vector / heads * shape.heads + vector % heads) * size
            let inverse = 1 / laneSum(load16(sums + vector * 16))
            for element in 0..<size { to[element] = results[vector * size + element] * inverse }
        }
    }
}
