package import Formats
import Kernels

/// Where the buffers of a forward pass lie in one allocation, in floats.
package struct ScratchLayout: Sendable {
    let stream, normed, query, key, value, attended, cosines, sines, attention, products, logits, inputs,
        gatedInputs: Int
    /// Rows of a request that share a reading of the cache.
    let rowsTogether: Int
    /// The longest input of a product that reads the stream or attention.
    let inputColumns: Int
    /// Floats between the scratch of two threads for products.
    let productsStride: Int
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
        cosines = place(rows, shape.rotatedDimension / 2)
        sines = place(rows, shape.rotatedDimension / 2)
        let attentionShape = AttentionShape(
            heads: shape.heads, kvHeads: shape.kvHeads, headDimension: size, scale: 1, window: Int.max)
        attention = place(threads, attentionShape.scratch)
        rowsTogether = attentionShape.rowsTogether
        productsStride = ProductScratch.floats(columns: max(width, shape.feedForwardLength, shape.heads * size))
        products = place(threads, productsStride)
        logits = place(logitRows, shape.vocabularySize)
        inputColumns = max(width, shape.heads * size)
        guard let input = ActivationStorage.floats(maxRows: max(rows, logitRows), maxColumns: inputColumns),
            let gated = ActivationStorage.floats(maxRows: max(rows, logitRows), maxColumns: shape.feedForwardLength)
        else { return nil }
        inputs = place(input)
        gatedInputs = place(gated)
        guard let offset, let total = checkedProduct(offset, 4) else { return nil }
        byteCount = total
    }
}
