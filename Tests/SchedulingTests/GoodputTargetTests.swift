import Scheduling
import Testing

/// What targets for the time per token make of the default policy's decisions.
@Suite struct GoodputTargetTests {
    /// Rows are dear: no draft pays by itself.
    private static let dear = PolicyScene.costs(PolicyScene.line(0, perRow: 1000))

    private func rows(_ matches: [Double], needed: Double) -> Int {
        var request = PolicyScene.matching(1, [])
        request.proposals = [
            DraftView(source: .host, features: matches.map { DraftFeature(probability: Float($0)) })
        ]
        request.neededTokens = needed
        var policy = GoodputPolicy(costs: Self.dear)
        // Plain steps come first, so that their price is known.
        for _ in 0..<8 {
            let length = policy.begin(PolicyScene.view([request]), Self.dear)[0].length
            if length > 0 { return length }
            policy.commit(
                PolicyScene.view([request]), Self.dear,
                PolicyScene.outcome([PolicyScene.outcome(1, length: 0, accepted: 0)]))
        }
        return 0
    }

    @Test func whatATargetNeedsIsDraftedAtAnyPrice() {
        #expect(rows([0.9, 0.9, 0.9, 0.9], needed: 0) == 0)
        // 1 + 0.9 covers 1.5, 1 + 0.9 + 0.81 + 0.729 covers 3.
        #expect(rows([0.9, 0.9, 0.9, 0.9], needed: 1.5) == 1)
        #expect(rows([0.9, 0.9, 0.9, 0.9], needed: 3) == 3)
    }

    @Test func whatIsUnlikelyHelpsNoTarget() {
        // 0.9, 0.45 and 0.2 of a token.
        #expect(rows([0.9, 0.5, 0.44], needed: 4) == 2)
        #expect(rows([0.2, 0.9], needed: 4) == 0)
    }

    /// The draft model has a long prompt to read first.
    @Test func aRequestWithATargetIsCaughtUpInTime() {
        let costs = StepCosts(
            target: PolicyScene.line(1000), draft: PassCosts(widths: [1, 4000], base: [50, 200_000]))
        func drafts(target: Double?) -> Bool {
            var request = PolicyScene.drafting(1, context: 3000)
            request.draftBacklog = 3000
            request.remaining = 20
            request.targetTPOT = target
            var policy = GoodputPolicy(costs: costs)
            for _ in 0..<8 {
                let view = PolicyScene.view([request, PolicyScene.drafting(2)])
                if policy.begin(view, costs)[0].length > 0 { return true }
                policy.commit(
                    view, costs,
                    PolicyScene.outcome([1, 2].map { PolicyScene.outcome($0, length: 0, accepted: 0) }))
            }
            return false
        }
        #expect(!drafts(target: nil))
        #expect(drafts(target: 900))
        // Nobody gets ten tokens a step.
        #expect(!drafts(target: 100))
    }
}
