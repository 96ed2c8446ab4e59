import Scheduling
import Testing

/// What the lengths of contexts make of the default policy's decisions: a plain token takes the longer the more it attends to.
@Suite struct GoodputContextTests {
    /// A row takes 1 us, a token of context a tenth of that; the draft model 100 us, and as much for each request.
    private static let costs = StepCosts(
        target: PassCosts(widths: [1, 64], base: [101, 164], perContext: 0.1),
        draft: PolicyScene.line(100, perRow: 100))
    private static let (short, long) = (100, 20_000)

    private func drafting(_ contexts: [Int], target: Double? = nil) -> [Bool] {
        var view = PolicyScene.view(
            contexts.enumerated().map { PolicyScene.drafting(UInt64($0 + 1), context: $1) })
        for index in view.requests.indices { view.requests[index].targetTPOT = target }
        view.prefillRows = 50
        var policy = GoodputPolicy(costs: Self.costs)
        return policy.begin(view, Self.costs).map { $0.source == .model }
    }

    /// The mean token takes 1006 us and the drafts of a request 100; but a token behind the short context takes 11.
    @Test func draftsTakeNoLongerThanWhatTheySpare() {
        #expect(drafting([Self.short, Self.long]) == [false, true])
        #expect(drafting([Self.long, Self.short]) == [true, false])
        #expect(drafting([Self.short, Self.short]) == [false, false])
        #expect(drafting([Self.long, Self.long]) == [true, true])
    }

    @Test func aTargetAsksForTokensNotForTime() {
        #expect(drafting([Self.short, Self.long], target: 1e6) == [true, true])
    }
}
