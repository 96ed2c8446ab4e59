import Kernels

/// The rows of one forward pass: tokens of several sequences, each at its position. Rows of a sequence stand together
/// and in order of position; a row attends to its sequence's cache up to and including itself.
package struct RowBatch: Sendable {
    package private(set) var tokens: [Int32] = []
    package private(set) var positions: [Int32] = []
    /// Where the block table of each row's sequence starts in `blockTables`.
    package private(set) var tableStarts: [Int32] = []
    package private(set) var blockTables: [Int32] = []

    package init() {}

    package var count: Int { tokens.count }

    package mutating func removeAll() {
        tokens.removeAll(keepingCapacity: true)
        positions.removeAll(keepingCapacity: true)
        tableStarts.removeAll(keepingCapacity: true)
        blockTables.removeAll(keepingCapacity: true)
    }

    /// Adds `newTokens` of a sequence from `position` on; `blocks` maps position / kvBlockTokens to blocks.
    /// Returns the index of the first new row.
    @discardableResult
    package mutating func append(tokens newTokens: ArraySlice<Int32>, position: Int, blocks: [Int32]) -> Int {
        let first = count
        let start = Int32(blockTables.count)
        blockTables.append(contentsOf: blocks)
        tokens.append(contentsOf: newTokens)
        for index in 0..<newTokens.count {
            positions.append(Int32(position + index))
            tableStarts.append(start)
        }
        return first
    }

    @discardableResult
    package mutating func append(tokens newTokens: [Int32], position: Int, blocks: [Int32]) -> Int {
        append(tokens: newTokens[...], position: position, blocks: blocks)
    }

    /// The arrays as the threads of a pass read them.
    struct View {
        let count: Int
        let tokens: UnsafePointer<Int32>
        let positions: UnsafePointer<Int32>
        let tableStarts: UnsafePointer<Int32>
        let blockTables: UnsafePointer<Int32>

        /// The rows from `row` on, at most `most`, that belong to the same sequence.
        func rowsTogether(from row: Int, most: Int) -> Int {
            var end = row + 1
            while end < count, end - row < most, tableStarts[end] == tableStarts[row] { end += 1 }
            return end - row
        }

        /// Maps position / kvBlockTokens to blocks, for the sequence of a row.
        func table(of row: Int) -> UnsafePointer<Int32> { blockTables + Int(tableStarts[row]) }

        /// Where in the cache a position of a row's sequence is.
        func slot(of row: Int, position: Int) -> Int {
            Int(table(of: row)[position / kvBlockTokens]) * kvBlockTokens + position % kvBlockTokens
        }
    }

    /// Calls `body` unless the batch is empty.
    func withView(_ body: (View) -> Void) {
        tokens.withUnsafeBufferPointer { tokens in
            positions.withUnsafeBufferPointer { positions in
                tableStarts.withUnsafeBufferPointer { tableStarts in
                    blockTables.withUnsafeBufferPointer { blockTables in
                        guard let tokens = tokens.baseAddress, let positions = positions.baseAddress,
                            let tableStarts = tableStarts.baseAddress, let blockTables = blockTables.baseAddress
                        else { return }
                        body(
                            View(
                                count: count, tokens: tokens, positions: positions, tableStarts: tableStarts,
                                blockTables: blockTables))
                    }
                }
            }
        }
    }
}
