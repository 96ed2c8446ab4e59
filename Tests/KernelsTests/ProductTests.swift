import Formats
import Kernels
import TestSupport
import Testing

/// A random matrix, interleaved where there is a layout for its type, and as floats.
private struct TestMatrix {
    let type: TensorType
    let rows: Int
    let columns: Int
    let elements: [Float]
    let storage: Storage
    let matrix: WeightMatrix

    init(_ type: TensorType, _ rows: Int, _ columns: Int, _ blocks: [UInt8]) throws {
        (self.type, self.rows, self.columns) = (type, rows, columns)
        elements = type.expanded(blocks)
        let rowBytes = blocks.count / rows
        guard let format = PackedFormat(type.kernelFormat) else {
            let storage = try #require(Storage(byteCount: blocks.count))
            storage.base.copyMemory(from: blocks, byteCount: blocks.count)
            self.storage = storage
            matrix = WeightMatrix(
                data: storage.base, format: type.kernelFormat, rows: rows, columns: columns,
                layout: .rows(bytes: rowBytes))
            return
        }
        let groupBytes = try #require(format.groupBytes(columns: columns))
        let storage = try #require(Storage(byteCount: (rows + 15) / 16 * groupBytes))
        self.storage = storage
        for first in stride(from: 0, to: rows, by: 16) {
            blocks.withUnsafeBytes { raw in
                guard let base = raw.baseAddress else { return }
                format.pack(
                    base + first * rowBytes, count: min(16, rows - first), rowBytes: rowBytes, columns: columns,
                    into: storage.base + first / 16 * groupBytes)
            }
        }
        matrix = WeightMatrix(
            data: storage.base, format: type.kernelFormat, rows: rows, columns: columns,
            layout: .groups(format, bytes: groupBytes))
    }

    /// [rows of x, rows]
    func product(
        _ x: [Float], bias: [Float]?, pool: ThreadPool, _ set: InstructionSet,
        _ precision: Activations.Precision = .q8, adds: Bool = false
    ) throws -> [Float] {
        let count = x.count / columns
        let size = try #require(ActivationStorage.floats(maxRows: count, maxColumns: columns))
        let buffer = try #require(Storage(byteCount: size * 4))
        let storage = ActivationStorage(
            instructionSet: set, precision: precision, base: buffer.floats, maxRows: count, maxColumns: columns)
        let input = storage.room(rows: count, columns: columns)
        var y = [Float](repeating: 123.25, count: count * rows + 2)
        var scratch = [Float](repeating: .nan, count: pool.threads * ProductScratch.floats(columns: columns))
        x.withUnsafeBufferPointer { x in
            y.withUnsafeMutableBufferPointer { y in
                scratch.withUnsafeMutableBufferPointer { scratch in
                    guard let from = x.baseAddress, let to = y.baseAddress, let memory = scratch.baseAddress else {
                        return
                    }
                    let product = Product(input, matrix, bias: bias, into: to + 1, adds: adds)
                    pool.run(
                        ProductWork(
                            input: input, form: input.form(for: matrix), x: from, product: product, scratch: memory))
                }
            }
        }
        #expect(y.first == 123.25 && y.last == 123.25)
        return Array(y[1..<y.count - 1])
    }

