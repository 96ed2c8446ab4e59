import Scheduling
import Testing

/// What the goodput policy says of its decisions.
@Suite struct GoodputReasonTests {
    private func wish(_ request: DecodingView, _ target: PassCosts, maxDraft: Int = 16) -> DraftWish {
        let costs = PolicyScene.costs(target)
        var policy = GoodputPolicy(costs: costs, maxDraft: maxDraft)
        let view = PolicyScene.view([request])
        for _ in 0..<2 {  // a batch is seen plain first
            _ = policy.begin(view, costs)
            var outcome = StepOutcome()
            outcome.requests = [DraftOutcome(id: request.id)]
            outcome.targetTime = costs.targetTime(view, drafted: 0, attended: 0)
            outcome.stepTime = outcome.targetTime
            policy.commit(view, costs, outcome)
        }
        return policy.begin(view, costs)[0]
    }

    @Test func whyDraftsAreNotLonger() {
        let (free, dear) = (PolicyScene.line(1000), PolicyScene.line(1, perRow: 1000))
        let found: [Float] = [1, 1, 1]
        func reason(_ wish: DraftWish, _ length: Int) -> DraftLimit? { wish.length == length ? wish.limit : nil }
        #expect(reason(wish(PolicyScene.matching(1, found), free), 3) == .drafter)
        #expect(reason(wish(PolicyScene.matching(1, found, room: 3), free), 3) == .end)
        #expect(reason(wish(PolicyScene.matching(1, found), free, maxDraft: 2), 2) == .length)
        #expect(reason(wish(PolicyScene.matching(1, found), dear), 0) == .gain)
        #expect(reason(wish(PolicyScene.matching(1, []), free), 0) == .drafter)
        #expect(reason(wish(PolicyScene.matching(1, found, room: 0), free), 0) == .end)
        // The second row is free, the third is not.
        let stairs = PolicyScene.stairs([1000, 1000, 9000, 9000, 9000])
        #expect(reason(wish(PolicyScene.matching(1, found), stairs), 1) == .gain)
    }

    @Test func expectedTokensAreOneAndTheSurvivals() {
        let costs = PolicyScene.costs(PolicyScene.line(1000))
        let policy = GoodputPolicy(costs: costs)
        let view = PolicyScene.view(3) { PolicyScene.matching($0, [1, 1]) }
        let draft = PolicyScene.draft(.lookup, [1, 1])
        let survivals = policy.survival.survivals(draft, request: 2)
        let one = PolicyScene.draft(.lookup, [1])
        #expect(
            policy.expectedTokens(view, [nil, draft, one]) == [1, 1 + survivals[0] + survivals[1], 1 + survivals[0]])
        #expect(FixedLengthPolicy(length: 2).expectedTokens(view, [nil, draft, one]) == nil)
        #expect(policy.calibrationError == 0 && FixedLengthPolicy(length: 2).calibrationError == nil)
    }
}
