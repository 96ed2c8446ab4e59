import Engine
import Formats
import Model
import TestSupport
import Testing

@Suite struct SelfTestTests {
    @Test(arguments: [true, false])
    func thePairPasses(withDraft: Bool) throws {
        var options = EngineOptions()
        options.draftModel = withDraft ? try TestModels.draft() : nil
        var checks: [SelfTestCheck] = []
        try SelfTest(target: try TestModels.target(), options: options).run { check in
            checks.append(check)
            return true
        }
        #expect(checks.allSatisfy { $0.passed })
        #expect(checks.map(\.name).contains("speculative, draft model") == withDraft)
        for name in [
            "batched", "threads", "chunked", "speculative, prompt lookup", "speculative, suffix automaton",
            "speculative, drafts of the host", "speculative, trees", "policy smartspec", "policy turbospec",
            "policy adaspec", "policy goodput", "preempted", "prefix cache",
        ] {
            #expect(checks.filter { $0.name == name }.count == 1)
        }
    }

    @Test func itsCallbackStopsIt() throws {
        var count = 0
        let test = try SelfTest(target: try TestModels.target(), options: EngineOptions())
        let stopped = failure {
            try test.run { _ in
                count += 1
                return count < 2
            }
        }
        #expect(stopped?.code == .cancelled && count == 2)
    }

    @Test func aDifferenceIsNamed() {
        let reference: [[Int32]] = [[1, 2, 3], [4, 5, 6], [7]]
        let same = SelfTest.compare("x", reference, with: reference, "seen")
        #expect(same.passed && same.detail == "3 requests, 7 tokens the same; seen")
        let other = SelfTest.compare("x", [[1, 2, 3], [4, 9, 6], [8]], with: reference, "")
        #expect(!other.passed)
        #expect(other.detail == "request 1 differs at output position 1: token 5 alone, token 9 here")
        let short = SelfTest.compare("x", [[1, 2], [4, 5, 6], [7]], with: reference, "")
        #expect(short.detail == "request 0 differs at output position 2: token 3 alone, the end here")
    }

    @Test func aContextThatIsTooShort() throws {
        var options = EngineOptions()
        options.contextTokens = 20
        #expect(
            failure { _ = try SelfTest(target: try TestModels.target(), options: options) }?.code == .invalidArgument)
        options.contextTokens = 40
        #expect(failure { try SelfTest(target: try TestModels.target(), options: options).run { $0.passed } } == nil)
    }
}
