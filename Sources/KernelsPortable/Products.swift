import CSIMD

// Products of quantised rows with one group of 16 outputs. A block of weights is read and unpacked once for all rows
// of the tile; each (row, output) adds its blocks in order, so that a row's bits do not depend on the others.
//
// In every layout a cell of 16 outputs x 32 k is eight steps of 64 bytes: output o, k = 4·step + i at byte 4·o + i.
// Layouts with nibbles hold steps j (low) and j + 4 (high) in vector j, so that four vectors make eight steps.

/// How far ahead of their use weights are fetched. The hardware's own prefetcher stops at page borders.
private let prefetchDistance = 8192

/// The eight steps of a cell, ready to be multiplied.
private struct Cell {
    let w0, w1, w2, w3, w4, w5, w6, w7: simd_weights
}

/// A tile of quantised rows; see `quantizedProduct` for the layouts.
private struct Tile {
    let x: UnsafePointer<simd_activation>
    let facts: UnsafePointer<BlockFacts>
    /// Rows of the whole batch, and the first and number of this tile's.
    let stride: Int
    let first: Int
    let rows: Int
    /// [rows, 16]
    let results: UnsafeMutablePointer<Float>

    @inline(__always)
    func place(_ block: Int) -> Int { block &* stride &+ first }
}

@inline(__always)
func prefetch(_ p: UnsafeRawPointer, lines: Int) {
    var line = 0
    while line < lines {
        simd_prefetch(p + (prefetchDistance &+ line &* 64))
        line &+= 1
    }
}

@inline(__always)
private func dot(_ c: Cell, _ x: UnsafePointer<simd_activation>, from start: simd_sums) -> simd_floats {
    var sums = start
    sums = simd_dot(sums, c.w0, x)
    sums = simd_dot(sums, c.w1, x + 4)
    sums = simd_dot(sums, c.w2, x + 8)
    sums = simd_dot(sums, c.w3, x + 12)
    sums = simd_dot(sums, c.w4, x + 16)
    sums = simd_dot(sums, c.w5, x + 20)
    sums = simd_dot(sums, c.w6, x + 24)
    sums = simd_dot(sums, c.w7, x + 28)
    return simd_finish(sums)
}

@inline(__always)
private func bytesCell(_ p: UnsafeRawPointer) -> Cell {
    Cell(
        w0: simd_prepare(simd_load_bytes(p)), w1: simd_prepare(simd_load_bytes(p + 64)),
        w2: simd_prepare(simd_load_bytes(p + 128)), w3: simd_prepare(simd_load_bytes(p + 192)),
        w4: simd_prepare(simd_load_bytes(p + 256)), w5: simd_prepare(simd_load_bytes(p + 320)),
        w6: simd_prepare(simd_load_bytes(p + 384)), w7: simd_prepare(simd_load_bytes(p + 448)))
}

@inline(__always)
private func nibblesCell(_ p: UnsafeRawPointer) -> Cell {
    let (a, b) = (simd_load_bytes(p), simd_load_bytes(p + 64))
    let (c, d) = (simd_load_bytes(p + 128), simd_load_bytes(p + 192))
    return Cell(
        w0: simd_prepare(simd_low_nibbles(a)), w1: simd_prepare(simd_low_nibbles(b)),
        w2: simd_prepare(simd_low_nibbles(c)), w3: simd_prepare(simd_low_nibbles(d)),
        w4: simd_prepare(simd_high_nibbles(a)), w5: simd_prepare(simd_high_nibbles(b)),
        w6: simd_prepare(simd_high_nibbles(c)), w7: simd_prepare(simd_high_nibbles(d)))
}

/// Nibbles and one more bit of each: bit `step` of the bytes at `bits`.
@inline(__always)
private func fiveBitsCell(_ p: UnsafeRawPointer, bits: UnsafeRawPointer) -> Cell {
    let (a, b) = (simd_load_bytes(p), simd_load_bytes(p + 64))
    let (c, d) = (simd_load_bytes(p + 128), simd_load_bytes(p + 192))
    let h = simd_load_bytes(bits)
    return Cell(
        w0: simd_prepare(simd_or(simd_low_nibbles(a), simd_upper_bits(h, 0, 1))),
        w1: simd_prepare(simd_or(simd_low_nibbles(b), simd_upper_bits(h, 1, 1))),
        w2: simd_prepare(simd_or(simd_low_nibbles(c), simd_upper_bits(h, 2, 1))),
        w3: simd_prepare(simd_or(simd_low_nibbles(d), simd_upper_bits(h, 3, 1))),
        w4: simd_prepare(simd_or(simd_high_nibbles(a), simd_upper_bits(h, 4, 1))),
        w5: simd_prepare(simd_or(simd_high_nibbles(b), simd_upper_bits(h, 5, 1))),
        w6: simd_prepare(simd_or(simd_high_nibbles(c), simd_upper_bits(h, 6, 1))),
        w7: simd_prepare(simd_or(simd_high_nibbles(d), simd_upper_bits(h, 7, 1))))
}

