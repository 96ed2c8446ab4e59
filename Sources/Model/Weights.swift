import Formats
import Kernels

/// y = x·matrixᵀ + bias.
package struct Linear: @unchecked Sendable {
    let matrix: WeightMatrix
    let bias: UnsafePointer<Float>?
}

/// One layer's weights. Vectors are floats, matrices as stored.
struct LayerWeights: @unchecked Sendable {
    let attentionNorm: UnsafePointer<Float>  // [embeddingLength]
    let query: Linear  // [heads · headDimension, embeddingLength]
    let key: Linear  // [kvHeads · headDimension, embeddingLength]
    let value: Linear
    let queryNorm: UnsafePointer<Float>?  // [headDimension]
    let keyNorm: UnsafePointer<Float>?
    let attentionOutput: Linear  // [embeddingLength, heads · headDimension]
    let feedForwardNorm: UnsafePointer<Float>  // [embeddingLength]
    let gate: Linear  // [feedForwardLength, embeddingLength]
    let up: Linear
    let down: Linear  // [embeddingLength, feedForwardLength]
}

/// All weights of a model, and the memory that holds them.
struct Weights: @unchecked Sendable {
    let embedding: WeightMatrix  // [vocabularySize, embeddingLength]
    let output: WeightMatrix  // the same shape; the embedding itself when tied
    let outputNorm: UnsafePointer<Float>
    let layers: [LayerWeights]
    let storages: [Storage]

    /// Finds, checks and places every tensor. Returns nil when the loader only counts.
    init?(_ loader: inout TensorLoader) throws {
        let shape = loader.checkpoint.configuration
        let width = shape.embeddingLength
        // Looked up by row; interleaved only where it is the output matrix too.
        let embedding = try loader.matrix(
            "token_embd.weight", rows: shape.vocabularySize, columns: width, packs: shape.tiesEmbeddings)
        let output =
            shape.tiesEmbeddings
            ? embedding : try loader.matrix("output.weight", rows: shape.vocabularySize, columns: width)
        let norm = try loader.vector("output_norm.weight", count: width)
        var layers: [LayerWeights] = []
        for index in 0..<shape.layers {
            if let layer = try LayerWeights(&loader, shape, index) { layers.append(layer) }
        }
        guard let embedding, let output, let norm, layers.count == shape.layers else { return nil }
        self.embedding = embedding
        self.output = output
        outputNorm = norm
        self.layers = layers
        storages = loader.storages
    }

    /// Other matrices in the place of `model`'s; all else is shared, and its memory kept.
    init(like model: Weights, output: WeightMatrix, layers: [LayerWeights], adding storages: [Storage]) {
        embedding = model.embedding
        self.output = output
        outputNorm = model.outputNorm
        self.layers = layers
        self.storages = model.storages + storages
    }
}

extension LayerWeights {
    init?(_ loader: inout TensorLoader, _ shape: ModelConfiguration, _ index: Int) throws {
        let prefix = "blk.\(index)."
        let width = shape.embeddingLength
        let queries = shape.heads * shape.headDimension
        let keys = shape.kvHeads * shape.headDimension
        func linear(_ name: String, _ rows: Int, _ columns: Int) throws -> Linear? {
            let matrix = try loader.matrix("\(prefix)\(name).weight", rows: rows, columns: columns)
            let biasName = "\(prefix)\(name).bias"
            let bias = loader.has(biasName) ? try loader.vector(biasName, count: rows) : nil
            return matrix.map { Linear(matrix: $0, bias: bias) }
        }
        func norm(_ name: String, _ count: Int) throws -> UnsafePointer<Float>? {
            try loader.vector("\(prefix)\(name).weight", count: count)
        }
        let attentionNorm = try norm("attn_norm", width)
        let query = try linear("attn_q", queries, width)
        let key = try linear("attn_k", keys, width)
        let value = try linear("attn_v", keys, width)
        let attentionOutput = try linear("attn_output", width, queries)
        let feedForwardNorm = try norm("ffn_norm", width)
        let gate = try linear("ffn_gate", shape.feedForwardLength, width)
        let up = try linear("ffn_up", shape.feedForwardLength, width)
        let down = try linear("ffn_down", width, shape.feedForwardLength)
        queryNorm = shape.normalizesHeads ? try norm("attn_q_norm", shape.headDimension) : nil
        keyNorm = shape.normalizesHeads ? try norm("attn_k_norm", shape.headDimension) : nil
        guard let attentionNorm, let query, let key, let value, let attentionOutput, let feedForwardNorm, let gate,
            let up, let down
        else { return nil }
        self.attentionNorm = attentionNorm
        self.query = query
        self.key = key
        self.value = value
        self.attentionOutput = attentionOutput
        self.feedForwardNorm = feedForwardNorm
        self.gate = gate
        self.up = up
        self.down = down
    }
}
