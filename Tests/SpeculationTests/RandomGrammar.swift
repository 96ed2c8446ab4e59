import Formats
import Speculation
import TestSupport

/// A small random grammar with a matcher that follows the definition: slow, without an automaton.
struct RandomGrammar {
    indirect enum Node {
        case literal(String)
        case members([String], inverted: Bool)
        case sequence([Node])
        case choice([Node])
        case repeated(Node, Int, Int?)
        case rule(Int)
    }

    let rules: [Node]
    let source: String

    static func name(_ index: Int) -> String { index == 0 ? "root" : "r\(index)" }

    init(_ random: inout SplitMix64) {
        let count = random.int(1..<4)
        let rules = (0..<count).map { _ in Self.node(&random, depth: 0, rules: count) }
        self.rules = rules
        source = rules.indices.map { "\(Self.name($0)) ::= \(Self.text(rules[$0]))" }.joined(separator: "\n")
    }

    /// nil where the rules are left-recursive or never end.
    var compiled: Grammar? {
        do { return try Grammar(gbnf: source) } catch { return nil }
    }

    private static func node(_ random: inout SplitMix64, depth: Int, rules: Int) -> Node {
        func children(_ random: inout SplitMix64) -> [Node] {
            (0..<random.int(1..<4)).map { _ in node(&random, depth: depth + 1, rules: rules) }
        }
        switch random.int(0..<(depth < 3 ? 9 : 4)) {
        case 0, 1: return .literal(["", "a", "b", "é", "ab", "éa"][random.int(0..<6)])
        case 2:
            return .members(
                [["a"], ["a", "b"], ["é"], ["b", "é"]][random.int(0..<4)], inverted: random.int(0..<4) == 0)
        case 3: return depth > 0 ? .rule(random.int(0..<rules)) : .literal("a")
        case 4, 5: return .sequence(children(&random))
        case 6, 7: return .choice(children(&random))
        default:
            let least = random.int(0..<3)
            let most = random.int(0..<2) == 0 ? nil : least + random.int(0..<3)
            return .repeated(node(&random, depth: depth + 1, rules: rules), least, most)
        }
    }

    private static func text(_ node: Node) -> String {
        switch node {
        case .literal(let text): "\"\(text)\""
        case .members(let members, let inverted): "[\(inverted ? "^" : "")\(members.joined())]"
        case .sequence(let nodes): "(" + nodes.map { text($0) }.joined(separator: " ") + ")"
        case .choice(let nodes): "(" + nodes.map { text($0) }.joined(separator: " | ") + ")"
        case .repeated(let node, let least, let most): "(\(text(node))){\(least),\(most.map { "\($0)" } ?? "")}"
        case .rule(let index): name(index)
        }
    }

    // MARK: Matching

    func matches(_ text: String) -> Bool {
        let scalars = text.unicodeScalars.map { String($0) }
        var known: [Int: Set<Int>] = [:]
        return ends(rules[0], scalars, 0, &known).contains(scalars.count)
    }

    /// Where `node` may stop when it starts at `start`.
    private func ends(_ node: Node, _ text: [String], _ start: Int, _ known: inout [Int: Set<Int>]) -> Set<Int> {
        switch node {
        case .literal(let literal):
            let wanted = literal.unicodeScalars.map { String($0) }
            return text[start...].starts(with: wanted) ? [start + wanted.count] : []
        case .members(let members, let inverted):
            return start < text.count && members.contains(text[start]) != inverted ? [start + 1] : []
        case .sequence(let nodes):
            return nodes.reduce([start]) { all, node in
                all.reduce(into: Set<Int>()) { $0.formUnion(ends(node, text, $1, &known)) }
            }
        case .choice(let nodes):
            return nodes.reduce(into: Set<Int>()) { $0.formUnion(ends($1, text, start, &known)) }
        case .repeated(let node, let least, let most):
            var reached: Set<Int> = least == 0 ? [start] : []
            var current: Set<Int> = [start]
            // More rounds than characters find nothing new.
            for round in 1...(text.count + 4) where round <= most ?? Int.max {
                current = current.reduce(into: Set<Int>()) { $0.formUnion(ends(node, text, $1, &known)) }
                if round >= least { reached.formUnion(current) }
            }
            return reached
        case .rule(let index):
            let key = index * 64 + start
            if let found = known[key] { return found }
            let found = ends(rules[index], text, start, &known)
            known[key] = found
            return found
        }
    }
}
