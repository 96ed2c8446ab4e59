import Formats
import Kernels
package import Model

/// Runs rows through the target model. The real one computes them; tests script them.
package protocol StepExecutor: AnyObject {
    var vocabularySize: Int { get }
    /// Runs the rows and stores their keys and values. A failure here ends all running requests.
    func forward(_ batch: RowBatch) throws
    /// Copies keys and values of whole blocks, in this order, before the next pass.
    func copy(_ blocks: [(from: Int32, to: Int32)])
    /// Moves the rows of a tree that were accepted to the places of their positions: keys and values at `places` of a
    /// block table, in ascending order and none before `first`, go to `first`, `first` + 1, …. To be called before
    /// anything else is done with the places from `first` on.
    func moveRows(from places: [Int], to first: Int, blocks: [Int32])
    /// Calls `body` with the logits [vocabularySize] of each of `rows` of the latest pass, in order.
    func withLogits(rows: [Int], _ body: (_ index: Int, _ logits: Span<Float>) throws -> Void) throws
}

/// The model itself.
package final class ModelExecutor: StepExecutor {
    private let transformer: Transformer
    package let vocabularySize: Int

    package init(transformer: Transformer) {
        self.transformer = transformer
        vocabularySize = transformer.model.configuration.vocabularySize
    }

    package func forward(_ batch: RowBatch) { transformer.forward(batch) }

    package func copy(_ blocks: [(from: Int32, to: Int32)]) {
        for pair in blocks { transformer.cache.copy(from: pair.from, to: pair.to) }
    }

    package func moveRows(from places: [Int], to first: Int, blocks: [Int32]) {
        transformer.cache.moveRows(from: places, to: first, blocks: blocks)
    }

    package func withLogits(rows: [Int], _ body: (_ index: Int, _ logits: Span<Float>) throws -> Void) throws {
        for start in stride(from: 0, to: rows.count, by: transformer.maxLogitRows) {
            let end = min(start + transformer.maxLogitRows, rows.count)
            let logits = unsafe transformer.logits(rows: rows[start..<end])
            for index in start..<end {
                let from = (index - start) * vocabularySize
                let row = unsafe UnsafeBufferPointer(rebasing: logits[from..<from + vocabularySize])
                try unsafe body(index, row.span)
            }
        }
    }
}
