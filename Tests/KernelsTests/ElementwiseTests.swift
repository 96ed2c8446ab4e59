import Glibc
import Kernels
import TestSupport
import Testing

@Suite struct ElementwiseTests {
    private static let counts = [1, 2, 7, 8, 9, 15, 16, 17, 31, 64, 100, 1000]

    @Test(arguments: counts)
    func rmsNormAgreesWithItsDefinition(count: Int) {
        var random = SplitMix64(seed: UInt64(count))
        for (bound, epsilon) in [(1, 1e-5), (1e-4, 1e-2), (1000, 1e-6), (1e-3, 0)] as [(Float, Float)] {
            let (x, gain) = (random.floats(count, bound: bound), random.floats(count))
            var y = [Float](repeating: 0, count: count)
            rmsNorm(x, gain: gain, count: count, epsilon: epsilon, into: &y)
            let mean = x.reduce(0) { $0 + Double($1) * Double($1) } / Double(count)
            let scale = 1 / (mean + Double(epsilon)).squareRoot()
            for index in 0..<count {
                let truth = Double(x[index]) * scale * Double(gain[index])
                #expect(abs(Double(y[index]) - truth) <= abs(truth) * (Double(count / 16) + 30) * 0x1p-24)
            }
            // In place gives the same bits.
            var same = x
            same.withUnsafeMutableBufferPointer { buffer in
                guard let base = buffer.baseAddress else { return }
                rmsNorm(UnsafePointer(base), gain: gain, count: count, epsilon: epsilon, into: base)
            }
            #expect(same.map(\.bitPattern) == y.map(\.bitPattern))
        }
    }

    @Test func rmsNormOfZerosIsZero() {
        var y = [Float](repeating: 1, count: 20)
        let (zeros, gain) = ([Float](repeating: 0, count: 20), [Float](repeating: 3, count: 20))
        rmsNorm(zeros, gain: gain, count: 20, epsilon: 1e-6, into: &y)
        #expect(y == zeros)
    }

    @Test(arguments: InstructionSet.available)
    func gatesAgreeWithTheirDefinition(set: InstructionSet) {
        var random = SplitMix64(seed: 50)
        for bound in [1, 10, 80] as [Float] {
            let (gate, up) = (random.floats(48, bound: bound), random.floats(48, bound: 3))
            var out = [Float](repeating: .nan, count: 32)
            set.gateBlock(gate, up, distance: 32, out: &out)
            for index in 0..<32 {
                let at = index < 16 ? index : index + 16
                let g = Double(gate[at])
                let truth = g / (1 + exp(-g)) * Double(up[at])
                #expect(abs(Double(out[index]) - truth) <= abs(truth) * 8 * 0x1p-24)
            }
        }
    }

    @Test(arguments: InstructionSet.available)
    func gatesOfExtremes(set: InstructionSet) {
        var gate = [Float](repeating: 0, count: 32)
        gate.replaceSubrange(0..<7, with: [-1000, 1000, 0, -100, .nan, -1e38, 1e38])
        var out = gate
        set.gateBlock(gate, [Float](repeating: 1, count: 32), distance: 16, out: &out)
        #expect(out[0] == 0 && out[1] == 1000 && out[2] == 0 && out[3].magnitude < 1e-36)
        #expect(out[4].isNaN && out[5] == 0 && out[6] == 1e38 && out[7...].allSatisfy { $0 == 0 })
    }

    private struct Rotation {
        let pairing: RotaryPairing
        let (heads, size, rotated): (Int, Int, Int)

        /// Which elements of a head form pair `pair`.
        func pair(_ pair: Int) -> (Int, Int) {
            pairing == .adjacent ? (2 * pair, 2 * pair + 1) : (pair, pair + rotated / 2)
        }

        func apply(_ vector: [Float], _ angles: [Double]) -> [Float] {
            var result = vector
            rotate(
                &result, heads: heads, headDimension: size, rotated: rotated, pairing: pairing,
                cosines: angles.map { Float(cos($0)) }, sines: angles.map { Float(sin($0)) })
            return result
        }
    }

    private static let rotations = [
        Rotation(pairing: .adjacent, heads: 3, size: 8, rotated: 8),
        Rotation(pairing: .adjacent, heads: 2, size: 24, rotated: 12),
        Rotation(pairing: .halves, heads: 3, size: 8, rotated: 8),
        Rotation(pairing: .halves, heads: 1, size: 64, rotated: 64),
        Rotation(pairing: .halves, heads: 2, size: 24, rotated: 12),
        Rotation(pairing: .halves, heads: 2, size: 2, rotated: 2),
    ]

    @Test func rotationTurnsEveryPairAndKeepsItsNorm() {
        var random = SplitMix64(seed: 7)
        for rotation in Self.rotations {
            let vector = random.floats(rotation.heads * rotation.size)
            let angles = random.floats(rotation.rotated / 2, bound: 100).map { Double($0) }
            let turned = rotation.apply(vector, angles)
            for head in 0..<rotation.heads {
                let base = head * rotation.size
                for pair in 0..<rotation.rotated / 2 {
                    let (a, b) = rotation.pair(pair)
                    let (x, y) = (Double(vector[base + a]), Double(vector[base + b]))
                    let (c, s) = (cos(angles[pair]), sin(angles[pair]))
                    #expect(abs(Double(turned[base + a]) - (x * c - y * s)) < 4e-7)
                    #expect(abs(Double(turned[base + b]) - (x * s + y * c)) < 4e-7)
                    let (u, v) = (Double(turned[base + a]), Double(turned[base + b]))
                    #expect(abs(u * u + v * v - x * x - y * y) < 2e-6)
                }
                #expect(
                    turned[base + rotation.rotated..<base + rotation.size]
                        == vector[base + rotation.rotated..<base + rotation.size])
            }
        }
    }

    @Test func rotationByZeroChangesNothing() {
        var random = SplitMix64(seed: 8)
        for rotation in Self.rotations {
            let vector = random.floats(rotation.heads * rotation.size)
            #expect(rotation.apply(vector, [Double](repeating: 0, count: rotation.rotated / 2)) == vector)
        }
    }

    @Test func finitenessIsSeenInEveryPlace() {
        var random = SplitMix64(seed: 9)
        for count in [1, 7, 8, 9, 40] {
            let values = random.floats(count, bound: 3e38)
            #expect(allFinite(values, count: count))
            for place in 0..<count {
                for bad in [Float.nan, .infinity, -.infinity] {
                    var damaged = values
                    damaged[place] = bad
                    #expect(!allFinite(damaged, count: count))
                }
            }
        }
    }
}
