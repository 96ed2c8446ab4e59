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
        bits(position: position, word: UInt32(bitPattern: token))
    }

    @inline(__always)
    private func bits(position: Int, word: UInt32) -> UInt64 {
        let words = Philox.generate(
            counter: SIMD4(
                UInt32(truncatingIfNeeded: position), word, sample, UInt32(truncatingIfNeeded: position >> 32)),
            key: SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32)))
        return UInt64(words.x) << 32 | UInt64(words.y)
    }

    /// A number from [0, 1) that shares nothing with the noise of any token: ids have no upper bit, `marker` gets it.
    func uniform(position: Int, marker: UInt32) -> Double {
        Double(bits(position: position, word: marker | 1 << 31) >> 11) * 0x1p-53
    }

    /// The standard Gumbel variate of 64 random bits: -log(-log u) with u = (bits + ½)·2^-64. Near 1, where the winner is
    /// decided, u is worked with as 1 - v, so that no bit of it is lost.
    @inline(__always)
    package static func gumbel(_ bits: UInt64) -> Double {
        let v = (Double(~bits) + 0.5) * 0x1p-64
        guard v < 0.25 else { return -realLogarithm(-realLogarithm((Double(bits) + 0.5) * 0x1p-64)) }
        return -realLogarithm(-realLogarithm(oneMinus: v))
    }

    /// What the variate of bits whose complement has so many leading zeros stays below. With v = 1 - u: -log u > v, so
    /// G < -log v <= (leading zero bits of v + 1)·ln 2.
    @inline(__always)
    static func bound(leadingZeros: Int) -> Double { Double(leadingZeros + 1) * 0.693_147_180_559_945_4 }

    package func gumbel(position: Int, token: Int32) -> Double {
        Self.gumbel(bits(position: position, token: token))
    }

    /// The variate where it exceeds `threshold`, else nil; most tokens are settled without a logarithm.
    @inline(__always)
    package func gumbel(position: Int, token: Int32, above threshold: Double) -> Double? {
        let bits = bits(position: position, token: token)
        guard Self.bound(leadingZeros: (~bits).leadingZeroBitCount) > threshold else { return nil }
        let value = Self.gumbel(bits)
        return value > threshold ? value : nil
    }
}

extension Philox {
    /// The first words of four counters that differ in their second word; each word in 64 bits.
    @inline(__always)
    static func firstWords(
        _ counter: SIMD4<UInt32>, second: SIMD4<UInt64>, key: SIMD2<UInt32>
    ) -> SIMD4<UInt64> {
        let low = SIMD4<UInt64>(repeating: 0xFFFF_FFFF)
        var c0 = SIMD4<UInt64>(repeating: UInt64(counter.x))
        var c1 = second
        var c2 = SIMD4<UInt64>(repeating: UInt64(counter.z))
        var c3 = SIMD4<UInt64>(repeating: UInt64(counter.w))
        var (k0, k1) = (key.x, key.y)
        for _ in 0..<10 {
            let first = (c0 & low) &* SIMD4(repeating: 0xD251_1F53)
            let second = (c2 & low) &* SIMD4(repeating: 0xCD9E_8D57)
            c0 = (second &>> 32) ^ c1 ^ SIMD4(repeating: UInt64(k0))
            c1 = second
            c2 = (first &>> 32) ^ c3 ^ SIMD4(repeating: UInt64(k1))
            c3 = first
            k0 &+= 0x9E37_79B9
            k1 &+= 0xBB67_AE85
        }
        return c0 & low
    }
}

extension GumbelNoise {
    /// For four tokens from `firstToken` on, the upper 32 bits of their noise.
    @inline(__always)
    func upperBits(position: Int, firstToken: Int32) -> SIMD4<UInt64> {
        Philox.firstWords(
            SIMD4(UInt32(truncatingIfNeeded: position), 0, sample, UInt32(truncatingIfNeeded: position >> 32)),
            second: SIMD4(repeating: UInt64(UInt32(bitPattern: firstToken))) &+ SIMD4(0, 1, 2, 3),
            key: SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32)))
    }
}
