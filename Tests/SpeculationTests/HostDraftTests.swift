import Speculation
import TestSupport
import Testing

/// What is left of a caller's draft as the output grows.
@Suite struct HostDraftTests {
    private static func draft(_ position: Int, _ tokens: [Int32], after output: [Int32], limit: Int = 16) -> [Int32] {
        var draft = HostDraft(position: position, tokens: tokens)
        // Behind a prompt, as sequences hold it.
        draft.follow(([9, 9] + output)[2...])
        return draft.draft(after: output.count, limit: limit).tokens
    }

    @Test func continuesWhereTheOutputAgrees() {
        #expect(Self.draft(0, [1, 2, 3], after: []) == [1, 2, 3])
        #expect(Self.draft(0, [1, 2, 3], after: [], limit: 2) == [1, 2])
        #expect(Self.draft(0, [1, 2, 3], after: [1]) == [2, 3])
        #expect(Self.draft(1, [2, 3, 4], after: [1, 2]) == [3, 4])
        #expect(Self.draft(2, [3], after: [1, 2]) == [3])
    }

    @Test func saysNothingBeforeItsPosition() {
        #expect(Self.draft(2, [3, 4], after: []).isEmpty)
        #expect(Self.draft(2, [3, 4], after: [1]).isEmpty)
        var draft = HostDraft(position: 2, tokens: [3, 4])
        draft.follow([1])
        #expect(!draft.isSpent)
        draft.follow([1, 5, 3])
        #expect(draft.draft(after: 3, limit: 9).tokens == [4])
    }

    @Test func isDroppedAtTheFirstDifference() {
        var draft = HostDraft(position: 0, tokens: [1, 2, 3, 4])
        draft.follow([1, 2])
        #expect(!draft.isSpent)
        draft.follow([1, 2, 4])
        #expect(draft.isSpent && draft.draft(after: 3, limit: 9).tokens.isEmpty)
        // What comes later cannot bring it back.
        draft.follow([1, 2, 4, 4])
        #expect(draft.isSpent && draft.draft(after: 4, limit: 9).tokens.isEmpty)
    }

    @Test func isSpentWhenTheOutputHasAllOfIt() {
        var draft = HostDraft(position: 1, tokens: [2, 3])
        draft.follow([1, 2, 3])
        #expect(draft.isSpent && draft.draft(after: 3, limit: 9).tokens.isEmpty)
        #expect(HostDraft(position: 0, tokens: []).isSpent)
    }

    @Test func aLongerRecordIsTrustedMore() {
        var draft = HostDraft(position: 0, tokens: [1, 2, 3, 4, 5])
        let first = draft.draft(after: 0, limit: 3).features
        #expect(first.map(\.matchLength) == [1, 1, 2])
        #expect(first.map { [$0.follows, $0.support] } == [[2, 3], [3, 4], [4, 5]])
        draft.follow([1, 2])
        let later = draft.draft(after: 2, limit: 1).features
        #expect(later.map(\.matchLength) == [2] && later[0].followProbability == 0.8)
    }

    /// Against the definition: what follows the common part of the offer and the output, if that is all the output behind
    /// the position.
    @Test(arguments: UInt64(1)...20)
    func agreesWithItsDefinition(_ seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<200 {
            let output = (0..<random.int(0..<7)).map { _ in Int32(random.int(0..<2)) }
            let tokens = (0..<random.int(0..<7)).map { _ in Int32(random.int(0..<2)) }
            let (position, limit) = (random.int(0..<7), random.int(1..<5))
            let seen = output.dropFirst(position)
            let holds = position <= output.count && tokens.starts(with: seen)
            let wanted = holds ? Array(tokens.dropFirst(seen.count).prefix(limit)) : []
            #expect(Self.draft(position, tokens, after: output, limit: limit) == wanted)
            // However the output comes, in pieces or at once.
            var stepwise = HostDraft(position: position, tokens: tokens)
            for count in 0...output.count where random.int(0..<2) == 0 || count == output.count {
                stepwise.follow(output[..<count])
            }
            #expect(stepwise.draft(after: output.count, limit: limit).tokens == wanted)
        }
    }
}
