import Scheduling
import Testing

/// What time is worth in steps that carry prompts.
@Suite struct DecodingPaceTests {
    /// 100 us for each row, and drafts of 5 us.
    private static let everyRowCosts = PolicyScene.costs(PolicyScene.line(10, perRow: 100), draft: 5)

    private static func beside(_ prefillRows: Int, _ requests: [DecodingView]) -> StepView {
        var view = PolicyScene.view(requests)
        view.prefillRows = prefillRows
        return view
    }

    @Test func recentStepsCount() throws {
        var pace = DecodingPace()
        #expect(pace.rate == nil)
        pace.add(tokens: 3, time: 0)
        #expect(pace.rate == nil)
        pace.add(tokens: 6, time: 4)
        // Three tokens that are a sixteenth old, and six, in 4 us.
        let rate = try #require(pace.rate)
        let expected: Double = (3 * 15.0 / 16 + 6) / 4
        #expect(abs(rate - expected) < 1e-12)
        #expect(pace.promptShare == 0)
        for step in 0..<400 { pace.add(tokens: 1, time: 2, withPrompts: step >= 200) }
        let later = try #require(pace.rate)
        #expect(abs(later - 0.5) < 1e-6)
        #expect(abs(pace.promptShare - 1) < 1e-4)
    }

    @Test func promptsPayForThemselves() throws {
        let costs = Self.everyRowCosts
        let requests = [PolicyScene.drafting(1), PolicyScene.drafting(2)]
        // Two rows of decoding beside 40 of prompts.
        let plain = try #require(costs.plainPace(Self.beside(40, requests)))
        #expect(abs(plain - 0.01) < 1e-12)
        var outcome = StepOutcome()
        outcome.requests = [
            PolicyScene.outcome(1, length: 3, accepted: 1), PolicyScene.outcome(2, length: 0, accepted: 0),
        ]
        (outcome.draftTime, outcome.stepTime) = (15, 5000)
        let added = costs.decodingTime(Self.beside(40, requests), outcome)
        #expect(abs(added - 515) < 1e-9)
        #expect(costs.decodingTime(PolicyScene.view(requests), outcome) == 5000)
        // Where rows cost nothing more, decoding is free beside prompts.
        #expect(PolicyScene.costs(PolicyScene.line(10)).plainPace(Self.beside(40, requests)) == nil)
    }

    /// A row of a prompt saved is as good as a token where each row costs the same: a draft that may be refused is not.
    @Test func noDraftsWhereEveryRowCostsAndPromptsWait() {
        var policy = GoodputPolicy(costs: Self.everyRowCosts)
        for id in 1...40 {
            var view = Self.beside(50, [PolicyScene.drafting(UInt64(id))])
            view.rowBudget = 30
            let wishes = policy.begin(view, Self.everyRowCosts)
            #expect(wishes.map(\.source) == [nil])
            var outcome = StepOutcome()
            outcome.requests = [PolicyScene.outcome(UInt64(id), length: 0, accepted: 0)]
            outcome.stepTime = 5110
            policy.commit(view, Self.everyRowCosts, outcome)
        }
    }

    /// Where most steps carry prompts, what the draft model missed is not worth its time; a target's drafts are made all the
    /// same.
    @Test func catchingUpDependsOnHowManyStepsCarryPrompts() {
        let costs = PolicyScene.costs(PolicyScene.line(1000, perRow: 1), draft: 300)
        func length(prompts: Bool, backlog: Int, needed: Double = 0) -> Int {
            var policy = GoodputPolicy(costs: costs)
            for step in 0..<40 {
                let view = Self.beside(prompts && step < 38 ? 20 : 0, [PolicyScene.drafting(1)])
                _ = policy.begin(view, costs)
                var outcome = StepOutcome()
                outcome.requests = [PolicyScene.outcome(1, length: 0, accepted: 0)]
                outcome.stepTime = 1001
                policy.commit(view, costs, outcome)
            }
            var request = PolicyScene.drafting(2, context: 400)
            request.draftBacklog = backlog
            request.remaining = 60
            request.neededTokens = needed
            return policy.begin(PolicyScene.view([request]), costs)[0].length
        }
        // A try has two tokens.
        #expect(length(prompts: false, backlog: 300) == 16)
        #expect(length(prompts: true, backlog: 300) <= 2)
        #expect(length(prompts: true, backlog: 3) == 16)
        #expect(length(prompts: true, backlog: 300, needed: 2) == 16)
    }

    @Test func draftsWherePromptsLeaveTheRowsCheap() {
        let cheap = PolicyScene.costs(PolicyScene.line(1000, perRow: 1), draft: 5)
        var policy = GoodputPolicy(costs: cheap)
        let request = PolicyScene.drafting(1)
        for _ in 0..<20 {
            _ = policy.begin(PolicyScene.view([request]), cheap)
            var outcome = StepOutcome()
            outcome.requests = [PolicyScene.outcome(1, length: 0, accepted: 0)]
            outcome.stepTime = 1001
            policy.commit(PolicyScene.view([request]), cheap, outcome)
        }
        #expect(policy.begin(Self.beside(20, [request]), cheap).map(\.source) == [.model])
    }
}
