import CSIMD
import KernelsAVX2
import KernelsAVX512
import KernelsAVX512BF16
import KernelsAVXVNNI
import KernelsPortable

/// The instruction sets that product kernels exist for. One source is compiled for each; which one runs is decided once,
/// by what the processor says of itself. Results may differ between instruction sets, never within one.
package enum InstructionSet: Int, Sendable, CaseIterable, Comparable {
    case portable = 0
    case avx2 = 1
    case avxVNNI = 2
    case avx512VNNI = 3
    case avx512BF16 = 4

    /// The best one that this machine has.
    package static let native = InstructionSet(rawValue: Int(cpu_level())) ?? .portable

    /// Those that can run here.
    package static var available: [InstructionSet] { allCases.filter { $0.isAvailable } }

    private var isAvailable: Bool {
        // A machine may have the 512-bit products without the 256-bit ones.
        self == .avxVNNI && Self.native > .avxVNNI ? cpu_has_avx_vnni() != 0 : self <= Self.native
    }

    package static func < (a: InstructionSet, b: InstructionSet) -> Bool { a.rawValue < b.rawValue }

    package var name: String {
        switch self {
        case .portable: "portable"
        case .avx2: "avx2"
        case .avxVNNI: "avx-vnni"
        case .avx512VNNI: "avx512-vnni"
        case .avx512BF16: "avx512-bf16"
        }
    }

    /// Whether there is an instruction for products of BF16 with BF16.
    var multipliesBFloats: Bool { self == .avx512BF16 }

    /// Bytes of one quantised activation.
    package var activationBytes: Int {
        switch self {
        case .portable: KernelsPortable.activationBytes()
        case .avx2: KernelsAVX2.activationBytes()
        case .avxVNNI: KernelsAVXVNNI.activationBytes()
        case .avx512VNNI: KernelsAVX512.activationBytes()
        case .avx512BF16: KernelsAVX512BF16.activationBytes()
        }
    }

    func quantizeBlock(
        _ x: UnsafePointer<Float>, values: UnsafeMutableRawPointer, facts: UnsafeMutableRawPointer
    ) {
        switch self {
        case .portable:
            KernelsPortable.quantizeBlock(x, values: values, facts: facts)
        case .avx2:
            KernelsAVX2.quantizeBlock(x, values: values, facts: facts)
        case .avxVNNI:
            KernelsAVXVNNI.quantizeBlock(x, values: values, facts: facts)
        case .avx512VNNI:
            KernelsAVX512.quantizeBlock(x, values: values, facts: facts)
        case .avx512BF16:
            KernelsAVX512BF16.quantizeBlock(x, values: values, facts: facts)
        }
    }

    func quantizedProduct(
        format: Int, weights: UnsafeRawPointer, blocks: Int, values: UnsafeRawPointer, facts: UnsafeRawPointer,
        stride: Int, first: Int, rows: Int, results: UnsafeMutablePointer<Float>
    ) {
        switch self {
        case .portable:
            KernelsPortable.quantizedProduct(
                format: format, weights: weights, blocks: blocks, values: values, facts: facts, stride: stride,
                first: first, rows: rows, results: results)
        case .avx2:
            KernelsAVX2.quantizedProduct(
                format: format, weights: weights, blocks: blocks, values: values, facts: facts, stride: stride,
                first: first, rows: rows, results: results)
        case .avxVNNI:
            KernelsAVXVNNI.quantizedProduct(
                format: format, weights: weights, blocks: blocks, values: values, facts: facts, stride: stride,
                first: first, rows: rows, results: results)
        case .avx512VNNI:
            KernelsAVX512.quantizedProduct(
                format: format, weights: weights, blocks: blocks, values: values, facts: facts, stride: stride,
                first: first, rows: rows, results: results)
        case .avx512BF16:
            KernelsAVX512BF16.quantizedProduct(
                format: format, weights: weights, blocks: blocks, values: values, facts: facts, stride: stride,
                first: first, rows: rows, results: results)
        }
    }

    func floatProduct(
        format: Int, weights: UnsafeRawPointer, blocks: Int, values: UnsafePointer<Float>, stride: Int, first: Int,
        rows: Int, cell: UnsafeMutablePointer<Float>, results: UnsafeMutablePointer<Float>
    ) {
        switch self {
        case .portable:
            KernelsPortable.floatProduct(
                format: format, weights: weights, blocks: blocks, values: values, stride: stride, first: first,
                rows: rows, cell: cell, results: results)
        case .avx2:
            KernelsAVX2.floatProduct(
                format: format, weights: weights, blocks: blocks, values: values, stride: stride, first: first,
                rows: rows, cell: cell, results: results)
        case .avxVNNI:
            KernelsAVXVNNI.floatProduct(
                format: format, weights: weights, blocks: blocks, values: values, stride: stride, first: first,
                rows: rows, cell: cell, results: results)
        case .avx512VNNI:
            KernelsAVX512.floatProduct(
                format: format, weights: weights, blocks: blocks, values: values, stride: stride, first: first,
                rows: rows, cell: cell, results: results)
        case .avx512BF16:
            KernelsAVX512BF16.floatProduct(
                format: format, weights: weights, blocks: blocks, values: values, stride: stride, first: first,
                rows: rows, cell: cell, results: results)
        }
    }

    func fusedProduct(
        format: Int, weights: UnsafeRawPointer, groupBytes: Int, groups: Int, blocks: Int,
        values: UnsafePointer<Float>, rows: Int, results: UnsafeMutablePointer<Float>
    ) {
        switch self {
        case .portable:
            KernelsPortable.fusedProduct(
                format: format, weights: weights, groupBytes: groupBytes, groups: groups, blocks: blocks,
                values: values, rows: rows, results: results)
        case .avx2:
            KernelsAVX2.fusedProduct(
                format: format, weights: weights, groupBytes: groupBytes, groups: groups, blocks: blocks,
                values: values, rows: rows, results: results)
        case .avxVNNI:
            KernelsAVXVNNI.fusedProduct(
                format: format, weights: weights, groupBytes: groupBytes, groups: groups, blocks: blocks,
                values: values, rows: rows, results: results)
        case .avx512VNNI:
            KernelsAVX512.fusedProduct(
                format: format, weights: weights, groupBytes: groupBytes, groups: groups, blocks: blocks,
                values: values, rows: rows, results: results)
        case .avx512BF16:
            KernelsAVX512BF16.fusedProduct(
                format: format, weights: weights, groupBytes: groupBytes, groups: groups, blocks: blocks,
                values: values, rows: rows, results: results)
        }
    }

    func denseProduct(
        format: Int, weights: UnsafeRawPointer, chunks: Int, values: UnsafePointer<Float>, stride: Int, first: Int,
        rows: Int, results: UnsafeMutablePointer<Float>
    ) {
        switch self {
        case .portable:
            KernelsPortable.denseProduct(
                format: format, weights: weights, chunks: chunks, values: values, stride: stride, first: first,
                rows: rows, results: results)
        case .avx2:
            KernelsAVX2.denseProduct(
                format: format, weights: weights, chunks: chunks, values: values, stride: stride, first: first,
                rows: rows, results: results)
        case .avxVNNI:
            KernelsAVXVNNI.denseProduct(
                format: format, weights: weights, chunks: chunks, values: values, stride: stride, first: first,
                rows: rows, results: results)
        case .avx512VNNI:
            KernelsAVX512.denseProduct(
                format: format, weights: weights, chunks: chunks, values: values, stride: stride, first: first,
                rows: rows, results: results)
        case .avx512BF16:
            KernelsAVX512BF16.denseProduct(
                format: format, weights: weights, chunks: chunks, values: values, stride: stride, first: first,
                rows: rows, results: results)
        }
    }

    func scoreBlock(
        format: Int, count: Int, queries: UnsafePointer<Float>, size: Int, keys: UnsafeRawPointer,
        scores: UnsafeMutablePointer<Float>
    ) {
        switch self {
        case .portable:
            KernelsPortable.scoreBlock(
                format: format, count: count, queries: queries, size: size, keys: keys, scores: scores)
        case .avx2:
            KernelsAVX2.scoreBlock(
                format: format, count: count, queries: queries, size: size, keys: keys, scores: scores)
        case .avxVNNI:
            KernelsAVXVNNI.scoreBlock(
                format: format, count: count, queries: queries, size: size, keys: keys, scores: scores)
        case .avx512VNNI:
            KernelsAVX512.scoreBlock(
                format: format, count: count, queries: queries, size: size, keys: keys, scores: scores)
        case .avx512BF16:
            KernelsAVX512BF16.scoreBlock(
                format: format, count: count, queries: queries, size: size, keys: keys, scores: scores)
        }
    }

    func weighBlock(
        format: Int, count: Int, weights: UnsafePointer<Float>, size: Int, values: UnsafeRawPointer, valueBytes: Int,
        from: Int, to: Int, results: UnsafeMutablePointer<Float>
    ) {
        switch self {
        case .portable:
            KernelsPortable.weighBlock(
                format: format, count: count, weights: weights, size: size, values: values, valueBytes: valueBytes,
                from: from, to: to, results: results)
        case .avx2:
            KernelsAVX2.weighBlock(
                format: format, count: count, weights: weights, size: size, values: values, valueBytes: valueBytes,
                from: from, to: to, results: results)
        case .avxVNNI:
            KernelsAVXVNNI.weighBlock(
                format: format, count: count, weights: weights, size: size, values: values, valueBytes: valueBytes,
                from: from, to: to, results: results)
        case .avx512VNNI:
            KernelsAVX512.weighBlock(
                format: format, count: count, weights: weights, size: size, values: values, valueBytes: valueBytes,
                from: from, to: to, results: results)
        case .avx512BF16:
            KernelsAVX512BF16.weighBlock(
                format: format, count: count, weights: weights, size: size, values: values, valueBytes: valueBytes,
                from: from, to: to, results: results)
        }
    }

    func weighScores(
        _ scores: UnsafeMutablePointer<Float>, from: Int, to: Int, maximum: UnsafeMutablePointer<Float>,
        sums: UnsafeMutablePointer<Float>, result: UnsafeMutablePointer<Float>, size: Int
    ) {
        switch self {
        case .portable:
            KernelsPortable.weighScores(
                scores, from: from, to: to, maximum: maximum, sums: sums, result: result, size: size)
        case .avx2:
            KernelsAVX2.weighScores(
                scores, from: from, to: to, maximum: maximum, sums: sums, result: result, size: size)
        case .avxVNNI:
            KernelsAVXVNNI.weighScores(
                scores, from: from, to: to, maximum: maximum, sums: sums, result: result, size: size)
        case .avx512VNNI:
            KernelsAVX512.weighScores(
                scores, from: from, to: to, maximum: maximum, sums: sums, result: result, size: size)
        case .avx512BF16:
            KernelsAVX512BF16.weighScores(
                scores, from: from, to: to, maximum: maximum, sums: sums, result: result, size: size)
        }
    }

    package func gateBlock(
        _ gate: UnsafePointer<Float>, _ up: UnsafePointer<Float>, distance: Int, out: UnsafeMutablePointer<Float>
    ) {
        switch self {
        case .portable:
            KernelsPortable.gateBlock(gate, up, distance: distance, out: out)
        case .avx2:
            KernelsAVX2.gateBlock(gate, up, distance: distance, out: out)
        case .avxVNNI:
            KernelsAVXVNNI.gateBlock(gate, up, distance: distance, out: out)
        case .avx512VNNI:
            KernelsAVX512.gateBlock(gate, up, distance: distance, out: out)
        case .avx512BF16:
            KernelsAVX512BF16.gateBlock(gate, up, distance: distance, out: out)
        }
    }

    func roundBlock(_ x: UnsafePointer<Float>, count: Int, values: UnsafeMutableRawPointer) {
        switch self {
        case .portable: KernelsPortable.roundBlock(x, count: count, values: values)
        case .avx2: KernelsAVX2.roundBlock(x, count: count, values: values)
        case .avxVNNI: KernelsAVXVNNI.roundBlock(x, count: count, values: values)
        case .avx512VNNI: KernelsAVX512.roundBlock(x, count: count, values: values)
        case .avx512BF16: KernelsAVX512BF16.roundBlock(x, count: count, values: values)
        }
    }

    func pairProduct(
        weights: UnsafeRawPointer, chunks: Int, values: UnsafeRawPointer, stride: Int, first: Int, rows: Int,
        results: UnsafeMutablePointer<Float>
    ) {
        switch self {
        case .portable:
            KernelsPortable.pairProduct(
                weights: weights, chunks: chunks, values: values, stride: stride, first: first, rows: rows,
                results: results)
        case .avx2:
            KernelsAVX2.pairProduct(
                weights: weights, chunks: chunks, values: values, stride: stride, first: first, rows: rows,
                results: results)
        case .avxVNNI:
            KernelsAVXVNNI.pairProduct(
                weights: weights, chunks: chunks, values: values, stride: stride, first: first, rows: rows,
                results: results)
        case .avx512VNNI:
            KernelsAVX512.pairProduct(
                weights: weights, chunks: chunks, values: values, stride: stride, first: first, rows: rows,
                results: results)
        case .avx512BF16:
            KernelsAVX512BF16.pairProduct(
                weights: weights, chunks: chunks, values: values, stride: stride, first: first, rows: rows,
                results: results)
        }
    }

    func bareProducts(weights: UnsafeRawPointer, values: UnsafeRawPointer, rounds: Int) -> Float {
        switch self {
        case .portable: KernelsPortable.bareProducts(weights: weights, values: values, rounds: rounds)
        case .avx2: KernelsAVX2.bareProducts(weights: weights, values: values, rounds: rounds)
        case .avxVNNI: KernelsAVXVNNI.bareProducts(weights: weights, values: values, rounds: rounds)
        case .avx512VNNI: KernelsAVX512.bareProducts(weights: weights, values: values, rounds: rounds)
        case .avx512BF16: KernelsAVX512BF16.bareProducts(weights: weights, values: values, rounds: rounds)
        }
    }
}
