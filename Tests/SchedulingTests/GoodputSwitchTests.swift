import Scheduling
import TestSupport
import Testing

/// One request whose drafts lose beside others whose drafts pay, under the default policy.
@Suite struct GoodputSwitchTests {
    /// Requests whose drafts look alike, and are right with a chance of their own.
    private struct Batch {
        private(set) var policy: GoodputPolicy
        let source: DraftSource
        var chances: [Double]
        private let costs: StepCosts
        private var random = SplitMix64(seed: 3)
        private var steps = 0
        /// Of the last step.
        private(set) var wishes: [DraftWish] = []
        private(set) var verified: [Int] = []

        private static let longest = 8

        init(_ source: DraftSource, _ chances: [Double], perRow: Double = 30) {
            (self.source, self.chances) = (source, chances)
            costs = PolicyScene.costs(
                PolicyScene.line(1000, perRow: perRow), draft: source == .model ? 80 : nil)
            policy = GoodputPolicy(costs: costs, maxDraft: Self.longest)
        }

        private var view: StepView {
            var view = PolicyScene.view(chances.count) { id in
                guard source != .model else { return PolicyScene.drafting(id, context: 0) }
                return PolicyScene.matching(id, Array(repeating: 0.5, count: Self.longest))
            }
            let coin = Double(steps) * 0.618_033_988_749_894_9
            view.coin = coin - coin.rounded(.down)
            return view
        }

        mutating func forget(_ index: Int) { policy.forget(UInt64(index + 1)) }

        /// What the request at `index` would be given now for a draft of tokens with these follow probabilities if its target
        /// needed so many.
        func wish(_ index: Int, neededTokens: Double, follow: Float) -> DraftWish {
            var (policy, view) = (policy, view)
            view.requests[index] = PolicyScene.matching(UInt64(index + 1), [follow, follow, follow])
            view.requests[index].neededTokens = neededTokens
            return policy.begin(view, costs)[index]
        }

        mutating func step() {
            let view = view
            wishes = policy.begin(view, costs)
            var drafts = wishes.map { wish in
                wish.source.map {
                    PolicyScene.draft($0, Array(repeating: 0.5, count: source == .model ? 0 : wish.length))
                }
            }
            var outcome = StepOutcome()
            var drafting = wishes.indices.filter { wishes[$0].source == .model }
            while !drafting.isEmpty {
                for index in drafting { drafts[index]?.features.append(DraftFeature(margin: 1, probability: 0.5)) }
                outcome.draftPasses.append(
                    .init(requests: drafting.count, rows: drafting.count, context: 0, time: 80))
                outcome.draftTime += 80
                let goesOn = policy.extend(view, costs, drafts)
                drafting = drafting.filter { goesOn[$0] && drafts[$0]?.features.count ?? 0 < wishes[$0].length }
            }
            verified = policy.select(view, costs, drafts)
            outcome.requests = view.requests.indices.map { judge($0, drafts[$0], view.requests[$0]) }
            outcome.targetTime = costs.targetTime(view, drafted: verified.reduce(0, +), attended: 0)
            outcome.stepTime = outcome.draftTime + outcome.targetTime
            policy.commit(view, costs, outcome)
            steps += 1
        }

        private mutating func judge(_ index: Int, _ draft: DraftView?, _ request: DecodingView) -> DraftOutcome {
            var right = 0
            while right < Self.longest, Double.random(in: 0..<1, using: &random) < chances[index] { right += 1 }
            var outcome = DraftOutcome(id: request.id)
            outcome.source = draft?.source
            outcome.features = draft?.features ?? []
            outcome.verified = verified[index]
            outcome.accepted = min(right, verified[index])
            outcome.emitted = outcome.accepted + 1
            outcome.counterfactuals = request.proposals.map {
                let reach = min($0.features.count, outcome.emitted)
                let accepted = min(right, reach)
                return .init(draft: $0, judged: min(accepted + 1, reach), accepted: accepted)
            }
            return outcome
        }

