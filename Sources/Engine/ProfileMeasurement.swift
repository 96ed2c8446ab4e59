import Kernels
import Model
package import Scheduling

/// Times passes of one model, on the executor that is going to run them, before anyone's requests do.
///
/// Shapes take turns, there and back, so that a machine whose speed changes changes it for all of them. A shape whose next
/// pass would not end in time is left out. Blocks from 0 on are written to; nothing of them is needed afterwards.
package struct PassMeasurement {
    /// Every width that verification has, and few of those that prompts have.
    private static let widths = Array(1...16) + [24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192]
    /// With so little time that not all are measured, those that say most come first.
    private static let first = [1, 8, 4, 16, 2, 6, 12, 3, 5, 7, 10, 14, 32, 64]
    /// More passes of one shape would not change its median.
    private static let mostRounds = 31
    /// Tokens of the longer context.
    private static let longContext = 1024
    private static let leastContext = 64

    /// That all shapes together need room for.
    static func tokens(maxRows: Int) -> Int { max(maxRows, longContext + 16) + kvBlockTokens }

    private let executor: any StepExecutor
    /// Microseconds; the monotonic clock but in tests.
    private let clock: () -> Int64
    private let shapes: [PassTimes.Shape]
    private let blocks: [Int32]
    private var batch = RowBatch()
    private var passes = 0

    /// `contextTokens` and `kvBlocks` are what the executor has room for.
    package init(
        executor: any StepExecutor, maxRows: Int, contextTokens: Int, kvBlocks: Int,
        clock: @escaping () -> Int64 = monotonicMicroseconds
    ) {
        self.executor = executor
        self.clock = clock
        let room = min(contextTokens, kvBlocks * kvBlockTokens)
        let known = Self.widths.filter { $0 <= min(maxRows, room) }
        let ordered = Self.first.filter(known.contains) + known.filter { !Self.first.contains($0) }
        var shapes = ordered.map { PassTimes.Shape(rows: $0, context: 0) }
        let wide = min(16, maxRows)
        let context = min(Self.longContext, room - wide)
        if context >= Self.leastContext, wide > 1 {
            let far = [1, wide].map { PassTimes.Shape(rows: $0, context: context) }
            shapes.insert(contentsOf: far, at: min(4, shapes.count))
        }
        self.shapes = shapes
        let tokens = shapes.map { $0.rows + $0.context }.max() ?? 0
        blocks = (0..<Int32(EngineSizing.blocks(forTokens: tokens))).map { $0 }
    }

    /// Measures for `budget` microseconds, but in any case one pass of one row. `goesOn` is asked before each pass.
    package mutating func run(budget: Int, goesOn: () -> Bool = { true }) throws -> PassTimes {
        let end = clock() + Int64(budget)
        var times = PassTimes()
        try warmUp(until: end, goesOn)
        for round in 0..<Self.mostRounds {
            var isDone = true
            for shape in round % 2 == 0 ? shapes : shapes.reversed() {
                let isFirst = shape == shapes.first && round == 0
                guard isFirst || (fits(shape, times, until: end) && goesOn()) else { continue }
                times.add(shape, try pass(shape))
                isDone = false
            }
            if isDone { break }
        }
        return times
    }

    private func fits(_ shape: PassTimes.Shape, _ times: PassTimes, until end: Int64) -> Bool {
        guard let expected = times.expected(shape) else { return clock() < end }
        return Double(clock()) + expected <= Double(end)
    }

    /// Blocks that were never written may all be one page of memory, which costs nothing to read; and the first passes pay for
    /// what is touched for the first time.
    private mutating func warmUp(until end: Int64, _ goesOn: () -> Bool) throws {
        let widest = PassTimes.Shape(rows: min(16, shapes.map(\.rows).max() ?? 1), context: 0)
        let first = try pass(PassTimes.Shape(rows: 1, context: 0))
        if Double(clock()) + first * 4 <= Double(end), goesOn() { _ = try pass(widest) }
        executor.copy(blocks.dropFirst().map { (from: 0, to: $0) })
    }

    /// The time of a pass with the logits of all its rows, as verification needs them.
    private mutating func pass(_ shape: PassTimes.Shape) throws -> Double {
        passes += 1
        batch.removeAll()
        let tokens = (0..<shape.rows).map { Int32(($0 * 7 + passes) % executor.vocabularySize) }
        batch.append(tokens: tokens, position: shape.context, blocks: blocks)
        let start = clock()
        try executor.forward(batch)
        try executor.withLogits(rows: Array(tokens.indices)) { _, _ in }
        return Double(max(1, clock() - start))
    }
}
