package import Formats
import Kernels

/// Where the buffers of a forward pass lie in one allocation, in floats.
package struct ScratchLayout: Sendable {
    let stream, normed, query, key, value, attended, projected, gate, up, cosines, sines, attention, weights,
        logits, activations: Int
    /// The longest input of a product.
    let productColumns: Int
    /// Floats between the expanded weights of two threads.
    let weightsStride: Int
    package let byteCount: Int

    /// nil when the sizes overflow.
    package init?(_ shape: ModelConfiguration, rows: Int, logitRows: Int, threads: Int) {
        var offset: Int? = 0
        func place(_ factors: Int...) -> Int {
            guard let start = offset else { return 0 }
            var size: Int? = 1
            for factor in factors { size = size.flatMap { checkedProduct($0, factor) } }
            // Buffers start at 64-byte lines, so that threads do not share one.
            offset = size.flatMap { $0 < Int.max / 16 - start ? (start + $0 + 15) / 16 * 16 : nil }
            return start
        }
        let (width, size) = (shape.embeddingLength, shape.headDimension)
        stream = place(rows, width)
        normed = place(max(rows, logitRows), width)
        query = place(rows, shape.heads, size)
        key = place(rows, shape.kvHeads, size)
        value = place(rows, shape.kvHeads, size)
        attended = place(rows, shape.heads, size)
        projected = place(rows, width)
        gate = place(rows, shape.feedForwardLength)
        up = place(rows, shape.feedForwardLength)
        cosines = place(rows, shape.rotatedDimension / 2)
        sines = place(rows, shape.rotatedDimension / 2)
        let attentionShape = AttentionShape(
            heads: shape.heads, kvHeads: shape.kvHeads, headDimension: size, scale: 1, window: Int.max)
        attention = place(threads, attentionShape.scratch)
        productColumns = max(width, shape.feedForwardLength, shape.heads * size)
        weightsStride = productScratch(columns: productColumns)
        weights = place(threads, weightsStride)
        logits = place(logitRows, shape.vocabularySize)
        guard let bytes = Activations.byteCount(maxRows: max(rows, logitRows), maxColumns: productColumns) else {
            return nil
        }
        activations = place(bytes / 4 + 1)
        guard let offset, let total = checkedProduct(offset, 4) else { return nil }
        byteCount = total
    }
}
