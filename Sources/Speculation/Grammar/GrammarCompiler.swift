import Formats

/// Turns rules into a network. States are made from the end of a rule to its start, so that each knows where it leads.
struct GrammarCompiler {
    private let rules: [GrammarRule]
    private var network = GrammarNetwork()
    /// The rule that each rule of the network belongs to: repeated bodies become rules of their own.
    private(set) var owners: [Int]
    private var current = 0

    init(rules: [GrammarRule]) {
        self.rules = rules
        owners = Array(rules.indices)
    }

    mutating func compile(root: Int) throws -> GrammarNetwork {
        network.starts = [Int32](repeating: 0, count: rules.count)
        network.root = Int32(root)
        for index in rules.indices {
            current = index
            network.starts[index] = try lowerRule(rules[index].body)
        }
        return network
    }

    // MARK: States

    private mutating func add(_ operation: GrammarNetwork.Operation) throws -> Int32 {
        guard network.operations.count < GrammarLimits.states, network.edges.count <= GrammarLimits.edges,
            network.targets.count <= GrammarLimits.edges
        else {
            throw rules[current].failure(
                "the grammar takes more than \(GrammarLimits.states) states; make it smaller, "
                    + "its repetitions above all")
        }
        network.operations.append(operation)
        return Int32(network.operations.count - 1)
    }

    private mutating func addSplit(_ targets: [Int32]) throws -> Int32 {
        if targets.count == 1 { return targets[0] }
        let first = Int32(network.targets.count)
        network.targets.append(contentsOf: targets)
        return try add(.split(first: first, end: Int32(network.targets.count)))
    }

    /// A state that reads; edges next to each other with one target become one.
    mutating func addRead(_ edges: [GrammarNetwork.Edge]) throws -> Int32 {
        let first = Int32(network.edges.count)
        for edge in edges.sorted(by: { $0.low < $1.low }) {
            if let last = network.edges.last, network.edges.count > Int(first), last.target == edge.target,
                Int(last.high) + 1 == Int(edge.low)
            {
                network.edges[network.edges.count - 1] = GrammarNetwork.Edge(
                    low: last.low, high: edge.high, target: edge.target)
            } else {
                network.edges.append(edge)
            }
        }
        return try add(.read(first: first, end: Int32(network.edges.count)))
    }

    // MARK: Expressions

    private mutating func lowerRule(_ body: GrammarExpression) throws -> Int32 {
        try lower(body, next: add(.end))
    }

    /// The state where matching `expression` starts, after which it goes on at `next`.
    private mutating func lower(_ expression: GrammarExpression, next: Int32) throws -> Int32 {
        switch expression {
        case .literal(let bytes): return try lowerLiteral(bytes, next)
        case .set(let set): return try lowerSet(set, next)
        case .sequence(let items):
            var state = next
            for item in items.reversed() { state = try lower(item, next: state) }
            return state
        case .choice(let alternatives): return try lowerChoice(alternatives, next)
        case .repeated(let body, let least, let most): return try lowerRepeated(body, least, most, next)
        case .rule(let index): return try add(.call(rule: Int32(index), next: next))
        }
    }

    private mutating func lowerLiteral(_ bytes: [UInt8], _ next: Int32) throws -> Int32 {
        var state = next
        for byte in bytes.reversed() {
            state = try addRead([GrammarNetwork.Edge(low: byte, high: byte, target: state)])
        }
        return state
    }

    private mutating func lowerSet(_ set: CodePointSet, _ next: Int32) throws -> Int32 {
        guard !set.isEmpty else { throw rules[current].failure("a class of characters matches nothing") }
        var encoding = UTF8Ranges(next: next)
        return try encoding.state(for: set, in: &self)
    }

    /// Literals share the states of what they begin with, and classes become one: fewer ways to follow at a time.
    private mutating func lowerChoice(_ alternatives: [GrammarExpression], _ next: Int32) throws -> Int32 {
        var literals: [[UInt8]] = []
        var set: CodePointSet?
        var states: [Int32] = []
        for alternative in alternatives {
            switch alternative {
            case .literal(let bytes): literals.append(bytes)
            case .set(let other): set = set?.union(other) ?? other
            default: states.append(try lower(alternative, next: next))
            }
        }
        if let set { states.append(try lowerSet(set, next)) }
        if literals.count == 1 { states.append(try lowerLiteral(literals[0], next)) }
        if literals.count > 1 { states.append(try lowerLiterals(literals, next)) }
        guard !states.isEmpty else { throw rules[current].failure("nothing can match here: there is no alternative") }
        return try addSplit(states)
    }

    private mutating func lowerLiterals(_ literals: [[UInt8]], _ next: Int32) throws -> Int32 {
        let tree = LiteralTree(literals)
        var states = [Int32](repeating: next, count: tree.nodes.count)
        // Children come after their parents.
        for index in tree.nodes.indices.reversed() {
            let node = tree.nodes[index]
            guard !node.children.isEmpty else { continue }
            let read = try addRead(
                node.children.map { GrammarNetwork.Edge(low: $0.byte, high: $0.byte, target: states[$0.node]) })
            states[index] = node.isEnd ? try addSplit([read, next]) : read
        }
        return states[0]
    }

    private mutating func lowerRepeated(
        _ body: GrammarExpression, _ least: Int, _ most: Int?, _ next: Int32
    ) throws -> Int32 {
        guard most != 0 else { return next }
        let copies = most ?? least
        var body = body
        // A body that is not small is kept once, however often it is repeated.
        if copies > 1, body.weight(upTo: 64) * copies > 64 { body = .rule(try extract(body)) }
        var state = next
        if most == nil {
            let first = Int32(network.targets.count)
            network.targets.append(contentsOf: [next, next])
            let loop = try add(.split(first: first, end: first + 2))
            let entry = try lower(body, next: loop)
            network.targets[Int(first)] = entry
            if least == 0 { return loop }
            state = entry
        }
        for _ in least..<(most ?? least) { state = try addSplit([lower(body, next: state), next]) }
        for _ in 0..<(most == nil ? least - 1 : least) { state = try lower(body, next: state) }
        return state
    }

    private mutating func extract(_ body: GrammarExpression) throws -> Int {
        if case .rule(let index) = body { return index }
        guard network.starts.count < 2 * GrammarLimits.rules else {
            throw rules[current].failure("more than \(GrammarLimits.rules) repetitions")
        }
        let start = try lowerRule(body)
        network.starts.append(start)
        owners.append(current)
        return network.starts.count - 1
    }
}

/// Byte strings as a tree of what they begin with.
struct LiteralTree {
    struct Node {
        var children: [(byte: UInt8, node: Int)] = []
        var isEnd = false
    }

    private(set) var nodes = [Node()]

    init(_ literals: [[UInt8]]) {
        var last: [UInt8] = []
        // The nodes along `last`.
        var path = [0]
        for literal in literals.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            var shared = 0
            while shared < min(last.count, literal.count), last[shared] == literal[shared] { shared += 1 }
            path.removeLast(path.count - 1 - shared)
            for byte in literal[shared...] {
                nodes[path[path.count - 1]].children.append((byte, nodes.count))
                path.append(nodes.count)
                nodes.append(Node())
            }
            nodes[path[path.count - 1]].isEnd = true
            last = literal
        }
    }
}