    /// [rows of x, rows], read back from where the next product would find it.
    func gated(
        _ x: [Float], bias: [Float]?, up: WeightMatrix, pool: ThreadPool, _ precision: Activations.Precision
    ) throws -> [Float] {
        let count = x.count / columns
        func room(_ columns: Int, _ precision: Activations.Precision) throws -> (Storage, Activations) {
            let size = try #require(ActivationStorage.floats(maxRows: count, maxColumns: columns))
            let buffer = try #require(Storage(byteCount: size * 4))
            let storage = ActivationStorage(
                instructionSet: .native, precision: precision, base: buffer.floats, maxRows: count,
                maxColumns: columns)
            return (buffer, storage.room(rows: count, columns: columns))
        }
        let (inputBuffer, input) = try room(columns, precision)
        let (outputBuffer, output) = try room(rows, .f32)
        defer { withExtendedLifetime((inputBuffer, outputBuffer)) {} }
        var scratch = [Float](repeating: .nan, count: ProductScratch.floats(columns: columns))
        let form = input.form(for: matrix)
        for row in 0..<count {
            input.place(Array(x[row * columns..<(row + 1) * columns]), row: row, forms: form)
        }
        try scratch.withUnsafeMutableBufferPointer { memory in
            let own = ProductScratch(try #require(memory.baseAddress))
            let biasBuffer = Storage(byteCount: rows * 4)
            if let bias { biasBuffer?.base.copyMemory(from: bias, byteCount: rows * 4) }
            let product = GatedProduct(
                input, gate: matrix, bias: bias == nil ? nil : biasBuffer.map { UnsafePointer($0.floats) }, up: up,
                bias: nil, into: output, forms: .arranged)
            for item in 0..<product.items { product.compute(item, own) }
            withExtendedLifetime(biasBuffer) {}
        }
        let chunks = outputBuffer.floats  // [columns / 8, rows, 8]
        return (0..<count).flatMap { row in
            (0..<rows).map { chunks[($0 / 8 * count + row) * 8 + $0 % 8] }
        }
    }

    /// The plain sum in doubles of what the kernel multiplies: activations quantised by their definition.
    func reference(
        _ x: [Float], bias: [Float]?, _ precision: Activations.Precision, _ set: InstructionSet
    ) -> (values: [Double], sizes: [Double]) {
        let seen =
            precision == .q8 && isQuantizedLayout
            ? Self.quantized(x)
            : precision == .q8 && type == .bf16 && set == .avx512BF16 ? Self.rounded(x) : x.map { Double($0) }
        var (values, sizes): ([Double], [Double]) = ([], [])
        for row in 0..<x.count / columns {
            for output in 0..<rows {
                var (sum, size) = (Double(bias?[output] ?? 0), abs(Double(bias?[output] ?? 0)))
                for column in 0..<columns {
                    let term = seen[row * columns + column] * Double(elements[output * columns + column])
                    sum += term
                    size += abs(term)
                }
                values.append(sum)
                // Formats with minima subtract two large sums, each rounded.
                sizes.append(size * (hasMinima ? 16 : 1))
            }
        }
        return (values, sizes)
    }

    private var hasMinima: Bool { [.q4_K, .q5_K, .q2_K, .q4_1, .q5_1].contains(type) }

    /// Types without a layout of their own see floats.
    private var isQuantizedLayout: Bool { type.blockElements > 1 && PackedFormat(type.kernelFormat) != nil }

    /// To the nearest BF16, ties to even.
    private static func rounded(_ x: [Float]) -> [Double] {
        x.map { value in
            let low = value.bitPattern & 0xFFFF
            let down = value.bitPattern & 0xFFFF_0000
            let up = low > 0x8000 || (low == 0x8000 && value.bitPattern & 0x10000 != 0)
            return Double(Float(bitPattern: up ? down &+ 0x10000 : down))
        }
    }

    private static func quantized(_ x: [Float]) -> [Double] {
        stride(from: 0, to: x.count, by: 32).flatMap { start -> [Double] in
            let block = x[start..<start + 32]
            let largest = block.map { abs($0) }.max() ?? 0
            guard largest > 1e-30 else { return [Double](repeating: 0, count: 32) }
            let inverse = 127 / largest
            return block.map { Double(($0 * inverse).rounded(.toNearestOrEven)) * Double(largest / 127) }
        }
    }
}

/// Places the rows and computes the product, as a pass does.
private final class ProductWork: TeamWork {
    let input: Activations
    let form: Activations.Forms
    let x: UnsafePointer<Float>
    let product: Product
    let scratch: UnsafeMutablePointer<Float>

    init(
        input: Activations, form: Activations.Forms, x: UnsafePointer<Float>, product: Product,
        scratch: UnsafeMutablePointer<Float>
    ) {
        (self.input, self.form, self.x, self.product, self.scratch) = (input, form, x, product, scratch)
    }

    func work(_ member: TeamMember) {
        let own = ProductScratch(scratch + member.thread * ProductScratch.floats(columns: input.columns))
        member.forEach(input.rows) { input.place(x + $0 * input.columns, row: $0, forms: form) }
        member.forEach(product.items) { product.compute($0, own) }
    }
}

@Suite struct ProductTests {
    private static func columns(_ type: TensorType) -> [Int] {
        switch type.blockElements {
        case 1: [1, 7, 8, 9, 100, 333]
        case 32: [32, 96, 320]
        default: [256, 768]
        }
    }

