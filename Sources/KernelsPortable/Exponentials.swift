import CSIMD

// What needs e^x: the weights of attention and the gate of a feed-forward layer.

/// e^x of 16 floats, within 2 units in the last place; 0 below about -87.3, infinity above about 88.4, NaN for NaN.
///
/// x = n·ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor series to the seventh power (the remainder is below 6e-9);
/// n enters the exponent.
@inline(__always)
private func exponential(_ x: simd_floats) -> simd_floats {
    let bounded = simd_min(simd_splat(88.72283), simd_max(simd_splat(-87.33654), x))
    // Adding 1.5·2^23 rounds to the nearest integer.
    let magic = simd_splat(12_582_912)
    let n = simd_sub(simd_add(simd_scale(bounded, 1.442_695_04), magic), magic)
    let r = simd_fma_scalar(n, 2.121_944_4e-4, simd_fma_scalar(n, -0.693_359_375, bounded))
    var power = simd_fma_scalar(r, 1.0 / 5040, simd_splat(1.0 / 720))
    power = simd_fma(power, r, simd_splat(1.0 / 120))
    power = simd_fma(power, r, simd_splat(1.0 / 24))
    power = simd_fma(power, r, simd_splat(1.0 / 6))
    power = simd_fma(power, r, simd_splat(0.5))
    power = simd_fma(power, r, simd_splat(1))
    power = simd_fma(power, r, simd_splat(1))
    return simd_unless_below(x, -87.33654, simd_mul(power, simd_power_of_two(n)))
}

/// Turns the scores [32] of a query vector into weights relative to the maximum so far, and brings what was summed so far
/// to the same scale. Tokens outside `from` ..< `to` weigh nothing. sums: [16], of the weights lane by lane;
/// result: [size].
package func weighScores(
    _ scores: UnsafeMutablePointer<Float>, from: Int, to: Int, maximum: UnsafeMutablePointer<Float>,
    sums: UnsafeMutablePointer<Float>, result: UnsafeMutablePointer<Float>, size: Int
) {
    var token = 0
    while token < from {
        scores[token] = -.infinity
        token &+= 1
    }
    token = to
    while token < 32 {
        scores[token] = -.infinity
        token &+= 1
    }
    let (low, high) = (simd_load(scores), simd_load(scores + 16))
    let largest = simd_largest(simd_max(low, high))
    let before = maximum.pointee
    let now = largest > before ? largest : before
    maximum.pointee = now
    // Without this, -infinity - -infinity would make NaN of what has no weight at all.
    let reference = simd_splat(now == -.infinity ? 0 : now)
    let (first, second) = (exponential(simd_sub(low, reference)), exponential(simd_sub(high, reference)))
    simd_store(scores, first)
    simd_store(scores + 16, second)
    guard now != before else {
        simd_store(sums, simd_add(simd_load(sums), simd_add(first, second)))
        return
    }
    let factor = exponential(simd_sub(simd_splat(before), reference))
    simd_store(sums, simd_fma(simd_load(sums), factor, simd_add(first, second)))
    var element = 0
    while element &+ 16 <= size {
        simd_store(result + element, simd_mul(simd_load(result + element), factor))
        element &+= 16
    }
    let one = simd_first(factor)
    while element < size {
        result[element] *= one
        element &+= 1
    }
}

/// out [32] = silu(gate)·up, silu(x) = x / (1 + e^-x). The second 16 of gate and up are `distance` after the first.
package func gateBlock(
    _ gate: UnsafePointer<Float>, _ up: UnsafePointer<Float>, distance: Int, out: UnsafeMutablePointer<Float>
) {
    var half = 0
    while half < 2 {
        let g = simd_load(gate + half &* distance)
        let grown = simd_add(exponential(simd_sub(simd_zero(), g)), simd_splat(1))
        simd_store(out + half &* 16, simd_mul(simd_div(g, grown), simd_load(up + half &* distance)))
        half &+= 1
    }
}
