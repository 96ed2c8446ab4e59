import Scheduling
import Testing

/// What the lengths of contexts make of the default policy's decisions: a plain token takes the longer the more it attends to.
@Suite struct GoodputContextTests {
    /// A row takes 1 us, a token of context a tenth of that; the draft model 100 us, and as much for each request.
    private static let costs = StepCosts(
        target: PassCosts(widths: [1, 64], base: [101, 164], perContext: 0.1),
        draft: PolicyScene.line(100, perRow: 100))
    private static let (short, long) = (100, 20_000)

    private func view(_ contexts: [Int], _ change: (inout DecodingView) -> Void = { _ in }) -> StepView {
        var view = PolicyScene.view(
            contexts.enumerated().map { PolicyScene.drafting(UInt64($0 + 1), context: $1) })
        for index in view.requests.indices { change(&view.requests[index]) }
        view.prefillRows = 50
        return view
    }

    private func drafting(_ contexts: [Int], _ change: (inout DecodingView) -> Void = { _ in }) -> [Bool] {
        var policy = GoodputPolicy(costs: Self.costs)
        return policy.begin(view(contexts, change), Self.costs).map { $0.source == .model }
    }

    /// The mean token takes 1006 us and the drafts of a request 100; but a token behind the short context takes 11.
    @Test func draftsTakeNoLongerThanWhatTheySpare() {
        #expect(drafting([Self.short, Self.long]) == [false, true])
        #expect(drafting([Self.long, Self.short]) == [true, false])
        #expect(drafting([Self.short, Self.short]) == [false, false])
        #expect(drafting([Self.long, Self.long]) == [true, true])
    }

    @Test func aTargetAsksForTokensNotForTime() {
        #expect(drafting([Self.short, Self.long]) { $0.targetTPOT = 1e6 } == [true, true])
        // One that is due by a time of its own.
        #expect(drafting([Self.short, Self.long]) { $0.neededTokens = 0.5 } == [true, true])
    }

    /// Rows of 20 us: beside one of each, a token counts for 1.97 behind the long context and for 0.03 behind the short one,
    /// and a row takes the time of 0.024.
    @Test func retrievalIsWeighedToo() {
        let costs = StepCosts(target: PassCosts(widths: [1, 64], base: [101, 1361], perContext: 0.1))
        func rows(_ contexts: [Int]) -> [Int] {
            let view = view(contexts) {
                $0.draftBacklog = 0
                $0.proposals = [PolicyScene.draft(.lookup, [1, 1])]
            }
            var policy = GoodputPolicy(costs: costs)
            let wishes = policy.begin(view, costs)
            let drafts = wishes.map { $0.source.map { PolicyScene.draft($0, [1, 1]) } }
            let lengths = policy.select(view, costs, drafts)
            #expect(lengths == wishes.map(\.length))
            return lengths
        }
        #expect(rows([Self.short, Self.long]) == [0, 2])
        #expect(rows([Self.long, Self.short]) == [2, 0])
        #expect(rows([Self.short, Self.short]) == [0, 0])
        #expect(rows([Self.long, Self.long]) == [2, 2])
    }

    /// Rows of 150 us: beside one of each a token counts for 1.86 behind the long context, and a row takes the time of 0.162.
    /// The next best token of a position that is right three times out of five adds 0.12.
    @Test func branchesAreWeighedLikeTokens() {
        let costs = StepCosts(
            target: PassCosts(widths: [1, 64], base: [101, 9551], perContext: 0.1), draft: PolicyScene.line(1))
        func branches(_ contexts: [Int]) -> [[Int]] {
            let view = view(contexts)
            var policy = GoodputPolicy(costs: costs)
            _ = policy.begin(view, costs)
            var feature = DraftFeature(margin: 0, probability: 0.5)
            feature.hasRunnerUp = true
            let drafts: [DraftView?] = contexts.map { _ in DraftView(source: .model, features: [feature]) }
            _ = policy.select(view, costs, drafts)
            return policy.branches
        }
        #expect(branches([Self.short, Self.long]) == [[], [0]])
        #expect(branches([Self.long, Self.long]) == [[0], [0]])
    }

    /// Tokens count for 0.3 and for 1.7, and a pass of the draft model takes the time of 0.9 of them. Of the request that
    /// has both, the model has 2.3 tokens, which take as many passes although they count for 0.7.
    @Test func passesAreCountedInTokens() {
        let costs = StepCosts(target: Self.costs.target, draft: PolicyScene.line(700, perRow: 20))
        var view = view([3000, 17_000])
        view.requests[0].proposals = [PolicyScene.draft(.lookup, [1, 1])]
        var policy = GoodputPolicy(costs: costs)
        #expect(policy.begin(view, costs).map(\.source) == [.lookup, .model])
    }
}
