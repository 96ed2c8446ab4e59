/// Philox4x32-10, a counter-based generator: 128 random bits as a pure function of a counter and a key.
/// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC'11).
package enum Philox {
    @inline(__always)
    package static func generate(counter: SIMD4<UInt32>, key: SIMD2<UInt32>) -> SIMD4<UInt32> {
        var (c0, c1, c2, c3) = (counter.x, counter.y, counter.z, counter.w)
        var (k0, k1) = (key.x, key.y)
        for _ in 0..<10 {
            let first = UInt64(c0) &* 0xD251_1F53
            let second = UInt64(c2) &* 0xCD9E_8D57
            (c0, c1, c2, c3) = (
                UInt32(truncatingIfNeeded: second >> 32) ^ c1 ^ k0, UInt32(truncatingIfNeeded: second),
                UInt32(truncatingIfNeeded: first >> 32) ^ c3 ^ k1, UInt32(truncatingIfNeeded: first)
            )
            k0 &+= 0x9E37_79B9
            k1 &+= 0xBB67_AE85
        }
        return SIMD4(c0, c1, c2, c3)
    }
}

/// The noise that a request owns: standard Gumbel variates G(position, token), each a pure function of seed, sample,
/// position and token. The token at a position is argmax of log p + G (the Gumbel-max trick), so a text depends on
/// nothing but its prompt, its parameters and its seed. Source: Daliri, Musco, Suresh, arXiv 2408.07978.
package struct GumbelNoise: Sendable {
    package let seed: UInt64
    package let sample: UInt32

    package init(seed: UInt64, sample: UInt32 = 0) {
        self.seed = seed
        self.sample = sample
    }

    /// 64 random bits for one token at one position.
    @inline(__always)
    private func bits(position: Int, token: Int32) -> UInt64 {
        let words = Philox.generate(
            counter: SIMD4(
                UInt32(truncatingIfNeeded: position), UInt32(bitPattern: token), sample,
                UInt32(truncatingIfNeeded: position >> 32)),
            key: SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32)))
        return UInt64(words.x) << 32 | UInt64(words.y)
    }

    /// The standard Gumbel variate of 64 random bits: -log(-log u) with u = (bits + ½)·2^-64. Near 1, where the winner is
    /// decided, u is worked with as 1 - v, so that no bit of it is lost.
    @inline(__always)
    package static func gumbel(_ bits: UInt64) -> Double {
        let v = (Double(~bits) + 0.5) * 0x1p-64
        guard v < 0.25 else { return -realLogarithm(-realLogarithm((Double(bits) + 0.5) * 0x1p-64)) }
        return -realLogarithm(-realLogarithm(oneMinus: v))
    }

    package func gumbel(position: Int, token: Int32) -> Double {
        Self.gumbel(bits(position: position, token: token))
    }

    /// The variate where it exceeds `threshold`, else nil; most tokens are settled without a logarithm.
    @inline(__always)
    package func gumbel(position: Int, token: Int32, above threshold: Double) -> Double? {
        let bits = bits(position: position, token: token)
        // With v = 1 - u: -log u > v, so G < -log v <= (leading zero bits of v + 1)·ln 2.
        let bound = Double((~bits).leadingZeroBitCount + 1) * 0.693_147_180_559_945_4
        guard bound > threshold else { return nil }
        let value = Self.gumbel(bits)
        return value > threshold ? value : nil
    }
}
