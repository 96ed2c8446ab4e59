import Kernels
import TestSupport
import Testing

@Suite struct KVFormatTests {
    private func roundTrip(_ values: [Float], _ format: KVFormat, _ blockFormat: BlockFormat) throws -> [Float] {
        let size = try #require(format.bytes(of: values.count))
        var bytes = [UInt8](repeating: 0xAA, count: size + 8)
        var result = [Float](repeating: 0, count: values.count)
        bytes.withUnsafeMutableBytes { memory in
            guard let base = memory.baseAddress else { return }
            storeKV(values, count: values.count, as: format, at: base)
            dequantize(blockFormat, base, count: values.count, into: &result)
        }
        #expect(bytes[size...].allSatisfy { $0 == 0xAA }, "bytes after the elements were written")
        return result
    }

    @Test func q8ErrorIsHalfAStep() throws {
        var random = SplitMix64(seed: 1)
        for exponent in stride(from: -30, through: 20, by: 1) {
            let bound = Float(sign: .plus, exponent: exponent, significand: 1)
            for _ in 0..<50 {
                let values = random.floats(96, bound: bound)
                let stored = try roundTrip(values, .q8_0, .q8_0)
                for block in 0..<3 {
                    let range = block * 32..<(block + 1) * 32
                    let step = Double(values[range].map(\.magnitude).max() ?? 0) / 127
                    // Half a step of rounding, and the rounding of the scale to binary16, 127 times at most.
                    let bound = step * 0.5001 + 127 * max(step * 0x1p-11, 0x1p-25)
                    let errors = range.map { abs(Double(values[$0]) - Double(stored[$0])) }
                    #expect(errors.allSatisfy { $0 <= bound }, "2^\(exponent)")
                }
            }
        }
    }

    /// Other elements of the token must not matter: a block is quantised by itself.
    @Test func q8BlocksAreIndependent() throws {
        var random = SplitMix64(seed: 2)
        var values = random.floats(64)
        let before = try roundTrip(values, .q8_0, .q8_0)
        for index in 32..<64 { values[index] *= 1000 }
        #expect(try roundTrip(values, .q8_0, .q8_0)[..<32] == before[..<32])
    }

    @Test func q8KeepsZerosAndExtremesOfABlock() throws {
        #expect(try roundTrip([Float](repeating: 0, count: 32), .q8_0, .q8_0) == [Float](repeating: 0, count: 32))
        #expect(try roundTrip([Float](repeating: -0.0, count: 32), .q8_0, .q8_0) == [Float](repeating: 0, count: 32))
        // d = 1 exactly: every integer survives.
        let integers = (0..<32).map { Float($0 * 8 - 127) }.map { $0 == 121 ? 127 : $0 }
        #expect(try roundTrip(integers, .q8_0, .q8_0) == integers)
        // Too small for any step of binary16, yet without a trap.
        let tiny = try roundTrip([Float](repeating: .leastNonzeroMagnitude, count: 32), .q8_0, .q8_0)
        #expect(tiny == [Float](repeating: 0, count: 32))
    }

    @Test(arguments: [Float.nan, -.nan, .signalingNaN, .infinity, -.infinity])
    func q8OfWhatIsNotFiniteIsNaN(bad: Float) throws {
        var random = SplitMix64(seed: 3)
        for place in 0..<32 {
            var values = random.floats(64)
            values[place] = bad
            let stored = try roundTrip(values, .q8_0, .q8_0)
            #expect(stored[..<32].allSatisfy { $0.isNaN })
            #expect(stored[32...].allSatisfy { $0.isFinite })
        }
    }

    /// Finite, but beyond what a binary16 scale can express: it must not pass for a number.
    @Test func q8OfHugeValuesIsNotFinite() throws {
        var random = SplitMix64(seed: 4)
        for bound in [1e8, 1e20, 3.4e38] as [Float] {
            var values = random.floats(32, bound: bound)
            values[7] = bound
            #expect(try roundTrip(values, .q8_0, .q8_0).allSatisfy { !$0.isFinite })
        }
    }

    @Test func f32AndF16KeepWhatTheyCan() throws {
        var random = SplitMix64(seed: 5)
        let values = random.floats(77, bound: 100) + [.infinity, -.infinity, 0, -0.0, 1e-8, 70000]
        #expect(try roundTrip(values, .f32, .f32) == values)
        let halves = try roundTrip(values, .f16, .f16)
        #expect(halves.map(\.bitPattern) == values.map { floatFromHalf(halfFromFloat($0)).bitPattern })
        #expect(try roundTrip([.nan], .f16, .f16)[0].isNaN)
    }

    @Test func sizes() {
        #expect(KVFormat.f32.bytes(of: 12) == 48)
        #expect(KVFormat.f16.bytes(of: 12) == 24)
        #expect(KVFormat.q8_0.bytes(of: 64) == 68)
        #expect(KVFormat.q8_0.bytes(of: 12) == nil)
        #expect(KVFormat.f32.bytes(of: Int.max / 2) == nil)
    }
}

@Suite struct MemoryTests {
    @Test func impossibleSizesAreNil() {
        #expect(Storage(byteCount: -1) == nil)
        #expect(Storage(byteCount: .min) == nil)
        #expect(Storage(byteCount: .max) == nil)
        #expect(Storage(byteCount: .max / 2) == nil)
        #expect(Storage(byteCount: 1 << 60) == nil)
    }

    @Test(arguments: [0, 1, 4095, 4096, 1_000_001])
    func storageIsZeroedAndAligned(byteCount: Int) throws {
        let storage = try #require(Storage(byteCount: byteCount))
        #expect(storage.byteCount == byteCount)
        #expect(UInt(bitPattern: storage.base) % 64 == 0)
        let bytes = UnsafeMutableRawBufferPointer(start: storage.base, count: byteCount)
        #expect(bytes.allSatisfy { $0 == 0 })
        for index in bytes.indices { bytes[index] = 1 }
    }

    @Test func productsAreChecked() {
        #expect(checkedProduct() == 1)
        #expect(checkedProduct(3, 4, 5) == 60)
        #expect(checkedProduct(3, 0, 5) == 0)
        #expect(checkedProduct(.max, 1) == .max)
        #expect(checkedProduct(.max, 2) == nil)
        #expect(checkedProduct(1 << 32, 1 << 31) == nil)
        #expect(checkedProduct(-1) == nil)
        #expect(checkedProduct(-1, -1) == nil)
        #expect(checkedProduct(0, -1) == nil)
        #expect(checkedProduct(-1, 0) == nil)
        #expect(checkedProduct(.min, -1) == nil)
    }
}
