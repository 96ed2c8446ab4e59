import KernelsPortable

// Products of activations with weights: y[row, output] = Σ x[row, k]·w[output, k] (+ bias[output]).
//
// Row invariance: an element of y is one fixed sequence of operations on one row of x and one row of w. Threads share
// outputs, never k; a tile of rows only shares the loads of w.

/// The rows that go into one or several products, in the forms that the layouts of weights ask for. A form is made when
/// the first product wants it.
package final class Activations {
    /// How quantised weights see the rows.
    package enum Precision: Sendable {
        /// As floats: a product is what it would be with the weights expanded to F32.
        case f32
        /// As signed bytes with a scale for every 32: several times the speed for many rows, with a rounding error.
        case q8
    }

    package let instructionSet: InstructionSet
    package let precision: Precision
    private let storage: UnsafeMutableRawPointer
    private let maxRows: Int
    private let maxColumns: Int
    fileprivate private(set) var source: UnsafePointer<Float>
    fileprivate private(set) var rows = 0
    private var columns = 0
    private var isQuantized = false
    private var isArranged = false

    /// `storage` holds `byteCount(maxRows:maxColumns:)` bytes and outlives this.
    package init(
        instructionSet: InstructionSet, precision: Precision, storage: UnsafeMutableRawPointer, maxRows: Int,
        maxColumns: Int
    ) {
        self.instructionSet = instructionSet
        self.precision = precision
        self.storage = storage
        self.maxRows = maxRows
        self.maxColumns = (maxColumns + 31) / 32 * 32
        source = UnsafePointer(storage.assumingMemoryBound(to: Float.self))
    }

    /// Per element 4 bytes arranged, 2 quantised, and 4 + 2·4 for every 32.
    package static func byteCount(maxRows: Int, maxColumns: Int) -> Int? {
        checkedProduct(maxRows, (maxColumns + 31) / 32, 32 * 6 + 12)
    }

    fileprivate var arranged: UnsafeMutablePointer<Float> { storage.assumingMemoryBound(to: Float.self) }
    fileprivate var values: UnsafeMutableRawPointer { storage + maxRows * maxColumns * 4 }
    fileprivate var scales: UnsafeMutablePointer<Float> {
        (storage + maxRows * maxColumns * 6).assumingMemoryBound(to: Float.self)
    }
    fileprivate var sums: UnsafeMutablePointer<Int32> {
        (storage + maxRows * (maxColumns * 6 + maxColumns / 32 * 4)).assumingMemoryBound(to: Int32.self)
    }

    /// Takes `rows` rows of `columns` at `source`, which must stay as it is until the products are done.
    package func load(_ source: UnsafePointer<Float>, rows: Int, columns: Int) {
        self.source = source
        self.rows = rows
        self.columns = columns
        (isQuantized, isArranged) = (false, false)
    }

    fileprivate func quantize(_ pool: ThreadPool) {
        guard !isQuantized else { return }
        isQuantized = true
        let (values, scales, sums) = (values, scales, sums)
        pool.run(rows) { _, row in
            instructionSet.quantizeRow(
                source + row * columns, row: row, rows: rows, columns: columns, values: values, scales: scales,
                sums: sums)
        }
    }

    fileprivate func arrange(_ pool: ThreadPool) {
        guard !isArranged else { return }
        isArranged = true
        let arranged = arranged
        pool.run(rows) { _, row in
            arrangeRow(source + row * columns, row: row, rows: rows, columns: columns, values: arranged)
        }
    }
}

/// Rows that meet a group of weights before the next rows do: their activations stay in the nearest cache.
private let rowsPerTile = 32

/// The most rows that `fusedProduct` takes; four groups of them fill the results of a tile.
private let fusedRows = 8

/// Floats of scratch that a thread needs for products of up to `columns` columns: results, and 16 rows of weights.
package func productScratch(columns: Int) -> Int { rowsPerTile * 16 + (columns + 31) / 32 * 32 * 16 }

/// y [rows, matrix.rows] = x [rows, matrix.columns] · matrixᵀ (+ bias [matrix.rows]), x being what `activations` holds.
/// `scratch` holds `scratchStride` >= productScratch(columns:) floats for each thread of the pool.
package func multiply(
    _ activations: Activations, by matrix: WeightMatrix, bias: UnsafePointer<Float>?,
    into y: UnsafeMutablePointer<Float>, pool: ThreadPool, scratch: UnsafeMutablePointer<Float>, scratchStride: Int
) {
    if matrix.isQuantizedGroups, activations.precision == .q8 {
        activations.quantize(pool)
    } else {
        activations.arrange(pool)
    }
    let groups = (matrix.rows + 15) / 16
    // Small enough to share out evenly, large enough that taking an item costs nothing.
    let groupsPerItem = min(8, max(1, groups / (pool.threads * 8)))
    let isFused = matrix.isQuantizedGroups && activations.precision == .f32 && activations.rows <= fusedRows
    pool.run((groups + groupsPerItem - 1) / groupsPerItem) { thread, item in
        let results = scratch + thread * scratchStride
        let range = item * groupsPerItem..<min((item + 1) * groupsPerItem, groups)
        if isFused {
            multiplyFused(activations, matrix, range, bias, y, results)
        } else {
            for group in range { multiplyTiled(activations, matrix, group, bias, y, results) }
        }
    }
}

