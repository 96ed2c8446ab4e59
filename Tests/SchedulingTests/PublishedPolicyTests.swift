import Scheduling
import Testing

@Suite struct AcceptedLengthTests {
    @Test func workedValues() {
        #expect(abs(acceptedLength(acceptance: 0.8, length: 4) - 3.3616) < 1e-12)
        #expect(acceptedLength(acceptance: 0.5, length: 2) == 1.75)
        #expect(acceptedLength(acceptance: 0, length: 8) == 1)
        #expect(acceptedLength(acceptance: 0.8, length: 0) == 1)
    }

    @Test func theLimitAtCertainAcceptance() {
        for length in 0...10 {
            #expect(acceptedLength(acceptance: 1, length: length) == Double(length + 1))
            #expect(abs(acceptedLength(acceptance: 1 - 1e-12, length: length) - Double(length + 1)) < 1e-9)
        }
    }

    @Test func theAverageCountsRefusalsThatWereSeen() {
        var average = AcceptanceAverage()
        #expect(average.value == 0.7)
        // 3 of 8 were accepted, one was seen to be refused: 0.75, not 3/8.
        average.learn(PolicyScene.outcome([PolicyScene.outcome(1, length: 8, accepted: 3)]))
        #expect(abs(average.value - (0.85 * 0.7 + 0.15 * 0.75)) < 1e-12)
        // A request that ended within its draft saw no refusal.
        average = AcceptanceAverage()
        var cut = PolicyScene.outcome(1, length: 8, accepted: 3)
        cut.wasCut = true
        average.learn(PolicyScene.outcome([cut]))
        #expect(abs(average.value - (0.85 * 0.7 + 0.15)) < 1e-12)
        // A step without drafts says nothing.
        let before = average
        average.learn(PolicyScene.outcome([PolicyScene.outcome(1, length: 0, accepted: 0)]))
        #expect(average == before)
    }

    @Test func theRequestsOfAStepCountTogether() {
        var average = AcceptanceAverage(0)
        average.learn(
            PolicyScene.outcome([
                PolicyScene.outcome(1, length: 4, accepted: 4), PolicyScene.outcome(2, length: 4, accepted: 0),
            ]))
        #expect(abs(average.value - 0.15 * 4 / 5) < 1e-12)
    }
}

@Suite struct FittedPassModelTests {
    private static func samples(_ time: (Double, Double) -> Double) -> [PassSample] {
        [64, 256, 1024].flatMap { context in
            (1...20).map { PassSample(context: context, rows: $0, time: time(Double(context), Double($0))) }
        }
    }

    @Test func aLineIsFound() {
        let samples = Self.samples { 0.5 * $0 + 3 * $1 + 40 }
        let model = FittedPassModel(.linear, fitting: samples)
        for (found, true_) in zip(model.coefficients, [40, 0.5, 3]) { #expect(abs(found - true_) < 1e-6) }
        #expect(model.determination(samples) > 0.999_999)
        #expect(FittedPassModel(choosing: [.linear, .quadratic], fitting: samples).shape == .linear)
    }

    @Test func aCurveIsFoundByHeldOutSamples() {
        let samples = Self.samples { 0.5 * $0 + 0.25 * $1 * $1 + 40 }
        let model = FittedPassModel(choosing: [.linear, .quadratic], fitting: samples)
        #expect(model.shape == .quadratic)
        #expect(abs(model.time(context: 512, rows: 30) - (256 + 225 + 40)) < 1e-3)
        #expect(FittedPassModel(choosing: [.linear], fitting: samples).shape == .linear)
    }

    @Test func noCoefficientIsNegative() {
        // A wider pass that takes less time is noise: the best level line is the mean.
        let samples = [PassSample(context: 0, rows: 1, time: 10), PassSample(context: 0, rows: 2, time: 8)]
        let model = FittedPassModel(.linear, fitting: samples)
        #expect(abs(model.coefficients[0] - 9) < 1e-9 && model.coefficients[1...] == [0, 0])
        // The plain optimum would be 12 - 2·rows with a context term; what is left has no negative term either.
        let falling = FittedPassModel(.quadratic, fitting: Self.samples { 100 + 0.1 * $0 - 2 * $1 })
        #expect(falling.coefficients.allSatisfy { $0 >= 0 } && falling.coefficients[1] > 0)
    }

    @Test func aProfileStaysWithinTheTable() {
        let samples = PolicyScene.stairs([10, 11, 12, 13, 14, 15]).profile(lengths: 0...8)
        #expect(samples.map(\.rows).max() == 6)
        #expect(Set(samples.map(\.rows)) == [1, 2, 3, 4, 5, 6])
        let one = PassCosts(widths: [1], base: [10])
        #expect(!one.profile(lengths: 0...8).isEmpty)
        #expect(
            abs(FittedPassModel(.linear, fitting: one.profile(lengths: 0...8)).time(context: 64, rows: 1) - 10) < 1e-6)
    }
}

