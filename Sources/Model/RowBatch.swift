import Kernels

/// The rows of one forward pass: tokens of several sequences, each at its position. Rows of a sequence stand together
/// and in order; a row attends to its sequence's cache up to and including itself.
///
/// Rows may end in a tree of drafts: several rows can then have the same position, and each attends to its own
/// ancestors only. Their keys and values lie where they would if the rows followed each other, whatever their position.
package struct RowBatch: Sendable {
    package struct Row: Sendable {
        package let token: Int32
        /// Where the token stands in its text.
        package fileprivate(set) var position: Int32
        /// Where its keys and values go: block `place` / kvBlockTokens of the block table. Differs from the position in
        /// trees only.
        package let place: Int32
        /// Where the block table of the row's sequence starts in `blockTables`.
        package let tableStart: Int32
        /// Where the way to the row begins in `paths`; -1 when it and all before it lie at their positions.
        package fileprivate(set) var path: Int32
    }

    package private(set) var rows: [Row] = []
    package private(set) var blockTables: [Int32] = []
    /// For rows of a tree: the first position that lies at another place, the last, and the places from the last to the
    /// first.
    private var paths: [Int32] = []

    package init() {}

    package var count: Int { rows.count }

    package mutating func removeAll() {
        rows.removeAll(keepingCapacity: true)
        blockTables.removeAll(keepingCapacity: true)
        paths.removeAll(keepingCapacity: true)
    }

    /// Adds `newTokens` of a sequence at the places from `position` on; `blocks` maps place / kvBlockTokens to blocks.
    /// Returns the index of the first new row.
    ///
    /// The latest `parents.count` places are a tree: `parents[node]` is the node that a node follows, one before it, or
    /// -1 for the token before the tree. Where there are more nodes than new tokens the first ones are in the cache.
    /// Rows in depth-first order cost least: a node and the one after it share a reading of the cache if the one follows
    /// the other.
    @discardableResult
    package mutating func append(
        tokens newTokens: ArraySlice<Int32>, position: Int, blocks: [Int32], parents: [Int32] = []
    ) -> Int {
        let first = count
        let start = Int32(blockTables.count)
        blockTables.append(contentsOf: blocks)
        for (offset, token) in newTokens.enumerated() {
            let place = Int32(position + offset)
            rows.append(Row(token: token, position: place, place: place, tableStart: start, path: -1))
        }
        layOut(parents, newNodes: min(parents.count, newTokens.count))
        return first
    }

    @discardableResult
    package mutating func append(
        tokens newTokens: [Int32], position: Int, blocks: [Int32], parents: [Int32] = []
    ) -> Int {
        append(tokens: newTokens[...], position: position, blocks: blocks, parents: parents)
    }

    // MARK: Trees

    /// Gives the latest rows, which are the latest nodes of a tree, their positions and paths.
    private mutating func layOut(_ parents: [Int32], newNodes: Int) {
        var node = parents.count - newNodes
        while node < parents.count {
            // Nodes that follow each other have one path.
            var end = node + 1
            while end < parents.count, Int(parents[end]) == end - 1 { end += 1 }
            layOut(node..<end, of: parents)
            node = end
        }
    }

    private mutating func layOut(_ nodes: Range<Int>, of parents: [Int32]) {
        let last = nodes.upperBound - 1
        let behind = count - parents.count  // the row of node 0, if it has one
        let root = Int(rows[behind + last].place) - last  // the place of node 0
        let depth = depth(of: last, parents)
        let path = appendPath(to: last, depth: depth, root: root, parents)
        for node in nodes {
            rows[behind + node].position = Int32(root + depth - (last - node))
            rows[behind + node].path = path
        }
    }

    /// Nodes between a node and the token before the tree.
    private func depth(of node: Int, _ parents: [Int32]) -> Int {
        var (node, depth) = (node, 0)
        while parents[node] >= 0 {
            precondition(parents[node] < node, "a node follows one before it")
            node = Int(parents[node])
            depth += 1
        }
        return depth
    }

    /// The way from a node up to the first that lies where its position is, as do all before that; -1 when it does itself.
    private mutating func appendPath(to node: Int, depth: Int, root: Int, _ parents: [Int32]) -> Int32 {
        guard node != depth else { return -1 }
        let start = paths.count
        paths.append(0)
        paths.append(Int32(root + depth))
        var (node, depth) = (node, depth)
        // A node cannot lie before its position, so that there is no way back to it.
        while node != depth {
            paths.append(Int32(root + node))
            node = Int(parents[node])
            depth -= 1
        }
        paths[start] = Int32(root + depth + 1)
        return Int32(start)
    }

    /// The place of a position in the past of a row.
    package func place(of position: Int, row: Int) -> Int {
        let start = Int(rows[row].path)
        guard start >= 0, position >= Int(paths[start]) else { return position }
        return Int(paths[start + 2 + Int(paths[start + 1]) - position])
    }

    // MARK: For the pass

    /// The arrays as the threads of a pass read them.
    struct View {
        let count: Int
        let rows: UnsafePointer<Row>
        let blockTables: UnsafePointer<Int32>
        let paths: UnsafePointer<Int32>?

        /// The rows from `row` on, at most `most`, that follow each other in the same sequence.
        func rowsTogether(from row: Int, most: Int) -> Int {
            var end = row + 1
            while end < count, end - row < most, rows[end].tableStart == rows[row].tableStart,
                rows[end].path == rows[row].path
            {
                end += 1
            }
            return end - row
        }

        /// Maps place / kvBlockTokens to blocks, for the sequence of a row.
        func table(of row: Int) -> UnsafePointer<Int32> { blockTables + Int(rows[row].tableStart) }

        /// Where in the cache a row's keys and values go.
        func slot(of row: Int) -> Int {
            let place = Int(rows[row].place)
            return Int(table(of: row)[place / kvBlockTokens]) * kvBlockTokens + place % kvBlockTokens
        }

        /// Where the past of a row lies at other places than its own.
        func path(of row: Int) -> TreePath? {
            guard let paths, rows[row].path >= 0 else { return nil }
            let path = paths + Int(rows[row].path)
            return TreePath(first: Int(path[0]), last: Int(path[1]), places: path + 2)
        }
    }

    /// Calls `body` unless the batch is empty.
    func withView(_ body: (View) -> Void) {
        rows.withUnsafeBufferPointer { rows in
            blockTables.withUnsafeBufferPointer { blockTables in
                paths.withUnsafeBufferPointer { paths in
                    guard let first = rows.baseAddress, let blockTables = blockTables.baseAddress, count > 0 else {
                        return
                    }
                    body(View(count: count, rows: first, blockTables: blockTables, paths: paths.baseAddress))
                }
            }
        }
    }
}
