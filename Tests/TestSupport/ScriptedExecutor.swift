import Engine
import Kernels
package import Model
package import Speculation

/// A target without a model. Its logits are a function of all tokens of the sequence, as its own emulation of the KV
/// cache has them: a wrong block table, position or stale entry changes what it says, and is noted as a problem.
package final class ScriptedExecutor: StepExecutor {
    package let vocabularySize: Int
    /// What was wrong with the batches.
    package private(set) var problems: [String] = []
    package private(set) var passes = 0
    package private(set) var rows = 0
    /// Called before each pass with its number; may throw.
    package var onForward: ((_ pass: Int) throws -> Void)?
    /// Called with the tokens up to a row and its logits; may throw.
    package var onLogits: ((_ tokens: [Int32], _ logits: inout [Float]) throws -> Void)?

    private struct Slot {
        let position: Int32
        let token: Int32
    }
    private var slots: [Int: Slot] = [:]
    private var histories: [[Int32]] = []

    package init(vocabularySize: Int) { self.vocabularySize = vocabularySize }

    private func slot(_ batch: RowBatch, row: Int, position: Int) -> Int {
        let block = Int(batch.blockTables[Int(batch.tableStarts[row]) + position / kvBlockTokens])
        return block * kvBlockTokens + position % kvBlockTokens
    }

    package func forward(_ batch: RowBatch) throws {
        passes += 1
        try onForward?(passes)
        rows += batch.count
        if batch.count == 0 { problems.append("pass \(passes) has no rows") }
        var written = Set<Int>()
        for row in 0..<batch.count {
            let at = slot(batch, row: row, position: Int(batch.positions[row]))
            if !written.insert(at).inserted { problems.append("pass \(passes) writes slot \(at) twice") }
            slots[at] = Slot(position: batch.positions[row], token: batch.tokens[row])
        }
        histories = (0..<batch.count).map { row in
            (0...Int(batch.positions[row])).map { position in
                let slot = slots[slot(batch, row: row, position: position)]
                if slot?.position != Int32(position) {
                    problems.append("pass \(passes) reads a slot that is not of position \(position)")
                }
                return slot?.token ?? -1
            }
        }
    }

    package func copy(_ blocks: [(from: Int32, to: Int32)]) {
        for pair in blocks {
            for token in 0..<kvBlockTokens {
                slots[Int(pair.to) * kvBlockTokens + token] = slots[Int(pair.from) * kvBlockTokens + token]
            }
        }
    }

    package func withLogits(rows: [Int], _ body: (_ index: Int, _ logits: Span<Float>) throws -> Void) throws {
        if rows != rows.sorted() || Set(rows).count != rows.count { problems.append("rows \(rows) are out of order") }
        for (index, row) in rows.enumerated() {
            var logits = Self.logits(after: histories[row], vocabularySize: vocabularySize)
            try onLogits?(histories[row], &logits)
            try body(index, logits.span)
        }
    }

    /// Four successors of the last token stand out; which of them is best depends on everything before.
    package static func logits(after tokens: [Int32], vocabularySize: Int) -> [Float] {
        var state: UInt64 = 1
        for token in tokens { state = SplitMix64(seed: state ^ UInt64(bitPattern: Int64(token))).first }
        var noise = SplitMix64(seed: state)
        var logits = noise.floats(vocabularySize, bound: 0.5)
        var successors = SplitMix64(seed: UInt64(bitPattern: Int64(tokens.last ?? 0)))
        for _ in 0..<4 { logits[successors.int(1..<vocabularySize)] += 6 }
        return logits
    }
}

extension SplitMix64 {
    /// The first number after this state.
    fileprivate var first: UInt64 {
        var copy = self
        return copy.next()
    }
}

/// Drafts whatever a test says.
package final class ScriptedDrafter: Drafter {
    package let passes = 0
    package private(set) var forgotten: [UInt64] = []
    private let script: (DraftRequest) throws -> [Int32]

    package init(_ script: @escaping (DraftRequest) throws -> [Int32]) { self.script = script }

    package func propose(_ requests: [DraftRequest]) throws -> [[Int32]] {
        try requests.map { Array(try script($0).prefix($0.limit)) }
    }

    package func forget(_ id: UInt64) { forgotten.append(id) }
}
