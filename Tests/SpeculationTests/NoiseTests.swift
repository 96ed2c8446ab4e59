import Formats
import Glibc
import Speculation
import TestSupport
import Testing

@Suite struct NoiseTests {
    /// From the known-answer vectors of the generator's authors (Random123, kat_vectors).
    @Test func philoxKnownAnswers() {
        let ones = UInt32.max
        #expect(
            Philox.generate(counter: SIMD4(0, 0, 0, 0), key: SIMD2(0, 0))
                == SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
        #expect(
            Philox.generate(counter: SIMD4(ones, ones, ones, ones), key: SIMD2(ones, ones))
                == SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
        #expect(
            Philox.generate(
                counter: SIMD4(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344),
                key: SIMD2(0xa409_3822, 0x299f_31d0))
                == SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
    }

    /// Against Tests/Golden/make_noise_golden.py: another Philox, and logarithms of 40 digits.
    @Test func gumbelGolden() throws {
        let json = try JSON(parsing: contents(of: testFile("SpeculationTests/Golden/noise.json")))
        let rows = try #require(json.array)
        #expect(rows.count >= 64)
        for row in rows {
            let seed = try #require(row["seed"]?.string.flatMap { UInt64($0) })
            let sample = try #require(row["sample"]?.int.flatMap { UInt32(exactly: $0) })
            let position = try #require(row["position"]?.int)
            let token = try #require(row["token"]?.int.flatMap { Int32(exactly: $0) })
            let expected = try #require(row["gumbel"]?.number)
            let value = GumbelNoise(seed: seed, sample: sample).gumbel(position: position, token: token)
            #expect(abs(value - expected) <= 1e-12 * max(1, abs(expected)), "seed \(seed), token \(token)")
        }
    }

    /// The ends of the range: u = 2^-65 and u = 1 - 2^-65.
    @Test func endsOfTheRangeAreFinite() {
        #expect(abs(GumbelNoise.gumbel(0) + realLogarithm(65 * 0.693_147_180_559_945_4)) < 1e-14)
        #expect(abs(GumbelNoise.gumbel(.max) - 65 * 0.693_147_180_559_945_4) < 1e-12)
        // Neighbours near 1 differ: no bit is lost where the winner is decided.
        #expect(GumbelNoise.gumbel(.max - 1) < GumbelNoise.gumbel(.max))
        #expect(GumbelNoise.gumbel(.max - (1 << 40)) < GumbelNoise.gumbel(.max - (1 << 40) + 1))
        // Both ways of computing meet at v = ¼.
        let border = UInt64(3) << 62
        #expect(abs(GumbelNoise.gumbel(border) - GumbelNoise.gumbel(border - 1)) < 1e-14)
    }

    @Test func thresholdAgreesWithPlain() {
        let noise = GumbelNoise(seed: 7, sample: 2)
        var below = 0
        for token in Int32(0)..<4000 {
            let plain = noise.gumbel(position: 11, token: token)
            for threshold in stride(from: -6.0, through: 16, by: 0.25) {
                let value = noise.gumbel(position: 11, token: token, above: threshold)
                #expect(value == (plain > threshold ? plain : nil))
                if value == nil { below += 1 }
            }
            #expect(noise.gumbel(position: 11, token: token, above: plain) == nil)
            #expect(noise.gumbel(position: 11, token: token, above: plain.nextDown) == plain)
            #expect(noise.gumbel(position: 11, token: token, above: -.infinity) == plain)
            #expect(noise.gumbel(position: 11, token: token, above: .infinity) == nil)
        }
        #expect(below > 100_000)
    }

    @Test func meanAndVariance() {
        let count = 200_000
        var (sum, squares) = (0.0, 0.0)
        for index in 0..<count {
            let noise = GumbelNoise(seed: UInt64(index / 1000))
            let value = noise.gumbel(position: index % 1000, token: Int32(index % 37))
            sum += value
            squares += value * value
        }
        let mean = sum / Double(count)
        let variance = squares / Double(count) - mean * mean
        // Standard errors: 0.0029 of the mean, 0.0077 of the variance (kurtosis 5.4). Six of each.
        #expect(abs(mean - 0.577_215_664_9) < 0.018)
        #expect(abs(variance - Double.pi * Double.pi / 6) < 0.046)
    }

