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

    private static func plan(
        _ requests: [LatencyPlan.Request], stretch: Double = 1, draft: PassCosts? = nil, now: Double
    ) -> LatencyPlan {
        var costs = costs
        costs.draft = draft
        return LatencyPlan(requests, costs: costs, stretch: stretch, now: now, maxRows: 256)
    }

    @Test func withoutTargetsNothingIsAsked() {
        let plan = Self.plan([Self.decoding(1, emitted: 3, timePerToken: nil), Self.prompt(100, due: nil)], now: 500)
        #expect(plan.neededTokens.isEmpty && plan.prefillRows == .max && !plan.forbidsDrafts)
        #expect(plan.catchUpRows == .max)
    }

    @Test func promptsGetTheRowsThatLeaveTheNextTokenInTime() {
        // Due at 10 · 4000, less a tenth of 4000 in reserve; two rows take 1200 us, so that 22 more fit into 3400.
        let requests = [
            Self.decoding(1, emitted: 10, timePerToken: 4000), Self.decoding(2, emitted: 10, timePerToken: nil),
        ]
        let plan = Self.plan(requests, now: 36_200)
        #expect(plan.prefillRows == 22)
        // Earlier there would be room for 34; drafts that make the step twice as long take that of 12.
        #expect(Self.plan(requests, now: 35_000).prefillRows == 34)
        #expect(Self.plan(requests, stretch: 2, now: 35_000).prefillRows == 22)
        #expect(plan.neededTokens.keys.sorted() == [1])
        #expect(abs((plan.neededTokens[1] ?? 0) - 0.35) < 1e-9)
    }

    @Test func promptsAlwaysMove() {
        let plan = Self.plan([Self.decoding(1, emitted: 10, timePerToken: 1300)], now: 12_500)
        #expect(plan.prefillRows == 16)
        // Beside 200 requests a tenth of the step is more: 2100 us.
        let many = (0..<200).map { Self.decoding($0, emitted: 10, timePerToken: 24_000) }
        #expect(Self.plan(many, now: 230_000).prefillRows == 21)
        #expect(Self.plan(many, stretch: 2, now: 230_000).prefillRows == 42)
    }

    @Test func stepsWithDraftsNeedMoreTokens() {
        let plan = Self.plan([Self.decoding(1, emitted: 10, timePerToken: 4000)], stretch: 3, now: 36_200)
        // 36,200 and 3 · 1100 are 9.875 tokens of 4000.
        #expect(abs((plan.neededTokens[1] ?? 0) - 0.875) < 1e-9)
    }

    @Test func theDraftModelCatchesUpInTheTimeThatIsLeft() {
        let draft = PassCosts(widths: [1, 2], base: [110, 120])
        let request = Self.decoding(1, emitted: 10, timePerToken: 4000)
        // Due at 39,600; a step takes 1100 us.
        let early = Self.plan([request], draft: draft, now: 36_200)
        #expect(early.catchUpRows == (39_600 - 36_200 - 1100 - 100) / 10)
        // At least a third of the step or so: 385 us.
        #expect(Self.plan([request], draft: draft, now: 39_000).catchUpRows == 28)
        // And some rows in any case.
        let slow = PassCosts(widths: [1, 2], base: [500, 1000])
        #expect(Self.plan([request], draft: slow, now: 39_000).catchUpRows == 16)
        // And two for each that may have to wait.
        let many = (0..<20).map { Self.decoding($0, emitted: 10, timePerToken: 4000) }
        #expect(Self.plan(many, draft: slow, now: 39_000).catchUpRows == 40)
        // Prompts come first: 23 rows of 100 us take all of it; or 5, where there are no more.
        let withPrompt = Self.plan([request, Self.prompt(100, due: nil)], draft: draft, now: 36_200)
        #expect(withPrompt.prefillRows == 23 && withPrompt.catchUpRows == 28)
        let withFew = Self.plan([request, Self.prompt(5, due: nil)], draft: draft, now: 36_200)
        #expect(withFew.catchUpRows == (2300 - 500 - 100) / 10)
        // Nobody waits, or nobody drafts.
        #expect(Self.plan([Self.decoding(1, emitted: 10, timePerToken: nil)], draft: draft, now: 0).catchUpRows == .max)
        #expect(Self.plan([request], now: 39_000).catchUpRows == .max)
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