/// One group of 16 outputs for all rows, tile by tile.
private func multiplyTiled(
    _ activations: Activations, _ matrix: WeightMatrix, _ group: Int, _ bias: UnsafePointer<Float>?,
    _ y: UnsafeMutablePointer<Float>, _ results: UnsafeMutablePointer<Float>
) {
    for first in stride(from: 0, to: activations.rows, by: rowsPerTile) {
        let rows = min(rowsPerTile, activations.rows - first)
        results.update(repeating: 0, count: rows * 16)
        multiplyGroup(activations, matrix, group, first, rows, results)
        storeResults(results, rows, first, matrix, group, bias, y)
    }
}

/// Several groups of quantised weights for up to `fusedRows` rows of floats.
private func multiplyFused(
    _ activations: Activations, _ matrix: WeightMatrix, _ groups: Range<Int>, _ bias: UnsafePointer<Float>?,
    _ y: UnsafeMutablePointer<Float>, _ results: UnsafeMutablePointer<Float>
) {
    guard case .groups(let format, let groupBytes) = matrix.layout, let index = format.quantizedIndex else { return }
    let rows = activations.rows
    for start in stride(from: groups.lowerBound, to: groups.upperBound, by: 4) {
        let count = min(4, groups.upperBound - start)
        activations.instructionSet.fusedProduct(
            format: index, weights: matrix.data + start * groupBytes, groupBytes: groupBytes, groups: count,
            blocks: matrix.columns / 32, values: activations.arranged, rows: rows, results: results)
        for group in 0..<count {
            storeResults(results + group * rows * 16, rows, 0, matrix, start + group, bias, y)
        }
    }
}

/// Adds the bias and puts [rows, 16] where they belong in y.
@inline(__always)
private func storeResults(
    _ results: UnsafePointer<Float>, _ rows: Int, _ first: Int, _ matrix: WeightMatrix, _ group: Int,
    _ bias: UnsafePointer<Float>?, _ y: UnsafeMutablePointer<Float>
) {
    let outputs = min(16, matrix.rows - group * 16)
    for row in 0..<rows {
        let to = y + (first + row) * matrix.rows + group * 16
        for output in 0..<outputs {
            to[output] = results[row * 16 + output] + (bias?[group * 16 + output] ?? -0.0)
        }
    }
}

/// results [rows, 16] += rows `first` ... · one group of 16 outputs. Behind the results there is room for `cell`.
@inline(__always)
private func multiplyGroup(
    _ activations: Activations, _ matrix: WeightMatrix, _ group: Int, _ first: Int, _ rows: Int,
    _ results: UnsafeMutablePointer<Float>
) {
    let set = activations.instructionSet
    let chunks = (matrix.columns + 7) / 8
    let cell = results + rowsPerTile * 16
    guard case .groups(let format, let groupBytes) = matrix.layout else {
        // Expanded once for all tiles of rows.
        if first == 0 { matrix.interleave(group, into: cell) }
        set.denseProduct(
            format: PackedFormat.f32.denseIndex, weights: cell, chunks: chunks, values: activations.arranged,
            stride: activations.rows, first: first, rows: rows, results: results)
        return
    }
    let weights = matrix.data + group * groupBytes
    guard let index = format.quantizedIndex else {
        set.denseProduct(
            format: format.denseIndex, weights: weights, chunks: chunks, values: activations.arranged,
            stride: activations.rows, first: first, rows: rows, results: results)
        return
    }
    switch activations.precision {
    case .q8:
        set.quantizedProduct(
            format: index, weights: weights, blocks: matrix.columns / 32, values: activations.values,
            scales: activations.scales, sums: activations.sums, stride: activations.rows, first: first, rows: rows,
            results: results)
    case .f32:
        set.floatProduct(
            format: index, weights: weights, blocks: matrix.columns / 32, values: activations.arranged,
            stride: activations.rows, first: first, rows: rows, cell: cell, results: results)
    }
}

// MARK: Sums of one row, for the steps between the products

@inline(__always)
func load16(_ pointer: UnsafePointer<Float>) -> SIMD16<Float> {
    UnsafeRawPointer(pointer).loadUnaligned(as: SIMD16<Float>.self)
}

/// The sum of the lanes, always as the same tree.
@inline(__always)
func laneSum(_ v: SIMD16<Float>) -> Float {
    let eight = v.lowHalf + v.highHalf
    let four = eight.lowHalf + eight.highHalf
    let two = four.lowHalf + four.highHalf
    return two.x + two.y
}

/// Σ a·b: 16 lanes over the whole multiples of 16, the lanes as a tree, then the rest in order.
@inline(__always)
func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ count: Int) -> Float {
    var sums = SIMD16<Float>()
    var index = 0
    while index + 16 <= count {
        sums += load16(a + index) * load16(b + index)
        index += 16
    }
    var total = laneSum(sums)
    while index < count {
        total += a[index] * b[index]
        index += 1
    }
    return total
}
