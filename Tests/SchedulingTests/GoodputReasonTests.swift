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

    @Test func withoutRowsNothingIsDrafted() {
        let costs = PolicyScene.costs(PolicyScene.line(1000))
        var policy = GoodputPolicy(costs: costs)
        var view = PolicyScene.view([PolicyScene.matching(1, [1, 1]), PolicyScene.matching(2, [1, 1], room: 0)])
        view.rowBudget = 0
        #expect(policy.begin(view, costs) == [.none(.budget), .none(.end)])
    }

    /// Speaks for the drafters that it bars, and only of requests that have those.
    @Test(arguments: [DraftSource.model, .lookup]) func whoseGuardItIs(_ barred: DraftSource) {
        let cheap = PolicyScene.costs(PolicyScene.line(1000), draft: 10)
        // And the draft model is not worth a try either.
        let dear = PolicyScene.costs(PolicyScene.line(1, perRow: 1000), draft: 100_000)
        let (drafting, matching) = (PolicyScene.drafting(1), PolicyScene.matching(1, [1, 1, 1]))
        // Drafts are right, and take a hundred times as long as they should, until they are barred.
        var policy = GoodputPolicy(costs: cheap)
        let view = PolicyScene.view([barred == .model ? drafting : matching])
        var drafts = 0
        for _ in 0..<40 {
            let wish = policy.begin(view, cheap)[0]
            if drafts > 0, wish.length == 0 { break }
            drafts += wish.length > 0 ? 1 : 0
            var outcome = PolicyScene.outcome([
                PolicyScene.outcome(1, length: wish.length, accepted: wish.length, source: barred)
            ])
            outcome.targetTime = wish.length > 0 ? 100_000 : 1000
            outcome.stepTime = outcome.targetTime
            policy.commit(view, cheap, outcome)
        }
        #expect((8..<30).contains(drafts))
        func reason(_ request: DecodingView) -> DraftLimit? {
            var policy = policy
            let wish = policy.begin(PolicyScene.view([request]), dear)[0]
            return wish.length == 0 ? wish.limit : nil
        }
        var both = drafting
        both.proposals = matching.proposals
        #expect(reason(drafting) == (barred == .model ? .guard : .gain))
        #expect(reason(matching) == (barred == .model ? .gain : .guard))
        #expect(reason(both) == .guard)
        both.room = 0
        #expect(reason(both) == .end && reason(PolicyScene.matching(1, [])) == .drafter)
    }

    @Test func expectedTokensAreOneAndTheSurvivals() {
        let costs = PolicyScene.costs(PolicyScene.line(1000))
        var policy = GoodputPolicy(costs: costs)
        let view = PolicyScene.view(3) { PolicyScene.matching($0, [1, 1]) }
        _ = policy.begin(view, costs)
        #expect(policy.expectedTokens == [])
        let draft = PolicyScene.draft(.lookup, [1, 1])
        let survivals = policy.survival.survivals(draft, request: 2)
        let drafts = [nil, draft, PolicyScene.draft(.lookup, [1])]
        #expect(policy.select(view, costs, drafts) == [0, 2, 1])
        #expect(policy.expectedTokens == [1, 1 + survivals[0] + survivals[1], 1 + survivals[0]])
        var fixed = FixedLengthPolicy(length: 2)
        #expect(fixed.select(view, costs, drafts) == [0, 2, 1] && fixed.expectedTokens == nil)
        #expect(policy.calibrationError == 0 && fixed.calibrationError == nil)
    }

    /// Whose tokens count for more beside prompts are not expected to get more of them; of a try nothing is expected.
    @Test func expectedTokensAreThoseOfASteadyStep() throws {
        let costs = StepCosts(
            target: PassCosts(widths: [1, 64], base: [101, 9551], perContext: 0.1), draft: PolicyScene.line(1))
        var policy = GoodputPolicy(costs: costs)
        var view = PolicyScene.view([PolicyScene.drafting(1, context: 100), PolicyScene.drafting(2, context: 20_000)])
        (view.prefillRows, view.prefillContext, view.prefillAttended) = (100, 100, 5050)
        _ = policy.begin(view, costs)
        let draft = DraftView(source: .model, features: [DraftFeature(margin: 12, probability: 1)])
        let survival = policy.survival.survivals(draft, request: 2)[0]
        let lengths = policy.select(view, costs, [draft, draft])
        #expect(lengths[1] == 1)
        let expected = try #require(policy.expectedTokens)
        for (length, tokens) in zip(lengths, expected) { #expect(abs(tokens - 1 - Double(length) * survival) < 1e-12) }

        // Rows of whole drafts are dear, and the model is tried all the same.
        let dear = PolicyScene.costs(PolicyScene.line(1, perRow: 1000), draft: 10)
        var trying = GoodputPolicy(costs: dear)
        let alone = PolicyScene.view([PolicyScene.drafting(1)])
        // Twice without drafts, to learn what those cost.
        for _ in 0..<2 {
            _ = trying.begin(alone, dear)
            trying.commit(alone, dear, PolicyScene.outcome([PolicyScene.outcome(1, length: 0, accepted: 0)]))
        }
        let wish = trying.begin(alone, dear)[0]
        #expect(wish.source == .model && wish.length > 0)
        #expect(trying.select(alone, dear, [draft]) == [1] && trying.expectedTokens == [])
    }

    /// A try that costs more than is usually saved for is made in the end all the same: otherwise nobody would see that
    /// the draft model has become good.
    @Test func dearTriesAreSavedFor() {
        let costs = PolicyScene.costs(PolicyScene.line(1000), draft: 2000)
        var policy = GoodputPolicy(costs: costs)
        var tries: [Int] = []
        for step in 0..<4000 {
            var request = PolicyScene.drafting(UInt64(step / 50 + 1), context: 600)
            request.draftBacklog = 400 + step % 50
            request.remaining = 50 - step % 50
            let view = PolicyScene.view([request])
            let wish = policy.begin(view, costs)[0]
            if wish.length > 0 { tries.append(step) }
            var outcome = PolicyScene.outcome([PolicyScene.outcome(request.id, length: wish.length, accepted: 0)])
            outcome.targetTime = 1000
            outcome.stepTime = wish.length > 0 ? 5000 : 1000
            policy.commit(view, costs, outcome)
        }
        #expect(tries.count >= 3 && (tries.last ?? 0) > 2000, "\(tries)")
        // Six thousandths of the time, and what was there at the beginning.
        #expect(tries.count <= 12, "\(tries)")
    }
}