/// Nibbles and two more bits of each: bits 2·(step % 4) of the bytes at `bits` (steps 0 to 3) and `bits` + 64.
@inline(__always)
private func sixBitsCell(_ p: UnsafeRawPointer, bits: UnsafeRawPointer) -> Cell {
    let (a, b) = (simd_load_bytes(p), simd_load_bytes(p + 64))
    let (c, d) = (simd_load_bytes(p + 128), simd_load_bytes(p + 192))
    let (g, h) = (simd_load_bytes(bits), simd_load_bytes(bits + 64))
    return Cell(
        w0: simd_prepare(simd_or(simd_low_nibbles(a), simd_upper_bits(g, 0, 2))),
        w1: simd_prepare(simd_or(simd_low_nibbles(b), simd_upper_bits(g, 2, 2))),
        w2: simd_prepare(simd_or(simd_low_nibbles(c), simd_upper_bits(g, 4, 2))),
        w3: simd_prepare(simd_or(simd_low_nibbles(d), simd_upper_bits(g, 6, 2))),
        w4: simd_prepare(simd_or(simd_high_nibbles(a), simd_upper_bits(h, 0, 2))),
        w5: simd_prepare(simd_or(simd_high_nibbles(b), simd_upper_bits(h, 2, 2))),
        w6: simd_prepare(simd_or(simd_high_nibbles(c), simd_upper_bits(h, 4, 2))),
        w7: simd_prepare(simd_or(simd_high_nibbles(d), simd_upper_bits(h, 6, 2))))
}

/// results[row] += Σ over the cell of (weight - 128 / 2^shift)·x, scaled.
@inline(__always)
private func addCell(_ cell: Cell, _ scale: simd_floats, shift: Int32, _ tile: Tile, block: Int) {
    var x = tile.x + tile.place(block) &* 32
    var facts = tile.facts + tile.place(block)
    var result = tile.results
    let end = result + tile.rows &* 16
    while result < end {
        let start = UnsafeRawPointer(facts).assumingMemoryBound(to: Int32.self) + 1
        let sums = dot(cell, x, from: simd_start(start, shift))
        simd_store(result, simd_fma(sums, simd_scale(scale, facts.pointee.scale), simd_load(result)))
        x += 32
        facts += 1
        result += 16
    }
}

/// results[row] += Σ over the cell of (scale·weight - minimum)·x.
@inline(__always)
private func addCell(_ cell: Cell, _ scale: simd_floats, minimum: simd_floats, _ tile: Tile, block: Int) {
    var x = tile.x + tile.place(block) &* 32
    var facts = tile.facts + tile.place(block)
    var result = tile.results
    let end = result + tile.rows &* 16
    while result < end {
        let sums = dot(cell, x, from: simd_none())
        let lowered = simd_fma_scalar(minimum, facts.pointee.sum, simd_load(result))
        simd_store(result, simd_fma(sums, simd_scale(scale, facts.pointee.scale), lowered))
        x += 32
        facts += 1
        result += 16
    }
}

/// As the first, with a scale for each half of the cell.
@inline(__always)
private func addCell(
    _ c: Cell, _ low: simd_floats, _ high: simd_floats, shift: Int32, _ tile: Tile, block: Int
) {
    var x = tile.x + tile.place(block) &* 32
    var facts = tile.facts + tile.place(block)
    var result = tile.results
    let end = result + tile.rows &* 16
    while result < end {
        let start = UnsafeRawPointer(facts).assumingMemoryBound(to: Int32.self) + 1
        var first = simd_start(start + 1, shift)
        first = simd_dot(first, c.w0, x)
        first = simd_dot(first, c.w1, x + 4)
        first = simd_dot(first, c.w2, x + 8)
        first = simd_dot(first, c.w3, x + 12)
        var second = simd_start_rest(start, start + 1, shift)
        second = simd_dot(second, c.w4, x + 16)
        second = simd_dot(second, c.w5, x + 20)
        second = simd_dot(second, c.w6, x + 24)
        second = simd_dot(second, c.w7, x + 28)
        let d = facts.pointee.scale
        let sum = simd_fma(simd_finish(first), simd_scale(low, d), simd_load(result))
        simd_store(result, simd_fma(simd_finish(second), simd_scale(high, d), sum))
        x += 32
        facts += 1
        result += 16
    }
}

// MARK: Layouts

/// Cells of 544 bytes: 16 scales (binary16), 512 bytes q + 128.
private func productQ8_0(_ weights: UnsafeRawPointer, _ blocks: Int, _ tile: Tile) {
    var block = 0
    while block < blocks {
        let p = weights + block &* 544
        prefetch(p, lines: 9)
        addCell(bytesCell(p + 32), simd_load_halves(p), shift: 0, tile, block: block)
        block &+= 1
    }
}

