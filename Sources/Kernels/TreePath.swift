// Keys and values of draft trees: rows whose place in the cache is not that of their position.

/// Where the past of rows of a draft tree lies: positions `first` ... `last` are kept at other places of the block table
/// than their own, all before `first` at their own.
package struct TreePath {
    package let first: Int
    package let last: Int
    /// The places of `last`, `last` - 1, … `first`.
    private let places: UnsafePointer<Int32>

    package init(first: Int, last: Int, places: UnsafePointer<Int32>) {
        self.first = first
        self.last = last
        self.places = places
    }

    package func place(of position: Int) -> Int {
        position < first ? position : Int(places[last - position])
    }
}

extension KVLayer {
    /// Puts together what a kv head's pieces of block `index` hold when a path is computed as a plain sequence: each
    /// position before `end` where attention looks for it. Other positions keep what was at `keys` and `values`.
    func assemble(
        _ index: Int, of path: TreePath, before end: Int, kvHead: Int, blocks: UnsafePointer<Int32>,
        keys image: UnsafeMutableRawPointer, values: UnsafeMutableRawPointer
    ) {
        let start = index * kvBlockTokens
        let own = path.first - start
        if own > 0 {
            image.copyMemory(from: keys(blocks[index], kvHead), byteCount: pieceBytes)
            values.copyMemory(from: self.values(blocks[index], kvHead), byteCount: own * headBytes)
        }
        for position in max(start, path.first)..<min(end, start + kvBlockTokens) {
            copy(
                token(path.place(of: position), in: blocks, kvHead),
                to: Token(keys: image, values: values, index: position - start))
        }
    }

    /// Copies the keys and values of one place of a sequence to another, in the cache's format.
    package func copyRow(from source: Int, to target: Int, blocks: UnsafePointer<Int32>) {
        for head in 0..<kvHeads { copy(token(source, in: blocks, head), to: token(target, in: blocks, head)) }
    }

    /// A token in pieces of a kv head.
    private struct Token {
        let keys: UnsafeMutableRawPointer
        let values: UnsafeMutableRawPointer
        let index: Int
    }

    private func token(_ place: Int, in blocks: UnsafePointer<Int32>, _ kvHead: Int) -> Token {
        let block = blocks[place / kvBlockTokens]
        return Token(keys: keys(block, kvHead), values: values(block, kvHead), index: place % kvBlockTokens)
    }

    private func copy(_ source: Token, to target: Token) {
        copyKey(
            count: headDimension, as: format, from: source.keys, token: source.index, to: target.keys,
            token: target.index)
        (target.values + target.index * headBytes).copyMemory(
            from: source.values + source.index * headBytes, byteCount: headBytes)
    }
}
