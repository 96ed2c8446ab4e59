import CSIMD

// The products of `floatProduct` for up to eight rows, without the way through memory: every vector of 16 expanded
// weights is multiplied at once with all rows. The operations of an output are the same, in the same order, and so are
// the bits.
//
// The number of rows and the format must be constants where they are looked at, or the sums leave the registers. The
// optimiser gives up inlining in functions of this size, so the pieces are transparent: inlined before it begins.
//
// A sum is one chain of dependent additions. For a single row several groups are worked on side by side, so that the
// processor has other chains to go on with.

/// Eight sums of 16 outputs, one for each row.
private struct Sums {
    var a = simd_zero()
    var b = simd_zero()
    var c = simd_zero()
    var d = simd_zero()
    var e = simd_zero()
    var f = simd_zero()
    var g = simd_zero()
    var h = simd_zero()
}

/// Rows of arranged activations; see `Activations`.
private struct Rows {
    let values: UnsafePointer<Float>
    let count: Int

    /// Where the first row's k = 4·step of a block is; the next rows follow 8 floats apart.
    @inline(__always)
    func step(_ block: Int, _ step: Int) -> UnsafePointer<Float> {
        values + ((block &* 4 &+ step &>> 1) &* count &* 8 &+ (step & 1) &* 4)
    }
}

@_transparent
private func add(_ weights: simd_floats, _ x: UnsafePointer<Float>, _ rows: Int, _ sums: inout Sums) {
    sums.a = simd_fma_scalar(weights, x[0], sums.a)
    if rows > 1 { sums.b = simd_fma_scalar(weights, x[8], sums.b) }
    if rows > 2 { sums.c = simd_fma_scalar(weights, x[16], sums.c) }
    if rows > 3 { sums.d = simd_fma_scalar(weights, x[24], sums.d) }
    if rows > 4 { sums.e = simd_fma_scalar(weights, x[32], sums.e) }
    if rows > 5 { sums.f = simd_fma_scalar(weights, x[40], sums.f) }
    if rows > 6 { sums.g = simd_fma_scalar(weights, x[48], sums.g) }
    if rows > 7 { sums.h = simd_fma_scalar(weights, x[56], sums.h) }
}

/// Four k of (byte - offset)·scale.
@_transparent
private func add(
    _ step: simd_bytes, _ zero: simd_floats, _ scale: simd_floats, _ x: UnsafePointer<Float>, _ rows: Int,
    _ sums: inout Sums
) {
    add(simd_mul(simd_sub(simd_byte(step, 0), zero), scale), x, rows, &sums)
    add(simd_mul(simd_sub(simd_byte(step, 1), zero), scale), x + 1, rows, &sums)
    add(simd_mul(simd_sub(simd_byte(step, 2), zero), scale), x + 2, rows, &sums)
    add(simd_mul(simd_sub(simd_byte(step, 3), zero), scale), x + 3, rows, &sums)
}

/// Four k of byte·scale - minimum.
@_transparent
private func add(
    _ step: simd_bytes, scale: simd_floats, minimum: simd_floats, _ x: UnsafePointer<Float>, _ rows: Int,
    _ sums: inout Sums
) {
    add(simd_sub(simd_mul(simd_byte(step, 0), scale), minimum), x, rows, &sums)
    add(simd_sub(simd_mul(simd_byte(step, 1), scale), minimum), x + 1, rows, &sums)
    add(simd_sub(simd_mul(simd_byte(step, 2), scale), minimum), x + 2, rows, &sums)
    add(simd_sub(simd_mul(simd_byte(step, 3), scale), minimum), x + 3, rows, &sums)
}

// MARK: Cells

@_transparent
private func cellQ8_0(_ group: UnsafeRawPointer, _ block: Int, _ x: Rows, _ rows: Int, _ sums: inout Sums) {
    let p = group + block &* 544
    prefetch(p, lines: 9)
    let (zero, scale) = (simd_splat(128), simd_load_halves(p))
    var step = 0
    while step < 8 {
        add(simd_load_bytes(p + (32 &+ step &* 64)), zero, scale, x.step(block, step), rows, &sums)
        step &+= 1
    }
}

