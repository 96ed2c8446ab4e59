import CSIMD

// Activations as the products read them: block by block, the rows of a block side by side, so that a block of weights
// meets one short stretch of memory.

/// Bytes of one quantised activation on this instruction set.
package func activationBytes() -> Int { MemoryLayout<simd_activation>.size }

/// What a product needs to know of 32 quantised activations beside their values. 16 bytes.
struct BlockFacts {
    /// d = max|x| / 127; NaN when a value is not finite.
    var scale: Float
    /// -128·Σq: what q + 128 in the place of a weight adds too much.
    var start: Int32
    /// The part of `start` that the first 16 make.
    var firstStart: Int32
    /// -d·Σq: what a minimum adds.
    var sum: Float
}

/// Quantises 32 floats to signed bytes, q = round(x / d), and writes the `BlockFacts`.
package func quantizeBlock(_ x: UnsafePointer<Float>, values: UnsafeMutableRawPointer, facts: UnsafeMutableRawPointer) {
    let out = values.assumingMemoryBound(to: simd_activation.self)
    let (low, high) = (simd_load(x), simd_load(x + 16))
    let zero = simd_zero()
    let magnitudes = simd_max(simd_max(simd_sub(zero, low), low), simd_max(simd_sub(zero, high), high))
    let largest = simd_largest(magnitudes)
    // 0 for finite values, NaN otherwise.
    let defect = simd_sum(simd_add(simd_sub(low, low), simd_sub(high, high)))
    // A block so small that its inverse overflows is zero for all that follows.
    let isUsable = largest > 1e-30
    let inverse: Float = isUsable ? 127 / largest : 0
    let scale = (isUsable ? largest / 127 : 0) + defect
    let first = quantizeHalf(x, inverse, out)
    let second = quantizeHalf(x + 16, inverse, out + 16)
    facts.assumingMemoryBound(to: BlockFacts.self).pointee = BlockFacts(
        scale: scale, start: -128 &* (first &+ second), firstStart: -128 &* first,
        sum: -(scale * Float(first &+ second)))
}

/// Writes 16 and returns their sum.
@inline(__always)
private func quantizeHalf(
    _ x: UnsafePointer<Float>, _ inverse: Float, _ out: UnsafeMutablePointer<simd_activation>
) -> Int32 {
    var sum: Int32 = 0
    var i = 0
    while i < 16 {
        // Adding 1.5·2^23 rounds to the nearest integer, which then stands in the low bits; nothing here can trap.
        let bits = (x[i] * inverse + 12_582_912).bitPattern
        let quant = Int32(truncatingIfNeeded: Int8(truncatingIfNeeded: bits))
        out[i] = simd_activation(truncatingIfNeeded: quant)
        sum &+= quant
        i &+= 1
    }
    return sum
}
