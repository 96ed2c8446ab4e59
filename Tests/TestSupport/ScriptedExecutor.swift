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
        let position: Int
        let token: Int32
        /// The token and all before it, in one number, as keys and values depend on them.
        var past: UInt64
    }
    private var slots: [Int: Slot] = [:]
    private var histories: [[Int32]] = []

    package init(vocabularySize: Int) { self.vocabularySize = vocabularySize }

    package func forward(_ batch: RowBatch) throws {
        passes += 1
        try onForward?(passes)
        rows += batch.count
        if batch.count == 0 { problems.append("pass \(passes) has no rows") }
        var written = Set<Int>()
        for row in batch.rows {
            let at = slot(batch, row, place: Int(row.place))
            if !written.insert(at).inserted { problems.append("pass \(passes) writes slot \(at) twice") }
            slots[at] = Slot(position: Int(row.position), token: row.token, past: 0)
        }
        histories = batch.rows.indices.map { history(batch, row: $0) }
    }

    private func slot(_ batch: RowBatch, _ row: RowBatch.Row, place: Int) -> Int {
        let block = Int(batch.blockTables[Int(row.tableStart) + place / kvBlockTokens])
        return block * kvBlockTokens + place % kvBlockTokens
    }

    /// The tokens that a row attends to. Notes what is wrong with them, and completes what the cache has of the row.
    private func history(_ batch: RowBatch, row: Int) -> [Int32] {
        let own = slot(batch, batch.rows[row], place: Int(batch.rows[row].place))
        var past: UInt64 = 0
        return (0...Int(batch.rows[row].position)).map { position in
            let at = slot(batch, batch.rows[row], place: batch.place(of: position, row: row))
            guard let slot = slots[at] else {
                problems.append("pass \(passes) reads slot \(at), where nothing was written")
                return -1
            }
            if slot.position != position {
                problems.append("pass \(passes) reads a slot that is not of position \(position)")
            }
            past = Self.state(after: slot.token, past)
            if at == own {
                slots[at]?.past = past
            } else if slot.past != past {
                problems.append("pass \(passes) reads position \(position) of another sequence or path")
            }
            return slot.token
        }
    }

    package func copy(_ blocks: [(from: Int32, to: Int32)]) {
        for pair in blocks {
            for token in 0..<kvBlockTokens {
                slots[Int(pair.to) * kvBlockTokens + token] = slots[Int(pair.from) * kvBlockTokens + token]
            }
        }
    }

    package func moveRows(from places: [Int], to first: Int, blocks: [Int32]) {
        func slot(_ place: Int) -> Int {
            Int(blocks[place / kvBlockTokens]) * kvBlockTokens + place % kvBlockTokens
        }
        for (offset, place) in places.enumerated() {
            let target = first + offset
            if place < target { problems.append("a row moves from \(place) back to \(target)") }
            if slots[slot(place)]?.position != target {
                problems.append("what moves from \(place) to \(target) is not of that position")
            }
            slots[slot(target)] = slots[slot(place)]
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
        var noise = SplitMix64(seed: tokens.reduce(1) { state(after: $1, $0) })
        var logits = noise.floats(vocabularySize, bound: 0.5)
        var successors = SplitMix64(seed: UInt64(bitPattern: Int64(tokens.last ?? 0)))
        for _ in 0..<4 { logits[successors.int(1..<vocabularySize)] += 6 }
        return logits
    }

    private static func state(after token: Int32, _ state: UInt64) -> UInt64 {
        SplitMix64(seed: state ^ UInt64(bitPattern: Int64(token))).first
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
package final class ScriptedDrafter: RetrievalDrafter {
    package let bytes = 0
    package private(set) var forgotten: [UInt64] = []
    private let script: (DraftRequest) throws -> [Int32]

    package init(_ script: @escaping (DraftRequest) throws -> [Int32]) { self.script = script }

    package func lookUp(_ requests: [DraftRequest]) throws -> [RetrievalDraft] {
        try requests.map { request in
            var draft = RetrievalDraft(source: .request)
            for token in try script(request).prefix(request.limit) {
                draft.append(token, MatchFeatures(matchLength: 4, support: 2, follows: 2))
            }
            return draft
        }
    }

    package func forget(_ id: UInt64) { forgotten.append(id) }
}
