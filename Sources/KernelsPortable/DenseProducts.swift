import CSIMD

// Products of floats with weights that are floats of some width: one group of 16 outputs, k by k. BF16 lies in pairs of k.

private enum Width { case f32, f16, bf16 }

@inline(__always)
private func load(_ p: UnsafeRawPointer, _ index: Int, _ width: Width) -> simd_floats {
    switch width {
    case .f32: simd_load((p + index &* 64).assumingMemoryBound(to: Float.self))
    case .f16: simd_load_halves(p + index &* 32)
    case .bf16: simd_load_bfloats(p + (index &>> 1) &* 64, Int32(truncatingIfNeeded: index & 1))
    }
}

/// results [rows, 16] += values · weights, for `chunks` chunks of 8 k. Weights lie as [8·chunks, 16].
@inline(__always)
private func product(
    _ weights: UnsafeRawPointer, _ width: Width, _ chunks: Int, prefetches: Bool, _ values: UnsafePointer<Float>,
    _ stride: Int, _ first: Int, _ rows: Int, _ results: UnsafeMutablePointer<Float>
) {
    let chunkBytes = width == .f32 ? 512 : 256
    var chunk = 0
    while chunk < chunks {
        let p = weights + chunk &* chunkBytes
        var line = prefetches ? 0 : chunkBytes
        while line < chunkBytes {
            simd_prefetch(p + (4096 &+ line))
            line &+= 64
        }
        let (w0, w1, w2, w3) = (load(p, 0, width), load(p, 1, width), load(p, 2, width), load(p, 3, width))
        let (w4, w5, w6, w7) = (load(p, 4, width), load(p, 5, width), load(p, 6, width), load(p, 7, width))
        var row = 0
        while row < rows {
            let x = values + (chunk &* stride &+ first &+ row) &* 8
            let result = results + row &* 16
            var sums = simd_load(result)
            sums = simd_fma_scalar(w0, x[0], sums)
            sums = simd_fma_scalar(w1, x[1], sums)
            sums = simd_fma_scalar(w2, x[2], sums)
            sums = simd_fma_scalar(w3, x[3], sums)
            sums = simd_fma_scalar(w4, x[4], sums)
            sums = simd_fma_scalar(w5, x[5], sums)
            sums = simd_fma_scalar(w6, x[6], sums)
            sums = simd_fma_scalar(w7, x[7], sums)
            simd_store(result, sums)
            row &+= 1
        }
        chunk &+= 1
    }
}

/// results [rows, 16] += rows `first` ..< `first` + `rows` of the `stride` arranged ones · one group of 16 outputs.
/// Weights lie as [8·chunks, 16]. `format`: 0 F32, 1 F16, 2 BF16.
package func denseProduct(
    format: Int, weights: UnsafeRawPointer, chunks: Int, values: UnsafePointer<Float>, stride: Int, first: Int,
    rows: Int, results: UnsafeMutablePointer<Float>
) {
    switch format {
    case 0: product(weights, .f32, chunks, prefetches: true, values, stride, first, rows, results)
    case 1: product(weights, .f16, chunks, prefetches: true, values, stride, first, rows, results)
    default: product(weights, .bf16, chunks, prefetches: true, values, stride, first, rows, results)
    }
}

/// Rounds 32 floats, or `count` of them and zeros, to BF16, ties to even; NaN stays NaN.
package func roundBlock(_ x: UnsafePointer<Float>, count: Int, values: UnsafeMutableRawPointer) {
    let out = values.assumingMemoryBound(to: UInt16.self)
    var k = 0
    while k < count {
        let bits = x[k].bitPattern
        let rounded = (bits &+ 0x7FFF &+ (bits &>> 16 & 1)) &>> 16
        out[k] = UInt16(truncatingIfNeeded: x[k] == x[k] ? rounded : 0x7FC0)
        k &+= 1
    }
    while k < 32 {
        out[k] = 0
        k &+= 1
    }
}

/// results [rows, 16] += rows of BF16 · one group of 16 outputs of BF16. values: [blocks of 32, stride, 32], as `roundBlock`
/// wrote them; weights: [4·chunks, 16, 2].
package func pairProduct(
    weights: UnsafeRawPointer, chunks: Int, values: UnsafeRawPointer, stride: Int, first: Int, rows: Int,
    results: UnsafeMutablePointer<Float>
) {
    var chunk = 0
    while chunk < chunks {
        let p = weights + chunk &* 256
        // 16 k at a time. Behind an odd last 8 any weights will do: their activations are zeros.
        let isWhole = chunk &+ 1 < chunks
        prefetch(p, lines: 8)
        let (w0, w1) = (simd_load_bytes(p), simd_load_bytes(p + 64))
        let (w2, w3) = (simd_load_bytes(p + 128), simd_load_bytes(p + 192))
        let q = isWhole ? p + 256 : p
        let (w4, w5) = (simd_load_bytes(q), simd_load_bytes(q + 64))
        let (w6, w7) = (simd_load_bytes(q + 128), simd_load_bytes(q + 192))
        var x = values + ((chunk &>> 2) &* stride &+ first) &* 64 + (chunk & 3) &* 16
        var result = results
        let end = result + rows &* 16
        while result < end {
            var sums = simd_load(result)
            sums = simd_dot_pairs(sums, w0, x)
            sums = simd_dot_pairs(sums, w1, x + 4)
            sums = simd_dot_pairs(sums, w2, x + 8)
            sums = simd_dot_pairs(sums, w3, x + 12)
            sums = simd_dot_pairs(sums, w4, x + 16)
            sums = simd_dot_pairs(sums, w5, x + 20)
            sums = simd_dot_pairs(sums, w6, x + 24)
            sums = simd_dot_pairs(sums, w7, x + 28)
            simd_store(result, sums)
            result += 16
            x += 64
        }
        chunk &+= 2
    }
}

/// The same from one cell of 32 k that was expanded to floats, [32, 16].
@inline(__always)
func cellProduct(
    _ cell: UnsafePointer<Float>, values: UnsafePointer<Float>, stride: Int, first: Int, rows: Int,
    results: UnsafeMutablePointer<Float>
) {
    product(cell, .f32, 4, prefetches: false, values, stride, first, rows, results)
}
