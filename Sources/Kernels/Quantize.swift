// Quantisation: floats to blocks of the GGUF format. The reverse of Dequantize.swift, which has the layouts.

/// The types that floats can be stored as.
package enum QuantizedFormat: CaseIterable, Sendable {
    case f16, q8_0, q4_0, q5_0, q4_K, q5_K, q6_K

    package var format: BlockFormat {
        switch self {
        case .f16: .f16
        case .q8_0: .q8_0
        case .q4_0: .q4_0
        case .q5_0: .q5_0
        case .q4_K: .q4_K
        case .q5_K: .q5_K
        case .q6_K: .q6_K
        }
    }

    package init?(_ format: BlockFormat) {
        guard let match = Self.allCases.first(where: { $0.format == format }) else { return nil }
        self = match
    }

    /// Stores `source` [count] at `target`. `count` is a whole number of blocks. The elements are finite; others give
    /// blocks of no meaning. A block whose scale exceeds binary16 expands to values that are not finite.
    package func quantize(_ source: UnsafePointer<Float>, count: Int, into target: UnsafeMutableRawPointer) {
        switch self {
        case .f16: storeHalves(source, count, target)
        case .q8_0: store(source, count / 32, target, 34, quantizeQ8_0)
        case .q4_0: store(source, count / 32, target, 18, quantizeQ4_0)
        case .q5_0: store(source, count / 32, target, 22, quantizeQ5_0)
        case .q4_K: quantizeSuperBlocks(source, count / 256, target, 144, quantizeQ4K)
        case .q5_K: quantizeSuperBlocks(source, count / 256, target, 176, quantizeQ5K)
        case .q6_K: quantizeSuperBlocks(source, count / 256, target, 210, quantizeQ6K)
        }
    }
}

@inline(__always)
private func store(
    _ source: UnsafePointer<Float>, _ blocks: Int, _ target: UnsafeMutableRawPointer, _ bytes: Int,
    _ block: (UnsafePointer<Float>, MutableBytes) -> Void
) {
    let to = target.assumingMemoryBound(to: UInt8.self)
    for index in 0..<blocks { block(source + index * 32, to + index * bytes) }
}

@inline(__always)
func storeHalf(_ bits: UInt16, _ block: MutableBytes, _ offset: Int) {
    UnsafeMutableRawPointer(block + offset).storeBytes(of: bits, as: UInt16.self)
}

private func storeHalves(_ source: UnsafePointer<Float>, _ count: Int, _ target: UnsafeMutableRawPointer) {
    for index in 0..<count {
        target.storeBytes(of: halfFromFloat(source[index]), toByteOffset: index * 2, as: UInt16.self)
    }
}

// MARK: Rounding

/// Adding 1.5·2^23 rounds a float below 2^22 to the nearest integer, which then stands in the low bits.
private let magic: Float = 12_582_912

/// The nearest integers, ties to even, of values within ±2^22.
@inline(__always)
func nearest(_ values: SIMD8<Float>) -> SIMD8<Float> { (values + magic) - magic }

/// The low byte of a whole float within ±2^22, as two's complement; no value traps.
@inline(__always)
func lowByte(_ whole: Float) -> UInt8 { UInt8(truncatingIfNeeded: (whole + magic).bitPattern) }

/// A finite float rounded to an integer, ties away from zero, as `rounded()` does without a vector form.
@inline(__always)
private func nearestAwayFromZero(_ value: Float) -> Float {
    let even = (value + magic) - magic
    let rest = value - even
    let up: Float = rest == 0.5 && value > 0 ? 1 : 0
    let down: Float = rest == -0.5 && value < 0 ? 1 : 0
    return even + up - down
}

// MARK: Blocks of 32

/// d = max|x| / 127, q = x / d rounded.
private func quantizeQ8_0(_ x: UnsafePointer<Float>, _ block: MutableBytes) {
    let scale = abs(largest(x)) / 127
    storeHalf(halfFromFloat(scale), block, 0)
    let inverse = scale > 0 ? 1 / scale : 0
    for lane in 0..<32 { block[2 + lane] = lowByte(nearestAwayFromZero(x[lane] * inverse)) }
}

/// d = m / -8 with the element m of largest magnitude, which becomes the level -8; q = x / d + 8 rounded, 15 at most.
private func quantizeQ4_0(_ x: UnsafePointer<Float>, _ block: MutableBytes) {
    let inverse = storeSignedScale(x, block, levels: 8)
    for lane in 0..<16 {
        let low = level(x[lane], inverse, 8)
        let high = level(x[lane + 16], inverse, 8)
        block[2 + lane] = low | high << 4
    }
}

/// As Q4_0 with 16 levels on each side of zero.
private func quantizeQ5_0(_ x: UnsafePointer<Float>, _ block: MutableBytes) {
    let inverse = storeSignedScale(x, block, levels: 16)
    var fifth: UInt32 = 0
    for lane in 0..<16 {
        let low = level(x[lane], inverse, 16)
        let high = level(x[lane + 16], inverse, 16)
        fifth |= UInt32(low >> 4) << UInt32(lane) | UInt32(high >> 4) << UInt32(lane + 16)
        block[6 + lane] = low & 15 | high << 4
    }
    UnsafeMutableRawPointer(block + 2).storeBytes(of: fifth, as: UInt32.self)
}

/// Puts the scale at the start of the block and gives its inverse before the rounding to binary16.
private func storeSignedScale(_ x: UnsafePointer<Float>, _ block: MutableBytes, levels: Float) -> Float {
    let scale = largest(x) / -levels
    storeHalf(halfFromFloat(scale), block, 0)
    return scale != 0 ? 1 / scale : 0
}

/// x / d + zero, rounded half up and clamped to the levels 0 ..< 2·zero.
@inline(__always)
private func level(_ x: Float, _ inverse: Float, _ zero: Float) -> UInt8 {
    let place = x * inverse + (zero + 0.5)
    // In this order of arguments NaN becomes the bound.
    return UInt8(max(0, min(2 * zero - 1, place)))
}

/// The first of 32 elements with the largest magnitude.
private func largest(_ x: UnsafePointer<Float>) -> Float {
    var result = x[0]
    for lane in 1..<32 where abs(x[lane]) > abs(result) { result = x[lane] }
    return result
}
