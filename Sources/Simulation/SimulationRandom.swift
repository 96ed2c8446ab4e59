/// The SplitMix64 generator: the same numbers for the same seed on every machine. Everything random in a simulation
/// comes from generators of its own, keyed by what they decide, so that two policies meet the same texts.
package struct SimulationRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    /// A stream of its own for each sequence of keys.
    package init(seed: UInt64, _ keys: UInt64...) {
        var mixed = Self.mix(seed &+ Self.increment)
        for key in keys { mixed = Self.mix(mixed ^ Self.mix(key &+ Self.increment)) }
        state = mixed
    }

    package mutating func next() -> UInt64 {
        state &+= Self.increment
        return Self.mix(state)
    }

    /// The numbers that come next are left out.
    mutating func skip(_ count: Int) { state &+= Self.increment &* UInt64(count) }

    /// Uniform in [0, 1).
    package mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// Nearly normal with mean 0 and variance 1: the sum of twelve uniform numbers, within ±6.
    package mutating func normal() -> Double {
        var sum = -6.0
        for _ in 0..<12 { sum += unit() }
        return sum
    }

    private static let increment: UInt64 = 0x9E37_79B9_7F4A_7C15

    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
