import Scheduling
import Testing

/// Drafts that are drawn from the draft model's distribution are accepted at other margins than those that share their noise
/// with the target; neither kind must move the estimate of the other.
@Suite struct DrawnDraftTests {
    private static let draft = DraftView(source: .model, features: [DraftFeature(margin: 0.2, probability: 0.5)])

    /// Requests 0 to 19 draw and are accepted, 20 to 39 do not and are refused.
    private static func experience() -> SurvivalModel {
        var model = SurvivalModel()
        for id in UInt64(0)..<20 { model.draws(id) }
        for _ in 0..<30 {
            for id in UInt64(0)..<40 {
                model.observe(draft, judged: 1, accepted: id < 20 ? 1 : 0, request: id, isPeculiar: false)
            }
        }
        return model
    }

    @Test func bothKindsAreLearnedApart() {
        var model = Self.experience()
        model.draws(100)
        let feature = Self.draft.features[0]
        #expect(model.conditional(feature, .model, request: 100) > 0.9)
        #expect(model.conditional(feature, .model, request: 101) < 0.1)
        #expect(model.expected(request: 100) > 0.9)
        #expect(model.expected(request: 101) < 0.1)
    }

    @Test func aForgottenRequestIsLikeAnyOther() {
        var model = Self.experience()
        model.forget(3)
        #expect(model.expected(request: 3) == model.expected(request: 101))
    }

    @Test func thePolicyIsToldOfThem() {
        let costs = StepCosts(
            target: PassCosts(widths: [1, 64], base: [1000, 1100]), draft: PassCosts(widths: [1, 64], base: [50, 60]))
        var policy = GoodputPolicy(costs: costs, maxDraft: 4)
        var request = DecodingView(id: 7, context: 20, room: 8)
        request.draftBacklog = 1
        request.drawsDrafts = true
        var view = StepView()
        view.rowBudget = 64
        view.requests = [request]
        for _ in 0..<60 {
            let length = policy.begin(view, costs)[0].length
            var outcome = DraftOutcome(id: 7)
            if length > 0 {
                outcome.source = .model
                outcome.features = [DraftFeature](repeating: Self.draft.features[0], count: length)
                (outcome.verified, outcome.accepted) = (length, length)
            }
            outcome.emitted = outcome.accepted + 1
            var step = StepOutcome()
            step.requests = [outcome]
            (step.draftTime, step.targetTime, step.stepTime) = (200, 1000, 1200)
            policy.commit(view, costs, step)
        }
        policy.forget(7)
        // Others have learned nothing.
        #expect(policy.survival.expected(request: 8) == SurvivalModel().expected(request: 8))
        var again = policy.survival
        again.draws(8)
        #expect(again.expected(request: 8) > SurvivalModel().expected(request: 8))
    }
}
