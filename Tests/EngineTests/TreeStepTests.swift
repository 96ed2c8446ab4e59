import Engine
import Kernels
import Model
import Speculation
import TestSupport
import Testing

/// Steps with trees of drafts on the scripted target, which notes every slot that does not hold what it should.
@Suite struct TreeStepTests {
    /// One sequence that goes from step to step.
    private struct Decoding {
        let executor = ScriptedExecutor(vocabularySize: 50)
        let noise = GumbelNoise(seed: 8)
        let blocks: [Int32] = [3, 0, 6, 1]
        var tokens: [Int32]
        var computed = 0

        /// The target's token after `tokens`, whatever is in the cache.
        func next(after tokens: [Int32]) throws -> Int32 {
            try choose(ScriptedExecutor.logits(after: tokens, vocabularySize: 50).span, tokens.count)
        }

        func choose(_ logits: Span<Float>, _ position: Int) throws -> Int32 {
            try Sampler().choose(
                logits: logits, parameters: SamplingParameters(), processors: [], history: TokenHistory(prompt: []),
                noise: noise, position: position)
        }

        /// A pass over what is missing and a draft; `move` brings the accepted rows to their positions.
        mutating func step(
            _ draft: DraftTree, move: (ScriptedExecutor, _ places: [Int], _ first: Int, _ blocks: [Int32]) -> Void
        ) throws -> Verification {
            let own = tokens.count - computed
            var batch = RowBatch()
            batch.append(
                tokens: tokens[computed...] + draft.tokens, position: computed, blocks: blocks,
                parents: draft.parents)
            try executor.forward(batch)
            var verification = Verification(draft: draft)
            try executor.withLogits(rows: Array(own - 1..<batch.count)) { row, logits in
                guard verification.openRow == row else { return }
                verification.take(try choose(logits, tokens.count + verification.accepted))
            }
            let first = tokens.count
            move(executor, verification.path.map { first + $0 }, first, blocks)
            computed = first + verification.accepted
            tokens += verification.tokens
            return verification
        }

        /// Wrong branches before and after the right one, three levels deep.
        func draft() throws -> DraftTree {
            var draft = DraftTree()
            var parent = -1
            var way = tokens
            for _ in 0..<3 {
                let right = try next(after: way)
                draft.append((right + 1) % 50, after: parent)
                let node = draft.append(right, after: parent)
                draft.append((right + 2) % 50, after: parent)
                way.append(right)
                parent = node
            }
            return draft
        }
    }

    private static func moveRows(_ executor: ScriptedExecutor, _ places: [Int], _ first: Int, _ blocks: [Int32]) {
        executor.moveRows(from: places, to: first, blocks: blocks)
    }

    @Test func treesGiveThePlainText() throws {
        var plain: [Int32] = [4, 5, 6]
        var decoding = Decoding(tokens: plain)
        for _ in 0..<20 {
            let verification = try decoding.step(decoding.draft(), move: Self.moveRows)
            #expect(verification.path == [1, 4, 7])
        }
        while plain.count < decoding.tokens.count { plain.append(try decoding.next(after: plain)) }
        #expect(decoding.tokens == plain && plain.count == 83)
        #expect(decoding.executor.problems.isEmpty)
        #expect(decoding.executor.passes == 20)
    }

    /// Each of these leaves something wrong in the cache: the next pass notices.
    @Test(arguments: 0..<4)
    func wrongMovesAreNoticed(_ fault: Int) throws {
        var decoding = Decoding(tokens: [4, 5, 6])
        _ = try decoding.step(decoding.draft()) { executor, places, first, blocks in
            switch fault {
            case 0: break
            case 1: executor.moveRows(from: places.map { $0 - 1 }, to: first, blocks: blocks)
            case 2: executor.moveRows(from: places, to: first + 1, blocks: blocks)
            default: executor.moveRows(from: Array(places.dropLast()), to: first, blocks: blocks)
            }
        }
        _ = try decoding.step(DraftTree(), move: Self.moveRows)
        #expect(!decoding.executor.problems.isEmpty)
    }
}
