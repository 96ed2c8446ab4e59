import Engine
import Kernels
import Model
import Speculation
import TestSupport

/// A model over four tokens whose distribution depends on the last two, so that the law of its texts is known exactly. The
/// token before the last comes from its emulation of the KV cache.
final class ToyExecutor: StepExecutor {
    static let tokens: [Int32] = [10, 11, 12, 13]
    let vocabularySize: Int
    /// [last but one][last][vocabulary]; all tokens but the four are impossible.
    private let logits: [[[Float]]]
    /// How long passes take, in microseconds.
    private let time: (pass: Int64, row: Int64)
    private let clock: ManualClock
    private(set) var problems: [String] = []
    /// Called before each pass with its tokens; may throw.
    var onForward: ((_ tokens: [Int32]) throws -> Void)?

    private var slots: [Int: (position: Int32, token: Int32)] = [:]
    private var contexts: [(Int, Int)] = []

    init(vocabularySize: Int, logits: [[[Float]]], time: (pass: Int64, row: Int64), clock: ManualClock) {
        self.vocabularySize = vocabularySize
        self.time = time
        self.clock = clock
        self.logits = logits.map { rows in
            rows.map { row in
                var all = [Float](repeating: -.infinity, count: vocabularySize)
                for (token, value) in zip(Self.tokens, row) { all[Int(token)] = value }
                return all
            }
        }
    }

    /// Values for each pair of tokens: a target's, and those of a draft that resembles it.
    static func pair(seed: UInt64) -> (target: [[[Float]]], draft: [[[Float]]]) {
        var random = SplitMix64(seed: seed)
        func table(_ value: (Int, Int, Int) -> Float) -> [[[Float]]] {
            tokens.indices.map { first in
                tokens.indices.map { second in tokens.indices.map { value(first, second, $0) } }
            }
        }
        let target = table { _, _, _ in random.float(1.5) }
        return (target, table { target[$0][$1][$2] + random.float(1) })
    }

    func forward(_ batch: RowBatch) throws {
        try onForward?(batch.rows.map(\.token))
        clock.advance(microseconds: time.pass + time.row * Int64(batch.count))
        for row in batch.rows { slots[slot(batch, row, Int(row.place))] = (row.position, row.token) }
        contexts = batch.rows.indices.map { at in
            let row = batch.rows[at]
            let before = slots[slot(batch, row, batch.place(of: max(0, Int(row.position) - 1), row: at))]
            if before.map({ $0.position != max(0, row.position - 1) }) ?? true {
                problems.append("a stale entry is read")
            }
            return (index(before?.token), index(row.token))
        }
    }

    private func slot(_ batch: RowBatch, _ row: RowBatch.Row, _ place: Int) -> Int {
        Self.slot(batch.blockTables[Int(row.tableStart) + place / kvBlockTokens], place)
    }

    private static func slot(_ block: Int32, _ place: Int) -> Int { Int(block) * kvBlockTokens + place % kvBlockTokens }

    private func index(_ token: Int32?) -> Int {
        guard let token, let index = Self.tokens.firstIndex(of: token) else {
            problems.append("there is no token \(token ?? -1)")
            return 0
        }
        return index
    }

    func copy(_ blocks: [(from: Int32, to: Int32)]) {
        for pair in blocks {
            for place in 0..<kvBlockTokens {
                slots[Int(pair.to) * kvBlockTokens + place] = slots[Int(pair.from) * kvBlockTokens + place]
            }
        }
    }

    func moveRows(from places: [Int], to first: Int, blocks: [Int32]) {
        for (offset, place) in places.enumerated() {
            let to = first + offset
            slots[Self.slot(blocks[to / kvBlockTokens], to)] = slots[Self.slot(blocks[place / kvBlockTokens], place)]
        }
    }

    func withLogits(rows: [Int], _ body: (_ index: Int, _ logits: Span<Float>) throws -> Void) throws {
        for (index, row) in rows.enumerated() {
            let values = logits[contexts[row].0][contexts[row].1]
            try body(index, values.span)
        }
    }
}
