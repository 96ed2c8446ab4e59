import Scheduling
import Testing

@Suite struct LatencyPlanTests {
    /// 1000 us and 100 for each row.
    private static let costs = StepCosts(target: PassCosts(widths: [1, 2], base: [1100, 1200]))

    /// A request with `emitted` tokens since time 0 that wants one every `timePerToken`.
    private static func decoding(_ id: UInt64, emitted: Int, timePerToken: Double?) -> LatencyPlan.Request {
        var request = LatencyPlan.Request(RequestSnapshot(id: id, committed: 50, computed: 49))
        request.mostTokens = 5
        guard let timePerToken else { return request }
        var demand = LatencyDemand()
        demand.firstToken = 0
        demand.emitted = emitted
        demand.remaining = 20
        demand.timePerToken = timePerToken
        request.demand = demand
        return request
    }

    private static func prompt(_ tokens: Int, due: Double?) -> LatencyPlan.Request {
        var request = LatencyPlan.Request(RequestSnapshot(id: 9, committed: tokens, computed: 0))
        request.firstTokenDue = due
        return request
    }

    private static func plan(_ requests: [LatencyPlan.Request], now: Double) -> LatencyPlan {
        LatencyPlan(requests, costs: costs, now: now, maxRows: 256)
    }

    @Test func withoutTargetsNothingIsAsked() {
        let plan = Self.plan([Self.decoding(1, emitted: 3, timePerToken: nil), Self.prompt(100, due: nil)], now: 500)
        #expect(plan.neededTokens.isEmpty && plan.prefillRows == .max && !plan.forbidsDrafts)
    }

    @Test func promptsGetTheRowsThatLeaveTheNextTokenInTime() {
        // Due at 10 · 4000, less a tenth of 4000 in reserve; two rows take 1200 us, so that 22 more fit into 3400.
        let requests = [
            Self.decoding(1, emitted: 10, timePerToken: 4000), Self.decoding(2, emitted: 10, timePerToken: nil),
        ]
        let plan = Self.plan(requests, now: 36_200)
        #expect(plan.prefillRows == 22)
        #expect(plan.neededTokens.keys.sorted() == [1])
        #expect(abs((plan.neededTokens[1] ?? 0) - 0.35) < 1e-9)
    }

    @Test func promptsAlwaysMove() {
        let plan = Self.plan([Self.decoding(1, emitted: 10, timePerToken: 1300)], now: 12_500)
        #expect(plan.prefillRows == 16)
    }

    @Test func aPromptThatIsDueSoonGoesFirst() {
        let decoding = Self.decoding(1, emitted: 10, timePerToken: 4000)
        // The prompt takes 1000 + 100 · 100 us.
        for (due, hurries) in [(60_000.0, false), (36_200 + 16_000, true), (36_000, false)] {
            let plan = Self.plan([decoding, Self.prompt(100, due: due)], now: 36_200)
            #expect(plan.forbidsDrafts == hurries)
            #expect((plan.prefillRows == .max) == hurries)
        }
    }
}