@Suite struct SmartSpecPolicyTests {
    private typealias Scene = PolicyScene

    @Test func theBatchGetsTheLengthOfHighestGoodput() {
        // l(0.8, k) / (100 + k + 1 + 10·k): 0.023648 for 5, 0.023661 for 6, 0.023377 for 7.
        var policy = SmartSpecPolicy(profile: Scene.costs(Scene.line(100, perRow: 1), draft: 10), acceptance: 0.8)
        let wishes = policy.begin(Scene.view(1) { Scene.drafting($0) }, Scene.costs(Scene.line(1)))
        #expect(wishes == [DraftWish(source: .model, length: 6, limit: .gain)])
    }

    @Test func overheadIsPartOfTheStep() {
        // A dearer step makes further tokens look cheaper: l(0.8, k) / (201 + 11·k) is highest at 8.
        var profile = Scene.costs(Scene.line(100, perRow: 1), draft: 10)
        profile.overhead = 100
        var policy = SmartSpecPolicy(profile: profile, acceptance: 0.8)
        #expect(policy.lengths(Scene.view(1) { Scene.drafting($0) }) == [8])
    }

    @Test func certainAcceptanceDraftsAsFarAsItMay() {
        var policy = SmartSpecPolicy(profile: Scene.costs(Scene.line(100, perRow: 1), draft: 10), acceptance: 1)
        let wishes = policy.begin(Scene.view(1) { Scene.drafting($0) }, Scene.costs(Scene.line(1)))
        #expect(wishes == [DraftWish(source: .model, length: 8, limit: .length)])
    }

    @Test func aLargeBatchOfLowAcceptanceHasNoDrafts() {
        // 64 / 650 against 64·1.2 / (10 + 10 + 1280).
        var policy = SmartSpecPolicy(profile: Scene.costs(Scene.line(10, perRow: 10), draft: 10), acceptance: 0.2)
        let wishes = policy.begin(Scene.view(64) { Scene.drafting($0) }, Scene.costs(Scene.line(1)))
        #expect(wishes.allSatisfy { $0 == .none(.gain) })
    }

    @Test func lookupsThatMatchedShareTheStepWithTheOthers() {
        let costs = Scene.costs(Scene.line(100, perRow: 10))
        func lengths(matched: Int) -> [Int] {
            var policy = SmartSpecPolicy(profile: costs, acceptance: 0.8)
            return policy.lengths(Scene.view(4) { Scene.matching($0, length: $0 <= matched ? 10 : 0) })
        }
        #expect(lengths(matched: 0) == [0, 0, 0, 0])
        // (2·l + 2) / (140 + 20·k): 0.03952 for 3, 0.03965 for 4, 0.03908 for 5.
        #expect(lengths(matched: 2) == [4, 4, 0, 0])
        // 4·l / (140 + 40·k): 0.04436 for 2, 0.04542 for 3, 0.04482 for 4.
        #expect(lengths(matched: 4) == [3, 3, 3, 3])
    }

