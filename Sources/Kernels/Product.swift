// Products of activations with weights: y[row, output] = Σ x[row, k]·w[output, k] (+ bias[output]).
//
// Row invariance: an element of y is one fixed sequence of operations on one row of x and one row of w. Threads share
// outputs, never k; a tile of rows only shares the loads of w.

/// Memory of one thread for products.
package struct ProductScratch: @unchecked Sendable {
    fileprivate let results: UnsafeMutablePointer<Float>
    fileprivate let cell: UnsafeMutablePointer<Float>

    /// `base` points to `floats(columns:)` floats.
    package init(_ base: UnsafeMutablePointer<Float>) {
        results = base
        cell = base + Self.results
    }

    /// What products of up to `columns` columns need: results, and 16 rows of weights as floats.
    package static func floats(columns: Int) -> Int { results + (columns + 31) / 32 * 32 * 16 }

    /// Two matrices, two groups of 16 outputs, the most rows of a tile.
    private static let results = 2 * 2 * 16 * expandedTileRows
}

/// Rows that meet a group of weights before the next rows do: their activations stay in the nearest cache.
private let tileRows = 32

/// The same for weights that have to be expanded for each tile.
private let expandedTileRows = 256

/// The most rows that `fusedProduct` takes.
private let fusedRows = 8

/// One product of a step. Its items, each some outputs for all rows, may be computed in any order, by any thread.
package struct Product: @unchecked Sendable {
    private let input: Activations
    private let matrix: WeightMatrix
    private let bias: UnsafePointer<Float>?
    private let y: UnsafeMutablePointer<Float>
    private let adds: Bool
    /// Groups of 16 outputs in an item: enough to read for a while in order.
    private let itemGroups: Int

    /// y [rows, matrix.rows] = x [rows, matrix.columns] · matrixᵀ (+ bias [matrix.rows]), or y += that.
    package init(
        _ input: Activations, _ matrix: WeightMatrix, bias: UnsafePointer<Float>?,
        into y: UnsafeMutablePointer<Float>, adds: Bool = false
    ) {
        precondition(matrix.columns == input.columns, "a product of other columns")
        self.input = input
        self.matrix = matrix
        self.bias = bias
        self.y = y
        self.adds = adds
        itemGroups = min(4, max(1, matrix.groups / 32))
    }

    package var items: Int { (matrix.groups + itemGroups - 1) / itemGroups }

    package func compute(_ item: Int, _ scratch: ProductScratch) {
        let groups = item * itemGroups..<min((item + 1) * itemGroups, matrix.groups)
        if matrix.isFused(input) {
            matrix.multiplyFused(input, groups, into: scratch.results)
            for (index, group) in groups.enumerated() {
                store(scratch.results + index * input.rows * 16, group, first: 0, rows: input.rows)
            }
            return
        }
        for group in groups {
            for first in stride(from: 0, to: input.rows, by: matrix.rowsPerTile) {
                let rows = min(matrix.rowsPerTile, input.rows - first)
                matrix.multiply(input, group, first: first, rows: rows, into: scratch.results, cell: scratch.cell)
                store(scratch.results, group, first: first, rows: rows)
            }
        }
    }

    private func store(_ results: UnsafePointer<Float>, _ group: Int, first: Int, rows: Int) {
        let outputs = min(16, matrix.rows - group * 16)
        for row in 0..<rows {
            let to = y + (first + row) * matrix.rows + group * 16
            for output in 0..<outputs {
                let result = results[row * 16 + output] + (bias?[group * 16 + output] ?? -0.0)
                to[output] = adds ? to[output] + result : result
            }
        }
    }
}

