import CSIMD

// Activations as the products read them: block by block, the rows of a block side by side, so that a block of weights
// meets one short stretch of memory.

/// Bytes of one quantised activation on this instruction set.
package func activationBytes() -> Int { MemoryLayout<simd_activation>.size }

/// Quantises one row to signed bytes per block of 32: d = max|x| / 127, q = round(x / d). Rows are `rows` in all.
/// values: [columns / 32, rows, 32]; scales: [columns / 32, rows]; sums: [columns / 32, rows, 2], of 16 each.
/// A value that is not finite makes the scale NaN.
package func quantizeRow(
    _ x: UnsafePointer<Float>, row: Int, rows: Int, columns: Int, values: UnsafeMutableRawPointer,
    scales: UnsafeMutablePointer<Float>, sums: UnsafeMutablePointer<Int32>
) {
    let out = values.assumingMemoryBound(to: simd_activation.self)
    var block = 0
    while block &* 32 < columns {
        let at = block &* rows &+ row
        quantizeBlock(x + block &* 32, out + at &* 32, scales + at, sums + at &* 2)
        block &+= 1
    }
}

@inline(__always)
private func quantizeBlock(
    _ x: UnsafePointer<Float>, _ out: UnsafeMutablePointer<simd_activation>, _ scale: UnsafeMutablePointer<Float>,
    _ sums: UnsafeMutablePointer<Int32>
) {
    var largest: Float = 0
    var defect: Float = 0  // 0 for finite values, NaN otherwise
    var k = 0
    while k < 32 {
        let magnitude = x[k].magnitude
        largest = magnitude > largest ? magnitude : largest
        defect += x[k] - x[k]
        k &+= 1
    }
    // A block so small that its inverse overflows is zero for all that follows.
    let isUsable = largest > 1e-30
    let inverse: Float = isUsable ? 127 / largest : 0
    scale.pointee = (isUsable ? largest / 127 : 0) + defect
    var half = 0
    while half < 2 {
        var sum: Int32 = 0
        var i = 0
        while i < 16 {
            // Adding 1.5·2^23 rounds to the nearest integer, which then stands in the low bits; nothing here can trap.
            let bits = (x[half &* 16 &+ i] * inverse + 12_582_912).bitPattern
            let quant = Int32(truncatingIfNeeded: Int8(truncatingIfNeeded: bits))
            out[half &* 16 &+ i] = simd_activation(truncatingIfNeeded: quant)
            sum &+= quant
            i &+= 1
        }
        sums[half] = sum
        half &+= 1
    }
}

/// Lays one row of floats out for `denseProduct`: [columns / 8, rows, 8], columns rounded up with zeros.
package func arrangeRow(
    _ x: UnsafePointer<Float>, row: Int, rows: Int, columns: Int, values: UnsafeMutablePointer<Float>
) {
    var chunk = 0
    while chunk &* 8 < columns {
        let out = values + (chunk &* rows &+ row) &* 8
        var k = 0
        while k < 8 {
            let column = chunk &* 8 &+ k
            out[k] = column < columns ? x[column] : 0
            k &+= 1
        }
        chunk &+= 1
    }
}
