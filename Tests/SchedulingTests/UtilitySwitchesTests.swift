import Scheduling
import Testing

/// What the switches of a batch book for whom, and at what price.
@Suite struct UtilitySwitchesTests {
    /// Requests in steps that are all alike: with drafts of one token of lookup for each.
    private struct Batch {
        var switches = UtilitySwitches()
        /// A row takes 100 us.
        var costs = PolicyScene.costs(PolicyScene.line(1000, perRow: 100))
        var view: StepView
        var outcome: StepOutcome
        /// A row takes the time of half a token.
        var rate = 0.005
        var worth = TokenWorth()
        var isTry = false

        init(accepted: [Int]) {
            view = PolicyScene.view(accepted.count) { PolicyScene.drafting($0) }
            outcome = PolicyScene.outcome(
                accepted.enumerated().map {
                    PolicyScene.outcome(UInt64($0 + 1), length: 1, accepted: $1, source: .lookup)
                })
        }

        func isOff(_ index: Int) -> Bool {
            switches.isOff(view.requests[index].id, among: view.requests.count)
        }

        mutating func step() {
            switches.observe(view, costs, outcome, rate: rate, worth: worth, isTry: isTry)
        }

        /// Until the request is off.
        mutating func stepsUntilOff(_ index: Int) -> Int? {
            (1...200).first { _ in
                step()
                return isOff(index)
            }
        }

        /// Drafts of the model, so many tokens for each request, none of them right.
        mutating func drafts(_ depths: [Int], passes: [Int]) {
            outcome.requests = zip(view.requests, depths).map {
                PolicyScene.outcome($0.id, length: $1, accepted: 0, source: .model)
            }
            outcome.draftPasses = passes.map { .init(requests: $0, rows: $0, context: 0, time: 100) }
        }
    }

    /// Those that were off after some of 120 steps; three drafts out of four are right unless `change` says otherwise.
    private func off(accepted: [Int] = [1, 1, 1, 0], _ change: (inout Batch) -> Void = { _ in }) -> [Int] {
        var batch = Batch(accepted: accepted)
        change(&batch)
        var found: Set<Int> = []
        for _ in 0..<120 {
            batch.step()
            found.formUnion(batch.view.requests.indices.filter { batch.isOff($0) })
        }
        return found.sorted()
    }

    @Test func everyRequestAnswersForItsOwnDrafts() {
        #expect(off() == [3])
        #expect(off(accepted: [1, 1, 1, 1]).isEmpty)
        #expect(off(accepted: [0, 1, 0, 1]) == [0, 2])
    }

    @Test func whoIsGoneIsForgotten() {
        var batch = Batch(accepted: [1, 0])
        let isFound = batch.stepsUntilOff(1) != nil
        #expect(isFound)
        batch.switches.forget(2)
        #expect(!batch.isOff(1))
    }

    /// Steps that say nothing of whether drafts pay.
    @Test func whatIsNotJudged() {
        #expect(off { $0.isTry = true }.isEmpty)
        #expect(off { $0.outcome.requests[3].wasCut = true }.isEmpty)
        #expect(off { $0.view.requests[3].neededTokens = 1.5 }.isEmpty)
        #expect(off { $0.view.requests[3].neededTokens = 1 } == [3])
        #expect(off { $0.rate = 0 }.isEmpty)
        #expect(off { $0.outcome.requests[3] = DraftOutcome(id: 4) }.isEmpty)
        #expect(off(accepted: [0]).isEmpty)
    }