@_transparent
private func cellQ4_0(_ group: UnsafeRawPointer, _ block: Int, _ x: Rows, _ rows: Int, _ sums: inout Sums) {
    let p = group + block &* 288
    prefetch(p, lines: 5)
    let (zero, scale) = (simd_splat(8), simd_load_halves(p))
    var step = 0
    while step < 4 {
        let packed = simd_load_bytes(p + (32 &+ step &* 64))
        add(simd_low_nibbles(packed), zero, scale, x.step(block, step), rows, &sums)
        step &+= 1
    }
    while step < 8 {
        let packed = simd_load_bytes(p + (32 &+ (step &- 4) &* 64))
        add(simd_high_nibbles(packed), zero, scale, x.step(block, step), rows, &sums)
        step &+= 1
    }
}

@_transparent
private func cellQ4K(_ group: UnsafeRawPointer, _ block: Int, _ x: Rows, _ rows: Int, _ sums: inout Sums) {
    let base = group + (block &>> 3) &* 2368
    let p = base + (64 &+ (block & 7) &* 288)
    prefetch(p, lines: 5)
    let scale = simd_mul(simd_load_halves(base), simd_load_unsigned(p))
    let minimum = simd_mul(simd_load_halves(base + 32), simd_load_unsigned(p + 16))
    var step = 0
    while step < 4 {
        let packed = simd_load_bytes(p + (32 &+ step &* 64))
        add(simd_low_nibbles(packed), scale: scale, minimum: minimum, x.step(block, step), rows, &sums)
        step &+= 1
    }
    while step < 8 {
        let packed = simd_load_bytes(p + (32 &+ (step &- 4) &* 64))
        add(simd_high_nibbles(packed), scale: scale, minimum: minimum, x.step(block, step), rows, &sums)
        step &+= 1
    }
}

@_transparent
private func cellQ5K(_ group: UnsafeRawPointer, _ block: Int, _ x: Rows, _ rows: Int, _ sums: inout Sums) {
    let base = group + (block &>> 3) &* 2880
    let p = base + (64 &+ (block & 7) &* 352)
    prefetch(p, lines: 6)
    let scale = simd_mul(simd_load_halves(base), simd_load_unsigned(p))
    let minimum = simd_mul(simd_load_halves(base + 32), simd_load_unsigned(p + 16))
    let fifth = simd_load_bytes(p + 288)
    var step = 0
    while step < 4 {
        let packed = simd_low_nibbles(simd_load_bytes(p + (32 &+ step &* 64)))
        let quants = simd_or(packed, simd_upper_bits(fifth, Int32(truncatingIfNeeded: step), 1))
        add(quants, scale: scale, minimum: minimum, x.step(block, step), rows, &sums)
        step &+= 1
    }
    while step < 8 {
        let packed = simd_high_nibbles(simd_load_bytes(p + (32 &+ (step &- 4) &* 64)))
        let quants = simd_or(packed, simd_upper_bits(fifth, Int32(truncatingIfNeeded: step), 1))
        add(quants, scale: scale, minimum: minimum, x.step(block, step), rows, &sums)
        step &+= 1
    }
}

@_transparent
private func cellQ6K(_ group: UnsafeRawPointer, _ block: Int, _ x: Rows, _ rows: Int, _ sums: inout Sums) {
    let base = group + (block &>> 3) &* 3360
    let p = base + (32 &+ (block & 7) &* 416)
    prefetch(p, lines: 7)
    let (zero, d) = (simd_splat(32), simd_load_halves(base))
    let (low, high) = (simd_mul(d, simd_load_signed(p)), simd_mul(d, simd_load_signed(p + 16)))
    let (first, second) = (simd_load_bytes(p + 288), simd_load_bytes(p + 352))
    var step = 0
    while step < 4 {
        let packed = simd_low_nibbles(simd_load_bytes(p + (32 &+ step &* 64)))
        let quants = simd_or(packed, simd_upper_bits(first, Int32(truncatingIfNeeded: 2 &* step), 2))
        add(quants, zero, low, x.step(block, step), rows, &sums)
        step &+= 1
    }
    while step < 8 {
        let packed = simd_high_nibbles(simd_load_bytes(p + (32 &+ (step &- 4) &* 64)))
        let quants = simd_or(packed, simd_upper_bits(second, Int32(truncatingIfNeeded: 2 &* step &- 8), 2))
        add(quants, zero, high, x.step(block, step), rows, &sums)
        step &+= 1
    }
}