    private func matrix(
        _ type: TensorType, _ rows: Int, _ columns: Int, _ random: inout SplitMix64
    ) throws -> TestMatrix {
        try TestMatrix(type, rows, columns, type.randomBlocks(rows * columns, bound: 1, using: &random))
    }

    @Test(arguments: TensorType.allCases)
    func rowsExpandToTheirElements(type: TensorType) throws {
        var random = SplitMix64(seed: UInt64(type.rawValue) + 20)
        for columns in Self.columns(type) {
            for rows in [1, 15, 16, 17, 40] {
                let packed = try matrix(type, rows, columns, &random)
                for row in 0..<rows {
                    var expanded = [Float](repeating: 0, count: columns)
                    packed.matrix.expandRow(row, into: &expanded)
                    #expect(expanded == Array(packed.elements[row * columns..<(row + 1) * columns]))
                }
            }
        }
    }

    @Test(arguments: TensorType.allCases, InstructionSet.available)
    func agreesWithThePlainSum(type: TensorType, set: InstructionSet) throws {
        var random = SplitMix64(seed: UInt64(type.rawValue) + 30)
        let pool = ThreadPool(threads: 2)
        for columns in Self.columns(type) {
            for outputs in [1, 16, 17, 40] {
                let packed = try matrix(type, outputs, columns, &random)
                let rows = random.int(1..<40)
                let x = random.floats(rows * columns, bound: 3)
                let bias = random.next() & 1 == 0 ? random.floats(outputs) : nil
                for precision in [Activations.Precision.q8, .f32] {
                    let y = try packed.product(x, bias: bias, pool: pool, set, precision)
                    let (values, sizes) = packed.reference(x, bias: bias, precision, set)
                    // A sum of floats rounds at every k; one of bytes does so less often.
                    let roundings = Double(columns + 24)
                    let worst = y.indices.map {
                        abs(Double(y[$0]) - values[$0]) / (sizes[$0] * roundings * 0x1p-24 + 1e-37)
                    }.max()
                    #expect((worst ?? 0) <= 1, "\(type) [\(outputs), \(columns)], \(rows) rows, \(precision)")
                }
            }
        }
    }

    /// A row's bits depend neither on the other rows, nor on their number and order, nor on the threads.
    @Test(arguments: TensorType.allCases, InstructionSet.available)
    func rowsDoNotDependOnEachOther(type: TensorType, set: InstructionSet) throws {
        var random = SplitMix64(seed: UInt64(type.rawValue) + 40)
        let pools = (1...4).map { ThreadPool(threads: $0) }
        for columns in [Self.columns(type)[1], Self.columns(type).last ?? 256] {
            let packed = try matrix(type, 37, columns, &random)
            let x = (0..<64).map { _ in random.floats(columns) }
            let bias = random.floats(37)
            for precision in [Activations.Precision.q8, .f32] {
                let alone = try x.map {
                    try packed.product($0, bias: bias, pool: pools[0], set, precision).map(\.bitPattern)
                }
                for _ in 0..<12 {
                    let order = Array((0..<64).shuffled(using: &random).prefix(random.int(1..<65)))
                    let pool = pools[random.int(0..<4)]
                    let y = try packed.product(order.flatMap { x[$0] }, bias: bias, pool: pool, set, precision)
                    #expect(
                        y.map(\.bitPattern) == order.flatMap { alone[$0] },
                        "\(type), rows \(order), \(pool.threads) threads, \(precision)")
                }
            }
        }
    }

    /// With activations as floats a product is that of the expanded weights, bit for bit.
    @Test(arguments: TensorType.allCases.filter { $0.blockElements > 1 }, InstructionSet.available)
    func floatsSeeTheExpandedWeights(type: TensorType, set: InstructionSet) throws {
        var random = SplitMix64(seed: UInt64(type.rawValue) + 50)
        for columns in Self.columns(type) {
            let packed = try matrix(type, 33, columns, &random)
            let twin = try TestMatrix(.f32, 33, columns, littleEndian(packed.elements))
            let x = random.floats(5 * columns)
            let pool = ThreadPool(threads: 1)
            let (ours, theirs) = (
                try packed.product(x, bias: nil, pool: pool, set, .f32),
                try twin.product(x, bias: nil, pool: pool, set)
            )
            #expect(ours.map(\.bitPattern) == theirs.map(\.bitPattern))
        }
    }

