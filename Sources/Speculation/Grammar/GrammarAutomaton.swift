/// The configurations of a grammar that were met, as a table: the way through a vocabulary then costs one look per node.
/// What the table lacks is computed when it is needed; a full table starts anew.
struct GrammarAutomaton {
    private let network: GrammarNetwork
    /// [256]: bytes of one class lead to the same places, wherever they are read.
    private let classes: [UInt8]
    /// A byte of each class.
    private let representatives: [UInt8]
    private var configurations: [GrammarConfiguration] = []
    private var numbers: [GrammarConfiguration: Int32] = [:]
    /// [configurations, classes]: the number of the next configuration, `dead` or `unknown`.
    private var table: [Int32] = []
    /// [configurations]: where plain characters lead, see `plainStep`.
    private var plainSteps: [Int32] = []
    /// The encodings of plain characters: for each byte the columns that it may be in.
    private let plainEncodings: [[[Int]]]
    /// Positions of all configurations.
    private var size = 0
    /// Whether a way was given up because there were too many to follow.
    private(set) var gaveUp = false

    private static let dead: Int32 = -1
    private static let unknown: Int32 = -2
    private static let mixed: Int32 = -3
    /// Entries of the table before it starts anew: 8 MiB.
    private static let tableLimit = 1 << 21
    private static let sizeLimit = 1 << 20

    init(_ network: GrammarNetwork) {
        self.network = network
        var begins = [Bool](repeating: false, count: 257)
        for edge in network.edges {
            begins[Int(edge.low)] = true
            begins[Int(edge.high) + 1] = true
        }
        var classes = [UInt8](repeating: 0, count: 256)
        var representatives: [UInt8] = [0]
        for byte in 1..<256 {
            if begins[byte] { representatives.append(UInt8(byte)) }
            classes[byte] = UInt8(representatives.count - 1)
        }
        (self.classes, self.representatives) = (classes, representatives)
        plainEncodings = TokenTrie.plainCharacters.ranges.flatMap { UTF8Ranges.encodings(of: $0) }.map { encoding in
            encoding.map { bytes in Set(bytes.map { Int(classes[Int($0)]) }).sorted() }
        }
    }

    // MARK: Tokens

    /// The tokens of `trie` that may follow.
    mutating func tokens(after configuration: GrammarConfiguration, in trie: TokenTrie) -> TokenSet {
        var result = TokenSet(capacity: trie.vocabularySize)
        // Configurations by the number of bytes that led to them.
        var path = [Int32](repeating: 0, count: trie.longest + 1)
        path[0] = number(of: configuration)
        let (length, isLimit) = plainRun(from: path[0], upTo: TokenTrie.shortLength)
        if isLimit {
            result = trie.plain[length]
        } else {
            walk(trie.short, &path, &result)
        }
        if !isLimit || length == TokenTrie.shortLength { walk(trie.long, &path, &result) }
        walk(trie.others, &path, &result)
        return result
    }

    private mutating func walk(_ tree: TokenTree, _ path: inout [Int32], _ result: inout TokenSet) {
        let (nodes, tokens) = (tree.nodes, tree.tokens)
        var index = 0
        while index < nodes.count {
            let node = nodes[index]
            let depth = Int(node.depth)
            let column = Int(classes[Int(node.byte)])
            var next = table[Int(path[depth - 1]) * representatives.count + column]
            if next == Self.unknown { next = follow(&path, depth - 1, column) }
            guard next != Self.dead else {
                index = Int(node.end)
                continue
            }
            path[depth] = next
            index += 1
            let end = index < nodes.count ? Int(nodes[index].firstToken) : tokens.count
            var token = Int(node.firstToken)
            while token < end {
                let id = Int(tokens[token])
                result.words[id >> 6] |= 1 << UInt64(id & 63)
                token += 1
            }
        }
    }

    // MARK: Plain characters

    /// How many plain characters may follow, whichever they are, up to `limit`; and whether that is all there is to know
    /// of them: no more of them may follow, or the limit is reached.
    private mutating func plainRun(from start: Int32, upTo limit: Int) -> (length: Int, isLimit: Bool) {
        var current = start
        for length in 0..<limit {
            let next = plainStep(current)
            if next == Self.dead { return (length, true) }
            if next == Self.mixed { return (length, false) }
            // A loop takes any number of them.
            if next == current { return (limit, true) }
            current = next
        }
        return (limit, true)
    }

    /// Where every plain character leads, `dead` when each leads nowhere, or `mixed`.
    private mutating func plainStep(_ start: Int32) -> Int32 {
        if plainSteps[Int(start)] != Self.unknown { return plainSteps[Int(start)] }
        var result: Int32?
        for encoding in plainEncodings where result != Self.mixed {
            let target = follow(encoding, from: start)
            result = result == nil || result == target ? target : Self.mixed
        }
        plainSteps[Int(start)] = result ?? Self.mixed
        return plainSteps[Int(start)]
    }

    /// Where byte sequences lead, each byte from a set of columns.
    private mutating func follow(_ encoding: [[Int]], from start: Int32) -> Int32 {
        var current = [start]
        for columns in encoding {
            var next: [Int32] = []
            for number in current {
                for column in columns {
                    let target = target(of: number, column)
                    if !next.contains(target) { next.append(target) }
                }
            }
            guard next.count == 1 || !next.contains(Self.dead), next.count <= 8 else { return Self.mixed }
            if next == [Self.dead] { return Self.dead }
            current = next
        }
        return current.count == 1 ? current[0] : Self.mixed
    }

    // MARK: The table

    private mutating func target(of number: Int32, _ column: Int) -> Int32 {
        let known = table[Int(number) * representatives.count + column]
        if known != Self.unknown { return known }
        var target = Self.dead
        switch network.step(configurations[Int(number)], representatives[column]) {
        case .next(let after): target = self.number(of: after)
        case .none: break
        case .tooMany: gaveUp = true
        }
        table[Int(number) * representatives.count + column] = target
        return target
    }

    /// As `target` for the end of `path`, at a moment when a full table can start anew.
    private mutating func follow(_ path: inout [Int32], _ depth: Int, _ column: Int) -> Int32 {
        if table.count >= Self.tableLimit || size >= Self.sizeLimit, configurations.count > 2 * path.count {
            let kept = path[...depth].map { configurations[Int($0)] }
            clear()
            for (index, configuration) in kept.enumerated() { path[index] = number(of: configuration) }
        }
        return target(of: path[depth], column)
    }

    private mutating func number(of configuration: GrammarConfiguration) -> Int32 {
        if let known = numbers[configuration] { return known }
        let number = Int32(configurations.count)
        numbers[configuration] = number
        configurations.append(configuration)
        size += configuration.positions.count
        table.append(contentsOf: repeatElement(Self.unknown, count: representatives.count))
        plainSteps.append(Self.unknown)
        return number
    }

    private mutating func clear() {
        configurations.removeAll(keepingCapacity: true)
        numbers.removeAll(keepingCapacity: true)
        table.removeAll(keepingCapacity: true)
        plainSteps.removeAll(keepingCapacity: true)
        size = 0
    }
}
