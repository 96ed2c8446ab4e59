// Products of activations with weights: y[row, output] = Σ x[row, k]·w[output, k] (+ bias[output]).
//
// Row invariance: an element of y is one fixed sequence of operations on one row of x and one row of w. Threads share
// outputs, never k; a tile of rows only shares the loads of w.

/// A weight matrix as it lies in memory. [rows, columns], a row being `rowBytes` contiguous bytes.
package struct WeightMatrix: @unchecked Sendable {
    package let data: UnsafeRawPointer
    package let format: BlockFormat
    package let rows: Int
    package let columns: Int
    package let rowBytes: Int

    package init(data: UnsafeRawPointer, format: BlockFormat, rows: Int, columns: Int, rowBytes: Int) {
        self.data = data
        self.format = format
        self.rows = rows
        self.columns = columns
        self.rowBytes = rowBytes
    }

    /// Expands row `row` into `target` [columns].
    package func expandRow(_ row: Int, into target: UnsafeMutablePointer<Float>) {
        dequantize(format, data + row * rowBytes, count: columns, into: target)
    }
}

/// Outputs that one item of the loop computes.
private let outputsPerItem = 16

/// y [rows, matrix.rows] = x [rows, matrix.columns] · matrixᵀ (+ bias [matrix.rows]). `scratch` holds
/// `matrix.columns` floats for each thread of the pool, `scratchStride` apart. `x` and `y` do not overlap.
package func multiply(
    _ x: UnsafePointer<Float>, rows: Int, by matrix: WeightMatrix, bias: UnsafePointer<Float>?,
    into y: UnsafeMutablePointer<Float>, pool: ThreadPool, scratch: UnsafeMutablePointer<Float>, scratchStride: Int
) {
    let items = (matrix.rows + outputsPerItem - 1) / outputsPerItem
    pool.run(items) { thread, item in
        let expanded = scratch + thread * scratchStride
        for output in item * outputsPerItem..<min((item + 1) * outputsPerItem, matrix.rows) {
            let weights: UnsafePointer<Float>
            if matrix.format == .f32 {
                weights = (matrix.data + output * matrix.rowBytes).assumingMemoryBound(to: Float.self)
            } else {
                matrix.expandRow(output, into: expanded)
                weights = UnsafePointer(expanded)
            }
            multiplyOutput(x, rows, weights, matrix.columns, bias?[output] ?? -0.0, y + output, matrix.rows)
        }
    }
}

/// One output for all rows.
private func multiplyOutput(
    _ x: UnsafePointer<Float>, _ rows: Int, _ w: UnsafePointer<Float>, _ count: Int, _ bias: Float,
    _ y: UnsafeMutablePointer<Float>, _ stride: Int
) {
    var row = 0
    while row + 2 <= rows {
        let (first, second) = dot2(x + row * count, x + (row + 1) * count, w, count)
        y[row * stride] = first + bias
        y[(row + 1) * stride] = second + bias
        row += 2
    }
    if row < rows { y[row * stride] = dot(x + row * count, w, count) + bias }
}

@inline(__always)
func load16(_ pointer: UnsafePointer<Float>) -> SIMD16<Float> {
    UnsafeRawPointer(pointer).loadUnaligned(as: SIMD16<Float>.self)
}

@inline(__always)
func store16(_ value: SIMD16<Float>, _ pointer: UnsafeMutablePointer<Float>) {
    UnsafeMutableRawPointer(pointer).storeBytes(of: value, as: SIMD16<Float>.self)
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

/// `dot` of two rows with the same weights: the same operations for each, the loads of `w` shared.
@inline(__always)
private func dot2(
    _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ w: UnsafePointer<Float>, _ count: Int
) -> (Float, Float) {
    var (sumsA, sumsB) = (SIMD16<Float>(), SIMD16<Float>())
    var index = 0
    while index + 16 <= count {
        let weights = load16(w + index)
        sumsA += load16(a + index) * weights
        sumsB += load16(b + index) * weights
        index += 16
    }
    var (totalA, totalB) = (laneSum(sumsA), laneSum(sumsB))
    while index < count {
        totalA += a[index] * w[index]
        totalB += b[index] * w[index]
        index += 1
    }
    return (totalA, totalB)
}
