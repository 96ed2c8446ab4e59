// Exponential and logarithm of doubles from adds, multiplies, divisions and integer operations alone: the same bits on
// every machine, which the mathematics library of a system does not promise.

/// e^x within a few units in the last place; 0 below -708, infinity above 709, NaN for NaN.
package func realExponential(_ x: Double) -> Double {
    guard x > -708 else { return x.isNaN ? x : 0 }
    guard x < 709 else { return x.isNaN ? x : .infinity }
    // Adding 1.5·2^52 rounds to the nearest integer.
    let n = (x * 1.442_695_040_888_963_4 + 6_755_399_441_055_744) - 6_755_399_441_055_744
    let r = (x - n * 0.693_147_180_369_123_8) - n * 1.908_214_929_270_587_7e-10
    // The Taylor series to the thirteenth power: |r| <= ln 2 / 2, so the remainder is below 1e-17.
    var sum = 1.0 / 6_227_020_800
    for factorial in [479_001_600.0, 39_916_800, 3_628_800, 362_880, 40_320, 5040, 720, 120, 24, 6, 2, 1, 1] {
        sum = sum * r + 1 / factorial
    }
    return sum * Double(sign: .plus, exponent: Int(n), significand: 1)
}

/// The natural logarithm of a positive, finite x that is not subnormal, within a few units in the last place.
package func realLogarithm(_ x: Double) -> Double {
    // x = m·2^e with m in [√½, √2).
    let bits = x.bitPattern
    let offset = bits &- 0x3FE6_A09E_667F_3BCD
    let exponent = Int64(bitPattern: offset) >> 52
    let m = Double(bitPattern: bits &- UInt64(bitPattern: exponent) << 52)
    // log m = 2·artanh(s), s = (m - 1) / (m + 1), |s| < 0.172: twelve terms leave less than 1e-19.
    let s = (m - 1) / (m + 1)
    let e = Double(exponent)
    return 2 * s + (artanhTail(s) + e * 1.908_214_929_270_587_7e-10) + e * 0.693_147_180_369_123_8
}

/// The natural logarithm of 1 - v for 0 < v < ¼, exact to a few units in the last place however small v is.
package func realLogarithm(oneMinus v: Double) -> Double {
    let s = v / (2 - v)
    return -(2 * s + artanhTail(s))
}

/// 2·artanh(s) - 2s for |s| < 0.172.
@inline(__always)
private func artanhTail(_ s: Double) -> Double {
    let square = s * s
    var sum = 1.0 / 23
    for odd in [21.0, 19, 17, 15, 13, 11, 9, 7, 5, 3] { sum = sum * square + 1 / odd }
    return 2 * s * square * sum
}
