import Scheduling
import TestSupport
import Testing

/// The table that measured times make.
@Suite struct PassTimesTests {
    typealias Shape = PassTimes.Shape

    private static let prior = PassCosts(
        widths: [1, 2, 4, 8, 16], base: [100, 110, 120, 140, 180], perContext: 0.5, perAttended: 0.25)

    @Test func nearestSequencesThatDoNotFall() {
        #expect(isotonic([1, 2, 3], weights: [1, 1, 1]) == [1, 2, 3])
        #expect(isotonic([3, 1, 2], weights: [1, 1, 1]) == [2, 2, 2])
        #expect(isotonic([1, 4, 2, 5], weights: [1, 1, 3, 1]) == [1, 2.5, 2.5, 5])
        #expect(isotonic([], weights: []).isEmpty)
    }

    @Test(arguments: 0..<50) func isotonicIsNeverFurtherThanOtherSequences(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let values = (0..<8).map { _ in Double(random.next() % 100) }
        let weights = (0..<8).map { _ in Double(random.next() % 5 + 1) }
        let fit = isotonic(values, weights: weights)
        func distance(_ other: [Double]) -> Double {
            zip(zip(values, weights), other).reduce(0) { $0 + $1.0.1 * ($1.0.0 - $1.1) * ($1.0.0 - $1.1) }
        }
        #expect(zip(fit, fit.dropFirst()).allSatisfy { $0 <= $1 })
        for _ in 0..<200 {
            let other = fit.map { $0 + Double(random.next() % 21) - 10 }.sorted()
            #expect(distance(other) >= distance(fit) - 1e-9)
        }
    }

    @Test func theMedianCountsAndWhatIsNoTimeDoesNot() {
        var times = PassTimes()
        let one = Shape(rows: 1, context: 0)
        for time in [10, 1000, 11, 12, 9, .nan, -5, .infinity] { times.add(one, time) }
        #expect(times.count(one) == 5)
        #expect(times.median(one) == 11)
        times.add(one, 13)
        #expect(times.median(one) == 11.5)
    }

    @Test func nothingWithoutOneRow() {
        var times = PassTimes()
        #expect(times.costs(prior: Self.prior) == nil)
        times.add(Shape(rows: 2, context: 0), 10)
        #expect(times.costs(prior: Self.prior) == nil)
    }

    /// What was not measured is as in the prior, at the machine's speed.
    @Test func unmeasuredPartsFollowThePrior() throws {
        var times = PassTimes()
        times.add(Shape(rows: 1, context: 0), 200)
        times.add(Shape(rows: 2, context: 0), 210)
        let costs = try #require(times.costs(prior: Self.prior))
        #expect(costs.widths == [1, 2, 4, 8, 16])
        #expect(costs.measured == [true, true, false, false, false])
        #expect(costs.perContext == 1 && costs.perAttended == 0.5)
        // 210 less 1 for each of two tokens and 0.5 for each of the three that they attend to.
        #expect(costs.base[1] == 206.5)
        for index in 2..<5 { #expect(abs(costs.base[index] / costs.base[1] - Self.prior.base[index] / 110) < 1e-12) }
    }

    /// Times that follow the model give it back.
    @Test func attentionIsFoundFromTwoContexts() throws {
        let truth = PassCosts(
            widths: [1, 2, 4, 8, 16], base: [1000, 1010, 1100, 1300, 1900], perContext: 0.3, perAttended: 0.07)
        var times = PassTimes()
        for (rows, context) in [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (1, 1000), (16, 1000)] {
            let attended = rows * context + rows * (rows + 1) / 2
            times.add(
                Shape(rows: rows, context: context), truth.time(rows: rows, context: context + rows, attended: attended)
            )
        }
        let costs = try #require(times.costs(prior: Self.prior))
        #expect(abs(costs.perContext - 0.3) < 1e-9 && abs(costs.perAttended - 0.07) < 1e-9)
        for (found, wanted) in zip(costs.base, truth.base) { #expect(abs(found - wanted) < 1e-6) }
    }

    /// Noise in short contexts gives no negative prices.
    @Test func pricesAreNeverNegative() throws {
        var times = PassTimes()
        for (rows, context, time) in [(1, 0, 100.0), (16, 0, 200), (1, 1000, 90), (16, 1000, 250)] {
            times.add(Shape(rows: rows, context: context), time)
        }
        let costs = try #require(times.costs(prior: Self.prior))
        #expect(costs.perContext == 0 && costs.perAttended > 0)
    }

    @Test func aTimeThatIsExpectedGrowsWithTheRows() {
        var times = PassTimes()
        #expect(times.expected(Shape(rows: 4, context: 0)) == nil)
        times.add(Shape(rows: 2, context: 0), 10)
        #expect(times.expected(Shape(rows: 8, context: 0)) == 40)
        #expect(times.expected(Shape(rows: 1, context: 0)) == nil)
        #expect(times.expected(Shape(rows: 8, context: 100)) == 120)
        times.add(Shape(rows: 8, context: 0), 13)
        #expect(times.expected(Shape(rows: 8, context: 0)) == 13)
    }
}
