import Formats
import Kernels
import TestSupport
import Testing

/// What quantisation promises, whatever the numbers are.
@Suite struct QuantizeTests {
    private static func type(_ format: QuantizedFormat) -> TensorType {
        TensorType.allCases.first { $0.kernelFormat == format.format } ?? .f32
    }

    private func quantized(_ values: [Float], _ format: QuantizedFormat) -> [UInt8] {
        let type = Self.type(format)
        let size = values.count / type.blockElements * type.blockBytes
        // An odd address and bytes around: blocks need no alignment and nothing else is written.
        var memory = [UInt8](repeating: 0xAA, count: size + 9)
        memory.withUnsafeMutableBytes { raw in
            guard let base = raw.baseAddress else { return }
            format.quantize(values, count: values.count, into: base + 1)
        }
        #expect(memory[0] == 0xAA && memory[(size + 1)...].allSatisfy { $0 == 0xAA })
        return Array(memory[1...size])
    }

    private func roundTrip(_ values: [Float], _ format: QuantizedFormat) -> [Float] {
        Self.type(format).expanded(quantized(values, format))
    }

    private func relativeError(_ values: [Float], _ result: [Float]) -> Double {
        func squares(_ values: [Double]) -> Double { values.reduce(0) { $0 + $1 * $1 } }
        let errors = zip(values, result).map { Double($0) - Double($1) }
        return (squares(errors) / squares(values.map { Double($0) })).squareRoot()
    }

    /// About normal: the sum of twelve uniform numbers.
    private func normal(_ count: Int, scale: Float, _ random: inout SplitMix64) -> [Float] {
        (0..<count).map { _ in (0..<12).reduce(0) { sum, _ in sum + random.float() } * scale / 2 }
    }

    // MARK: Against an outside implementation

    @Test(arguments: [QuantizedFormat.q8_0, .q4_0, .q5_0])
    func blocksAreThoseOfTheReference(format: QuantizedFormat) throws {
        let type = Self.type(format)
        let folder = testFile("ModelTests/Fixtures/quantize/")
        let truth = try contents(of: folder + type.name + ".bin")
        let ours = quantized(try floats(of: folder + "values.f32"), format)
        try #require(ours.count == truth.count && !truth.isEmpty)
        let wrong = ours.indices.filter { ours[$0] != truth[$0] }.map { $0 / type.blockBytes }
        #expect(wrong.isEmpty, "block \(wrong.first ?? 0)")
    }

    // MARK: Errors

    /// The largest error of an element, as a share of the largest magnitude of its scale's elements.
    private static func bound(_ format: QuantizedFormat) -> Float {
        switch format {
        case .f16: 0x1p-11
        case .q8_0: 0.505 / 127
        // The level that the other sign lacks costs up to a whole step.
        case .q4_0: 1.01 / 8
        case .q5_0: 1.01 / 16
        case .q4_K: 0.16
        case .q5_K: 0.08
        case .q6_K: 0.06
        }
    }

    @Test(arguments: QuantizedFormat.allCases)
    func errorsAreBounded(format: QuantizedFormat) {
        var random = SplitMix64(seed: 11)
        for exponent in -8...10 {
            let size = Float(sign: .plus, exponent: exponent, significand: 1)
            let values = random.floats(1024, bound: size) + normal(1024, scale: size, &random)
            let result = roundTrip(values, format)
            let span = format == .q6_K ? 16 : 32
            for start in stride(from: 0, to: values.count, by: span) {
                let largest = values[start..<start + span].map(\.magnitude).max() ?? 0
                // Sub-blocks share a scale with 255 others, whose smallest step they cannot go below.
                let block = values[start / 256 * 256..<start / 256 * 256 + 256].map(\.magnitude).max() ?? 0
                let worst = (start..<start + span).map { abs(values[$0] - result[$0]) }.max() ?? 0
                #expect(worst <= Self.bound(format) * largest + block * 0.02, "2^\(exponent), element \(start)")
            }
        }
    }

