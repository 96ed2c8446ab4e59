import Scheduling
import Testing

@Suite struct AdaSpecPolicyTests {
    private typealias Scene = PolicyScene

    /// Probabilities whose products are .90, .81, .73 and .95, .55, .05.
    private static let worked: [[Float]] = [[0.9, 0.9, 0.73 / 0.81], [0.95, 0.55 / 0.95, 0.05 / 0.55]]

    /// The verified lengths of drafts that lookup has for two requests.
    private static func select(
        _ target: PassCosts, _ probabilities: [[Float]] = worked, targets: [Double?] = []
    ) -> [Int] {
        let costs = Scene.costs(target)
        var view = Scene.view(probabilities.count) { Scene.matching($0, probabilities[Int($0) - 1]) }
        for (index, target) in targets.enumerated() { view.requests[index].targetTPOT = target }
        var policy = AdaSpecPolicy()
        let wishes = policy.begin(view, costs)
        #expect(wishes.map(\.length) == probabilities.map { min(8, $0.count) })
        return policy.select(view, costs, view.requests.map(\.preferredProposal))
    }

    // MARK: - Confidence prior verifier

    @Test func theTokenOfLowestSurvivalGoesFirst() {
        // The eighth row is dear: 5.99 / 130 with all, 5.94 / 100 without the .05.
        #expect(Self.select(Scene.stairs([100, 100, 100, 100, 100, 100, 100, 130])) == [3, 2])
    }

    @Test func theLowestOfAllRequestsGo() {
        // Three go at once: .05, .55 and .73; neither request is drained alone.
        #expect(Self.select(Scene.stairs([100, 100, 100, 100, 100, 200, 200, 200])) == [2, 1])
    }

    @Test func nothingGoesWhereEfficiencyWouldFall() {
        // 5.99 / 100.5 against 5.94 / 100.
        #expect(Self.select(Scene.stairs([100, 100, 100, 100, 100, 100, 100, 100.5])) == [3, 3])
    }

    @Test func pruningGoesOnFromBoundaryToBoundary() {
        // 5.99 / 160, 5.94 / 130, 5.39 / 100.
        #expect(Self.select(Scene.stairs([100, 100, 100, 100, 100, 100, 130, 160])) == [3, 1])
    }

    @Test func ofEqualsTheLaterRequestIsPruned() {
        let same: [[Float]] = [[0.9, 0.9], [0.9, 0.9]]
        #expect(Self.select(Scene.stairs([100, 100, 100, 100, 100, 200]), same) == [2, 1])
    }

    @Test func allMayGo() {
        #expect(Self.select(Scene.line(1, perRow: 100), [[0.1], [0.2]]) == [0, 0])
    }

    // MARK: - SLO-aware estimator

    @Test func theMostEfficientLengthWithinTheTarget() {
        // The first request pays 120 + 10·k for its one token.
        let drafts: [[Float]] = [[], Array(repeating: 1, count: 8)]
        #expect(Self.select(Scene.line(100, perRow: 10), drafts) == [0, 8])
        #expect(Self.select(Scene.line(100, perRow: 10), drafts, targets: [155]) == [0, 3])
        #expect(Self.select(Scene.line(100, perRow: 10), drafts, targets: [1000]) == [0, 8])
    }

    @Test func theLowestTimePerTokenWhereNoLengthKeepsTheTarget() {
        let drafts: [[Float]] = [[], Array(repeating: 1, count: 8)]
        #expect(Self.select(Scene.line(100, perRow: 10), drafts, targets: [100]) == [0, 0])
        // Its own draft is what helps the second request: 200 / 9 is its least.
        #expect(Self.select(Scene.line(100, perRow: 10), drafts, targets: [nil, 20]) == [0, 8])
    }

    @Test func aTargetKeepsTheDraftModelFromStarting() {
        let costs = Scene.costs(Scene.line(100), draft: 20)
        var view = Scene.view(1) { Scene.drafting($0) }
        view.requests.append(Scene.matching(2, []))
        var policy = AdaSpecPolicy()
        #expect(policy.begin(view, costs)[0] == DraftWish(source: .model, length: 8, limit: .length))
        view.requests[1].targetTPOT = 110
        #expect(policy.begin(view, costs)[0] == .none(.target))
    }

    @Test func aTargetGoesBeforeEfficiency() {
        // 10 / 100 without the draft, 10.9 / 110 with it; but only that brings the first request from 100 to 57.9.
        let drafts: [[Float]] = [[0.9]] + Array(repeating: [], count: 9)
        let line = Scene.line(0, perRow: 10)
        #expect(Self.select(line, drafts).first == 0)
        #expect(Self.select(line, drafts, targets: [60]).first == 1)
    }

    @Test func allLengthsAreCompared() {
        // One token each is worse than none, 2 / 250 against 1 / 100; four are better.
        #expect(Self.select(Scene.stairs([100, 250, 250, 250, 250]), [[1, 1, 1, 1]]) == [4])
    }

    // MARK: - Adaptive drafter

    @Test func draftingStartsWhereOneTokenPays() {
        let view = Scene.view(1) { Scene.drafting($0) }
        // 1.6 / (100 + D) against 1 / 100.
        for (draft, starts) in [(59.0, true), (61.0, false)] {
            var policy = AdaSpecPolicy()
            let wish = policy.begin(view, Scene.costs(Scene.line(100), draft: draft))[0]
            #expect(wish == (starts ? DraftWish(source: .model, length: 8, limit: .length) : .none(.gain)))
        }
    }

