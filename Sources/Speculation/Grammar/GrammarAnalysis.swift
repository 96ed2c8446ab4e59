import Formats

/// Refuses grammars that cannot be matched from left to right, or that have rules without an end. Nothing here
/// recurses: rules may be chained as long as their number allows.
struct GrammarAnalysis {
    private let network: GrammarNetwork
    private let owners: [Int]
    private let rules: [GrammarRule]
    /// [states] and then some: what leads to state s is `sources[sourceStarts[s]..<sourceStarts[s + 1]]`.
    private var sources: [Int32] = []
    private var sourceStarts: [Int] = []
    /// The states that call each rule.
    private var callers: [[Int32]]
    /// The rule that a state is the start of, or -1.
    private var ruleOfStart: [Int32]

    init(_ network: GrammarNetwork, owners: [Int], rules: [GrammarRule]) {
        self.network = network
        self.owners = owners
        self.rules = rules
        callers = [[Int32]](repeating: [], count: network.starts.count)
        ruleOfStart = [Int32](repeating: -1, count: network.operations.count)
        for (rule, start) in network.starts.enumerated() { ruleOfStart[Int(start)] = Int32(rule) }
        for (state, operation) in network.operations.enumerated() {
            if case .call(let rule, _) = operation { callers[Int(rule)].append(Int32(state)) }
        }
        collectSources()
    }

    func check() throws {
        try checkLeftRecursion(nullable: reachesEnd(readingBytes: false))
        let finite = reachesEnd(readingBytes: true)
        if let rule = network.starts.indices.first(where: { !finite[Int(network.starts[$0])] }) {
            let name = rules[owners[culprit(rule, finite)]].name
            throw rules[owners[culprit(rule, finite)]].failure(
                "'\(name)' never ends: each way to match it needs it again; add an alternative that does not")
        }
    }

    // MARK: What can end

    /// Where a state leads within its rule.
    private func successors(_ state: Int) -> [Int32] {
        switch network.operations[state] {
        case .read(let first, let end): network.edges[Int(first)..<Int(end)].map { $0.target }
        case .split(let first, let end): Array(network.targets[Int(first)..<Int(end)])
        case .call(_, let next): [next]
        case .end: []
        }
    }

    private mutating func collectSources() {
        let count = network.operations.count
        sourceStarts = [Int](repeating: 0, count: count + 1)
        for state in 0..<count {
            for target in successors(state) { sourceStarts[Int(target) + 1] += 1 }
        }
        for state in 0..<count { sourceStarts[state + 1] += sourceStarts[state] }
        sources = [Int32](repeating: 0, count: sourceStarts[count])
        var fill = sourceStarts
        for state in 0..<count {
            for target in successors(state) {
                sources[fill[Int(target)]] = Int32(state)
                fill[Int(target)] += 1
            }
        }
    }

    /// Whether the end of its rule can be reached from each state: with some text, or with none.
    private func reachesEnd(readingBytes: Bool) -> [Bool] {
        var marked = [Bool](repeating: false, count: network.operations.count)
        var pending: [Int32] = []
        func mark(_ state: Int32) {
            guard !marked[Int(state)] else { return }
            marked[Int(state)] = true
            pending.append(state)
        }
        for (state, operation) in network.operations.enumerated() where operation == .end { mark(Int32(state)) }
        while let state = pending.popLast() {
            for source in sources[sourceStarts[Int(state)]..<sourceStarts[Int(state) + 1]] {
                switch network.operations[Int(source)] {
                case .read: if readingBytes { mark(source) }
                case .split: mark(source)
                case .call(let rule, _): if marked[Int(network.starts[Int(rule)])] { mark(source) }
                case .end: break
                }
            }
            guard ruleOfStart[Int(state)] >= 0 else { continue }
            for caller in callers[Int(ruleOfStart[Int(state)])] {
                if case .call(_, let next) = network.operations[Int(caller)], marked[Int(next)] { mark(caller) }
            }
        }
        return marked
    }

    /// A rule that `rule` needs, or itself, which needs itself.
    private func culprit(_ rule: Int, _ finite: [Bool]) -> Int {
        var (rule, seen): (Int, Set<Int>) = (rule, [])
        while seen.insert(rule).inserted {
            var (visited, pending): (Set<Int32>, [Int32]) = ([], [network.starts[rule]])
            var needed: Int?
            while needed == nil, let state = pending.popLast() {
                if case .call(let other, _) = network.operations[Int(state)],
                    !finite[Int(network.starts[Int(other)])]
                {
                    needed = Int(other)
                } else {
                    for next in successors(Int(state)) where visited.insert(next).inserted { pending.append(next) }
                }
            }
            rule = needed ?? rule
        }
        return rule
    }

    // MARK: Left recursion

    private func checkLeftRecursion(nullable: [Bool]) throws {
        let first = network.starts.indices.map { firstRules(of: $0, nullable) }
        // 0: not seen; 1: on the path; 2: done.
        var colours = [UInt8](repeating: 0, count: first.count)
        for root in first.indices where colours[root] == 0 {
            var path: [(rule: Int, next: Int)] = [(root, 0)]
            colours[root] = 1
            while let (rule, next) = path.last {
                guard next < first[rule].count else {
                    colours[rule] = 2
                    path.removeLast()
                    continue
                }
                path[path.count - 1].next += 1
                let other = Int(first[rule][next])
                if colours[other] == 1 { throw leftRecursion(path.map(\.rule), from: other) }
                if colours[other] == 0 {
                    colours[other] = 1
                    path.append((other, 0))
                }
            }
        }
    }

    /// The rules that may be called before `rule` has read anything.
    private func firstRules(of rule: Int, _ nullable: [Bool]) -> [Int32] {
        var found: [Int32] = []
        var seen: Set<Int32> = [network.starts[rule]]
        var pending = [network.starts[rule]]
        while let state = pending.popLast() {
            var after: [Int32] = []
            switch network.operations[Int(state)] {
            case .split: after = successors(Int(state))
            case .call(let other, let next):
                found.append(other)
                if nullable[Int(network.starts[Int(other)])] { after = [next] }
            case .read, .end: break
            }
            for state in after where seen.insert(state).inserted { pending.append(state) }
        }
        return found
    }

    private func leftRecursion(_ path: [Int], from rule: Int) -> Failure {
        let cycle = path.drop { $0 != rule } + [rule]
        var names: [String] = []
        for rule in cycle where names.last != rules[owners[rule]].name { names.append(rules[owners[rule]].name) }
        if names.count == 1 { names.append(names[0]) }
        if names.count > 6 { names = Array(names.prefix(3)) + ["..."] + Array(names.suffix(2)) }
        return rules[owners[rule]].failure(
            "'\(rules[owners[rule]].name)' may begin with itself (\(names.joined(separator: " -> "))); "
                + "write what repeats as a repetition, such as: a ::= b (\"+\" b)*")
    }
}
