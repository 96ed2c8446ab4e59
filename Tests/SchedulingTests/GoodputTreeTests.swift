import Scheduling
import TestSupport
import Testing

/// When the goodput policy verifies next best tokens too: where the row is worth its price, and not otherwise.
@Suite struct GoodputTreeTests {
    /// A draft model on a text of known chances, on virtual time.
    private struct World {
        /// Of a drafted token, and of the next best one where that was wrong.
        var right: Double
        var nextRight: Double
        var branches = true
        var costs: StepCosts
        var policy: GoodputPolicy
        var random = SplitMix64(seed: 11)
        var step = 0
        var tokens = 0
        var time = 0.0
        var rows = 0
        var branchRows = 0

        init(_ target: PassCosts, draft: Double, right: Double, nextRight: Double, branches: Bool = true) {
            costs = PolicyScene.costs(target, draft: draft)
            policy = GoodputPolicy(costs: costs)
            (self.right, self.nextRight, self.branches) = (right, nextRight, branches)
        }

        private mutating func chance(_ probability: Double) -> Bool {
            Double(random.int(0..<100_000)) < 100_000 * probability
        }

        mutating func run(_ steps: Int, requests: Int = 1) {
            for _ in 0..<steps { takeStep(requests) }
        }

        private mutating func takeStep(_ count: Int) {
            var view = PolicyScene.view(count) { PolicyScene.drafting($0) }
            view.coin = Double(step) * 0.618_033_988_749_894_9
            view.coin -= view.coin.rounded(.down)
            step += 1
            let wishes = policy.begin(view, costs)
            var drafts = wishes.map { $0.length > 0 ? DraftView(source: .model, features: []) : nil }
            var outcome = StepOutcome()
            var goesOn = wishes.map { $0.length > 0 }
            while goesOn.contains(true) {
                var feature = DraftFeature(margin: 0.6, probability: 0.5)
                feature.hasRunnerUp = branches
                for index in goesOn.indices where goesOn[index] { drafts[index]?.features.append(feature) }
                let drafting = goesOn.count { $0 }
                let passTime = costs.draftTime(requests: drafting, context: 0)
                outcome.draftPasses.append(
                    StepOutcome.DraftPass(requests: drafting, rows: drafting, context: 0, time: passTime))
                outcome.draftTime += passTime
                let answer = policy.extend(view, costs, drafts)
                for index in goesOn.indices {
                    goesOn[index] =
                        goesOn[index] && answer[index] && drafts[index]?.features.count ?? 0 < wishes[index].length
                }
            }
            let lengths = policy.select(view, costs, drafts)
            let leaves = policy.branches
            for index in view.requests.indices {
                outcome.requests.append(
                    judge(
                        view.requests[index].id, drafts[index], lengths[index], leaves.isEmpty ? [] : leaves[index]))
            }
            let verified = outcome.requests.reduce(0) { $0 + $1.rows }
            outcome.targetTime = costs.targetTime(view, drafted: verified, attended: 0)
            outcome.stepTime = outcome.draftTime + outcome.targetTime
            policy.commit(view, costs, outcome)
            tokens += outcome.emitted
            time += outcome.stepTime
            rows += verified
            branchRows += outcome.requests.reduce(0) { $0 + $1.branches }
        }

        private mutating func judge(_ id: UInt64, _ draft: DraftView?, _ length: Int, _ leaves: [Int]) -> DraftOutcome {
            var result = DraftOutcome(id: id)
            let drafted = draft?.features.count ?? 0
            var accepted = 0
            while accepted < drafted, chance(right) { accepted += 1 }
            let wasRight = chance(nextRight)
            result.source = drafted > 0 ? .model : nil
            result.features = draft?.features ?? []
            (result.verified, result.branches) = (length, leaves.count)
            result.accepted = min(accepted, length)
            // The target says what comes after the accepted tokens, whether a token was verified there or not.
            if accepted < drafted, accepted <= length, branches {
                result.runnerUp = DraftOutcome.RunnerUp(position: accepted, wasRight: wasRight)
            }
            result.tookBranch = accepted < length && wasRight && leaves.contains(accepted)
            result.emitted = result.accepted + (result.tookBranch ? 2 : 1)
            return result
        }

        var rate: Double { tokens == 0 ? 0 : Double(tokens) / time }
    }