    /// Whether drafting goes on after each of these tokens, of one request at 100 a step and 20 a draft.
    private static func goesOn(_ probabilities: [Float]) -> [Bool] {
        let costs = Scene.costs(Scene.line(100), draft: 20)
        let view = Scene.view(1) { Scene.drafting($0) }
        var policy = AdaSpecPolicy()
        #expect(policy.lengths(view, costs) == [8])
        return (0...probabilities.count).map {
            policy.extend(view, costs, [Scene.draft(.model, Array(probabilities.prefix($0)))])[0]
        }
    }

    @Test func draftingStopsWhenEfficiencyFalls() {
        // 1.9 / 120 promises 2.44 / 140, but 1.99 / 140 is less than before.
        #expect(Self.goesOn([0.9, 0.1]) == [true, true, false])
        // 2.35 / 140 is more, but promises only 2.62 / 160.
        #expect(Self.goesOn([0.9, 0.5]) == [true, true, false])
        #expect(Self.goesOn([1, 1, 1, 1, 1, 1, 1, 1]).prefix(5) == [true, true, true, true, true])
        #expect(Self.goesOn([1, 1, 1, 1, 1, 1, 1, 1]).last == false)
    }

    @Test func aFallIsNotMadeUpByPromises() {
        // The third row is dear. 1.9 / 101 promises 2.44 / 122, which turns out as 2.17 / 122, with a promise of 2.332 / 123.
        let costs = Scene.costs(Scene.stairs([100, 100, 120, 120, 120]), draft: 1)
        let view = Scene.view(1) { Scene.drafting($0) }
        var policy = AdaSpecPolicy()
        #expect(policy.lengths(view, costs) == [8])
        #expect(policy.extend(view, costs, [Scene.draft(.model, [0.9])]) == [true])
        #expect(policy.extend(view, costs, [Scene.draft(.model, [0.9, 0.3])]) == [false])
    }

    @Test func onlyRequestsThatCanGoOnDo() {
        let costs = Scene.costs(Scene.line(100), draft: 1)
        let view = Scene.view([
            Scene.drafting(1), Scene.drafting(2, room: 1), Scene.matching(3, [1, 1]), Scene.drafting(4),
        ])
        var policy = AdaSpecPolicy()
        #expect(policy.lengths(view, costs) == [8, 1, 2, 8])
        let drafts = [Scene.draft(.model, [0.9]), Scene.draft(.model, [0.9]), Scene.draft(.lookup, [1, 1]), nil]
        #expect(policy.extend(view, costs, drafts) == [true, false, false, false])
        #expect(policy.select(view, costs, drafts) == [1, 1, 2, 0])
    }

    @Test func theMeanOfTheProbabilitiesIsThePrior() {
        let costs = Scene.costs(Scene.line(100), draft: 59)
        let view = Scene.view(1) { Scene.drafting($0) }
        var policy = AdaSpecPolicy()
        #expect(policy.lengths(view, costs) == [8])
        // No outcome contradicts the 0.4: of two tokens none was judged.
        var outcome = Scene.outcome(1, length: 2, accepted: 0, probability: 0.4)
        outcome.verified = 0
        policy.commit(view, costs, Scene.outcome([outcome]))
        #expect(policy.lengths(view, costs) == [0])
        // The published rule: without drafts the mean stays, and with it the decision, until the step is another.
        for _ in 0..<500 {
            policy.commit(view, costs, Scene.outcome([Scene.outcome(1, length: 0, accepted: 0)]))
            #expect(policy.lengths(view, costs) == [0])
        }
        #expect(policy.lengths(view, Scene.costs(Scene.line(300), draft: 59)) == [8])
    }

    @Test func probabilitiesAreCorrectedByOutcomes() {
        let costs = Scene.costs(Scene.line(100), draft: 70)
        let view = Scene.view(1) { Scene.drafting($0) }
        var policy = AdaSpecPolicy()
        #expect(policy.lengths(view, costs) == [0])
        // All that had 0.6 was accepted: (32 + 160) / (32 + 96) makes 0.9 of it.
        let accepted = Scene.outcome(1, length: 8, accepted: 8, probability: 0.6)
        for _ in 0..<20 { policy.commit(view, costs, Scene.outcome([accepted])) }
        #expect(policy.lengths(view, costs) == [8])
        // Lookups have a record of their own.
        let refused = Scene.outcome(1, length: 8, accepted: 0, source: .lookup, probability: 1)
        for _ in 0..<200 { policy.commit(view, costs, Scene.outcome([refused])) }
        #expect(policy.lengths(view, costs) == [8])
    }

    @Test func rowsAndMemoryLimitDrafts() {
        let costs = Scene.costs(Scene.line(100), draft: 1)
        var view = Scene.view(2) { Scene.drafting($0) }
        var policy = AdaSpecPolicy()
        view.rowBudget = 7
        #expect(policy.begin(view, costs)[1] == DraftWish(source: .model, length: 3, limit: .budget))
        view.freeTokens = 5
        #expect(policy.begin(view, costs)[1] == DraftWish(source: .model, length: 2, limit: .memory))
        view.freeTokens = 1
        #expect(policy.begin(view, costs).allSatisfy { $0 == .none(.memory) })
        #expect(policy.select(view, costs, [nil, nil]) == [0, 0])
        #expect(policy.begin(StepView(), costs).isEmpty && policy.select(StepView(), costs, []).isEmpty)
    }
}
