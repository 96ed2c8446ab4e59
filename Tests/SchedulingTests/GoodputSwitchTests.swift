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
        /// Tokens of each request; empty: none. Rows of prompts beside them.
        var contexts: [Int] = []
        var prefillRows = 0
        private let costs: StepCosts
        private var random = SplitMix64(seed: 3)
        private var steps = 0
        /// Of the last step.
        private(set) var wishes: [DraftWish] = []
        private(set) var verified: [Int] = []

        private static let longest = 8

        init(_ source: DraftSource, _ chances: [Double], costs: StepCosts? = nil) {
            (self.source, self.chances) = (source, chances)
            self.costs = costs ?? Self.costs(source, perRow: 30)
            policy = GoodputPolicy(costs: self.costs, maxDraft: Self.longest)
        }

        private static func costs(_ source: DraftSource, perRow: Double) -> StepCosts {
            PolicyScene.costs(PolicyScene.line(1000, perRow: perRow), draft: source == .model ? 80 : nil)
        }

        private var view: StepView {
            var view = PolicyScene.view(chances.count) { id in
                guard source != .model else {
                    return PolicyScene.drafting(id, context: contexts.isEmpty ? 0 : contexts[Int(id) - 1])
                }
                return PolicyScene.matching(id, Array(repeating: 0.5, count: Self.longest))
            }
            view.prefillRows = prefillRows
            let coin = Double(steps) * 0.618_033_988_749_894_9
            view.coin = coin - coin.rounded(.down)
            return view
        }

        mutating func forget(_ index: Int) { policy.forget(UInt64(index + 1)) }

        /// What the request at `index` would be given now for a draft of three tokens with this follow probability if its
        /// target needed so many, and rows took so long.
        func wish(_ index: Int, neededTokens: Double, follow: Float, perRow: Double = 30) -> DraftWish {
            var (policy, view) = (policy, view)
            view.requests[index] = PolicyScene.matching(UInt64(index + 1), [follow, follow, follow])
            view.requests[index].neededTokens = neededTokens
            return policy.begin(view, Self.costs(source, perRow: perRow))[index]
        }

        /// How many of four tokens that the model is sure of would be verified for it if rows cost nothing.
        func rows(_ index: Int, neededTokens: Double, coin: Double = 0.5) -> Int {
            var (policy, view) = (policy, view)
            view.coin = coin
            view.requests[index].neededTokens = neededTokens
            let costs = Self.costs(.model, perRow: 0)
            _ = policy.begin(view, costs)
            var drafts: [DraftView?] = view.requests.map { _ in nil }
            let feature = DraftFeature(margin: 4, probability: 0.9)
            drafts[index] = DraftView(source: .model, features: [feature, feature, feature, feature])
            return policy.select(view, costs, drafts)[index]
        }

        /// A step that is not plain for the sake of its price.
        mutating func decide() {
            for _ in 0..<8 {
                step()
                if wishes.contains(where: { $0 != .none(.gain) }) { return }
            }
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
                let time = costs.draftTime(requests: drafting.count, context: 0)
                outcome.draftPasses.append(
                    .init(requests: drafting.count, rows: drafting.count, context: 0, time: time))
                outcome.draftTime += time
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
            while pauses < 4, batch.wishes[3].limit == .guard { batch.decide() }
        }
        batch.chances[3] = 1
        var steps = 0
        while batch.wishes[3].limit == .guard, steps < 200 {
            batch.decide()
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
        // And no more than it needs, were it for nothing.
        #expect(
            batch.wish(3, neededTokens: 1.2, follow: 0.5, perRow: 0)
                == DraftWish(source: .lookup, length: 1, limit: .guard))
    }

    /// Nor when the model has drafted more.
    @Test func aTargetTakesNoMoreThanItNeeds() throws {
        var batch = Batch(.model, Self.good + [0])
        let wasOff = batch.stepsUntilOff(3, most: 120) != nil
        try #require(wasOff)
        #expect(batch.rows(3, neededTokens: 0) == 0)
        #expect(batch.rows(3, neededTokens: 1.2) == 1)
        // Nor is its draft verified whole to be learned of.
        #expect(batch.rows(3, neededTokens: 1.2, coin: 0.9 / 64) == 1)
        #expect(batch.rows(0, neededTokens: 1.2) == 4)
    }

    /// Beside many rows take time from others that they do not take beside few.
    @Test(arguments: [DraftSource.model, .lookup]) func aMuchSmallerBatchIsJudgedAnew(_ source: DraftSource) throws {
        var batch = Batch(source, [0] + Array(repeating: 0.8, count: 7))
        let wasOff = batch.stepsUntilOff(0, most: 200) != nil
        try #require(wasOff)
        batch.chances.removeLast(3)
        batch.decide()
        #expect(batch.wishes[0] == .none(.guard))
        batch.chances.removeLast()
        batch.decide()
        #expect(batch.wishes.contains { $0.length > 0 } && batch.wishes[0].limit != .guard)
    }

    /// Tokens behind the long context spare several times what those behind the others spare, and take about 1.7 times what
    /// they would be worth if all counted alike.
    @Test func whatTokensCountForBesidePromptsIsBooked() {
        let costs = StepCosts(
            target: PassCosts(widths: [1, 64], base: [101, 164], perContext: 0.1),
            draft: PolicyScene.line(100, perRow: 400))
        var batch = Batch(.model, [0.6, 0.6, 0.6, 0.6], costs: costs)
        (batch.contexts, batch.prefillRows) = ([20_000, 100, 100, 100], 50)
        var rows = [0, 0, 0, 0]
        for _ in 0..<600 {
            batch.step()
            #expect(batch.wishes.allSatisfy { $0.limit != .guard })
            for index in 0..<4 { rows[index] += batch.verified[index] }
        }
        #expect(rows[0] > 600 && rows[1...].allSatisfy { $0 == 0 }, "\(rows)")
    }

    private static func draft(margin: Float, length: Int) -> DraftView? {
        let feature = DraftFeature(margin: margin, probability: 0.5)
        return DraftView(source: .model, features: Array(repeating: feature, count: length))
    }

    /// Long drafts of which one token is right: whoever has them because positions have to be learned of is not to blame.
    @Test(arguments: [true, false]) func whatIsExploredIsNotBooked(_ isExploring: Bool) {
        let costs = PolicyScene.costs(PolicyScene.line(1000, perRow: 150), draft: 10)
        var policy = GoodputPolicy(costs: costs)
        var view = PolicyScene.view(2) { PolicyScene.drafting($0, context: 0) }
        view.coin = isExploring ? 0 : 0.5
        var barred = 0
        for _ in 0..<60 {
            let wishes = policy.begin(view, costs)
            barred += wishes[0].limit == .guard ? 1 : 0
            #expect(wishes[1].limit != .guard)
            if wishes.allSatisfy({ $0 == .none(.gain) }) {
                policy.commit(view, costs, PolicyScene.outcome([1, 2].map { DraftOutcome(id: $0) }))
                continue
            }
            let drafts = [Self.draft(margin: 0.1, length: 8), Self.draft(margin: 4, length: 3)]
            let lengths = policy.select(view, costs, drafts)
            #expect(isExploring ? lengths[0] == 8 : lengths[0] < 8)
            var outcome = PolicyScene.outcome([
                PolicyScene.outcome(1, length: 8, accepted: 1), PolicyScene.outcome(2, length: 3, accepted: 3),
            ])
            for index in 0..<2 { outcome.requests[index].features = drafts[index]?.features ?? [] }
            outcome.draftPasses = (0..<8).map { .init(requests: $0 < 3 ? 2 : 1, rows: 2, context: 0, time: 10) }
            outcome.targetTime = 1000
            outcome.stepTime = 1080
            policy.commit(view, costs, outcome)
        }
        #expect((barred > 0) == !isExploring, "\(barred)")
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