    private func pair(
        _ target: PassCosts, draft: Double, right: Double, nextRight: Double, requests: Int = 1
    ) -> (tree: World, chain: World) {
        var tree = World(target, draft: draft, right: right, nextRight: nextRight)
        var chain = World(target, draft: draft, right: right, nextRight: nextRight, branches: false)
        tree.run(4000, requests: requests)
        chain.run(4000, requests: requests)
        return (tree, chain)
    }

    /// Rows cost nothing, and the next best token is right seven times out of ten: each refusal that it covers is a token more.
    @Test(arguments: [1, 4])
    func treesPayWhereRowsAreFree(_ requests: Int) {
        let (tree, chain) = pair(
            PolicyScene.line(1000), draft: 250, right: 0.6, nextRight: 0.7, requests: requests)
        #expect(tree.branchRows > tree.rows / 4)
        #expect(tree.rate > 1.1 * chain.rate, "\(tree.rate / chain.rate)")
        #expect(chain.branchRows == 0)
    }

    /// Each row costs half of a pass: a branch never gives as much, and to be able to take one costs nothing.
    @Test func treesAreLeftWhereRowsAreDear() {
        let (tree, chain) = pair(PolicyScene.line(500, perRow: 500), draft: 20, right: 0.9, nextRight: 0.7)
        #expect(tree.branchRows == 0 && tree.rows > 1000)
        #expect(tree.rate > 0.995 * chain.rate, "\(tree.rate / chain.rate)")
    }

    /// Rows are free, but the next best token is never right.
    @Test func treesAreLeftWhereTheyAreNeverRight() {
        let (tree, chain) = pair(PolicyScene.line(1000, perRow: 20), draft: 100, right: 0.6, nextRight: 0)
        #expect(tree.branchRows < tree.rows / 50)
        #expect(tree.rate > 0.99 * chain.rate, "\(tree.rate / chain.rate)")
    }

    /// One free row beside the request's own: the drafted token gets it, and the branch the next one.
    @Test func rowsGoToDraftedTokensFirst() {
        for (free, lengths, branches) in [(1, [1], []), (2, [2], []), (4, [2], [0, 1])] as [(Int, [Int], [Int])] {
            let stairs = PolicyScene.stairs(
                Array(repeating: 1000, count: free + 1) + Array(repeating: 9000, count: 8))
            let costs = PolicyScene.costs(stairs, draft: 100)
            var policy = GoodputPolicy(costs: costs)
            let view = PolicyScene.view([PolicyScene.drafting(1, room: 2)])
            // Twice without drafts, to learn what those cost.
            for _ in 0..<3 {
                _ = policy.begin(view, costs);
                policy.commit(view, costs, PolicyScene.outcome([PolicyScene.outcome(1, length: 0, accepted: 0)]))
            }
            #expect(policy.begin(view, costs)[0].source == .model)
            var feature = DraftFeature(margin: 0.3, probability: 0.5)
            feature.hasRunnerUp = true
            let drafts: [DraftView?] = [DraftView(source: .model, features: [feature, feature])]
            #expect(policy.select(view, costs, drafts) == lengths)
            #expect(policy.branches == (branches.isEmpty ? [] : [branches]))
            // Without such tokens there is nothing to branch to.
            let plain: [DraftView?] = [
                DraftView(
                    source: .model, features: Array(repeating: DraftFeature(margin: 0.3, probability: 0.5), count: 2))
            ]
            #expect(policy.select(view, costs, plain) == [min(2, free)])
            #expect(policy.branches.isEmpty)
        }
    }

    /// One, what survives, and what the branches cover.
    @Test func expectedTokensCountBranches() throws {
        let costs = PolicyScene.costs(PolicyScene.line(1000), draft: 100)
        var policy = GoodputPolicy(costs: costs)
        let view = PolicyScene.view([PolicyScene.drafting(1)])
        _ = policy.begin(view, costs)
        var feature = DraftFeature(margin: 0.3, probability: 0.5)
        feature.hasRunnerUp = true
        let draft = DraftView(source: .model, features: [feature, feature])
        #expect(policy.select(view, costs, [draft]) == [2] && policy.branches == [[0, 1]])
        let survivals = policy.survival.survivals(draft, request: 1)
        // Of all refusals.
        let covered = (1 - survivals[1]) * policy.runnersUp.probability(feature, .model)
        let expected = try #require(policy.expectedTokens)[0]
        #expect(abs(expected - 1 - survivals[0] - survivals[1] - covered) < 1e-12)
    }
}
