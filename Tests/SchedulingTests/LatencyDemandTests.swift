import Scheduling
import Testing

@Suite struct LatencyDemandTests {
    private func demand(first: Double? = 0, emitted: Int, remaining: Double = 100, tpot: Double?) -> LatencyDemand {
        var demand = LatencyDemand()
        (demand.firstToken, demand.emitted, demand.remaining) = (first, emitted, remaining)
        demand.timePerToken = tpot
        return demand
    }

    @Test func nothingIsNeededWithoutATarget() {
        #expect(demand(emitted: 3, tpot: nil).neededTokens(now: 50, stepTime: 10, most: 9) == 0)
        #expect(demand(first: nil, emitted: 0, tpot: 10).neededTokens(now: 50, stepTime: 10, most: 9) == 0)
    }

    @Test func aRequestOnScheduleNeedsOneTokenForEachOfItsTimes() {
        // 10 a token: at 100 there are 11 tokens, and the step ends at 110.
        #expect(demand(emitted: 11, tpot: 10).neededTokens(now: 100, stepTime: 10, most: 9) == 1)
        // A step that takes twice as long has to give two.
        #expect(demand(emitted: 11, tpot: 10).neededTokens(now: 100, stepTime: 20, most: 9) == 2)
        // Three behind.
        #expect(demand(emitted: 8, tpot: 10).neededTokens(now: 100, stepTime: 10, most: 9) == 4)
        // Ahead.
        #expect(demand(emitted: 20, tpot: 10).neededTokens(now: 100, stepTime: 10, most: 9) == 0)
    }

    @Test func draftsMakeTheStepLonger() {
        #expect(demand(emitted: 11, tpot: 10).neededTokens(now: 100, stepTime: 10, stretch: 2.5, most: 9) == 2.5)
        var urgent = demand(emitted: 5, remaining: 30, tpot: nil)
        urgent.deadline = 300
        #expect(urgent.neededTokens(now: 200, stepTime: 10, stretch: 2, most: 9) == 6)
        // What can be met is a matter of the step alone: the longer one gives more tokens.
        #expect(demand(emitted: 1, tpot: 10).neededTokens(now: 500, stepTime: 10, stretch: 9, most: 2) == 2)
    }

    @Test func theMostIsWhatAStepCanGive() {
        #expect(demand(emitted: 1, tpot: 10).neededTokens(now: 100, stepTime: 10, most: 5) == 5)
    }

    @Test func whatCannotBeMetAnyMoreIsGivenUp() {
        // 100 tokens in steps of 10 with 2 tokens each take 500; there is time until 10 · (1 + 100 - 1) = 1000.
        #expect(demand(emitted: 1, tpot: 10).neededTokens(now: 500, stepTime: 10, most: 2) == 2)
        #expect(demand(emitted: 1, tpot: 10).neededTokens(now: 501, stepTime: 10, most: 2) == 0)
    }

    @Test func aDeadlineAsksForAnEvenPace() {
        var urgent = demand(emitted: 5, remaining: 30, tpot: nil)
        urgent.deadline = 300
        #expect(urgent.neededTokens(now: 200, stepTime: 10, most: 9) == 3)
        #expect(urgent.neededTokens(now: 299, stepTime: 10, most: 9) == 0)
        // Without a first token as well.
        urgent.firstToken = nil
        #expect(urgent.neededTokens(now: 200, stepTime: 10, most: 9) == 3)
    }

    @Test func promptsGetWhatTheTimeAllows() {
        let costs = StepCosts(target: PassCosts(widths: [1, 2], base: [100, 101]))
        #expect(costs.prefillRows(decoding: 4, context: 0, time: 150, floor: 16, most: 256) == 47)
        #expect(costs.prefillRows(decoding: 4, context: 0, time: 50, floor: 16, most: 256) == 16)
        #expect(costs.prefillRows(decoding: 4, context: 0, time: 5000, floor: 16, most: 256) == 256)
        #expect(costs.prefillRows(decoding: 4, context: 0, time: 5000, floor: 16, most: 8) == 8)
    }
}