/// Cells of 288 bytes: 16 scales (binary16), 256 bytes of nibbles q + 8.
private func productQ4_0(_ weights: UnsafeRawPointer, _ blocks: Int, _ tile: Tile) {
    var block = 0
    while block < blocks {
        let p = weights + block &* 288
        prefetch(p, lines: 5)
        addCell(nibblesCell(p + 32), simd_load_halves(p), shift: 4, tile, block: block)
        block &+= 1
    }
}

/// Super-blocks of 2368 bytes: 16 d, 16 dmin (binary16), eight times 16 scales, 16 minima, 256 bytes of nibbles.
private func productQ4K(_ weights: UnsafeRawPointer, _ blocks: Int, _ tile: Tile) {
    var block = 0
    while block < blocks {
        let base = weights + (block &>> 3) &* 2368
        let p = base + (64 &+ (block & 7) &* 288)
        prefetch(p, lines: 6)
        addCell(
            nibblesCell(p + 32), simd_mul(simd_load_halves(base), simd_load_unsigned(p)),
            minimum: simd_mul(simd_load_halves(base + 32), simd_load_unsigned(p + 16)), tile, block: block)
        block &+= 1
    }
}

/// As Q4_K with 64 bytes of fifth bits behind the nibbles: super-blocks of 2880 bytes.
private func productQ5K(_ weights: UnsafeRawPointer, _ blocks: Int, _ tile: Tile) {
    var block = 0
    while block < blocks {
        let base = weights + (block &>> 3) &* 2880
        let p = base + (64 &+ (block & 7) &* 352)
        prefetch(p, lines: 7)
        addCell(
            fiveBitsCell(p + 32, bits: p + 288), simd_mul(simd_load_halves(base), simd_load_unsigned(p)),
            minimum: simd_mul(simd_load_halves(base + 32), simd_load_unsigned(p + 16)), tile, block: block)
        block &+= 1
    }
}

/// Super-blocks of 3360 bytes: 16 d (binary16), eight times 2 x 16 signed scales, 256 bytes of nibbles, 128 of bit pairs.
private func productQ6K(_ weights: UnsafeRawPointer, _ blocks: Int, _ tile: Tile) {
    var block = 0
    while block < blocks {
        let base = weights + (block &>> 3) &* 3360
        let p = base + (32 &+ (block & 7) &* 416)
        prefetch(p, lines: 7)
        let d = simd_load_halves(base)
        addCell(
            sixBitsCell(p + 32, bits: p + 288), simd_mul(d, simd_load_signed(p)), simd_mul(d, simd_load_signed(p + 16)),
            shift: 2, tile, block: block)
        block &+= 1
    }
}

/// results [rows, 16] += rows `first` ..< `first` + `rows` of the `stride` quantised ones · one group of 16 outputs.
/// `format`: 0 Q8_0, 1 Q4_0, 2 Q4_K, 3 Q5_K, 4 Q6_K. `blocks`: columns / 32. What `quantizeBlock` wrote:
/// values: [blocks, stride, 32]; facts: [blocks, stride].
package func quantizedProduct(
    format: Int, weights: UnsafeRawPointer, blocks: Int, values: UnsafeRawPointer, facts: UnsafeRawPointer,
    stride: Int, first: Int, rows: Int, results: UnsafeMutablePointer<Float>
) {
    let tile = Tile(
        x: values.assumingMemoryBound(to: simd_activation.self), facts: facts.assumingMemoryBound(to: BlockFacts.self),
        stride: stride, first: first, rows: rows, results: results)
    switch format {
    case 0: productQ8_0(weights, blocks, tile)
    case 1: productQ4_0(weights, blocks, tile)
    case 2: productQ4K(weights, blocks, tile)
    case 3: productQ5K(weights, blocks, tile)
    default: productQ6K(weights, blocks, tile)
    }
}

/// 8 · `rounds` products of a vector of weights (64 bytes) with four activations and nothing else, to see how many of them
/// the processor can do. Returns something that depends on all.
package func bareProducts(weights: UnsafeRawPointer, values: UnsafeRawPointer, rounds: Int) -> Float {
    let w = simd_prepare(simd_load_bytes(weights))
    let x = values.assumingMemoryBound(to: simd_activation.self)
    var (a, b, c, d) = (simd_none(), simd_none(), simd_none(), simd_none())
    var (e, f, g, h) = (simd_none(), simd_none(), simd_none(), simd_none())
    var round = 0
    while round < rounds {
        a = simd_dot(a, w, x)
        b = simd_dot(b, w, x + 4)
        c = simd_dot(c, w, x + 8)
        d = simd_dot(d, w, x + 12)
        e = simd_dot(e, w, x + 16)
        f = simd_dot(f, w, x + 20)
        g = simd_dot(g, w, x + 24)
        h = simd_dot(h, w, x + 28)
        round &+= 1
    }
    let low = simd_add(simd_add(simd_finish(a), simd_finish(b)), simd_add(simd_finish(c), simd_finish(d)))
    let high = simd_add(simd_add(simd_finish(e), simd_finish(f)), simd_add(simd_finish(g), simd_finish(h)))
    return simd_sum(simd_add(low, high))
}
