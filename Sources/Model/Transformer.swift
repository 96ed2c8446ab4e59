import Formats
import Glibc
package import Kernels

/// The forward pass of one model over ragged rows, with the buffers that it works in. A pass allocates nothing.
///
/// Row invariance: the result of a row depends on that row's token, position and past alone. Rows only share loads of
/// weights; threads share outputs and rows. Attention reads every key and value from the cache, those of its own pass
/// included, as the cache stores them.
package final class Transformer: TeamWork {
    package let model: LanguageModel
    package let maxRows: Int
    /// Rows whose logits one call computes at most.
    package let maxLogitRows: Int
    package let cache: KVCache
    private let pool: ThreadPool
    private let buffers: ScratchLayout
    private let storage: Storage
    private let shape: ModelConfiguration
    /// Input rows of the products that read the stream or attention, and of the one that reads the feed-forward layer.
    private let inputs: ActivationStorage
    private let gatedInputs: ActivationStorage
    private var job = Job.none
    /// First row and number of the rows that share a reading of the cache: [maxRows], of which `spanCount` are in use.
    private let spans: UnsafeMutablePointer<(row: Int, rows: Int)>
    private var spanCount = 0
    private let rowsTogether: Int

    /// What the threads of the pool work on.
    private enum Job {
        case none
        case forward(RowBatch.View)
        /// Rows of the latest pass.
        case logits(rows: UnsafePointer<Int>, count: Int)
    }

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
        func inputs(_ offset: Int, _ columns: Int) -> ActivationStorage {
            ActivationStorage(
                instructionSet: instructionSet, precision: precision, base: storage.floats + offset,
                maxRows: max(maxRows, maxLogitRows), maxColumns: columns)
        }
        self.inputs = inputs(layout.inputs, layout.inputColumns)
        gatedInputs = inputs(layout.gatedInputs, model.configuration.feedForwardLength)
        rowsTogether = layout.rowsTogether
        spans = .allocate(capacity: maxRows)
        spans.initialize(repeating: (0, 0), count: maxRows)
    }

    deinit { spans.deallocate() }

    private func buffer(_ offset: Int) -> UnsafeMutablePointer<Float> { storage.floats + offset }

    private func scratch(_ member: TeamMember) -> ProductScratch {
        ProductScratch(buffer(buffers.products) + member.thread * buffers.productsStride)
    }

    // MARK: The pass

    /// Runs the rows through all layers, storing their keys and values; `logits` then gives what comes next.
    /// Tokens are below the vocabulary size, rows at most `maxRows`, tables long enough: the engine sees to that.
    package func forward(_ batch: RowBatch) {
        precondition(batch.count <= maxRows, "more rows than buffers")
        batch.withView { view in
            findSpans(view)
            job = .forward(view)
            pool.run(self)
            job = .none
        }
    }

    /// The logits of some rows of the latest pass: [rows.count, vocabularySize], valid until the next call.
    package func logits(rows: ArraySlice<Int>) -> UnsafeBufferPointer<Float> {
        precondition(rows.count <= maxLogitRows, "more rows than buffers")
        rows.withUnsafeBufferPointer { rows in
            guard let first = rows.baseAddress else { return }
            job = .logits(rows: first, count: rows.count)
            pool.run(self)
            job = .none
        }
        let logits = UnsafePointer(buffer(buffers.logits))
        return UnsafeBufferPointer(start: logits, count: rows.count * shape.vocabularySize)
    }

    package func work(_ member: TeamMember) {
        switch job {
        case .none: break
        case .forward(let batch): forward(batch, member)
        case .logits(let rows, let count): logits(rows, count, member)
        }
    }

    /// Rows that share a reading of the cache.
    private func findSpans(_ batch: RowBatch.View) {
        spanCount = 0
        var row = 0
        while row < batch.count {
            let rows = batch.rowsTogether(from: row, most: rowsTogether)
            spans[spanCount] = (row, rows)
            spanCount += 1
            row += rows
        }
    }

    private func forward(_ batch: RowBatch.View, _ member: TeamMember) {
        let width = shape.embeddingLength
        let stream = buffer(buffers.stream)
        member.forEach(batch.count) { row in
            model.weights.embedding.expandRow(Int(batch.rows[row].token), into: stream + row * width)
            prepareRotation(row, position: Int(batch.rows[row].position))
        }
        for layer in 0..<shape.layers {
            let weights = model.weights.layers[layer]
            attentionPart(batch, layer, weights, member)
            feedForwardPart(batch.count, weights, member)
        }
    }

    /// Cosines and sines of a row: [rotated / 2] each.
    private func prepareRotation(_ row: Int, position: Int) {
        let pairs = shape.rotatedDimension / 2
        let (cosines, sines) = (buffer(buffers.cosines) + row * pairs, buffer(buffers.sines) + row * pairs)
        for pair in 0..<pairs {
            let angle = Double(position) * shape.rotaryFrequencies[pair]
            cosines[pair] = Float(cos(angle))
            sines[pair] = Float(sin(angle))
        }
    }

    /// Rows of the stream, normalised, as the input of products. `rows` picks some; nil is all of them in order.
    private func normalize(
        _ gain: UnsafePointer<Float>, rows: UnsafePointer<Int>? = nil, into input: Activations,
        _ forms: Activations.Forms, _ member: TeamMember
    ) {
        let width = shape.embeddingLength
        let (stream, normed) = (buffer(buffers.stream), buffer(buffers.normed))
        member.forEach(input.rows) { index in
            let row = rows?[index] ?? index
            let target = normed + index * width
            rmsNorm(stream + row * width, gain: gain, count: width, epsilon: shape.normEpsilon, into: target)
            input.place(target, row: index, forms: forms)
        }
    }

    /// stream += input · linear.
    private func addToStream(_ input: Activations, _ linear: Linear, _ member: TeamMember) {
        let product = Product(input, linear.matrix, bias: linear.bias, into: buffer(buffers.stream), adds: true)
        let scratch = scratch(member)
        member.forEach(product.items) { product.compute($0, scratch) }
    }

    // MARK: Attention

    private func attentionPart(_ batch: RowBatch.View, _ layer: Int, _ weights: LayerWeights, _ member: TeamMember) {
        let input = inputs.room(rows: batch.count, columns: shape.embeddingLength)
        let forms = input.form(for: weights.query.matrix).union(input.form(for: weights.key.matrix))
            .union(input.form(for: weights.value.matrix))
        normalize(weights.attentionNorm, into: input, forms, member)
        let query = Product(input, weights.query.matrix, bias: weights.query.bias, into: buffer(buffers.query))
        let key = Product(input, weights.key.matrix, bias: weights.key.bias, into: buffer(buffers.key))
        let value = Product(input, weights.value.matrix, bias: weights.value.bias, into: buffer(buffers.value))
        let scratch = scratch(member)
        member.forEach(query.items + key.items + value.items) { item in
            if item < query.items {
                query.compute(item, scratch)
            } else if item < query.items + key.items {
                key.compute(item - query.items, scratch)
            } else {
                value.compute(item - query.items - key.items, scratch)
            }
        }
        placeKeysAndValues(batch, weights, cache.layers[layer], member)
        let attended = inputs.room(rows: batch.count, columns: shape.heads * shape.headDimension)
        attend(batch, layer, into: attended, attended.form(for: weights.attentionOutput.matrix), member)
        addToStream(attended, weights.attentionOutput, member)
    }

    /// Normalises and rotates queries and keys, and stores keys and values.
    private func placeKeysAndValues(
        _ batch: RowBatch.View, _ weights: LayerWeights, _ layer: KVLayer, _ member: TeamMember
    ) {
        let size = shape.headDimension
        let group = shape.heads / shape.kvHeads
        let (queries, keys, values) = (buffer(buffers.query), buffer(buffers.key), buffer(buffers.value))
        member.forEach(batch.count * shape.kvHeads) { item in
            let (row, head) = (item / shape.kvHeads, item % shape.kvHeads)
            turn(queries + (row * shape.heads + head * group) * size, heads: group, weights.queryNorm, row)
            turn(keys + item * size, heads: 1, weights.keyNorm, row)
            layer.store(
                key: keys + item * size, value: values + item * size, kvHead: head,
                slot: batch.slot(of: row))
        }
    }

    /// Normalises, where the model does, and rotates some heads of a row.
    private func turn(
        _ vector: UnsafeMutablePointer<Float>, heads: Int, _ gain: UnsafePointer<Float>?, _ row: Int
    ) {
        let (size, pairs) = (shape.headDimension, shape.rotatedDimension / 2)
        if let gain {
            for head in 0..<heads {
                let at = vector + head * size
                rmsNorm(at, gain: gain, count: size, epsilon: shape.normEpsilon, into: at)
            }
        }
        rotate(
            vector, heads: heads, headDimension: size, rotated: shape.rotatedDimension,
            pairing: shape.rotatesAdjacentPairs ? .adjacent : .halves, cosines: buffer(buffers.cosines) + row * pairs,
            sines: buffer(buffers.sines) + row * pairs)
    }

    private func attend(
        _ batch: RowBatch.View, _ layer: Int, into input: Activations, _ forms: Activations.Forms,
        _ member: TeamMember
    ) {
        let size = shape.headDimension
        let attention = AttentionShape(
            heads: shape.heads, kvHeads: shape.kvHeads, headDimension: size,
            scale: 1 / Float(size).squareRoot(), window: shape.windows[layer] ?? Int.max)
        let (queries, attended) = (buffer(buffers.query), buffer(buffers.attended))
        let scratch = buffer(buffers.attention) + member.thread * attention.scratch
        let spans = spans
        // By KV head, so that what one span has read is near for the next one of its request.
        member.forEach(spanCount * shape.kvHeads) { item in
            let (row, rows) = spans[item % spanCount]
            let start = row * shape.heads * size
            Kernels.attend(
                query: queries + start, rows: rows, position: Int(batch.rows[row].position),
                kvHead: item / spanCount, layer: cache.layers[layer], blocks: batch.table(of: row),
                path: batch.path(of: row), shape: attention, scratch: scratch, output: attended + start,
                instructionSet: inputs.instructionSet)
        }
        member.forEach(batch.count) { row in
            input.place(attended + row * shape.heads * size, row: row, forms: forms)
        }
    }

    // MARK: Feed-forward

    private func feedForwardPart(_ rows: Int, _ weights: LayerWeights, _ member: TeamMember) {
        let input = inputs.room(rows: rows, columns: shape.embeddingLength)
        let forms = input.form(for: weights.gate.matrix).union(input.form(for: weights.up.matrix))
        normalize(weights.feedForwardNorm, into: input, forms, member)
        let gated = gatedInputs.room(rows: rows, columns: shape.feedForwardLength)
        let product = GatedProduct(
            input, gate: weights.gate.matrix, bias: weights.gate.bias, up: weights.up.matrix, bias: weights.up.bias,
            into: gated, forms: gated.form(for: weights.down.matrix))
        let scratch = scratch(member)
        member.forEach(product.items) { product.compute($0, scratch) }
        addToStream(gated, weights.down, member)
    }

    // MARK: Logits

    private func logits(_ rows: UnsafePointer<Int>, _ count: Int, _ member: TeamMember) {
        let input = inputs.room(rows: count, columns: shape.embeddingLength)
        let output = model.weights.output
        normalize(model.weights.outputNorm, rows: rows, into: input, input.form(for: output), member)
        let product = Product(input, output, bias: nil, into: buffer(buffers.logits))
        let scratch = scratch(member)
        member.forEach(product.items) { product.compute($0, scratch) }
    }
}
