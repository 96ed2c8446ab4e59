// Conversions of 16-bit floats: exact, with no library call, the same on every machine.

/// binary16 bits to the float of the same value.
@inline(__always)
package func floatFromHalf(_ bits: UInt16) -> Float {
    let sign = UInt32(bits & 0x8000) << 16
    let magnitude = UInt32(bits & 0x7FFF) << 13
    // The scaling by 2^112 puts the exponent right and normalises subnormals exactly; infinity and NaN need all ones.
    let scaled = (Float(bitPattern: magnitude) * Float(bitPattern: 0x7780_0000)).bitPattern
    let value = magnitude >= 0x7C00 << 13 ? magnitude | 0x7F80_0000 : scaled
    return Float(bitPattern: value | sign)
}

/// Float to the nearest binary16, ties to even; beyond the range gives infinity, NaN stays NaN.
@inline(__always)
package func halfFromFloat(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    let sign = UInt16(truncatingIfNeeded: bits >> 16) & 0x8000
    let magnitude = bits & 0x7FFF_FFFF
    if magnitude > 0x7F80_0000 { return sign | 0x7E00 }
    if magnitude >= 0x4780_0000 { return sign | 0x7C00 }
    if magnitude < 0x3880_0000 {  // subnormal in binary16: let the float adder round at the right place
        let shifted = Float(bitPattern: magnitude) + Float(bitPattern: 0x3F00_0000)
        return sign | UInt16(truncatingIfNeeded: shifted.bitPattern &- 0x3F00_0000)
    }
    let rounded = magnitude &+ 0xFFF &+ (magnitude >> 13 & 1)
    return sign | UInt16(truncatingIfNeeded: (rounded &- 0x3800_0000) >> 13)
}

/// bfloat16 bits to the float of the same value.
@inline(__always)
package func floatFromBFloat(_ bits: UInt16) -> Float { Float(bitPattern: UInt32(bits) << 16) }