    /// To what was there before: 123.25.
    @Test(arguments: [TensorType.q8_0, .f16, .q4_1], [1, 40])
    func productsCanBeAdded(type: TensorType, rows: Int) throws {
        var random = SplitMix64(seed: UInt64(type.rawValue) + 60)
        let packed = try matrix(type, 37, 64, &random)
        let (x, bias, pool) = (random.floats(rows * 64), random.floats(37), ThreadPool(threads: 2))
        let plain = try packed.product(x, bias: bias, pool: pool, .native)
        let added = try packed.product(x, bias: bias, pool: pool, .native, adds: true)
        #expect(added == plain.map { 123.25 + $0 })
    }

    /// The largest integers that can meet: where a product of bytes saturates, this shows it.
    @Test(arguments: InstructionSet.available)
    func extremesDoNotSaturate(set: InstructionSet) throws {
        for quant in [Int8.min, -127, 127] {
            let one: [UInt8] = [0x00, 0x3C]  // 1.0
            let blocks = (0..<16 * 4).flatMap { _ in one + [UInt8](repeating: UInt8(bitPattern: quant), count: 32) }
            let packed = try TestMatrix(.q8_0, 16, 128, blocks)
            for sign in [Float(1), -1] {
                let x = [Float](repeating: 127 * sign, count: 128)
                let y = try packed.product(x, bias: nil, pool: ThreadPool(threads: 1), set)
                #expect(y.allSatisfy { $0 == Float(quant) * 127 * sign * 128 })
            }
        }
    }

    @Test(arguments: TensorType.allCases, InstructionSet.available)
    func notANumberStaysInItsRow(type: TensorType, set: InstructionSet) throws {
        var random = SplitMix64(seed: 6)
        let columns = Self.columns(type)[1]
        let packed = try matrix(type, 20, columns, &random)
        var x = random.floats(5 * columns)
        let sound = try packed.product(x, bias: nil, pool: ThreadPool(threads: 1), set)
        for value in [Float.nan, .infinity, -.infinity] {
            x[2 * columns + columns / 2] = value
            let y = try packed.product(x, bias: nil, pool: ThreadPool(threads: 3), set)
            for index in y.indices {
                if index / 20 == 2 {
                    #expect(!y[index].isFinite)
                } else {
                    #expect(y[index].bitPattern == sound[index].bitPattern)
                }
            }
        }
    }

    /// Zeros, and numbers too small for an inverse, are zero and not NaN.
    @Test(arguments: InstructionSet.available)
    func tinyActivations(set: InstructionSet) throws {
        var random = SplitMix64(seed: 9)
        let packed = try matrix(.q8_0, 16, 64, &random)
        for value in [Float(0), -0.0, .leastNonzeroMagnitude, 1e-38] {
            let x = [Float](repeating: value, count: 64)
            let y = try packed.product(x, bias: nil, pool: ThreadPool(threads: 1), set)
            #expect(y.allSatisfy { abs($0) < 1e-29 })
        }
    }

    /// The two products of a feed-forward layer are the ones that stand alone.
    @Test(arguments: TensorType.allCases, [Activations.Precision.q8, .f32])
    func gatedProductsAreTheirParts(type: TensorType, precision: Activations.Precision) throws {
        var random = SplitMix64(seed: UInt64(type.rawValue) + 70)
        let pool = ThreadPool(threads: 2)
        let columns = Self.columns(type)[1]
        for (outputs, rows) in [(32, 1), (96, 5), (64, 9), (32, 70), (40, 3), (17, 40)] {
            let (gate, up) = (
                try matrix(type, outputs, columns, &random), try matrix(type, outputs, columns, &random)
            )
            let x = random.floats(rows * columns)
            let bias = random.next() & 1 == 0 ? random.floats(outputs) : nil
            var expected = try gate.product(x, bias: bias, pool: pool, .native, precision)
            let other = try up.product(x, bias: nil, pool: pool, .native, precision)
            for index in expected.indices {
                var block = [Float](repeating: 0, count: 32)
                let (one, two) = ([Float](repeating: expected[index], count: 32), other[index])
                InstructionSet.native.gateBlock(one, [Float](repeating: two, count: 32), distance: 16, out: &block)
                expected[index] = block[0]
            }
            let result = try gate.gated(x, bias: bias, up: up.matrix, pool: pool, precision)
            #expect(result.map(\.bitPattern) == expected.map(\.bitPattern), "\(rows) rows, \(outputs) outputs")
        }
    }
}