    @Test func everyArgumentCounts() {
        let base = GumbelNoise(seed: 5, sample: 1).gumbel(position: 3, token: 4)
        #expect(GumbelNoise(seed: 5, sample: 1).gumbel(position: 3, token: 4) == base)
        let others = [
            GumbelNoise(seed: 6, sample: 1).gumbel(position: 3, token: 4),
            GumbelNoise(seed: 5 + 1 << 32, sample: 1).gumbel(position: 3, token: 4),
            GumbelNoise(seed: 5, sample: 0).gumbel(position: 3, token: 4),
            GumbelNoise(seed: 5, sample: 1).gumbel(position: 4, token: 4),
            GumbelNoise(seed: 5, sample: 1).gumbel(position: 3 + 1 << 32, token: 4),
            GumbelNoise(seed: 5, sample: 1).gumbel(position: 3, token: 3),
        ]
        #expect(Set(others + [base]).count == others.count + 1)
    }
}

@Suite struct RealFunctionTests {
    /// Distance in units in the last place of `reference`.
    private func distance(_ value: Double, _ reference: Double) -> Double { abs(value - reference) / reference.ulp }

    @Test func exponentialAgainstGlibc() {
        var random = SplitMix64(seed: 1)
        var worst = 0.0
        for _ in 0..<200_000 {
            for range in [-707.0...708, -40...0, -1...1, -1e-6...1e-6] {
                let x = Double.random(in: range, using: &random)
                worst = max(worst, distance(realExponential(x), exp(x)))
            }
        }
        #expect(worst <= 4)
    }

    @Test func exponentialAtTheEdges() {
        #expect(realExponential(0) == 1)
        #expect(realExponential(-0.0) == 1)
        #expect(realExponential(.leastNonzeroMagnitude) == 1)
        #expect(realExponential(-708) == 0)
        #expect(realExponential(-.infinity) == 0)
        #expect(realExponential(-1e300) == 0)
        #expect(realExponential(709) == .infinity)
        #expect(realExponential(.infinity) == .infinity)
        #expect(realExponential(.nan).isNaN)
        #expect(distance(realExponential((-708.0).nextUp), exp((-708.0).nextUp)) <= 4)
        #expect(distance(realExponential(709.0.nextDown), exp(709.0.nextDown)) <= 4)
    }

    @Test func logarithmAgainstGlibc() {
        var random = SplitMix64(seed: 2)
        var worst = 0.0
        for _ in 0..<200_000 {
            // Any bits of a normal number; numbers around 1 from both sides; uniforms.
            let bits = UInt64.random(in: 0x0010_0000_0000_0000..<0x7FF0_0000_0000_0000, using: &random)
            let near = 1 + Double.random(in: -1e-3...1e-3, using: &random)
            for x in [Double(bitPattern: bits), near, Double.random(in: 0x1p-53..<1, using: &random)] where x != 1 {
                worst = max(worst, distance(realLogarithm(x), log(x)))
            }
        }
        #expect(worst <= 4)
    }

    @Test func logarithmAtTheEdges() {
        #expect(realLogarithm(1) == 0)
        let root = 0.5.squareRoot()
        let one = 1.0
        for x in [
            one.nextUp, one.nextDown, root, root.nextUp, root.nextDown, 2 * root, (2 * root).nextUp,
            (2 * root).nextDown, 2, 0.5, Double.leastNormalMagnitude, .greatestFiniteMagnitude, 1 - 0x1p-53, 0x1p-53,
        ] {
            #expect(distance(realLogarithm(x), log(x)) <= 4, "\(x)")
        }
    }
}