    @Test func lookupsVerifyUpToTen() {
        var policy = SmartSpecPolicy(profile: Scene.costs(Scene.line(100)), acceptance: 0.9)
        let view = Scene.view([
            Scene.matching(1, length: 12), Scene.matching(2, length: 5), Scene.matching(3, length: 0),
        ])
        #expect(
            policy.begin(view, Scene.costs(Scene.line(1))) == [
                DraftWish(source: .lookup, length: 10, limit: .length),
                DraftWish(source: .lookup, length: 5, limit: .drafter), .none(.drafter),
            ])
    }

    @Test func equalGoodputTakesTheShorterDraft() {
        var policy = SmartSpecPolicy(profile: Scene.costs(Scene.line(100)), acceptance: 0)
        #expect(policy.lengths(Scene.view(3) { Scene.matching($0, length: 10) }) == [0, 0, 0])
    }

    @Test func rowsMemoryAndRequestsLimitTheLength() {
        let costs = Scene.costs(Scene.line(100), draft: 0.001)
        func wishes(_ change: (inout StepView) -> Void) -> [DraftWish] {
            var policy = SmartSpecPolicy(profile: costs, acceptance: 0.8)
            var view = Scene.view([Scene.drafting(1), Scene.drafting(2, room: 2)])
            change(&view)
            return policy.begin(view, costs)
        }
        let short = DraftWish(source: .model, length: 2, limit: .end)
        #expect(wishes { _ in } == [DraftWish(source: .model, length: 8, limit: .length), short])
        #expect(wishes { $0.rowBudget = 7 } == [DraftWish(source: .model, length: 5, limit: .budget), short])
        #expect(wishes { $0.freeTokens = 6 } == [DraftWish(source: .model, length: 4, limit: .memory), short])
        #expect(wishes { $0.freeTokens = 0 } == [.none(.memory), .none(.memory)])
        #expect(wishes { $0.requests = [] } == [])
    }

    @Test func promptsOfTheStepDoNotMakeDraftsLookCheap() {
        var policy = SmartSpecPolicy(profile: Scene.costs(Scene.line(10, perRow: 10), draft: 10), acceptance: 0.2)
        var view = Scene.view(8) { Scene.drafting($0) }
        view.prefillRows = 512
        view.prefillContext = 512
        #expect(policy.lengths(view).allSatisfy { $0 == 0 })
    }

    @Test func lostDraftsReturnWithASmallerBatch() {
        var policy = SmartSpecPolicy(profile: Scene.costs(Scene.line(100, perRow: 10), draft: 1))
        let (many, one) = (Scene.view(64) { Scene.drafting($0) }, Scene.view(1) { Scene.drafting($0) })
        #expect(policy.lengths(many).allSatisfy { $0 == 0 })
        #expect(policy.lengths(one)[0] > 0)
        // The published rule: an average below what one request needs stays, because nothing is drafted any more.
        for _ in 0..<40 { policy.learn(one, [Scene.outcome(1, length: 4, accepted: 0)]) }
        #expect(policy.acceptance.value < 0.01)
        for _ in 0..<500 {
            #expect(policy.lengths(one) == [0])
            policy.learn(one, [Scene.outcome(1, length: 0, accepted: 0)])
        }
    }
}

@Suite struct StepProfileTests {
    @Test(arguments: [true, false]) func onlyGuessesAreReplaced(isMeasured: Bool) {
        // Rows that cost nothing, as the profile has it, and rows that cost much.
        var profile = PolicyScene.costs(PolicyScene.line(100))
        profile.target.measured = profile.target.widths.map { _ in isMeasured }
        let known = PolicyScene.costs(PolicyScene.line(1, perRow: 100))
        let view = PolicyScene.view(4) { PolicyScene.matching($0, length: 10) }
        var policies: [any SpeculationPolicy] = [SmartSpecPolicy(profile: profile), TurboSpecPolicy(profile: profile)]
        for index in policies.indices {
            for _ in 0..<15 {
                #expect(policies[index].lengths(view) == [10, 10, 10, 10])
                policies[index].commit(view, known, PolicyScene.outcome([]))
            }
            policies[index].commit(view, known, PolicyScene.outcome([]))
            // A decision of turbospec may still hold.
            for _ in 0..<20 { _ = policies[index].lengths(view) }
            #expect(policies[index].lengths(view) == Array(repeating: isMeasured ? 10 : 0, count: 4))
        }
    }
}

@Suite struct PolicyKindTests {
    @Test func numbersAndNames() {
        #expect(PolicyKind.allCases.map(\.rawValue) == Array(0...5))
        #expect(PolicyKind.allCases.map(\.name) == ["off", "static", "smartspec", "turbospec", "adaspec", "goodput"])
        for kind in PolicyKind.allCases { #expect(PolicyKind(name: kind.name) == kind) }
        #expect(PolicyKind(name: "Static") == nil && PolicyKind(rawValue: 6) == nil)
    }
}
