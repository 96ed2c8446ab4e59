// The small steps between the products. All work on one row at a time.

/// target[i] = source[i] / rms(source) · gain[i], rms = √(mean of squares + epsilon). [count]; in place allowed.
package func rmsNorm(
    _ source: UnsafePointer<Float>, gain: UnsafePointer<Float>, count: Int, epsilon: Float,
    into target: UnsafeMutablePointer<Float>
) {
    let scale = 1 / (dot(source, source, count) / Float(count) + epsilon).squareRoot()
    for index in 0..<count { target[index] = source[index] * scale * gain[index] }
}

/// How a head's elements pair up for rotation.
package enum RotaryPairing: Sendable {
    /// (0, 1), (2, 3), …: the `llama` architecture in GGUF files.
    case adjacent
    /// (0, n/2), (1, n/2 + 1), …: Hugging Face checkpoints, and the other architectures in GGUF files.
    case halves
}

/// Rotates `heads` heads of `headDimension` at `vector` by the angles whose cosines and sines are given
/// [rotated / 2]; elements beyond `rotated` stay. Source: RoFormer, arXiv 2104.09864.
package func rotate(
    _ vector: UnsafeMutablePointer<Float>, heads: Int, headDimension: Int, rotated: Int, pairing: RotaryPairing,
    cosines: UnsafePointer<Float>, sines: UnsafePointer<Float>
) {
    let pairs = rotated / 2
    let (step, distance) = pairing == .adjacent ? (2, 1) : (1, pairs)
    for head in 0..<heads {
        let base = vector + head * headDimension
        for pair in 0..<pairs {
            let (first, second) = (base[pair * step], base[pair * step + distance])
            base[pair * step] = first * cosines[pair] - second * sines[pair]
            base[pair * step + distance] = first * sines[pair] + second * cosines[pair]
        }
    }
}

/// Whether all of `values` [count] are finite.
package func allFinite(_ values: UnsafePointer<Float>, count: Int) -> Bool {
    // x - x is 0 for finite x only, and NaN stays NaN in a sum.
    var sums = SIMD8<Float>()
    var index = 0
    while index + 8 <= count {
        let v = load8(values + index)
        sums += v - v
        index += 8
    }
    var total = sums.sum()
    while index < count {
        total += values[index] - values[index]
        index += 1
    }
    return total == 0
}

// MARK: Vectors

@inline(__always)
func load8(_ pointer: UnsafePointer<Float>) -> SIMD8<Float> {
    UnsafeRawPointer(pointer).loadUnaligned(as: SIMD8<Float>.self)
}

@inline(__always)
func store8(_ value: SIMD8<Float>, _ pointer: UnsafeMutablePointer<Float>) {
    UnsafeMutableRawPointer(pointer).storeBytes(of: value, as: SIMD8<Float>.self)
}

@inline(__always)
func load16(_ pointer: UnsafePointer<Float>) -> SIMD16<Float> {
    UnsafeRawPointer(pointer).loadUnaligned(as: SIMD16<Float>.self)
}

/// The sum of the lanes, always as the same tree.
@inline(__always)
func laneSum(_ v: SIMD16<Float>) -> Float {
    let eight = v.lowHalf + v.highHalf
    let four = eight.lowHalf + eight.highHalf
    let two = four.lowHalf + four.highHalf
    return two.x + two.y
}

/// Σ a·b: 16 lanes over the whole multiples of 16, the lanes as a tree, then the rest in order.
@inline(__always)
func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ count: Int) -> Float {
    var sums = SIMD16<Float>()
    var index = 0
    while index + 16 <= count {
        sums += load16(a + index) * load16(b + index)
        index += 16
    }
    var total = laneSum(sums)
    while index < count {
        total += a[index] * b[index]
        index += 1
    }
    return total
}
