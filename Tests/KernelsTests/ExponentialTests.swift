import Glibc
import Kernels
import TestSupport
import Testing

@Suite struct ExponentialTests {
    private func exponential(_ values: [Float]) -> [Float] {
        var result = [Float](repeating: 0, count: values.count)
        exponentials(values, count: values.count, into: &result)
        return result
    }

    /// The largest error over `values`, in units in the last place of the true result.
    private func largestError(_ values: [Float]) -> Double {
        zip(values, exponential(values)).reduce(0) { worst, pair in
            let truth = exp(Double(pair.0))
            return max(worst, abs(Double(pair.1) - truth) / Double(Float(truth).ulp))
        }
    }

    @Test func errorStaysBelowTwoUnitsInTheLastPlace() {
        var random = SplitMix64(seed: 2)
        let wide = (0..<1_000_000).map { _ in max(-87.3365, min(88.7228, random.float(88.73))) }
        #expect(largestError(wide) <= 2)
        let narrow = (0..<500_000).map { _ in random.float(1) }
        #expect(largestError(narrow) <= 2)
        let tiny = (0..<100_000).map { _ in Float(bitPattern: UInt32(truncatingIfNeeded: random.next()) & 0xBFFF_FFFF) }
        #expect(largestError(tiny) <= 2)
    }

    /// Where the nearest multiple of ln 2 changes, and the reduced argument is largest.
    @Test func errorIsSmallAtTheBordersOfTheReduction() {
        var values: [Float] = []
        for n in -125..<127 {
            var value = Float((Double(n) + 0.5) * M_LN2) - 20 * Float((Double(n) + 0.5) * M_LN2).ulp
            for _ in 0..<40 {
                values.append(value)
                value = value.nextUp
            }
        }
        #expect(largestError(values) <= 2)
    }

    @Test func edges() {
        let infinity = Float.infinity
        #expect(exponential([0, -0.0, -infinity, infinity]) == [1, 1, 0, infinity])
        #expect(exponential([-87.34, -100, -1e30, -Float.greatestFiniteMagnitude]) == [0, 0, 0, 0])
        #expect(exponential([88.73, 100, 1e30, .greatestFiniteMagnitude]) == [Float](repeating: infinity, count: 4))
        let nearOverflow = exponential([88.722])
        #expect(nearOverflow[0].isFinite)
        for result in exponential([.nan, -.nan, .signalingNaN]) { #expect(result.isNaN) }
    }

    /// Every lane of the vector path, and the remainder, are the same computation; in place too.
    @Test func bitsDoNotDependOnThePlace() {
        var random = SplitMix64(seed: 3)
        let values = random.floats(100, bound: 90) + [.infinity, -.infinity]
        let single = values.map { exponential([$0])[0].bitPattern }
        for start in 0..<9 {
            var part = Array(values[start...])
            part.withUnsafeMutableBufferPointer { buffer in
                guard let base = buffer.baseAddress else { return }
                exponentials(UnsafePointer(base), count: buffer.count, into: base)
            }
            #expect(part.map(\.bitPattern) == Array(single[start...]))
        }
    }
}
