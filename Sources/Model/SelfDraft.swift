import Formats
import Kernels

/// What a matrix takes in memory, and what it would take in Q4_0.
struct MatrixSize: Sendable, Equatable {
    let rows: Int
    let columns: Int
    let bytes: Int

    /// nil where Q4_0 is not possible, or not smaller.
    var draftBytes: Int? {
        guard columns % 32 == 0, let group = PackedFormat.q4_0.groupBytes(columns: columns) else { return nil }
        let total = (rows + 15) / 16 * group
        return total < bytes ? total : nil
    }
}

/// A draft model made of a model's own weights in Q4_0, from the sizes of its matrices alone.
///
/// With the same architecture and nearly the same weights it agrees with the model more often than any other draft model,
/// and a pass of it takes the time of reading about 4.5 bits per weight. Embedding, norms and biases are those of the model.
/// So is the output matrix where that makes a pass at most a sixteenth longer: its errors would go straight to the logits.
package struct SelfDraftPlan: Sendable, Equatable {
    /// Memory beyond the model's own.
    package let weightsBytes: Int
    package let sharesOutput: Bool

    /// Fails where the draft would not be much faster than the model: even if all its tokens were accepted, generation
    /// could not become faster than in proportion to what their passes read.
    init(layers: [MatrixSize], output: MatrixSize, path: String) throws {
        let modelReads = layers.reduce(output.bytes) { $0 + $1.bytes }
        let layerReads = layers.reduce(0) { $0 + ($1.draftBytes ?? $1.bytes) }
        let ownOutput = output.draftBytes ?? output.bytes
        sharesOutput = (output.bytes - ownOutput) * 16 <= layerReads + ownOutput
        let reads = layerReads + (sharesOutput ? output.bytes : ownOutput)
        guard reads <= modelReads / 4 * 3 else {
            throw Failure(
                .unsupportedQuantization,
                "\(path): a draft in Q4_0 would read \(reads) bytes a pass where the model reads \(modelReads), which is too "
                    + "close to pay; take a model of 6.5 bits per weight or more (such as Q8_0 or F16), or another drafter"
            )
        }
        let own = layers.reduce(0) { $0 + ($1.draftBytes ?? 0) }
        weightsBytes = own + (sharesOutput ? 0 : output.draftBytes ?? 0)
    }
}

extension LanguageModel {
    /// A draft model for this one, made of its own weights, which it keeps alive. `progress` is called on this thread.
    package func makeDraft(threads: Int, progress: LoadProgress? = nil) throws -> LanguageModel {
        let plan = try SelfDraftPlan(
            layers: weights.layers.flatMap { $0.matrices.map(\.size) }, output: weights.output.size, path: path)
        var maker = DraftMaker(
            total: plan.weightsBytes, pool: ThreadPool(threads: threads), path: path, progress: progress)
        let layers = try weights.layers.map { layer in try layer.mapMatrices { try maker.requantized($0) } }
        let output = plan.sharesOutput ? weights.output : try maker.requantized(weights.output)
        try maker.report()
        let own = Weights(like: weights, output: output, layers: layers, adding: maker.storages)
        return LanguageModel(self, weights: own, weightsBytes: plan.weightsBytes, quantization: TensorType.q4_0.name)
    }
}

/// Turns matrices into Q4_0, a group of 16 rows at a time.
private struct DraftMaker {
    let total: Int
    let pool: ThreadPool
    let path: String
    let progress: LoadProgress?
    private var done = 0
    private(set) var storages: [Storage] = []
    /// Elements that a thread takes at once.
    private static let pieceElements = 1 << 18

    init(total: Int, pool: ThreadPool, path: String, progress: LoadProgress?) {
        (self.total, self.pool, self.path, self.progress) = (total, pool, path, progress)
    }

    func report() throws {
        if let progress, !progress(done, total) {
            throw Failure(.cancelled, "making a draft of \(path) was cancelled by the progress callback")
        }
    }

    /// The same matrix where Q4_0 saves nothing.
    mutating func requantized(_ matrix: WeightMatrix) throws -> WeightMatrix {
        guard let bytes = matrix.size.draftBytes, let groupBytes = PackedFormat.q4_0.groupBytes(columns: matrix.columns)
        else { return matrix }
        guard let storage = Storage(byteCount: bytes, readInOrder: true) else {
            throw Failure(.outOfMemoryBudget, "no memory for the \(bytes) bytes of a matrix of the draft of \(path)")
        }
        storages.append(storage)
        let groups = (matrix.rows + 15) / 16
        let step = max(1, Self.pieceElements / (16 * matrix.columns))
        for first in stride(from: 0, to: groups, by: step * 4 * pool.threads) {
            try report()
            let wave = stride(from: first, to: min(first + step * 4 * pool.threads, groups), by: step).map {
                $0..<min($0 + step, groups)
            }
            let target = DraftTarget(base: storage.base, groupBytes: groupBytes)
            pool.run(wave.count) { _, item in target.fill(wave[item], from: matrix) }
            done += (min(first + step * 4 * pool.threads, groups) - first) * groupBytes
        }
        return WeightMatrix(
            data: UnsafeRawPointer(storage.base), format: .q4_0, rows: matrix.rows, columns: matrix.columns,
            layout: .groups(.q4_0, bytes: groupBytes))
    }
}

/// Zeroed memory for a matrix in groups of 16 rows.
private struct DraftTarget: @unchecked Sendable {
    let base: UnsafeMutableRawPointer
    let groupBytes: Int

    func fill(_ groups: Range<Int>, from matrix: WeightMatrix) {
        let rowBytes = matrix.columns / 32 * 18
        withUnsafeTemporaryAllocation(of: Float.self, capacity: matrix.columns) { values in
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16 * rowBytes) { rows in
                guard let values = values.baseAddress, let rows = rows.baseAddress else { return }
                for group in groups {
                    let count = min(16, matrix.rows - group * 16)
                    for lane in 0..<count {
                        matrix.expandRow(group * 16 + lane, into: values)
                        QuantizedFormat.q4_0.quantize(values, count: matrix.columns, into: rows + lane * rowBytes)
                    }
                    PackedFormat.q4_0.pack(
                        rows, count: count, rowBytes: rowBytes, columns: matrix.columns, into: base + group * groupBytes
                    )
                }
            }
        }
    }
}

extension WeightMatrix {
    var size: MatrixSize {
        switch layout {
        case .rows(let bytes): MatrixSize(rows: rows, columns: columns, bytes: rows * bytes)
        case .groups(_, let bytes): MatrixSize(rows: rows, columns: columns, bytes: (rows + 15) / 16 * bytes)
        }
    }
}

extension LayerWeights {
    var matrices: [WeightMatrix] {
        [query, key, value, attentionOutput, gate, up, down].map(\.matrix)
    }

    fileprivate func mapMatrices(_ change: (WeightMatrix) throws -> WeightMatrix) rethrows -> LayerWeights {
        func changed(_ linear: Linear) throws -> Linear {
            Linear(matrix: try change(linear.matrix), bias: linear.bias)
        }
        return LayerWeights(
            attentionNorm: attentionNorm, query: try changed(query), key: try changed(key), value: try changed(value),
            queryNorm: queryNorm, keyNorm: keyNorm, attentionOutput: try changed(attentionOutput),
            feedForwardNorm: feedForwardNorm, gate: try changed(gate), up: try changed(up), down: try changed(down))
    }
}