        /// Steps until the request at `index` is barred by a guard; nil: it is not within `most`.
        mutating func stepsUntilOff(_ index: Int, most: Int) -> Int? {
            for count in 1...most {
                step()
                if wishes[index].limit == .guard { return count }
            }
            return nil
        }
    }

    private static let good = [0.8, 0.8, 0.8]

    @Test(arguments: [DraftSource.model, .lookup]) func onlyTheUselessIsSwitchedOff(_ source: DraftSource) throws {
        var batch = Batch(source, Self.good + [0])
        let found = batch.stepsUntilOff(3, most: 120)
        let steps = try #require(found)
        #expect(steps > 16)
        #expect(batch.wishes[3] == DraftWish.none(.guard))
        var rows = [0, 0, 0, 0]
        var without = [0, 0, 0, 0]
        for _ in 0..<400 {
            batch.step()
            for index in 0..<4 {
                rows[index] += batch.verified[index]
                without[index] += batch.verified[index] == 0 ? 1 : 0
                #expect(index == 3 || batch.wishes[index].limit != .guard)
            }
        }
        // The others have drafts but for a plain step now and then; it has some while it is tried again.
        #expect(without[0...2].allSatisfy { $0 < 20 } && without[3] > 250, "\(without)")
        #expect(rows[0...2].allSatisfy { $0 > 400 && $0 > 5 * rows[3] }, "\(rows)")
    }

    @Test(arguments: [DraftSource.model, .lookup]) func thoseThatPayAreLeftAlone(_ source: DraftSource) {
        var batch = Batch(source, [0.8, 0.7, 0.5, 0.4])
        for _ in 0..<1000 {
            batch.step()
            #expect(batch.wishes.allSatisfy { $0.limit != .guard })
        }
    }

    /// A draft model is tried again when the time is over, however long it failed.
    @Test func comesBackWhenTheTextBecomesPredictable() throws {
        var batch = Batch(.model, Self.good + [0])
        for _ in 0..<1500 { batch.step() }
        batch.chances[3] = 0.8
        var latest = 0
        for step in 1...UtilitySwitch.longest + 300 {
            batch.step()
            if batch.verified[3] == 0 { latest = step }
            if step - latest > 30 { break }
        }
        #expect(latest <= UtilitySwitch.longest + 100, "\(latest)")
    }

    /// What lookup finds is scored while it is not used.
    @Test func comesBackAtOnceWhenLookupWouldHaveBeenRight() throws {
        var batch = Batch(.lookup, Self.good + [0])
        var pauses = 0
        // Until it has just been switched off for long.
        while pauses < 4 {
            let wasOff = batch.stepsUntilOff(3, most: 1000) != nil
            try #require(wasOff)
            pauses += 1
            while pauses < 4, batch.wishes[3].limit == .guard { batch.step() }
        }
        batch.chances[3] = 1
        var steps = 0
        while batch.wishes[3].limit == .guard, steps < 200 {
            batch.step()
            steps += 1
        }
        #expect((3...12).contains(steps), "\(steps)")
    }

    /// Nothing that is unlikely is drafted for a target; what is likely enough goes before goodput.
    @Test func aTargetTakesWhatMayHelpIt() throws {
        var batch = Batch(.lookup, Self.good + [0])
        let wasOff = batch.stepsUntilOff(3, most: 120) != nil
        try #require(wasOff)
        #expect(batch.wish(3, neededTokens: 1, follow: 0.5) == DraftWish.none(.guard))
        #expect(batch.wish(3, neededTokens: 3, follow: 0.1) == DraftWish.none(.guard))
        #expect(batch.wish(3, neededTokens: 3, follow: 0.5).length > 0)
    }

    @Test func whoIsGoneIsForgotten() throws {
        var batch = Batch(.lookup, Self.good + [0])
        let wasOff = batch.stepsUntilOff(3, most: 120) != nil
        try #require(wasOff)
        batch.forget(3)
        batch.step()
        #expect(batch.wishes[3].limit != .guard)
    }
}