    @Test(arguments: [
        (QuantizedFormat.q4_K, 0.075), (.q5_K, 0.037), (.q6_K, 0.018), (.q8_0, 0.006), (.q5_0, 0.045), (.q4_0, 0.09),
    ])
    func normalNumbersKeepTheirPrecision(format: QuantizedFormat, bound: Double) {
        var random = SplitMix64(seed: 12)
        let values = normal(256 * 200, scale: 0.02, &random)
        #expect(relativeError(values, roundTrip(values, format)) < bound)
    }

    /// The search is worth its time: better than steps from the range alone, on numbers of several shapes.
    @Test func searchBeatsTheRange() {
        var random = SplitMix64(seed: 13)
        let shapes: [(String, (inout SplitMix64) -> [Float])] = [
            ("uniform", { $0.floats(256, bound: 0.1) }),
            ("normal", { [self] in normal(256, scale: 0.02, &$0) }),
            ("heavy tails", { [self] in normal(256, scale: 0.2, &$0).map { $0 * $0 * $0 } }),
            ("shifted", { [self] in normal(256, scale: 0.02, &$0).map { $0 - 0.05 } }),
        ]
        for (name, make) in shapes {
            let values = (0..<100).flatMap { _ in make(&random) }
            for (format, top) in [(QuantizedFormat.q4_K, Float(15)), (.q5_K, 31)] {
                let affine = relativeError(values, RangeReference.affine(values, top: top))
                #expect(relativeError(values, roundTrip(values, format)) < affine * 1.01, "\(format), \(name)")
            }
            let signed = relativeError(values, RangeReference.signed(values))
            #expect(relativeError(values, roundTrip(values, .q6_K)) < signed * 1.01, "Q6_K, \(name)")
        }
    }

    // MARK: Corners

    @Test(arguments: QuantizedFormat.allCases)
    func zerosAndDustBecomeZeros(format: QuantizedFormat) {
        for value: Float in [0, -0.0, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, 1e-38, 1e-20, -1e-12] {
            let result = roundTrip([Float](repeating: value, count: 512), format)
            #expect(result.allSatisfy { $0 == 0 }, "\(value)")
        }
    }

    /// Around the smallest binary16, where scales have a bit or two.
    @Test(arguments: QuantizedFormat.allCases)
    func smallNumbersDoNotGrow(format: QuantizedFormat) {
        var random = SplitMix64(seed: 14)
        for exponent in -40 ... -10 {
            let size = Float(sign: .plus, exponent: exponent, significand: 1)
            let values = random.floats(512, bound: size)
            let result = roundTrip(values, format)
            let allowed = max(size / 4, 128 * 0x1p-24)
            #expect(zip(values, result).allSatisfy { abs($0 - $1) <= allowed }, "2^\(exponent)")
        }
    }

    @Test(arguments: QuantizedFormat.allCases)
    func oneOutlierKeepsItsSize(format: QuantizedFormat) {
        var random = SplitMix64(seed: 15)
        for outlier: Float in [8, -8] {
            for place in [0, 31, 100, 255] {
                var values = random.floats(256, bound: 1e-3)
                values[place] = outlier
                let result = roundTrip(values, format)
                #expect(abs(result[place] - outlier) < 0.04, "\(outlier) at \(place)")
                // Elsewhere the error is a part of the step that the outlier asks for.
                #expect(values.indices.allSatisfy { $0 == place || abs(values[$0] - result[$0]) < 0.3 })
            }
        }
    }

    @Test(arguments: QuantizedFormat.allCases)
    func numbersOfOneSignAreNoWorse(format: QuantizedFormat) {
        var random = SplitMix64(seed: 16)
        let both = normal(256 * 20, scale: 0.02, &random)
        for sign: Float in [1, -1] {
            let values = both.map { abs($0) * sign }
            let bound = relativeError(both, roundTrip(both, format)) * 1.15
            #expect(relativeError(values, roundTrip(values, format)) < bound, "\(sign)")
        }
    }

