import Scheduling
import Testing

@Suite struct DraftPassPlanTests {
    @Test func requestsShareTheRowsOfAPass() {
        #expect(planDraftPass(missing: [3, 40, 0, 1], maxRows: 100) == [3, 40, 0, 1])
        #expect(planDraftPass(missing: [3, 40, 2, 1], maxRows: 20) == [3, 17, 0, 0])
        #expect(planDraftPass(missing: [], maxRows: 20) == [])
    }

    @Test func thoseThatMissMuchHaveALimitOfTheirOwn() {
        #expect(planDraftPass(missing: [40, 17, 18, 1], maxRows: 100, catchUpRows: 16) == [16, 17, 0, 1])
        #expect(planDraftPass(missing: [20, 17, 18, 1], maxRows: 100, catchUpRows: 26) == [20, 17, 6, 1])
        #expect(planDraftPass(missing: [40, 17, 1], maxRows: 100, catchUpRows: 0) == [0, 17, 1])
        #expect(planDraftPass(missing: [40, 17, 1], maxRows: 20, catchUpRows: 16) == [16, 4, 0])
    }
}
