import Formats
import Kernels
import TestSupport
import Testing

/// Conversions of 16-bit floats, against the compiler's own `Float16`.
@Suite struct HalfTests {
    #if arch(x86_64) || arch(arm64)
        @Test func everyHalfBecomesTheSameFloat() {
            var wrong: [UInt16] = []
            for bits in UInt16.min...UInt16.max {
                let (ours, theirs) = (floatFromHalf(bits), Float(Float16(bitPattern: bits)))
                let same = theirs.isNaN ? ours.isNaN : ours.bitPattern == theirs.bitPattern
                if !same { wrong.append(bits) }
            }
            #expect(wrong.isEmpty)
        }

        private static func isWrong(_ value: Float) -> Bool {
            let (ours, theirs) = (Float16(bitPattern: halfFromFloat(value)), Float16(value))
            return theirs.isNaN ? !ours.isNaN : ours.bitPattern != theirs.bitPattern
        }

        @Test func everyTieAndItsNeighboursRoundTheSame() {
            var wrong: [Float] = []
            // 0x7C00 as the upper neighbour stands for 65536: the tie below it is where infinity begins.
            for bits in UInt16(0)..<0x7C00 {
                let low = Float(Float16(bitPattern: bits))
                let high = bits == 0x7BFF ? 65536 : Float(Float16(bitPattern: bits + 1))
                let tie = low + (high - low) / 2
                for value in [low, low.nextUp, low.nextDown, tie, tie.nextUp, tie.nextDown, high] {
                    if Self.isWrong(value) { wrong.append(value) }
                    if Self.isWrong(-value) { wrong.append(-value) }
                }
            }
            #expect(wrong.isEmpty)
        }

        @Test func randomAndExtremeFloatsRoundTheSame() {
            var random = SplitMix64(seed: 1)
            var values: [Float] = [
                0, -0.0, .infinity, -.infinity, .nan, -.nan, .signalingNaN, .leastNonzeroMagnitude,
                .leastNormalMagnitude, .greatestFiniteMagnitude, -.greatestFiniteMagnitude,
            ]
            for _ in 0..<1_000_000 { values.append(Float(bitPattern: UInt32(truncatingIfNeeded: random.next()))) }
            for _ in 0..<1_000_000 {  // of the exponents that halves have
                let bits = UInt32(truncatingIfNeeded: random.next())
                values.append(Float(bitPattern: bits & 0x87FF_FFFF | (0x3000_0000 + (bits >> 3 & 0x1800_0000))))
            }
            let wrong = values.filter { Self.isWrong($0) }
            #expect(wrong.isEmpty)
        }
    #endif

    /// The vector path of F16 rows, and what is left over after it, give the bits of the single conversion.
    @Test(arguments: [1, 7, 8, 9, 65536])
    func rowsOfHalvesGiveTheSameBits(count: Int) {
        let halves = (0..<count).map { UInt16(truncatingIfNeeded: 65535 - $0) }
        var row = [Float](repeating: 0, count: count)
        halves.withUnsafeBytes { source in
            guard let from = source.baseAddress else { return }
            dequantize(.f16, from, count: count, into: &row)
        }
        let wrong = (0..<count).filter { index in
            let expected = floatFromHalf(halves[index])
            return expected.isNaN ? !row[index].isNaN : row[index].bitPattern != expected.bitPattern
        }
        #expect(wrong.isEmpty)
    }

    @Test func everyBFloatHasTheValueOfItsFields() {
        var wrong: [UInt16] = []
        for bits in UInt16.min...UInt16.max {
            let (exponent, fraction) = (Int(bits >> 7 & 0xFF), Double(bits & 0x7F) / 128)
            let value = floatFromBFloat(bits)
            let isRight: Bool
            if exponent == 255 {
                isRight = fraction == 0 ? value.isInfinite : value.isNaN
            } else {
                let significand = exponent == 0 ? fraction : 1 + fraction
                let magnitude = significand * Double(sign: .plus, exponent: max(exponent, 1) - 127, significand: 1)
                isRight = Double(value.magnitude) == magnitude
            }
            if !isRight || (value.sign == .minus) != (bits >> 15 == 1) { wrong.append(bits) }
        }
        #expect(wrong.isEmpty)
    }
}
