// Attention of single rows over a paged KV cache.

/// Tokens in a block of the KV cache, and positions between two rescalings of the online softmax.
package let kvBlockTokens = 32

/// One layer of the cache: keys and values as [block, token in block, kv head, headDimension].
package struct KVLayer: @unchecked Sendable {
    package let keys: UnsafeMutableRawPointer
    package let values: UnsafeMutableRawPointer
    package let format: KVFormat
    package let headBytes: Int
    package let tokenBytes: Int

    package init(
        keys: UnsafeMutableRawPointer, values: UnsafeMutableRawPointer, format: KVFormat, headBytes: Int,
        tokenBytes: Int
    ) {
        self.keys = keys
        self.values = values
        self.format = format
        self.headBytes = headBytes
        self.tokenBytes = tokenBytes
    }

    /// Stores the key and the value of one token and head, [headDimension] each.
    package func store(
        keys newKeys: UnsafePointer<Float>, values newValues: UnsafePointer<Float>, kvHead: Int, headDimension: Int,
        slot: Int
    ) {
        let to = slot * tokenBytes + kvHead * headBytes
        storeKV(newKeys, count: headDimension, as: format, at: keys + to)
        storeKV(newValues, count: headDimension, as: format, at: values + to)
    }
}

package struct AttentionShape: Sendable {
    package let heads: Int
    package let kvHeads: Int
    package let headDimension: Int
    package let scale: Float
    /// The row sees this many latest positions, itself included; `Int.max` for all.
    package let window: Int

    package init(heads: Int, kvHeads: Int, headDimension: Int, scale: Float, window: Int) {
        self.heads = heads
        self.kvHeads = kvHeads
        self.headDimension = headDimension
        self.scale = scale
        self.window = window
    }

    /// Floats of scratch that `attend` needs.
    package var scratch: Int { heads / kvHeads * (kvBlockTokens + 2) }
}

/// The attention of one row at `position` and one kv head, for all query heads that share it.
/// query and output: [heads, headDimension] of the row. `blocks` maps position / kvBlockTokens to a block.
///
/// Online softmax (Milakov and Gimelshein, arXiv 1805.02867) that rescales at multiples of kvBlockTokens of the
/// absolute position: the bits depend on the row's own past only.
package func attend(
    query: UnsafePointer<Float>, position: Int, kvHead: Int, layer: KVLayer, blocks: UnsafePointer<Int32>,
    shape: AttentionShape, scratch: UnsafeMutablePointer<Float>, output: UnsafeMutablePointer<Float>,
    instructionSet: InstructionSet = .native
) {
    let group = shape.heads / shape.kvHeads
    let size = shape.headDimension
    let scores = scratch  // [group, kvBlockTokens]
    let maxima = scores + group * kvBlockTokens
    let sums = maxima + group
    let result = output + kvHead * group * size
    result.update(repeating: 0, count: group * size)
    maxima.update(repeating: -.infinity, count: group)
    sums.update(repeating: 0, count: group)

    let first = shape.window > position ? 0 : position + 1 - shape.window
    var start = first
    while start <= position {
        let index = start / kvBlockTokens
        let end = min((index + 1) * kvBlockTokens, position + 1)
        let place =
            (Int(blocks[index]) * kvBlockTokens + start % kvBlockTokens) * layer.tokenBytes + kvHead * layer.headBytes
        instructionSet.scoreBlock(
            format: layer.format.index, queries: query + kvHead * group * size, group: group, size: size,
            keys: layer.keys + place, tokenBytes: layer.tokenBytes, count: end - start, scale: shape.scale,
            scores: scores, stride: kvBlockTokens)
        for head in 0..<group {
            rescale(
                scores + head * kvBlockTokens, end - start, &maxima[head], &sums[head], result + head * size, size)
        }
        instructionSet.weighBlock(
            format: layer.format.index, weights: scores, stride: kvBlockTokens, group: group, size: size,
            values: layer.values + place, tokenBytes: layer.tokenBytes, count: end - start, results: result)
        start = end
    }
    for head in 0..<group {
        let inverse = 1 / sums[head]
        for element in 0..<size { result[head * size + element] *= inverse }
    }
}

/// Turns scores into weights relative to the new maximum, and brings what was summed so far to the same scale.
@inline(__always)
private func rescale(
    _ scores: UnsafeMutablePointer<Float>, _ count: Int, _ maximum: inout Float, _ sum: inout Float,
    _ result: UnsafeMutablePointer<Float>, _ size: Int
) {
    var largest = maximum
    for index in 0..<count { largest = max(largest, scores[index]) }
    // Without this, -infinity - -infinity would make NaN of what has no weight at all.
    let reference = largest == -.infinity ? 0 : largest
    let factor = exponential(maximum - reference)
    maximum = largest
    for index in 0..<count { scores[index] -= reference }
    exponentials(scores, count: count, into: scores)
    sum *= factor
    for index in 0..<count { sum += scores[index] }
    for element in 0..<size { result[element] *= factor }
}
