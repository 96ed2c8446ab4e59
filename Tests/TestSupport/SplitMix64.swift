/// The SplitMix64 generator: the same numbers for the same seed, on every machine.
package struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// From -bound to bound.
    package mutating func float(_ bound: Float = 1) -> Float {
        (Float(next() >> 40) * 0x1p-23 - 1) * bound
    }

    /// `count` floats from -bound to bound.
    package mutating func floats(_ count: Int, bound: Float = 1) -> [Float] {
        (0..<count).map { _ in float(bound) }
    }

    package mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next() >> 56) }
    }

    package mutating func int(_ range: Range<Int>) -> Int { Int.random(in: range, using: &self) }

    /// `total` cut into random pieces of 1 to `most`.
    package mutating func pieces(of total: Int, upTo most: Int) -> [Int] {
        var pieces: [Int] = []
        var left = total
        while left > 0 {
            pieces.append(int(1..<min(most, left) + 1))
            left -= pieces[pieces.count - 1]
        }
        return pieces
    }
}
