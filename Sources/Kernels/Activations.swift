/// Memory for the input rows of products, and how they are seen.
package struct ActivationStorage: @unchecked Sendable {
    package let instructionSet: InstructionSet
    package let precision: Activations.Precision
    private let base: UnsafeMutableRawPointer
    private let maxRows: Int
    private let maxColumns: Int

    /// `base` points to `floats(maxRows:maxColumns:)` floats.
    package init(
        instructionSet: InstructionSet, precision: Activations.Precision, base: UnsafeMutablePointer<Float>,
        maxRows: Int,
        maxColumns: Int
    ) {
        self.instructionSet = instructionSet
        self.precision = precision
        self.base = UnsafeMutableRawPointer(base)
        self.maxRows = maxRows
        self.maxColumns = (maxColumns + 31) / 32 * 32
    }

    /// Per element 4 bytes arranged, 2 quantised, 2 rounded, and 16 for every 32. nil when that overflows.
    package static func floats(maxRows: Int, maxColumns: Int) -> Int? {
        checkedProduct(maxRows, (maxColumns + 31) / 32, (32 * 8 + 16) / 4)
    }

    /// Room for `rows` rows of `columns`, up to those that the memory was made for. The content is undefined.
    package func room(rows: Int, columns: Int) -> Activations {
        precondition(rows <= maxRows && columns <= maxColumns, "more activations than memory")
        let values = base + maxRows * maxColumns * 4
        return Activations(
            instructionSet: instructionSet, precision: precision, rows: rows, columns: columns,
            arranged: base.assumingMemoryBound(to: Float.self), values: values,
            rounded: values + maxRows * maxColumns * 2, facts: values + maxRows * maxColumns * 4)
    }
}

/// The rows that go into one or several products, in the forms that the layouts of weights ask for. Rows may be placed by
/// several threads at once.
package struct Activations: @unchecked Sendable {
    /// How quantised weights see the rows.
    package enum Precision: Sendable {
        /// As floats: a product is what it would be with the weights expanded to F32.
        case f32
        /// As signed bytes with a scale for every 32: several times the speed for many rows, with a rounding error.
        case q8
    }

    package struct Forms: OptionSet, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }
        /// Signed bytes: see `quantizedProduct` of the kernels.
        package static let quantized = Forms(rawValue: 1)
        /// Floats, [columns / 8, rows, 8], columns rounded up with zeros.
        package static let arranged = Forms(rawValue: 2)
        /// BF16: see `pairProduct` of the kernels.
        package static let rounded = Forms(rawValue: 4)
    }

    let instructionSet: InstructionSet
    let precision: Precision
    package let rows: Int
    package let columns: Int
    let arranged: UnsafeMutablePointer<Float>
    let values: UnsafeMutableRawPointer
    let rounded: UnsafeMutableRawPointer
    let facts: UnsafeMutableRawPointer

    /// What a product with `matrix` reads.
    package func form(for matrix: WeightMatrix) -> Forms {
        if precision == .f32 { return .arranged }
        if matrix.isBFloatGroups && instructionSet.multipliesBFloats { return .rounded }
        return matrix.isQuantizedGroups ? .quantized : .arranged
    }

    /// Places row `row`, [columns] at `x`.
    package func place(_ x: UnsafePointer<Float>, row: Int, forms: Forms) {
        for block in 0..<(columns + 31) / 32 { place(x + block * 32, block: block, row: row, forms: forms) }
    }

    /// Places columns 32·block to 32·block + 31 of a row, or as many as there are.
    package func place(_ x: UnsafePointer<Float>, block: Int, row: Int, forms: Forms) {
        let at = block * rows + row
        if forms.contains(.quantized) {
            instructionSet.quantizeBlock(
                x, values: values + at * 32 * instructionSet.activationBytes, facts: facts + at * 16)
        }
        if forms.contains(.rounded) {
            instructionSet.roundBlock(x, count: min(32, columns - block * 32), values: rounded + at * 64)
        }
        if forms.contains(.arranged) { arrange(x, block, row) }
    }

    private func arrange(_ x: UnsafePointer<Float>, _ block: Int, _ row: Int) {
        let count = min(32, columns - block * 32)
        for chunk in 0..<(count + 7) / 8 {
            let out = arranged + ((block * 4 + chunk) * rows + row) * 8
            for k in 0..<8 { out[k] = chunk * 8 + k < count ? x[chunk * 8 + k] : 0 }
        }
    }
}
