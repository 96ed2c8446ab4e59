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
    var index = 0
    while index + 8 <= count {
        let bits = (source + index * 2).loadUnaligned(as: SIMD8<UInt16>.self)
        UnsafeMutableRawPointer(target + index).storeBytes(of: floatsFromHalves(bits), as: SIMD8<Float>.self)
        index += 8
    }
    while index < count {
        target[index] = floatFromHalf((source + index * 2).loadUnaligned(as: UInt16.self))
        index += 1
    }
}

private func expandBFloats(_ source: UnsafeRawPointer, _ count: Int, _ target: Floats) {
    for index in 0..<count { target[index] = floatFromBFloat((source + index * 2).loadUnaligned(as: UInt16.self)) }
}

// MARK: Blocks of 32

/// d (half), 32 signed bytes: x = d·q.
@inline(__always)
private func expandQ8_0(_ block: Bytes, _ out: Floats) {
    let scale = half(block, 0)
    for step in 0..<2 {
        let quants = UnsafeRawPointer(block + 2 + step * 16).loadUnaligned(as: SIMD16<Int8>.self)
        let values = SIMD16<Float>(SIMD16<Int32>(truncatingIfNeeded: quants)) * scale
        UnsafeMutableRawPointer(out + step * 16).storeBytes(of: values, as: SIMD16<Float>.self)
    }
}

/// Nibbles of a block: the low ones are elements 0 to 15, the high ones 16 to 31.
@inline(__always)
private func nibbles(_ bytes: Bytes) -> (low: SIMD16<UInt8>, high: SIMD16<UInt8>) {
    let packed = UnsafeRawPointer(bytes).loadUnaligned(as: SIMD16<UInt8>.self)
    return (packed & 0x0F, packed &>> 4)
}

@inline(__always)
private func store(_ quants: SIMD16<UInt8>, minus offset: Int32, _ scale: Float, _ minimum: Float, _ out: Floats) {
    let integers = SIMD16<Int32>(truncatingIfNeeded: quants) &- offset
    let values = SIMD16<Float>(integers) * scale + minimum
    UnsafeMutableRawPointer(out).storeBytes(of: values, as: SIMD16<Float>.self)
}

/// d, 16 bytes of nibbles: x = d·(q - 8).
@inline(__always)
private func expandQ4_0(_ block: Bytes, _ out: Floats) {
    let scale = half(block, 0)
    let (low, high) = nibbles(block + 2)
    store(low, minus: 8, scale, -0.0, out)
    store(high, minus: 8, scale, -0.0, out + 16)
}

/// d, m, 16 bytes of nibbles: x = d·q + m.
@inline(__always)
private func expandQ4_1(_ block: Bytes, _ out: Floats) {
    let (scale, minimum) = (half(block, 0), half(block, 2))
    let (low, high) = nibbles(block + 4)
    store(low, minus: 0, scale, minimum, out)
    store(high, minus: 0, scale, minimum, out + 16)
}

/// The fifth bits of 32 elements: bit i belongs to element i.
@inline(__always)
private func fifthBits(_ bytes: Bytes) -> (low: SIMD16<UInt8>, high: SIMD16<UInt8>) {
    let bits = UnsafeRawPointer(bytes).loadUnaligned(as: UInt32.self)
    let lanes = SIMD16<UInt32>(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
    let low = (SIMD16(repeating: bits) &>> lanes) & 1
    let high = (SIMD16(repeating: bits &>> 16) &>> lanes) & 1
    return (SIMD16<UInt8>(truncatingIfNeeded: low &<< 4), SIMD16<UInt8>(truncatingIfNeeded: high &<< 4))
}

/// d, 4 bytes of fifth bits, 16 bytes of nibbles: x = d·(q - 16).
@inline(__always)
private func expandQ5_0(_ block: Bytes, _ out: Floats) {
    let scale = half(block, 0)
    let (low, high) = nibbles(block + 6)
    let fifth = fifthBits(block + 2)
    store(low | fifth.low, minus: 16, scale, -0.0, out)
    store(high | fifth.high, minus: 16, scale, -0.0, out + 16)
}

/// d, m, 4 bytes of fifth bits, 16 bytes of nibbles: x = d·q + m.
@inline(__always)
private func expandQ5_1(_ block: Bytes, _ out: Floats) {
    let (scale, minimum) = (half(block, 0), half(block, 2))
    let (low, high) = nibbles(block + 8)
    let fifth = fifthBits(block + 4)
    store(low | fifth.low, minus: 0, scale, minimum, out)
    store(high | fifth.high, minus: 0, scale, minimum, out + 16)
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