/// The two products of a gated feed-forward layer and what joins them: silu(x·gateᵀ)·(x·upᵀ), placed as the input of the
/// next product.
package struct GatedProduct: @unchecked Sendable {
    private let input: Activations
    private let gate: WeightMatrix
    private let up: WeightMatrix
    private let gateBias: UnsafePointer<Float>?
    private let upBias: UnsafePointer<Float>?
    private let output: Activations
    private let forms: Activations.Forms

    /// `output` has as many columns as both matrices have rows, and other memory than `input`.
    package init(
        _ input: Activations, gate: WeightMatrix, bias gateBias: UnsafePointer<Float>?, up: WeightMatrix,
        bias upBias: UnsafePointer<Float>?, into output: Activations, forms: Activations.Forms
    ) {
        precondition(gate.rows == up.rows && gate.rows == output.columns, "matrices of other shapes")
        self.input = input
        self.gate = gate
        self.up = up
        self.gateBias = gateBias
        self.upBias = upBias
        self.output = output
        self.forms = forms
    }

    /// Blocks of 32 outputs: two groups of each matrix.
    package var items: Int { (gate.rows + 31) / 32 }

    package func compute(_ item: Int, _ scratch: ProductScratch) {
        let groups = item * 2..<min(item * 2 + 2, gate.groups)
        let step = min(gate.rowsPerTile, up.rowsPerTile)
        for first in stride(from: 0, to: input.rows, by: step) {
            let rows = min(step, input.rows - first)
            let gated = scratch.results
            let other = gated + 2 * rows * 16
            multiply(gate, groups, first, rows, gated, scratch)
            multiply(up, groups, first, rows, other, scratch)
            // The groups of a narrower last block are missing: zeros that nothing reads.
            if groups.count < 2 {
                (gated + rows * 16).update(repeating: 0, count: rows * 16)
                (other + rows * 16).update(repeating: 0, count: rows * 16)
            }
            for row in 0..<rows { join(item, gated + row * 16, other + row * 16, rows * 16, row: first + row) }
        }
    }

    private func multiply(
        _ matrix: WeightMatrix, _ groups: Range<Int>, _ first: Int, _ rows: Int,
        _ results: UnsafeMutablePointer<Float>, _ scratch: ProductScratch
    ) {
        if matrix.isFused(input) { return matrix.multiplyFused(input, groups, into: results) }
        for (index, group) in groups.enumerated() {
            matrix.multiply(
                input, group, first: first, rows: rows, into: results + index * rows * 16, cell: scratch.cell)
        }
    }

    /// The 32 outputs of one row; the second 16 of each are `distance` after the first.
    private func join(
        _ block: Int, _ gated: UnsafeMutablePointer<Float>, _ other: UnsafeMutablePointer<Float>, _ distance: Int,
        row: Int
    ) {
        add(gateBias, block, gated, distance)
        add(upBias, block, other, distance)
        withUnsafeTemporaryAllocation(of: Float.self, capacity: 32) { memory in
            guard let joined = memory.baseAddress else { return }
            input.instructionSet.gateBlock(gated, other, distance: distance, out: joined)
            output.place(joined, block: block, row: row, forms: forms)
        }
    }

    private func add(
        _ bias: UnsafePointer<Float>?, _ block: Int, _ results: UnsafeMutablePointer<Float>, _ distance: Int
    ) {
        guard let bias else { return }
        for index in 0..<min(32, gate.rows - block * 32) {
            results[index < 16 ? index : distance + index - 16] += bias[block * 32 + index]
        }
    }
}

extension WeightMatrix {
    fileprivate var groups: Int { (rows + 15) / 16 }

    fileprivate var rowsPerTile: Int {
        if case .rows = layout { expandedTileRows } else { tileRows }
    }

    /// Whether a few rows of floats meet quantised weights, for which there is a kernel that takes several groups.
    fileprivate func isFused(_ input: Activations) -> Bool {
        isQuantizedGroups && input.precision == .f32 && input.rows <= fusedRows
    }

    /// results [groups, rows, 16] = all rows of `input` · up to four groups.
    fileprivate func multiplyFused(
        _ input: Activations, _ groups: Range<Int>, into results: UnsafeMutablePointer<Float>
    ) {
        guard case .groups(let format, let groupBytes) = layout, let index = format.quantizedIndex else { return }
        input.instructionSet.fusedProduct(
            format: index, weights: data + groups.lowerBound * groupBytes, groupBytes: groupBytes,
            groups: groups.count, blocks: columns / 32, values: input.arranged, rows: input.rows, results: results)
    }

    /// results [rows, 16] = rows `first` ... of `input` · one group of 16 outputs.
    fileprivate func multiply(
        _ input: Activations, _ group: Int, first: Int, rows: Int, into results: UnsafeMutablePointer<Float>,
        cell: UnsafeMutablePointer<Float>
    ) {
        results.update(repeating: 0, count: rows * 16)
        let set = input.instructionSet
        let chunks = (columns + 7) / 8
        guard case .groups(let format, let groupBytes) = layout else {
            interleave(group, into: cell)
            set.denseProduct(
                format: PackedFormat.f32.denseIndex, weights: cell, chunks: chunks, values: input.arranged,
                stride: input.rows, first: first, rows: rows, results: results)
            return
        }
        let weights = data + group * groupBytes
        if input.form(for: self) == .rounded {
            set.pairProduct(
                weights: weights, chunks: chunks, values: input.rounded, stride: input.rows, first: first, rows: rows,
                results: results)
            return
        }
        guard let index = format.quantizedIndex else {
            set.denseProduct(
                format: format.denseIndex, weights: weights, chunks: chunks, values: input.arranged,
                stride: input.rows, first: first, rows: rows, results: results)
            return
        }
        switch input.precision {
        case .q8:
            set.quantizedProduct(
                format: index, weights: weights, blocks: columns / 32, values: input.values, facts: input.facts,
                stride: input.rows, first: first, rows: rows, results: results)
        case .f32:
            set.floatProduct(
                format: index, weights: weights, blocks: columns / 32, values: input.arranged, stride: input.rows,
                first: first, rows: rows, cell: cell, results: results)
        }
    }
}
