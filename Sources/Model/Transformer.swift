import Formats
import Glibc
package import Kernels

/// The forward pass of one model over ragged rows, with the buffers that it works in.
///
/// Row invariance: the result of a row depends on that row's token, position and past alone. Rows only share loads of
/// weights; threads share outputs and rows. Attention reads every key and value from the cache, those of its own pass
/// included, as the cache stores them.
package final class Transformer {
    package let model: LanguageModel
    package let maxRows: Int
    /// Rows whose logits one call computes at most.
    package let maxLogitRows: Int
    private let cache: KVCache
    private let pool: ThreadPool
    private let buffers: ScratchLayout
    private let storage: Storage
    private let shape: ModelConfiguration
    private let activations: Activations

    /// `cache` must have been made for `model`.
    package init(
        model: LanguageModel, cache: KVCache, pool: ThreadPool, maxRows: Int, maxLogitRows: Int,
        precision: Activations.Precision = .f32, instructionSet: InstructionSet = .native
    ) throws {
        self.model = model
        shape = model.configuration
        self.cache = cache
        self.pool = pool
        self.maxRows = maxRows
        self.maxLogitRows = maxLogitRows
        guard
            let layout = ScratchLayout(
                model.configuration, rows: maxRows, logitRows: maxLogitRows, threads: pool.threads),
            let storage = Storage(byteCount: layout.byteCount)
        else { throw Failure(.outOfMemoryBudget, "no memory for the activations of \(maxRows) rows") }
        buffers = layout
        self.storage = storage
        activations = Activations(
            instructionSet: instructionSet, precision: precision, storage: storage.floats + layout.activations,
            maxRows: max(maxRows, maxLogitRows), maxColumns: layout.productColumns)
    }

    private func buffer(_ offset: Int) -> UnsafeMutablePointer<Float> { storage.floats + offset }

    // MARK: The pass

    /// Runs the rows through all layers, storing their keys and values; `logits` then gives what comes next.
    /// Tokens are below the vocabulary size, rows at most `maxRows`, tables long enough: the engine sees to that.
    package func forward(_ batch: RowBatch) {
        precondition(batch.count <= maxRows, "more rows than buffers")
        prepareRotation(batch)
        embed(batch)
        for layer in 0..<shape.layers {
            attentionPart(batch, layer)
            feedForwardPart(batch.count, model.weights.layers[layer])
        }
    }

    private func embed(_ batch: RowBatch) {
        let width = shape.embeddingLength
        let stream = buffer(buffers.stream)
        pool.run(batch.count) { _, row in
            model.weights.embedding.expandRow(Int(batch.tokens[row]), into: stream + row * width)
        }
    }

    /// Cosines and sines of every row: [rows, rotated / 2] each.
    private func prepareRotation(_ batch: RowBatch) {
        let pairs = shape.rotatedDimension / 2
        let (cosines, sines) = (buffer(buffers.cosines), buffer(buffers.sines))
        pool.run(batch.count) { _, row in
            let position = Double(batch.positions[row])
            for pair in 0..<pairs {
                let angle = position * shape.rotaryFrequencies[pair]
                cosines[row * pairs + pair] = Float(cos(angle))
                sines[row * pairs + pair] = Float(sin(angle))
            }
        }
    }

    /// y = what `activations` holds · linear.
    private func product(_ linear: Linear, _ y: UnsafeMutablePointer<Float>) {
        multiply(
            activations, by: linear.matrix, bias: linear.bias, into: y, pool: pool, scratch: buffer(buffers.weights),
            scratchStride: buffers.weightsStride)
    }

    private func normalize(_ gain: UnsafePointer<Float>, rows: Int) {
        let width = shape.embeddingLength
        let (stream, normed) = (buffer(buffers.stream), buffer(buffers.normed))
        pool.run(rows) { _, row in
            rmsNorm(
                stream + row * width, gain: gain, count: width, epsilon: shape.normEpsilon, into: normed + row * width)
        }
    }

    private func addToStream(_ addend: UnsafePointer<Float>, rows: Int) {
        let width = shape.embeddingLength
        let stream = buffer(buffers.stream)
        pool.run(rows) { _, row in add(addend + row * width, count: width, to: stream + row * width) }
    }

    private func attentionPart(_ batch: RowBatch, _ layer: Int) {
        let weights = model.weights.layers[layer]
        let normed = buffer(buffers.normed)
        normalize(weights.attentionNorm, rows: batch.count)
        activations.load(normed, rows: batch.count, columns: shape.embeddingLength)
        product(weights.query, buffer(buffers.query))
        product(weights.key, buffer(buffers.key))
        product(weights.value, buffer(buffers.value))
        placeKeysAndValues(batch, weights, cache.layers[layer])
        attendRows(batch, layer)
        activations.load(buffer(buffers.attended), rows: batch.count, columns: shape.heads * shape.headDimension)
        product(weights.attentionOutput, buffer(buffers.projected))
        addToStream(buffer(buffers.projected), rows: batch.count)
    }

    /// Normalises and rotates queries and keys, and stores keys and values.
    private func placeKeysAndValues(_ batch: RowBatch, _ weights: LayerWeights, _ layer: KVLayer) {
        let (size, pairs) = (shape.headDimension, shape.rotatedDimension / 2)
        let (queries, keys, values) = (buffer(buffers.query), buffer(buffers.key), buffer(buffers.value))
        let (cosines, sines) = (buffer(buffers.cosines), buffer(buffers.sines))
        let kvWidth = shape.kvHeads * size
        pool.run(batch.count) { _, row in
            let query = queries + row * shape.heads * size
            let key = keys + row * kvWidth
            for (vector, heads, gain) in [
                (query, shape.heads, weights.queryNorm), (key, shape.kvHeads, weights.keyNorm),
            ] {
                if let gain {
                    for head in 0..<heads {
                        let at = vector + head * size
                        rmsNorm(at, gain: gain, count: size, epsilon: shape.normEpsilon, into: at)
                    }
                }
                rotate(
                    vector, heads: heads, headDimension: size, rotated: shape.rotatedDimension,
                    pairing: shape.rotatesAdjacentPairs ? .adjacent : .halves, cosines: cosines + row * pairs,
                    sines: sines + row * pairs)
            }
            let position = Int(batch.positions[row])
            let block = Int(batch.blockTables[Int(batch.tableStarts[row]) + position / kvBlockTokens])
            let slot = (block * kvBlockTokens + position % kvBlockTokens) * layer.tokenBytes
            for head in 0..<shape.kvHeads {
                let to = slot + head * layer.headBytes
                storeKV(key + head * size, count: size, as: layer.format, at: layer.keys + to)
                storeKV(values + row * kvWidth + head * size, count: size, as: layer.format, at: layer.values + to)
            }
        }
    }

    private func attendRows(_ batch: RowBatch, _ layer: Int) {
        let size = shape.headDimension
        let attention = AttentionShape(
            heads: shape.heads, kvHeads: shape.kvHeads, headDimension: size,
            scale: 1 / Float(size).squareRoot(), window: shape.windows[layer] ?? Int.max)
        let (queries, attended) = (buffer(buffers.query), buffer(buffers.attended))
        let scratch = buffer(buffers.attention)
        batch.blockTables.withUnsafeBufferPointer { tables in
            guard let base = tables.baseAddress else { return }
            pool.run(batch.count * shape.kvHeads) { thread, item in
                let row = item / shape.kvHeads
                attend(
                    query: queries + row * shape.heads * size, position: Int(batch.positions[row]),
                    kvHead: item % shape.kvHeads, layer: cache.layers[layer],
                    blocks: base + Int(batch.tableStarts[row]), shape: attention,
                    scratch: scratch + thread * attention.scratch, output: attended + row * shape.heads * size,
                    instructionSet: activations.instructionSet)
            }
        }
    }

    private func feedForwardPart(_ rows: Int, _ weights: LayerWeights) {
        let normed = buffer(buffers.normed)
        let (gate, up) = (buffer(buffers.gate), buffer(buffers.up))
        let width = shape.feedForwardLength
        normalize(weights.feedForwardNorm, rows: rows)
        activations.load(normed, rows: rows, columns: shape.embeddingLength)
        product(weights.gate, gate)
        product(weights.up, up)
        pool.run(rows) { _, row in swiGLU(gate + row * width, up + row * width, count: width) }
        activations.load(gate, rows: rows, columns: width)
        product(weights.down, buffer(buffers.projected))
        addToStream(buffer(buffers.projected), rows: rows)
    }

    // MARK: Logits

    /// The logits of some rows of the latest pass: [rows.count, vocabularySize], valid until the next call.
    package func logits(rows: ArraySlice<Int>) -> UnsafeBufferPointer<Float> {
        precondition(rows.count <= maxLogitRows, "more rows than buffers")
        let width = shape.embeddingLength
        let (stream, normed, logits) = (buffer(buffers.stream), buffer(buffers.normed), buffer(buffers.logits))
        for (index, row) in rows.enumerated() {
            rmsNorm(
                stream + row * width, gain: model.weights.outputNorm, count: width, epsilon: shape.normEpsilon,
                into: normed + index * width)
        }
        activations.load(normed, rows: rows.count, columns: width)
        product(Linear(matrix: model.weights.output, bias: nil), logits)
        return UnsafeBufferPointer(start: UnsafePointer(logits), count: rows.count * shape.vocabularySize)
    }
}
