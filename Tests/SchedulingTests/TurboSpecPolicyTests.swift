import Scheduling
import Testing

@Suite struct TurboSpecPolicyTests {
    private typealias Scene = PolicyScene

    @Test func draftsHaveToPromiseTenPercent() {
        // 1.7 / 160 per token against 1 / 100: better by 6%.
        let costs = Scene.costs(Scene.line(100), draft: 60)
        let view = Scene.view(1) { Scene.drafting($0) }
        var (smart, turbo) = (SmartSpecPolicy(profile: costs), TurboSpecPolicy(profile: costs))
        #expect(smart.lengths(view) == [1])
        #expect(turbo.lengths(view) == [0])
        // 1.7 / 130, 2.19 / 160 and 2.533 / 190 for 1, 2 and 3 tokens.
        turbo = TurboSpecPolicy(profile: Scene.costs(Scene.line(100), draft: 30))
        #expect(turbo.lengths(view) == [2])
    }

    @Test func theSearchDoesNotStopAtTheFirstDrop() {
        // Against 1.1 / 100: 2 / 185 is less, 3 / 270 is more, 9 / 780 is most.
        var policy = TurboSpecPolicy(profile: Scene.costs(Scene.line(100), draft: 85), acceptance: 1)
        #expect(policy.lengths(Scene.view(1) { Scene.drafting($0) }) == [8])
    }

    @Test func aDecisionHoldsForTwentySteps() {
        var policy = TurboSpecPolicy(profile: Scene.costs(Scene.line(100), draft: 30))
        let view = Scene.view(1) { Scene.drafting($0) }
        for _ in 0..<20 {
            #expect(policy.lengths(view) == [2])
            policy.learn(view, [Scene.outcome(1, length: 2, accepted: 0)])
        }
        #expect(policy.lengths(view) == [0])
    }

    @Test func anotherBatchDropsTheDecision() {
        let costs = Scene.costs(Scene.line(100), draft: 30)
        for change in [true, false] {
            var policy = TurboSpecPolicy(profile: costs)
            let view = Scene.view(2) { Scene.drafting($0) }
            #expect(policy.lengths(view)[0] > 0)
            for _ in 0..<6 {
                policy.learn(view, (1...2).map { Scene.outcome($0, length: 2, accepted: 0) })
            }
            // 1.264 / 130 is no longer worth it, but the order of the requests does not matter.
            let other = change ? [Scene.drafting(1), Scene.drafting(3)] : [Scene.drafting(2), Scene.drafting(1)]
            #expect(policy.lengths(Scene.view(other)).allSatisfy { ($0 == 0) == change })
        }
    }

