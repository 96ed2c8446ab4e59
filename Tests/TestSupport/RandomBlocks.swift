package import Formats
package import Kernels
import Model

extension TensorType {
    /// The same type as the kernels name it.
    package var kernelFormat: BlockFormat { blockFormat }

    /// Where a block has binary16 scales, and the largest factor that each is multiplied by.
    private var scales: [(offset: Int, factor: Float)] {
        switch self {
        case .f32, .f16, .bf16: []
        case .q8_0, .iq4_NL: [(0, 127)]
        case .q4_0: [(0, 8)]
        case .q4_1: [(0, 15), (2, 1)]
        case .q5_0: [(0, 16)]
        case .q5_1: [(0, 31), (2, 1)]
        case .q2_K: [(80, 45), (82, 15)]
        case .q3_K: [(108, 128)]
        case .q4_K: [(0, 945), (2, 63)]
        case .q5_K: [(0, 1953), (2, 63)]
        case .q6_K: [(208, 4096)]
        case .iq4_XS: [(0, 4064)]
        }
    }

    /// Random blocks that hold `count` elements of at most about `bound`: every bit of the quants is random, the
    /// scales are of a sane size and of both signs.
    package func randomBlocks(_ count: Int, bound: Float, using random: inout SplitMix64) -> [UInt8] {
        switch self {
        case .f32: return littleEndian(random.floats(count, bound: bound))
        case .f16: return random.floats(count, bound: bound).flatMap { bytes(ofHalf: halfFromFloat($0)) }
        case .bf16: return random.floats(count, bound: bound).flatMap { bytes(ofHalf: UInt16($0.bitPattern >> 16)) }
        default: break
        }
        var blocks = random.bytes(count / blockElements * blockBytes)
        for start in stride(from: 0, to: blocks.count, by: blockBytes) {
            for (offset, factor) in scales {
                let size = bound / factor * (0.5 + abs(random.float(0.5)))
                let scale = random.next() & 1 == 0 ? size : -size
                blocks.replaceSubrange(start + offset..<start + offset + 2, with: bytes(ofHalf: halfFromFloat(scale)))
            }
        }
        return blocks
    }

    /// The elements of stored blocks.
    package func expanded(_ blocks: [UInt8]) -> [Float] {
        let count = blocks.count / blockBytes * blockElements
        return [Float](unsafeUninitializedCapacity: count) { target, used in
            blocks.withUnsafeBytes { source in
                guard let from = source.baseAddress, let to = target.baseAddress else { return }
                dequantize(kernelFormat, from, count: count, into: to)
            }
            used = count
        }
    }
}

private func bytes(ofHalf bits: UInt16) -> [UInt8] {
    [UInt8(truncatingIfNeeded: bits), UInt8(truncatingIfNeeded: bits >> 8)]
}
