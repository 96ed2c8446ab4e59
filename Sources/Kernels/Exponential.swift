/// e^x of eight floats, within 2 units in the last place; 0 below about -87.3, infinity above about 88.7, NaN for NaN.
///
/// x = n·ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor series to the seventh power (the remainder is below 6e-9);
/// n enters the exponent. Only adds, multiplies and integer operations: the same bits on every machine.
@inline(__always)
func exponential(_ x: SIMD8<Float>) -> SIMD8<Float> {
    let low: Float = -87.33654
    let high: Float = 88.72283
    let bounded = x.replacing(with: low, where: x .< low).replacing(with: high, where: x .> high)
    // Adding 1.5·2^23 rounds to the nearest integer, which then stands in the low bits.
    let magic: Float = 12_582_912
    let shifted = bounded * Float(1.442_695_04) + magic
    let n = shifted - magic
    let r = (bounded - n * Float(0.693_359_375)) - n * Float(-2.121_944_4e-4)
    var power = r * Float(1.0 / 5040) + Float(1.0 / 720)
    power = power * r + Float(1.0 / 120)
    power = power * r + Float(1.0 / 24)
    power = power * r + Float(1.0 / 6)
    power = power * r + Float(0.5)
    power = power * r + 1
    power = power * r + 1
    // n is at most 128, where 2^n has no exponent of its own: scale in two steps.
    let bits = unsafeBitCast(shifted, to: SIMD8<UInt32>.self) &- UInt32(0x4B40_0000)
    let half = unsafeBitCast(unsafeBitCast(bits, to: SIMD8<Int32>.self) &>> 1, to: SIMD8<UInt32>.self)
    let first = unsafeBitCast((half &+ 127) &<< 23, to: SIMD8<Float>.self)
    let second = unsafeBitCast((bits &- half &+ 127) &<< 23, to: SIMD8<Float>.self)
    return (power * first * second).replacing(with: 0, where: x .< low)
        .replacing(with: .infinity, where: x .> high)
}

@inline(__always)
func load8(_ pointer: UnsafePointer<Float>) -> SIMD8<Float> {
    UnsafeRawPointer(pointer).loadUnaligned(as: SIMD8<Float>.self)
}

@inline(__always)
func store8(_ value: SIMD8<Float>, _ pointer: UnsafeMutablePointer<Float>) {
    UnsafeMutableRawPointer(pointer).storeBytes(of: value, as: SIMD8<Float>.self)
}

/// e^x of one float: a lane of the same computation.
@inline(__always)
func exponential(_ x: Float) -> Float { exponential(SIMD8<Float>(repeating: x))[0] }

/// target[i] = e^source[i]; `source` may be `target`.
package func exponentials(_ source: UnsafePointer<Float>, count: Int, into target: UnsafeMutablePointer<Float>) {
    var index = 0
    while index + 8 <= count {
        store8(exponential(load8(source + index)), target + index)
        index += 8
    }
    while index < count {
        target[index] = exponential(source[index])
        index += 1
    }
}
