/// Products of made-up weights and rows, to be timed: nothing of a model around them.
package final class ProductBench: TeamWork {
    package let bytes: Int
    private let pool: ThreadPool
    private let matrices: [WeightMatrix]
    private let storages: [Storage]
    private let inputs: ActivationStorage
    private let x: Storage
    private let y: Storage
    private let scratch: Storage
    private var rows = 0
    private var matrix: WeightMatrix
    private let columns: Int

    /// `copies` matrices [outputs, columns] of `format`, for up to `maxRows` rows. nil: no memory, or no such shape.
    package init?(
        format: BlockFormat, outputs: Int, columns: Int, copies: Int, maxRows: Int, precision: Activations.Precision,
        pool: ThreadPool, instructionSet: InstructionSet = .native
    ) {
        guard let packed = PackedFormat(format), let groupBytes = packed.groupBytes(columns: columns), groupBytes > 0,
            let size = checkedProduct((outputs + 15) / 16, groupBytes),
            let inputFloats = ActivationStorage.floats(maxRows: maxRows, maxColumns: columns),
            let x = Storage(byteCount: (inputFloats + maxRows * columns) * 4),
            let y = Storage(byteCount: maxRows * outputs * 4),
            let scratch = Storage(byteCount: pool.threads * ProductScratch.floats(columns: columns) * 4)
        else { return nil }
        var storages: [Storage] = []
        for _ in 0..<max(1, copies) {
            guard let storage = Storage(byteCount: size, readInOrder: true) else { return nil }
            // Small positive numbers in every format, and every byte touched.
            storage.base.initializeMemory(as: UInt8.self, repeating: 0x11, count: size)
            storages.append(storage)
        }
        bytes = size
        matrices = storages.map {
            WeightMatrix(
                data: UnsafeRawPointer($0.base), format: format, rows: outputs, columns: columns,
                layout: .groups(packed, bytes: groupBytes))
        }
        matrix = matrices[0]
        self.storages = storages
        (self.pool, self.columns, self.x, self.y, self.scratch) = (pool, columns, x, y, scratch)
        for index in 0..<maxRows * columns { x.floats[inputFloats + index] = Float(index % 17) - 8 }
        inputs = ActivationStorage(
            instructionSet: instructionSet, precision: precision, base: x.floats, maxRows: maxRows,
            maxColumns: columns)
        source = x.floats + inputFloats
    }

    private let source: UnsafeMutablePointer<Float>

    /// Microseconds for a product of `rows` rows with copy number `copy`, modulo their number.
    package func time(rows: Int, copy: Int) -> Double {
        self.rows = rows
        matrix = matrices[copy % matrices.count]
        let input = inputs.room(rows: rows, columns: columns)
        for row in 0..<rows { input.place(source + row * columns, row: row, forms: input.form(for: matrix)) }
        let start = monotonicNanoseconds()
        pool.run(self)
        return Double(monotonicNanoseconds() - start) / 1000
    }

    package func work(_ member: TeamMember) {
        let input = inputs.room(rows: rows, columns: columns)
        let own = ProductScratch(scratch.floats + member.thread * ProductScratch.floats(columns: columns))
        let product = Product(input, matrix, bias: nil, into: y.floats)
        member.forEach(product.items) { product.compute($0, own) }
    }
}

/// Multiply-adds of bytes per second that the threads of a pool can do together with everything in registers.
package func integerLimit(pool: ThreadPool, instructionSet: InstructionSet = .native) -> Double {
    let rounds = 2_000_000
    guard let memory = Storage(byteCount: 4096), let sums = Storage(byteCount: pool.threads * 64) else { return 0 }
    let start = monotonicNanoseconds()
    pool.run(pool.threads * 4) { thread, _ in
        let sum = instructionSet.bareProducts(weights: memory.base, values: memory.base + 64, rounds: rounds)
        (sums.base + thread * 64).storeBytes(of: sum, as: Float.self)
    }
    let products = Double(pool.threads * 4 * rounds * 8 * 64)
    return products / Double(max(1, monotonicNanoseconds() - start)) * 1e9
}
