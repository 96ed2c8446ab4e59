import Scheduling
import TestSupport
import Testing

/// When one request's drafts are switched off, and when they come back.
@Suite struct UtilitySwitchTests {
    /// A step of each request; the answer is whether it switched the request off.
    private struct Course {
        var own = UtilitySwitch()
        var step = 0
        /// The requests of its batch.
        var requests = 4

        var isOff: Bool { own.isOff(at: step, among: requests) }

        mutating func observe(tokens: Double, worth: Double = 1, rows: Int, cost: Double) -> Bool {
            step += 1
            return own.observe(
                tokens: tokens, worth: worth, rows: rows, cost: cost, step: step, among: requests)
        }

        /// Steps until the request may draft again.
        mutating func rest() -> Int {
            let start = step
            while isOff { step += 1 }
            return step - start
        }

        /// Steps with useless drafts until they are off; nil: they never are.
        mutating func fail(rows: Int, cost: Double) -> Int? {
            (1...10_000).first { _ in observe(tokens: 0, rows: rows, cost: cost) }
        }

        mutating func fail() throws {
            let steps = fail(rows: 2, cost: 1)
            try #require(steps != nil)
        }
    }

    /// Right tokens of a draft of so many, each right with that chance if those before it were.
    private static func right(of rows: Int, _ chance: Double, _ random: inout SplitMix64) -> Double {
        var count = 0
        while count < rows, Double.random(in: 0..<1, using: &random) < chance { count += 1 }
        return Double(count)
    }

    /// The dearer, the sooner; never at once. `cost` is that of each row.
    @Test(arguments: [(1, 1.5, 17), (1, 0.2, 45), (1, 0.05, 210), (4, 1.0, 17), (4, 0.25, 22), (16, 0.2, 29)])
    func uselessDraftsEnd(rows: Int, cost: Double, most: Int) {
        var course = Course()
        let steps = course.fail(rows: rows, cost: Double(rows) * cost) ?? .max
        #expect((16...most).contains(steps), "\(steps)")
        #expect(course.isOff)
        _ = course.rest()
        #expect(course.fail(rows: rows, cost: Double(rows) * cost) == steps, "what follows is judged anew")
    }

    @Test(arguments: [0.1, 0.4, 0.8, 0.95], [1.03, 1.2])
    func noiseSwitchesNothingOffThatPays(chance: Double, utility: Double) {
        let rows = 6
        let mean = (1...rows).reduce((sum: 0.0, chance: 1.0)) { so, _ in
            (so.sum + so.chance * chance, so.chance * chance)
        }.sum
        for seed in 1...20 {
            var random = SplitMix64(seed: UInt64(seed))
            var course = Course()
            for step in 0..<2000 {
                let isOff = course.observe(
                    tokens: Self.right(of: rows, chance, &random), rows: rows, cost: mean / utility)
                #expect(!isOff, "seed \(seed), step \(step)")
                if isOff { return }
            }
        }
    }

    /// Whole spans are right now and then, and nothing between them.
    @Test func rareLongRunsPay() {
        for seed in 1...20 {
            var random = SplitMix64(seed: UInt64(seed))
            var course = Course()
            for step in 0..<2000 {
                let isHit = Double.random(in: 0..<1, using: &random) < 0.1
                let isOff = course.observe(tokens: isHit ? 16 : 0, rows: 16, cost: 1.5)
                #expect(!isOff, "seed \(seed), step \(step)")
                if isOff { return }
            }
        }
    }

    @Test func oneUnluckyStepIsNoEvidence() {
        var course = Course()
        for _ in 0..<40 { _ = course.observe(tokens: 1, rows: 2, cost: 0.9) }
        let isOff = course.observe(tokens: 0, rows: 16, cost: 16)
        #expect(!isOff && !course.isOff)
    }

    @Test func pausesDoubleAndAlwaysEnd() throws {
        var course = Course()
        var pauses: [Int] = []
        for _ in 0..<7 {
            try course.fail()
            pauses.append(course.rest())
        }
        #expect(pauses == [32, 64, 128, 256, 512, 512, 512])
        #expect(pauses.first == UtilitySwitch.shortest && pauses.last == UtilitySwitch.longest)
        // Success is forgotten no more than failure.
        for _ in 0..<20 { _ = course.observe(tokens: 2, rows: 2, cost: 1) }
        try course.fail()
        #expect(course.rest() == UtilitySwitch.shortest)
    }

    @Test func whatWouldHavePaidSwitchesOn() throws {
        var course = Course()
        for _ in 0..<5 {
            try course.fail()
            _ = course.rest()
        }
        try course.fail()
        // A few matches, and many that cost what they yield.
        for _ in 0..<4 { course.own.imagine(tokens: 1, cost: 0.1, step: course.step) }
        for _ in 0..<100 { course.own.imagine(tokens: 1, cost: 1.2, step: course.step) }
        for _ in 0..<4 { course.own.imagine(tokens: 1, cost: 0.1, step: course.step) }
        #expect(course.isOff)
        course.own.imagine(tokens: 1, cost: 0.1, step: course.step)
        #expect(!course.isOff)
    }

    /// What a token counts for scales what drafts yield, and how much that varies: the same course at the same time.
    @Test(arguments: [0.25, 0.5, 2, 4]) func aLossIsJudgedInWhatTokensCountFor(_ worth: Double) throws {
        let cost = 1.25
        func stepsUntilOff(worth: Double, cost: Double) -> Int? {
            var random = SplitMix64(seed: 5)
            var course = Course()
            return (1...2000).first { _ in
                course.observe(tokens: Self.right(of: 4, 0.4, &random), worth: worth, rows: 4, cost: cost)
            }
        }
        let plain = try #require(stepsUntilOff(worth: 1, cost: cost))
        #expect(stepsUntilOff(worth: worth, cost: worth * cost) == plain)
        // Tokens that count for so much pay at the price at which others lose.
        #expect((stepsUntilOff(worth: worth, cost: cost) == nil) == (worth > 1))
    }

    /// Rows are cheaper in a smaller batch: what lost in a large one may pay there.
    @Test func aLossSaysNothingOfMuchSmallerBatches() throws {
        var course = Course()
        course.requests = 16
        try course.fail()
        func isOff(among requests: Int) -> Bool { course.own.isOff(at: course.step, among: requests) }
        #expect([64, 16, 9].allSatisfy { isOff(among: $0) })
        #expect(![8, 2, 1].contains { isOff(among: $0) })
        // It is what the last loss says, and for a request alone none says anything.
        _ = course.rest()
        course.requests = 2
        try course.fail()
        #expect(isOff(among: 16) && isOff(among: 2) && !isOff(among: 1))
    }
}