@_transparent
private func cell(
    _ format: Int, _ group: UnsafeRawPointer, _ block: Int, _ x: Rows, _ rows: Int, _ sums: inout Sums
) {
    switch format {
    case 0: cellQ8_0(group, block, x, rows, &sums)
    case 1: cellQ4_0(group, block, x, rows, &sums)
    case 2: cellQ4K(group, block, x, rows, &sums)
    case 3: cellQ5K(group, block, x, rows, &sums)
    default: cellQ6K(group, block, x, rows, &sums)
    }
}

// MARK: Rows and groups

/// One row, up to four groups.
@_transparent
private func oneRow(
    _ format: Int, _ weights: UnsafeRawPointer, _ groupBytes: Int, _ groups: Int, _ blocks: Int, _ x: Rows,
    _ results: UnsafeMutablePointer<Float>
) {
    var (s0, s1, s2, s3) = (Sums(), Sums(), Sums(), Sums())
    var block = 0
    while block < blocks {
        cell(format, weights, block, x, 1, &s0)
        if groups > 1 { cell(format, weights + groupBytes, block, x, 1, &s1) }
        if groups > 2 { cell(format, weights + groupBytes &* 2, block, x, 1, &s2) }
        if groups > 3 { cell(format, weights + groupBytes &* 3, block, x, 1, &s3) }
        block &+= 1
    }
    simd_store(results, s0.a)
    if groups > 1 { simd_store(results + 16, s1.a) }
    if groups > 2 { simd_store(results + 32, s2.a) }
    if groups > 3 { simd_store(results + 48, s3.a) }
}

/// Two to eight rows of one group.
@_transparent
private func severalRows(
    _ format: Int, _ weights: UnsafeRawPointer, _ blocks: Int, _ x: Rows, _ rows: Int,
    _ results: UnsafeMutablePointer<Float>
) {
    var sums = Sums()
    var block = 0
    while block < blocks {
        cell(format, weights, block, x, rows, &sums)
        block &+= 1
    }
    simd_store(results, sums.a)
    simd_store(results + 16, sums.b)
    if rows > 2 { simd_store(results + 32, sums.c) }
    if rows > 3 { simd_store(results + 48, sums.d) }
    if rows > 4 { simd_store(results + 64, sums.e) }
    if rows > 5 { simd_store(results + 80, sums.f) }
    if rows > 6 { simd_store(results + 96, sums.g) }
    if rows > 7 { simd_store(results + 112, sums.h) }
}

@_transparent
private func product(
    _ format: Int, _ weights: UnsafeRawPointer, _ groupBytes: Int, _ groups: Int, _ blocks: Int, _ x: Rows,
    _ rows: Int, _ results: UnsafeMutablePointer<Float>
) {
    if rows == 1 {
        oneRow(format, weights, groupBytes, groups, blocks, x, results)
        return
    }
    var group = 0
    while group < groups {
        let (from, to) = (weights + groupBytes &* group, results + group &* rows &* 16)
        switch rows {
        case 2: severalRows(format, from, blocks, x, 2, to)
        case 3: severalRows(format, from, blocks, x, 3, to)
        case 4: severalRows(format, from, blocks, x, 4, to)
        case 5: severalRows(format, from, blocks, x, 5, to)
        case 6: severalRows(format, from, blocks, x, 6, to)
        case 7: severalRows(format, from, blocks, x, 7, to)
        default: severalRows(format, from, blocks, x, 8, to)
        }
        group &+= 1
    }
}

/// results [groups, rows, 16] = 1 to 8 arranged rows (see `Activations`; `rows` are all there are) · 1 to 4 groups of 16
/// outputs, `groupBytes` apart. `format` as for `quantizedProduct`; `blocks`: columns / 32.
package func fusedProduct(
    format: Int, weights: UnsafeRawPointer, groupBytes: Int, groups: Int, blocks: Int, values: UnsafePointer<Float>,
    rows: Int, results: UnsafeMutablePointer<Float>
) {
    let x = Rows(values: values, count: rows)
    switch format {
    case 0: product(0, weights, groupBytes, groups, blocks, x, rows, results)
    case 1: product(1, weights, groupBytes, groups, blocks, x, rows, results)
    case 2: product(2, weights, groupBytes, groups, blocks, x, rows, results)
    case 3: product(3, weights, groupBytes, groups, blocks, x, rows, results)
    default: product(4, weights, groupBytes, groups, blocks, x, rows, results)
    }
}
