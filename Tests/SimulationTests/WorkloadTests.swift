import Simulation
import Testing

@Suite struct WorkloadTests {
    private static let lengths = Lengths.around(prompt: 100, output: 20)

    private static func gaps(_ pattern: ArrivalPattern, _ count: Int = 40_000) -> [Double] {
        let times = pattern.arrivals(count, lengths, seed: 3).map { $0.time / 1e6 }
        return zip(times, [0] + times).map { $0 - $1 }
    }

    private static func moments(_ values: [Double]) -> (mean: Double, variation: Double) {
        let mean = values.reduce(0, +) / Double(values.count)
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
        return (mean, variance.squareRoot() / mean)
    }

    @Test func poissonGapsAreExponential() {
        let gaps = Self.gaps(.poisson(rate: 4))
        let (mean, variation) = Self.moments(gaps)
        #expect(abs(mean - 0.25) < 0.005 && abs(variation - 1) < 0.02)
        // P(gap > 2 means) = e^-2
        #expect(abs(Double(gaps.count { $0 > 0.5 }) / Double(gaps.count) - 0.1353) < 0.006)
    }

    @Test(arguments: [0.5, 1.0, 2.0]) func gammaGapsVaryAsStated(variation: Double) {
        let moments = Self.moments(Self.gaps(.gamma(rate: 10, variation: variation)))
        #expect(abs(moments.mean / 0.1 - 1) < 0.03)
        #expect(abs(moments.variation / variation - 1) < 0.04)
    }

    @Test func stepsHaveTheirRates() {
        let arrivals = ArrivalPattern.steps([(2, 1000), (0, 500), (20, 500)]).arrivals(.max, Self.lengths, seed: 1)
        func count(_ from: Double, _ to: Double) -> Int {
            arrivals.count { $0.time >= from * 1e6 && $0.time < to * 1e6 }
        }
        #expect(abs(count(0, 1000) - 2000) < 150)
        #expect(count(1000, 1500) == 0)
        #expect(abs(count(1500, 2000) - 10_000) < 350)
        #expect(arrivals.count == count(0, 2000))
    }

    @Test func lengthsHaveTheirMeans() {
        let arrivals = ArrivalPattern.poisson(rate: 1).arrivals(10_000, Self.lengths, seed: 1)
        let prompts = arrivals.map(\.promptTokens)
        #expect(abs(prompts.reduce(0, +) - 1_000_000) < 12_000)
        #expect(prompts.min() == 50 && prompts.max() == 150)
        #expect(Set(arrivals.map(\.outputTokens)) == Set(10...30))
        let pairs = [(5, 1), (7, 2)].map { Arrival(time: 0, promptTokens: $0, outputTokens: $1) }
        let drawn = ArrivalPattern.poisson(rate: 1).arrivals(1000, .drawn(pairs), seed: 1)
        #expect(drawn.allSatisfy { $0.promptTokens == 5 && $0.outputTokens == 1 || $0.promptTokens == 7 })
        #expect(abs(drawn.count { $0.promptTokens == 5 } - 500) < 80)
    }

    @Test func aSeedIsAWorkload() {
        let pattern = ArrivalPattern.gamma(rate: 2, variation: 2)
        #expect(pattern.arrivals(100, Self.lengths, seed: 1) == pattern.arrivals(100, Self.lengths, seed: 1))
        #expect(pattern.arrivals(100, Self.lengths, seed: 1) != pattern.arrivals(100, Self.lengths, seed: 2))
    }

    @Test func stretchingChangesTheTimesAlone() {
        let arrivals = [Arrival(time: 10, promptTokens: 3, outputTokens: 4)].stretched(by: 2.5)
        #expect(arrivals == [Arrival(time: 25, promptTokens: 3, outputTokens: 4)])
    }
}