    @Test(arguments: QuantizedFormat.allCases)
    func equalNumbersStayEqual(format: QuantizedFormat) {
        for value: Float in [1, -1, 0.02, -0.02, 300, -300] {
            let result = roundTrip([Float](repeating: value, count: 256), format)
            #expect(result.allSatisfy { $0 == result[0] && abs($0 - value) <= abs(value) / 100 }, "\(value)")
        }
    }

    /// Blocks do not see their neighbours.
    @Test(arguments: QuantizedFormat.allCases)
    func blocksAreIndependent(format: QuantizedFormat) {
        var random = SplitMix64(seed: 17)
        let values = random.floats(768)
        let whole = quantized(values, format)
        let size = whole.count / 3
        for index in 0..<3 {
            let alone = quantized(Array(values[index * 256..<index * 256 + 256]), format)
            #expect(alone == Array(whole[index * size..<(index + 1) * size]))
        }
    }

    /// Nothing traps, and what binary16 cannot scale is not silently something else: not all of the block stays finite.
    @Test(arguments: QuantizedFormat.allCases)
    func numbersOutOfRangeDoNotPassForOthers(format: QuantizedFormat) {
        for bad: Float in [.nan, .infinity, -.infinity, .signalingNaN] {
            for place in [0, 17, 255] {
                var values = [Float](repeating: 0.5, count: 256)
                values[place] = bad
                _ = quantized(values, format)
            }
        }
        for huge: Float in [
            1e9, -1e9, 1e12, -1e12, 1e18, -1e19, 1e30, -1e30, .greatestFiniteMagnitude, -.greatestFiniteMagnitude,
        ] {
            var random = SplitMix64(seed: 18)
            let noise = random.floats(255, bound: 0.1)
            for values in [
                [Float](repeating: huge, count: 256), random.floats(255, bound: abs(huge)) + [huge], noise + [huge],
                [huge] + noise, noise[..<128] + [huge] + noise[128...],
            ] {
                #expect(roundTrip(values, format).contains { !$0.isFinite }, "\(huge)")
            }
        }
    }
}

/// The plain way to the K types: steps from the range of each sub-block, rounded to 6 bits or 8, and no search.
private enum RangeReference {
    /// With the levels 0 to `top`.
    static func affine(_ values: [Float], top: Float) -> [Float] {
        stride(from: 0, to: values.count, by: 256).flatMap { start -> [Float] in
            let subs = stride(from: start, to: start + 256, by: 32).map { values[$0..<$0 + 32] }
            let minima = subs.map { max(0, -($0.min() ?? 0)) }
            let steps = zip(subs, minima).map { (($0.max() ?? 0) + $1) / top }
            let (d, dmin) = (rounded((steps.max() ?? 0) / 63), rounded((minima.max() ?? 0) / 63))
            return zip(subs, zip(steps, minima)).flatMap { sub, fit -> [Float] in
                let step = d > 0 ? (fit.0 / d).rounded() * d : 0
                let minimum = dmin > 0 ? (fit.1 / dmin).rounded() * dmin : 0
                let inverse = step > 0 ? 1 / step : 0
                return sub.map { max(0, min(top, (($0 + minimum) * inverse).rounded())) * step - minimum }
            }
        }
    }

    static func signed(_ values: [Float]) -> [Float] {
        stride(from: 0, to: values.count, by: 256).flatMap { start -> [Float] in
            let subs = stride(from: start, to: start + 256, by: 16).map { values[$0..<$0 + 16] }
            let steps = subs.map { ($0.max { abs($0) < abs($1) } ?? 0) / -32 }
            let d = rounded((steps.max { abs($0) < abs($1) } ?? 0) / -128)
            return zip(subs, steps).flatMap { sub, step -> [Float] in
                let whole = d != 0 ? max(-128, min(127, (step / d).rounded())) * d : 0
                return sub.map { whole != 0 ? max(-32, min(31, ($0 / whole).rounded())) * whole : 0 }
            }
        }
    }

    private static func rounded(_ value: Float) -> Float { floatFromHalf(halfFromFloat(value)) }
}
