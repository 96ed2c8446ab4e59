import CSIMD

// Products of floats with quantised weights: a cell of 16 outputs x 32 k is expanded to floats once, in the nearest
// cache, and meets all rows of the tile. The values are those of `dequantize`, operation by operation.

/// Four k of a step, expanded: (byte - offset)·scale.
@inline(__always)
private func expand(
    _ step: simd_bytes, offset: Float, _ scale: simd_floats, _ out: UnsafeMutablePointer<Float>
) {
    let zero = simd_splat(offset)
    simd_store(out, simd_mul(simd_sub(simd_byte(step, 0), zero), scale))
    simd_store(out + 16, simd_mul(simd_sub(simd_byte(step, 1), zero), scale))
    simd_store(out + 32, simd_mul(simd_sub(simd_byte(step, 2), zero), scale))
    simd_store(out + 48, simd_mul(simd_sub(simd_byte(step, 3), zero), scale))
}

/// Four k of a step, expanded: byte·scale - minimum.
@inline(__always)
private func expand(
    _ step: simd_bytes, _ scale: simd_floats, minimum: simd_floats, _ out: UnsafeMutablePointer<Float>
) {
    simd_store(out, simd_sub(simd_mul(simd_byte(step, 0), scale), minimum))
    simd_store(out + 16, simd_sub(simd_mul(simd_byte(step, 1), scale), minimum))
    simd_store(out + 32, simd_sub(simd_mul(simd_byte(step, 2), scale), minimum))
    simd_store(out + 48, simd_sub(simd_mul(simd_byte(step, 3), scale), minimum))
}

@inline(__always)
private func expandQ8_0(_ p: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
    let scale = simd_load_halves(p)
    var step = 0
    while step < 8 {
        expand(simd_load_bytes(p + (32 &+ step &* 64)), offset: 128, scale, out + step &* 64)
        step &+= 1
    }
}

@inline(__always)
private func expandQ4_0(_ p: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
    let scale = simd_load_halves(p)
    var vector = 0
    while vector < 4 {
        let packed = simd_load_bytes(p + (32 &+ vector &* 64))
        expand(simd_low_nibbles(packed), offset: 8, scale, out + vector &* 64)
        expand(simd_high_nibbles(packed), offset: 8, scale, out + (vector &+ 4) &* 64)
        vector &+= 1
    }
}

@inline(__always)
private func expandQ4K(_ base: UnsafeRawPointer, _ p: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
    let scale = simd_mul(simd_load_halves(base), simd_load_unsigned(p))
    let minimum = simd_mul(simd_load_halves(base + 32), simd_load_unsigned(p + 16))
    var vector = 0
    while vector < 4 {
        let packed = simd_load_bytes(p + (32 &+ vector &* 64))
        expand(simd_low_nibbles(packed), scale, minimum: minimum, out + vector &* 64)
        expand(simd_high_nibbles(packed), scale, minimum: minimum, out + (vector &+ 4) &* 64)
        vector &+= 1
    }
}

@inline(__always)
private func expandQ5K(_ base: UnsafeRawPointer, _ p: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
    let scale = simd_mul(simd_load_halves(base), simd_load_unsigned(p))
    let minimum = simd_mul(simd_load_halves(base + 32), simd_load_unsigned(p + 16))
    let fifth = simd_load_bytes(p + 288)
    let (a, b) = (simd_load_bytes(p + 32), simd_load_bytes(p + 96))
    let (c, d) = (simd_load_bytes(p + 160), simd_load_bytes(p + 224))
    expand(simd_or(simd_low_nibbles(a), simd_upper_bits(fifth, 0, 1)), scale, minimum: minimum, out)
    expand(simd_or(simd_low_nibbles(b), simd_upper_bits(fifth, 1, 1)), scale, minimum: minimum, out + 64)
    expand(simd_or(simd_low_nibbles(c), simd_upper_bits(fifth, 2, 1)), scale, minimum: minimum, out + 128)
    expand(simd_or(simd_low_nibbles(d), simd_upper_bits(fifth, 3, 1)), scale, minimum: minimum, out + 192)
    expand(simd_or(simd_high_nibbles(a), simd_upper_bits(fifth, 4, 1)), scale, minimum: minimum, out + 256)
    expand(simd_or(simd_high_nibbles(b), simd_upper_bits(fifth, 5, 1)), scale, minimum: minimum, out + 320)
    expand(simd_or(simd_high_nibbles(c), simd_upper_bits(fifth, 6, 1)), scale, minimum: minimum, out + 384)
    expand(simd_or(simd_high_nibbles(d), simd_upper_bits(fifth, 7, 1)), scale, minimum: minimum, out + 448)
}

