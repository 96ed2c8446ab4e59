// Dequantisation of every storage type, block by block. The layouts are those of the GGUF format.

/// How the elements of a weight are stored.
package enum BlockFormat: UInt8, Sendable, CaseIterable {
    case f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q2_K, q3_K, q4_K, q5_K, q6_K, iq4_NL, iq4_XS
}

/// Expands `count` elements stored as `format` at `source` to floats. `count` is a whole number of blocks.
package func dequantize(
    _ format: BlockFormat, _ source: UnsafeRawPointer, count: Int, into target: UnsafeMutablePointer<Float>
) {
    switch format {
    case .f32: target.update(from: source.assumingMemoryBound(to: Float.self), count: count)
    case .f16: expandHalves(source, count, target)
    case .bf16: expandBFloats(source, count, target)
    case .q8_0: expand(source, count / 32, 34, 32, target, expandQ8_0)
    case .q4_0: expand(source, count / 32, 18, 32, target, expandQ4_0)
    case .q4_1: expand(source, count / 32, 20, 32, target, expandQ4_1)
    case .q5_0: expand(source, count / 32, 22, 32, target, expandQ5_0)
    case .q5_1: expand(source, count / 32, 24, 32, target, expandQ5_1)
    case .iq4_NL: expand(source, count / 32, 18, 32, target, expandIQ4NL)
    case .q2_K: expand(source, count / 256, 84, 256, target, expandQ2K)
    case .q3_K: expand(source, count / 256, 110, 256, target, expandQ3K)
    case .q4_K: expand(source, count / 256, 144, 256, target, expandQ4K)
    case .q5_K: expand(source, count / 256, 176, 256, target, expandQ5K)
    case .q6_K: expand(source, count / 256, 210, 256, target, expandQ6K)
    case .iq4_XS: expand(source, count / 256, 136, 256, target, expandIQ4XS)
    }
}

typealias Bytes = UnsafePointer<UInt8>
typealias Floats = UnsafeMutablePointer<Float>

@inline(__always)
private func expand(
    _ source: UnsafeRawPointer, _ blocks: Int, _ bytes: Int, _ elements: Int, _ target: Floats,
    _ block: (Bytes, Floats) -> Void
) {
    var from = source.assumingMemoryBound(to: UInt8.self)
    var to = target
    for _ in 0..<blocks {
        block(from, to)
        from += bytes
        to += elements
    }
}

@inline(__always)
func half(_ bytes: Bytes, _ offset: Int) -> Float {
    floatFromHalf(UnsafeRawPointer(bytes + offset).loadUnaligned(as: UInt16.self))
}

private func expandHalves(_ source: UnsafeRawPointer, _ count: Int, _ target: Floats) {
    for index in 0..<count { target[index] = floatFromHalf((source + index * 2).loadUnaligned(as: UInt16.self)) }
}

private func expandBFloats(_ source: UnsafeRawPointer, _ count: Int, _ target: Floats) {
    for index in 0..<count { target[index] = floatFromBFloat((source + index * 2).loadUnaligned(as: UInt16.self)) }
}

// MARK: Blocks of 32

// Plain loops over lanes: the optimiser makes vectors of them, while conversions between SIMD types of the standard
// library would become calls.

/// d (half), 32 signed bytes: x = d·q.
@inline(__always)
private func expandQ8_0(_ block: Bytes, _ out: Floats) {
    let scale = half(block, 0)
    for lane in 0..<32 { out[lane] = Float(Int32(Int8(bitPattern: block[2 + lane]))) * scale }
}

/// d, 16 bytes of nibbles: x = d·(q - 8). The low nibbles are elements 0 to 15, the high ones 16 to 31, as in all types
/// of this group.
@inline(__always)
private func expandQ4_0(_ block: Bytes, _ out: Floats) {
    let scale = half(block, 0)
    for lane in 0..<16 {
        out[lane] = Float(Int32(block[2 + lane] & 15) - 8) * scale
        out[lane + 16] = Float(Int32(block[2 + lane] >> 4) - 8) * scale
    }
}

/// d, m, 16 bytes of nibbles: x = d·q + m.
@inline(__always)
private func expandQ4_1(_ block: Bytes, _ out: Floats) {
    let (scale, minimum) = (half(block, 0), half(block, 2))
    for lane in 0..<16 {
        out[lane] = Float(Int32(block[4 + lane] & 15)) * scale + minimum
        out[lane + 16] = Float(Int32(block[4 + lane] >> 4)) * scale + minimum
    }
}

/// d, 4 bytes with the fifth bit of element i as bit i, 16 bytes of nibbles: x = d·(q - 16).
@inline(__always)
private func expandQ5_0(_ block: Bytes, _ out: Floats) {
    let scale = half(block, 0)
    let fifth = UnsafeRawPointer(block + 2).loadUnaligned(as: UInt32.self)
    for lane in 0..<16 {
        let low = UInt32(block[6 + lane] & 15) | (fifth >> UInt32(lane) & 1) << 4
        let high = UInt32(block[6 + lane] >> 4) | (fifth >> UInt32(lane + 16) & 1) << 4
        out[lane] = Float(Int32(bitPattern: low) - 16) * scale
        out[lane + 16] = Float(Int32(bitPattern: high) - 16) * scale
    }
}

/// d, m, 4 bytes of fifth bits, 16 bytes of nibbles: x = d·q + m.
@inline(__always)
private func expandQ5_1(_ block: Bytes, _ out: Floats) {
    let (scale, minimum) = (half(block, 0), half(block, 2))
    let fifth = UnsafeRawPointer(block + 4).loadUnaligned(as: UInt32.self)
    for lane in 0..<16 {
        let low = UInt32(block[8 + lane] & 15) | (fifth >> UInt32(lane) & 1) << 4
        let high = UInt32(block[8 + lane] >> 4) | (fifth >> UInt32(lane + 16) & 1) << 4
        out[lane] = Float(Int32(bitPattern: low)) * scale + minimum
        out[lane + 16] = Float(Int32(bitPattern: high)) * scale + minimum
    }
}

// MARK: IQ4, a table of 16 values

/// The 16 levels of the IQ4 types.
@inline(__always)
private func iq4Level(_ nibble: UInt8) -> Float {
    let levels = SIMD16<Int8>(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
    return Float(levels[Int(nibble & 15)])
}

@inline(__always)
private func expandIQ4(_ nibbles: Bytes, _ scale: Float, _ out: Floats) {
    for index in 0..<16 {
        out[index] = scale * iq4Level(nibbles[index] & 15)
        out[index + 16] = scale * iq4Level(nibbles[index] >> 4)
    }
}

/// d, 16 bytes of nibbles: x = d·level(q).
@inline(__always)
private func expandIQ4NL(_ block: Bytes, _ out: Floats) { expandIQ4(block + 2, half(block, 0), out) }

/// d, 2 bytes of high scale bits, 4 bytes of low scale nibbles, 8 sub-blocks of 16 bytes: x = d·(scale - 32)·level(q).
@inline(__always)
private func expandIQ4XS(_ block: Bytes, _ out: Floats) {
    let scale = half(block, 0)
    let highs = UnsafeRawPointer(block + 2).loadUnaligned(as: UInt16.self)
    for sub in 0..<8 {
        let low = block[4 + sub / 2] >> UInt8(4 * (sub % 2)) & 15
        let high = UInt8(truncatingIfNeeded: highs >> UInt16(2 * sub)) & 3
        expandIQ4(block + 8 + sub * 16, scale * Float(Int32(low | high << 4) - 32), out + sub * 32)
    }
}