    /// Three rows take the time of 0.9 tokens.
    @Test func branchesCostAndYieldLikeOtherRows() {
        func branching(_ batch: inout Batch) {
            batch.rate = 0.003
            for index in 0..<4 {
                batch.outcome.requests[index].branches = 2
                batch.outcome.requests[index].tookBranch = index < 2
            }
        }
        #expect(off(accepted: [0, 0, 0, 0], branching) == [2, 3])
        #expect(
            off(accepted: [1, 1, 1, 1]) { batch in
                branching(&batch)
                batch.rate = 0.006
            } == [2, 3])
    }

    @Test func aRowCostsWhatItIsSparedButNoMoreThanItsShare() {
        // With eight rows in all the last one takes 400 us, and each of the four an average of 100.
        let late = PolicyScene.stairs(Array(repeating: 1000, count: 7) + Array(repeating: 1400, count: 5))
        let early = PolicyScene.stairs(Array(repeating: 1000, count: 4) + Array(repeating: 1400, count: 8))
        #expect(off(accepted: [1, 1, 1, 1]) { $0.costs.target = late }.isEmpty)
        #expect(off(accepted: [0, 1, 1, 1]) { $0.costs.target = late } == [0])
        // Here the step is no shorter without any of them.
        #expect(off(accepted: [0, 0, 0, 0]) { $0.costs.target = early }.isEmpty)
    }

    /// 1 us and 400 us.
    @Test func rowsCostWhatTheyAttendTo() {
        #expect(
            off(accepted: [1, 1, 1, 1]) {
                $0.costs.target = PassCosts(widths: [1, 64], base: [1000, 1000], perAttended: 0.01)
                $0.view.requests[1].context = 40_000
            } == [1])
    }

    /// A draft pass takes the longer with a fourth request, and as long with two as with one. Rows are free.
    private static let draftCosts = StepCosts(
        target: PolicyScene.line(1000), draft: PassCosts(widths: [1, 2, 4], base: [100, 100, 2100]))

    @Test func onlyPassesThatDraftArePaidFor() {
        #expect(
            off {
                $0.costs = Self.draftCosts
                $0.drafts([1, 1, 0, 0], passes: [4, 2])
            }.isEmpty)
        #expect(
            off {
                $0.costs = Self.draftCosts
                $0.drafts([1, 1, 0, 0], passes: [2, 4])
            } == [0, 1])
    }

    @Test func everyRequestPaysForThePassesThatItTookPartIn() {
        #expect(
            off {
                $0.costs = Self.draftCosts
                $0.drafts([2, 1, 1, 0], passes: [2, 4])
            } == [0])
    }

    /// One long context and three short ones, whose tokens count for 2.5 and for a half.
    private static func besidePrompts(_ batch: inout Batch) {
        for index in 0..<4 { batch.view.requests[index].context = index == 0 ? 20_000 : 0 }
        batch.costs.target.perContext = 0.01
        batch.worth = TokenWorth(besidePrompts: batch.view, batch.costs, pace: 0.01)
    }

    @Test func tokensAreBookedAsWhatTheyCountFor() {
        // A row takes the time of 1.7 tokens.
        #expect(off(accepted: [1, 1, 1, 1]) { $0.rate = 0.017 } == [0, 1, 2, 3])
        #expect(
            off(accepted: [1, 1, 1, 1]) {
                $0.rate = 0.017
                Self.besidePrompts(&$0)
            } == [1, 2, 3])
    }

    /// A token that lookup would have had takes the time of 0.4: it wins 0.6 where all count alike, else 2.1 or 0.1.
    @Test(arguments: [(3, false, 7), (0, true, 2), (3, true, UtilitySwitch.shortest)])
    func whatIsImaginedCountsAlike(index: Int, isWeighted: Bool, steps: Int) throws {
        var batch = Batch(accepted: [1, 1, 1, 1])
        batch.rate = 0.004
        if isWeighted { Self.besidePrompts(&batch) }
        batch.outcome.requests[index].accepted = 0
        let isFound = batch.stepsUntilOff(index) != nil
        try #require(isFound)
        var outcome = DraftOutcome(id: UInt64(index + 1))
        outcome.counterfactuals = [.init(draft: PolicyScene.draft(.lookup, [0.5]), judged: 1, accepted: 1)]
        batch.outcome.requests[index] = outcome
        var count = 0
        while batch.isOff(index) {
            batch.step()
            count += 1
        }
        #expect(count == steps)
    }

    @Test func aMuchSmallerBatchIsNotBarred() {
        var batch = Batch(accepted: [1, 1, 1, 0])
        let isFound = batch.stepsUntilOff(3) != nil
        #expect(isFound)
        #expect(batch.switches.isOff(4, among: 3))
        #expect(!batch.switches.isOff(4, among: 2) && !batch.switches.isOff(4, among: 1))
    }
}