@inline(__always)
private func expandQ6K(_ base: UnsafeRawPointer, _ p: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
    let d0 = simd_load_halves(base)
    let low = simd_mul(d0, simd_load_signed(p))
    let high = simd_mul(d0, simd_load_signed(p + 16))
    let (g, h) = (simd_load_bytes(p + 288), simd_load_bytes(p + 352))
    let (a, b) = (simd_load_bytes(p + 32), simd_load_bytes(p + 96))
    let (c, d) = (simd_load_bytes(p + 160), simd_load_bytes(p + 224))
    expand(simd_or(simd_low_nibbles(a), simd_upper_bits(g, 0, 2)), offset: 32, low, out)
    expand(simd_or(simd_low_nibbles(b), simd_upper_bits(g, 2, 2)), offset: 32, low, out + 64)
    expand(simd_or(simd_low_nibbles(c), simd_upper_bits(g, 4, 2)), offset: 32, low, out + 128)
    expand(simd_or(simd_low_nibbles(d), simd_upper_bits(g, 6, 2)), offset: 32, low, out + 192)
    expand(simd_or(simd_high_nibbles(a), simd_upper_bits(h, 0, 2)), offset: 32, high, out + 256)
    expand(simd_or(simd_high_nibbles(b), simd_upper_bits(h, 2, 2)), offset: 32, high, out + 320)
    expand(simd_or(simd_high_nibbles(c), simd_upper_bits(h, 4, 2)), offset: 32, high, out + 384)
    expand(simd_or(simd_high_nibbles(d), simd_upper_bits(h, 6, 2)), offset: 32, high, out + 448)
}

/// results [rows, 16] += rows `first` ..< `first` + `rows` of the `stride` arranged ones (see `Activations`) · one group of
/// 16 outputs. `format` as for `quantizedProduct`; `blocks`: columns / 32; `cell`: 512 floats of scratch.
package func floatProduct(
    format: Int, weights: UnsafeRawPointer, blocks: Int, values: UnsafePointer<Float>, stride: Int, first: Int,
    rows: Int, cell: UnsafeMutablePointer<Float>, results: UnsafeMutablePointer<Float>
) {
    var block = 0
    while block < blocks {
        let inSuper = block & 7
        switch format {
        case 0:
            let p = weights + block &* 544
            prefetch(p, lines: 9)
            expandQ8_0(p, cell)
        case 1:
            let p = weights + block &* 288
            prefetch(p, lines: 5)
            expandQ4_0(p, cell)
        case 2:
            let base = weights + (block &>> 3) &* 2368
            prefetch(base + (64 &+ inSuper &* 288), lines: 5)
            expandQ4K(base, base + (64 &+ inSuper &* 288), cell)
        case 3:
            let base = weights + (block &>> 3) &* 2880
            prefetch(base + (64 &+ inSuper &* 352), lines: 6)
            expandQ5K(base, base + (64 &+ inSuper &* 352), cell)
        default:
            let base = weights + (block &>> 3) &* 3360
            prefetch(base + (32 &+ inSuper &* 416), lines: 7)
            expandQ6K(base, base + (32 &+ inSuper &* 416), cell)
        }
        cellProduct(
            cell, values: values + block &* 32 &* stride, stride: stride, first: first, rows: rows, results: results)
        block &+= 1
    }
}
