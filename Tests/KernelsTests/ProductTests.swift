import Formats
import Kernels
import TestSupport
import Testing

/// A matrix of random blocks, with its elements as floats.
private struct Matrix {
    let type: TensorType
    let rows: Int
    let columns: Int
    let bytes: [UInt8]
    let elements: [Float]

    init(_ type: TensorType, _ rows: Int, _ columns: Int, _ random: inout SplitMix64) {
        (self.type, self.rows, self.columns) = (type, rows, columns)
        bytes = type.randomBlocks(rows * columns, bound: 1, using: &random)
        elements = type.expanded(bytes)
    }

    /// [rows of x, rows]
    func product(_ x: [Float], bias: [Float]?, pool: ThreadPool) -> [Float] {
        let count = x.count / columns
        // One float more than needed on either side, to be found untouched.
        var y = [Float](repeating: 123.25, count: count * rows + 2)
        var scratch = [Float](repeating: .nan, count: pool.threads * columns)
        bytes.withUnsafeBytes { data in
            guard let base = data.baseAddress else { return }
            let matrix = WeightMatrix(
                data: base, format: type.kernelFormat, rows: rows, columns: columns, rowBytes: bytes.count / rows)
            y.withUnsafeMutableBufferPointer { y in
                guard let start = y.baseAddress else { return }
                multiply(
                    x, rows: count, by: matrix, bias: bias, into: start + 1, pool: pool, scratch: &scratch,
                    scratchStride: columns)
            }
        }
        #expect(y.first == 123.25 && y.last == 123.25)
        return Array(y[1..<y.count - 1])
    }

    /// The largest error in terms of the bound that rounding of every operation allows.
    func worstError(_ y: [Float], _ x: [Float], _ bias: [Float]?) -> Double {
        var worst = 0.0
        for row in 0..<x.count / columns {
            for output in 0..<rows {
                var (sum, size) = (Double(bias?[output] ?? 0), Double(abs(bias?[output] ?? 0)))
                for column in 0..<columns {
                    let term = Double(x[row * columns + column]) * Double(elements[output * columns + column])
                    sum += term
                    size += abs(term)
                }
                let bound = size * Double(columns / 16 + 24) * 0x1p-24 + 1e-37
                worst = max(worst, abs(Double(y[row * rows + output]) - sum) / bound)
            }
        }
        return worst
    }
}

@Suite struct ProductTests {
    private static func columns(_ type: TensorType) -> [Int] {
        switch type.blockElements {
        case 1: [1, 2, 15, 16, 17, 31, 48, 63, 100, 333]
        case 32: [32, 64, 96, 320]
        default: [256, 512, 1280]
        }
    }

    @Test(arguments: TensorType.allCases)
    func agreesWithThePlainSum(type: TensorType) {
        var random = SplitMix64(seed: UInt64(type.rawValue) + 10)
        let pool = ThreadPool(threads: 2)
        for columns in Self.columns(type) {
            for outputs in [1, 2, 15, 16, 17, 40] {
                let matrix = Matrix(type, outputs, columns, &random)
                let rows = random.int(1..<9)
                let x = random.floats(rows * columns)
                let bias = random.next() & 1 == 0 ? random.floats(outputs) : nil
                let y = matrix.product(x, bias: bias, pool: pool)
                #expect(matrix.worstError(y, x, bias) <= 1, "\(type) [\(outputs), \(columns)], \(rows) rows")
            }
        }
    }

    /// The bits of a row depend neither on the other rows, nor on their number and order, nor on the threads.
    @Test(arguments: TensorType.allCases)
    func rowsDoNotDependOnEachOther(type: TensorType) {
        var random = SplitMix64(seed: UInt64(type.rawValue) + 100)
        let pools = (1...4).map { ThreadPool(threads: $0) }
        for columns in [Self.columns(type)[1], Self.columns(type).last ?? 256] {
            let matrix = Matrix(type, 37, columns, &random)
            let x = (0..<64).map { _ in random.floats(columns) }
            let bias = random.floats(37)
            let alone = x.map { matrix.product($0, bias: bias, pool: pools[0]).map(\.bitPattern) }
            for _ in 0..<24 {
                let order = Array((0..<64).shuffled(using: &random).prefix(random.int(1..<65)))
                let pool = pools[random.int(0..<4)]
                let y = matrix.product(order.flatMap { x[$0] }, bias: bias, pool: pool).map(\.bitPattern)
                #expect(y == order.flatMap { alone[$0] }, "\(type), rows \(order), \(pool.threads) threads")
            }
        }
    }

    /// Without a bias nothing is added, not even to a zero.
    @Test func noBiasKeepsTheSignOfZero() {
        var random = SplitMix64(seed: 5)
        let matrix = Matrix(.f32, 3, 1, &random)
        let pool = ThreadPool(threads: 1)
        let plain = matrix.product([0], bias: nil, pool: pool)
        let withNegativeZeros = matrix.product([0], bias: [-0.0, -0.0, -0.0], pool: pool)
        #expect(plain.map(\.bitPattern) == withNegativeZeros.map(\.bitPattern))
        #expect(plain == [0, 0, 0])
    }

    @Test func notANumberStaysInItsRow() {
        var random = SplitMix64(seed: 6)
        let matrix = Matrix(.q8_0, 20, 64, &random)
        var x = random.floats(5 * 64)
        let sound = matrix.product(x, bias: nil, pool: ThreadPool(threads: 1))
        x[2 * 64 + 13] = .nan
        let y = matrix.product(x, bias: nil, pool: ThreadPool(threads: 3))
        for row in 0..<5 {
            for output in row * 20..<(row + 1) * 20 {
                #expect(row == 2 ? y[output].isNaN : y[output].bitPattern == sound[output].bitPattern)
            }
        }
    }
}
