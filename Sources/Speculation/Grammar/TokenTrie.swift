package import Formats

/// The byte strings of a vocabulary as trees of what they begin with. Made once per tokenizer, shared by all grammars.
///
/// Most tokens are plain: whole characters that stand for themselves in a JSON string. Where a grammar takes any plain
/// character, which is where most text is written, they need no walk: `plain` has them by their length.
package final class TokenTrie: Sendable {
    package let vocabularySize: Int
    /// Tokens that are not plain, plain ones of at most `shortLength` characters, and longer ones.
    let others: TokenTree
    let short: TokenTree
    let long: TokenTree
    /// [shortLength + 1]: the plain tokens of at most so many characters.
    let plain: [TokenSet]
    private let bytes: [UInt8]
    /// [vocabularySize + 1]: token t is `bytes[starts[t]..<starts[t + 1]]`.
    private let starts: [Int]

    static let shortLength = 16
    static let plainCharacters = CodePointSet([0...0x1F, 0x7F...0x7F]).union(CodePointSet("\"\\")).inverted

    /// Control tokens are no text and never allowed; logits beyond the tokenizer's ids belong to no token.
    package convenience init(_ tokenizer: Tokenizer) throws {
        try self.init(vocabularySize: tokenizer.vocabularySize) {
            tokenizer.isControl($0) ? [] : tokenizer.piece($0)
        }
    }

    /// `piece`: the bytes that a token adds to a text; empty for tokens that a grammar never allows.
    package init(vocabularySize: Int, piece: (Int32) -> [UInt8]) throws {
        let size = max(0, vocabularySize)
        var bytes: [UInt8] = []
        var starts = [0]
        starts.reserveCapacity(size + 1)
        for token in 0..<size {
            bytes.append(contentsOf: piece(Int32(truncatingIfNeeded: token)))
            starts.append(bytes.count)
        }
        guard bytes.count < Int(Int32.max), size < Int(Int32.max) else {
            throw Failure.unsupported("the vocabulary has \(bytes.count) bytes of text, which is too much for grammars")
        }
        var (others, short, long): ([Int32], [Int32], [Int32]) = ([], [], [])
        var plain = [TokenSet](repeating: TokenSet(capacity: size), count: Self.shortLength + 1)
        for token in Self.sorted(bytes, starts) {
            let length = Self.plainLength(bytes[starts[Int(token)]..<starts[Int(token) + 1]])
            switch length {
            case nil: others.append(token)
            case .some(let length) where length > Self.shortLength: long.append(token)
            case .some(let length):
                short.append(token)
                for limit in length...Self.shortLength { plain[limit].set(token, true) }
            }
        }
        self.others = TokenTree(others, bytes, starts)
        self.short = TokenTree(short, bytes, starts)
        self.long = TokenTree(long, bytes, starts)
        (self.vocabularySize, self.plain, self.bytes, self.starts) = (size, plain, bytes, starts)
    }

    /// Bytes of the longest token.
    var longest: Int { max(others.longest, short.longest, long.longest) }

    /// The bytes of a token; empty for one that a grammar never allows.
    package func bytes(of token: Int32) -> ArraySlice<UInt8> {
        guard token >= 0, Int(token) < vocabularySize else { return [] }
        return bytes[starts[Int(token)]..<starts[Int(token) + 1]]
    }

    /// The token with the longest string that `text` begins with; the lowest id among equals.
    package func longestMatch(_ text: ArraySlice<UInt8>) -> Int32? {
        // Trees have no string in common.
        let matches = [others, short, long].compactMap { $0.longestMatch(text) }
        return matches.max { bytes(of: $0).count < bytes(of: $1).count }
    }

    // MARK: Building

    /// The number of characters; nil where one of them is not plain or not whole.
    private static func plainLength(_ text: ArraySlice<UInt8>) -> Int? {
        guard let string = String(validating: text, as: UTF8.self) else { return nil }
        var count = 0
        for scalar in string.unicodeScalars {
            guard scalar.value >= 0x20, scalar.value != 0x7F, scalar != "\"", scalar != "\\" else { return nil }
            count += 1
        }
        return count
    }

    /// The tokens that have a text, by that text, then by id.
    private static func sorted(_ bytes: [UInt8], _ starts: [Int]) -> [Int32] {
        // The first eight bytes decide most comparisons.
        var keys: [(head: UInt64, token: Int32)] = []
        for token in 0..<starts.count - 1 where starts[token] < starts[token + 1] {
            var head: UInt64 = 0
            for offset in 0..<8 {
                let at = starts[token] + offset
                head = head << 8 | (at < starts[token + 1] ? UInt64(bytes[at]) : 0)
            }
            keys.append((head, Int32(token)))
        }
        func precedes(_ left: Int32, _ right: Int32) -> Bool {
            let one = bytes[starts[Int(left)]..<starts[Int(left) + 1]]
            let other = bytes[starts[Int(right)]..<starts[Int(right) + 1]]
            if one.lexicographicallyPrecedes(other) { return true }
            return one == other && left < right
        }
        keys.sort { $0.head != $1.head ? $0.head < $1.head : precedes($0.token, $1.token) }
        return keys.map(\.token)
    }
}

/// Some tokens as a tree.
struct TokenTree: Sendable {
    /// A byte that follows those of the parent. Nodes come in order of their strings, parents first.
    struct Node: Sendable {
        /// The node after all that begin with this one's string.
        var end: Int32
        /// Its tokens are `tokens[firstToken..<firstToken of the next node]`.
        let firstToken: Int32
        /// The length of its string.
        let depth: Int32
        let byte: UInt8
    }

    private(set) var nodes: [Node] = []
    /// In order of their strings.
    let tokens: [Int32]
    /// Bytes of the longest token.
    private(set) var longest = 0

    /// `tokens`: sorted; token t is `bytes[starts[t]..<starts[t + 1]]`.
    init(_ tokens: [Int32], _ bytes: [UInt8], _ starts: [Int]) {
        self.tokens = tokens
        var last = bytes[0..<0]
        // The nodes along `last`.
        var path: [Int] = []
        for (index, token) in tokens.enumerated() {
            let text = bytes[starts[Int(token)]..<starts[Int(token) + 1]]
            var shared = 0
            for (one, other) in zip(last, text) {
                guard one == other else { break }
                shared += 1
            }
            close(&path, to: shared)
            for byte in text.dropFirst(shared) {
                path.append(nodes.count)
                nodes.append(Node(end: 0, firstToken: Int32(index), depth: Int32(path.count), byte: byte))
            }
            longest = max(longest, text.count)
            last = text
        }
        close(&path, to: 0)
    }

    private mutating func close(_ path: inout [Int], to depth: Int) {
        while path.count > depth { nodes[path.removeLast()].end = Int32(nodes.count) }
    }

    func longestMatch(_ text: ArraySlice<UInt8>) -> Int32? {
        var best: Int32?
        var (node, limit) = (0, nodes.count)
        for byte in text {
            while node < limit, nodes[node].byte != byte { node = Int(nodes[node].end) }
            guard node < limit else { break }
            let end = node + 1 < nodes.count ? Int(nodes[node + 1].firstToken) : tokens.count
            if Int(nodes[node].firstToken) < end { best = tokens[Int(nodes[node].firstToken)] }
            limit = Int(nodes[node].end)
            node += 1
        }
        return best
    }
}