    @Test func aDecisionThatNoLongerFitsIsDropped() {
        var policy = TurboSpecPolicy(profile: Scene.costs(Scene.line(100), draft: 30))
        var view = Scene.view(1) { Scene.drafting($0) }
        #expect(policy.lengths(view) == [2])
        view.rowBudget = 1
        #expect(
            policy.begin(view, Scene.costs(Scene.line(1))) == [DraftWish(source: .model, length: 1, limit: .budget)])
    }

    @Test func lengthsNeedATenthOfTheMemoryToSpare() {
        let costs = Scene.costs(Scene.line(1000), draft: 1)
        func wish(free: Int) -> DraftWish? {
            var policy = TurboSpecPolicy(profile: costs, acceptance: 0.9)
            var view = Scene.view(10) { Scene.drafting($0) }
            view.freeTokens = free
            return policy.begin(view, costs).first
        }
        // 1.1·10·(100 + k + 1) against 1000 + free: 1133 for 2, 1144 for 3.
        #expect(wish(free: 140) == DraftWish(source: .model, length: 2, limit: .memory))
        #expect(wish(free: 50) == DraftWish.none(.memory))
        #expect(wish(free: 200) == DraftWish(source: .model, length: 8, limit: .length))
    }

    @Test func everyHundredthStepProbes() {
        var policy = TurboSpecPolicy(profile: Scene.costs(Scene.line(100), draft: 30), acceptance: 0)
        let view = Scene.view(2) { Scene.drafting($0) }
        for step in 1...300 {
            let isProbe = step % 100 == 0
            #expect(policy.lengths(view) == (isProbe ? [1, 1] : [0, 0]))
            policy.learn(view, (1...2).map { Scene.outcome($0, length: isProbe ? 1 : 0, accepted: 0) })
        }
    }

    @Test func anAverageLeavesZeroAgain() {
        var policy = TurboSpecPolicy(profile: Scene.costs(Scene.line(100), draft: 30), acceptance: 0)
        let view = Scene.view(2) { Scene.drafting($0) }
        var drafting = 0
        for _ in 0..<1000 {
            let lengths = policy.lengths(view)
            if lengths[0] > 0 { drafting += 1 }
            policy.learn(view, zip(UInt64(1)..., lengths).map { Scene.outcome($0, length: $1, accepted: $1) })
        }
        // l(alpha, 1) / 130 exceeds 1.1 / 100 from 0.43 on, which the fourth probe reaches.
        #expect(drafting > 500)
        #expect(policy.acceptance.value > 0.99)
    }

    @Test func fortyZerosStopLookupsUntilTheProbe() {
        // One request: 1.7 / 120 against 1.1 / 110. 64 requests: 1.7 / 1380 against 1.1 / 740.
        let costs = Scene.costs(Scene.line(100, perRow: 10))
        let (many, one) = (
            Scene.view(64) { Scene.matching($0, length: 10) }, Scene.view(1) { Scene.matching($0, length: 10) }
        )
        for zeros in [39, 40] {
            var policy = TurboSpecPolicy(profile: costs)
            for _ in 0..<zeros { #expect(policy.lengths(many).allSatisfy { $0 == 0 }) }
            guard zeros == 40 else {
                #expect(policy.lengths(one)[0] > 0)
                continue
            }
            for _ in 41...99 { #expect(policy.begin(one, costs) == [.none(.gain)]) }
            #expect(policy.lengths(one)[0] > 0)
            #expect(policy.lengths(one)[0] > 0)
        }
    }

    @Test func stepsWithoutMatchesDecideNothing() {
        var policy = TurboSpecPolicy(profile: Scene.costs(Scene.line(100, perRow: 10)))
        let (missed, matched) = (
            Scene.view(1) { Scene.matching($0, length: 0) }, Scene.view(1) { Scene.matching($0, length: 10) }
        )
        for _ in 0..<250 { #expect(policy.begin(missed, Scene.costs(Scene.line(1))) == [.none(.drafter)]) }
        #expect(policy.lengths(matched)[0] > 0)
    }

    @Test func lengthsFollowTheRequestsOwnAverages() {
        #expect(TurboSpecPolicy.share(length: 2, most: [8, 8, 8], rates: [0.9, 0.6, 0.3], rowLimit: 99) == [3, 2, 1])
        #expect(TurboSpecPolicy.share(length: 2, most: [8, 8], rates: [0, 0], rowLimit: 99) == [0, 0])
        #expect(TurboSpecPolicy.share(length: 6, most: [8, 8], rates: [0.9, 0.1], rowLimit: 99) == [8, 1])
        // Who cannot draft has no part in it.
        #expect(TurboSpecPolicy.share(length: 2, most: [8, 0, 8], rates: [0.6, 0.9, 0.2], rowLimit: 99) == [3, 0, 1])
        #expect(TurboSpecPolicy.share(length: 2, most: [8, 8, 8], rates: [0.9, 0.6, 0.3], rowLimit: 4) == [2, 1, 1])
        #expect(TurboSpecPolicy.share(length: 2, most: [8, 8], rates: [0.5, 0.5], rowLimit: 0) == [0, 0])
    }

    @Test func aRequestThatIsRefusedMoreDraftsLess() {
        var policy = TurboSpecPolicy(profile: Scene.costs(Scene.line(100), draft: 5))
        let view = Scene.view(2) { Scene.drafting($0) }
        let first = policy.lengths(view)
        #expect(first[0] == first[1] && first[0] > 0)
        for _ in 0..<8 {
            policy.learn(view, [Scene.outcome(1, length: 4, accepted: 4), Scene.outcome(2, length: 4, accepted: 0)])
        }
        let later = policy.lengths(view)
        #expect(later[0] > later[1])
        // Gone and forgotten: a request with the same number starts with the average of the batch.
        policy.forget(1)
        policy.forget(2)
        let again = policy.lengths(view)
        #expect(again[0] == again[1])
    }
}
