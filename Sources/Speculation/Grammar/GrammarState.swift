import Formats

/// How far a text has come in a grammar. A value: drafts go on from copies, which cost nothing. It counts bytes, so that
/// a text may stop within a code point, as tokens do.
package struct GrammarState: Sendable, Hashable {
    package let grammar: Grammar
    var configuration: GrammarConfiguration

    package init(_ grammar: Grammar) {
        self.grammar = grammar
        configuration = grammar.initial
    }

    /// Whether the text may end here.
    package var canEnd: Bool { configuration.canEnd }

    package func accepts(_ bytes: some Sequence<UInt8>) -> Bool {
        var position = configuration
        for byte in bytes {
            guard case .next(let after) = grammar.network.step(position, byte) else { return false }
            position = after
        }
        return true
    }

    /// Goes on by `bytes`; where the grammar does not allow them, this fails and changes nothing.
    package mutating func advance(_ bytes: some Sequence<UInt8>) throws {
        var position = configuration
        for (index, byte) in bytes.enumerated() {
            switch grammar.network.step(position, byte) {
            case .next(let after): position = after
            case .none:
                let value = String(byte, radix: 16, uppercase: true)
                throw Failure.invalid("the grammar does not allow the byte 0x\(value), at offset \(index), here")
            case .tooMany: throw GrammarNetwork.tooAmbiguous
            }
        }
        configuration = position
    }

    /// The bytes that must come next, as far as there is no choice, at most `limit`.
    package func forcedBytes(limit: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        var position = configuration
        while bytes.count < limit, !position.canEnd, let byte = grammar.network.onlyByte(position),
            case .next(let after) = grammar.network.step(position, byte)
        {
            bytes.append(byte)
            position = after
        }
        return bytes
    }

    package static func == (left: Self, right: Self) -> Bool {
        left.grammar === right.grammar && left.configuration == right.configuration
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(configuration) }
}

/// The calls that are open: where to go on when the innermost rule is matched, and what lies below.
final class GrammarStack: Sendable, Hashable {
    let returnState: Int32
    let below: GrammarStack?
    let depth: Int
    private let hash: Int

    init(returnState: Int32, below: GrammarStack?) {
        self.returnState = returnState
        self.below = below
        depth = (below?.depth ?? 0) + 1
        var hasher = Hasher()
        hasher.combine(returnState)
        hasher.combine(below?.hash)
        hash = hasher.finalize()
    }

    func hash(into hasher: inout Hasher) { hasher.combine(hash) }

    static func == (left: GrammarStack, right: GrammarStack) -> Bool {
        var (left, right): (GrammarStack?, GrammarStack?) = (left, right)
        while let one = left, let other = right {
            if one === other { return true }
            guard one.hash == other.hash, one.returnState == other.returnState else { return false }
            (left, right) = (one.below, other.below)
        }
        return left == nil && right == nil
    }

    /// Some order that does not change while the process runs.
    static func precedes(_ left: GrammarStack?, _ right: GrammarStack?) -> Bool {
        guard let left, let right else { return left == nil && right != nil }
        return left.hash < right.hash
    }
}

/// One way in which a text may be matched so far.
struct GrammarPosition: Sendable, Hashable {
    let state: Int32
    let stack: GrammarStack?
}

/// All ways in which a text may be matched so far; each is at a state that reads.
struct GrammarConfiguration: Sendable, Hashable {
    var positions: [GrammarPosition] = []
    /// Whether one of them may end here.
    var canEnd = false
}

extension GrammarNetwork {
    enum Step {
        case next(GrammarConfiguration)
        /// No way goes on.
        case none
        /// There are too many ways to follow.
        case tooMany
    }

    static let tooAmbiguous = Failure.invalid(
        "the grammar can be matched in more than \(GrammarLimits.positions) ways at a time; "
            + "write alternatives so that they differ early")

    func initial() -> Step {
        var closure = GrammarClosure(network: self)
        closure.add(GrammarPosition(state: starts[Int(root)], stack: nil))
        return closure.finish()
    }

    func step(_ configuration: GrammarConfiguration, _ byte: UInt8) -> Step {
        var closure = GrammarClosure(network: self)
        for position in configuration.positions {
            guard case .read(let first, let end) = operations[Int(position.state)] else { continue }
            for edge in edges[Int(first)..<Int(end)] where edge.low <= byte && byte <= edge.high {
                closure.add(GrammarPosition(state: edge.target, stack: position.stack))
            }
        }
        return closure.finish()
    }

    /// The byte that can be read, if there is but one.
    func onlyByte(_ configuration: GrammarConfiguration) -> UInt8? {
        var only: UInt8?
        for position in configuration.positions {
            guard case .read(let first, let end) = operations[Int(position.state)] else { continue }
            for edge in edges[Int(first)..<Int(end)] {
                guard edge.low == edge.high, only == nil || only == edge.low else { return nil }
                only = edge.low
            }
        }
        return only
    }
}

/// Follows everything that reads nothing, until each way is at a state that reads.
private struct GrammarClosure {
    let network: GrammarNetwork
    private var result = GrammarConfiguration()
    private var pending: [GrammarPosition] = []
    /// All positions so far, few of them as a list.
    private var few: [GrammarPosition] = []
    private var many: Set<GrammarPosition> = []
    private var isFull = false

    init(network: GrammarNetwork) { self.network = network }

    mutating func add(_ position: GrammarPosition) {
        guard !isFull, isNew(position) else { return }
        if case .read = network.operations[Int(position.state)] {
            result.positions.append(position)
            isFull = result.positions.count > GrammarLimits.positions
        } else {
            pending.append(position)
        }
    }

    private mutating func isNew(_ position: GrammarPosition) -> Bool {
        if many.isEmpty {
            if few.contains(position) { return false }
            few.append(position)
            if few.count > 16 { many = Set(few) }
            return true
        }
        guard many.insert(position).inserted else { return false }
        isFull = many.count > GrammarLimits.silentSteps
        return true
    }

    mutating func finish() -> GrammarNetwork.Step {
        while let position = pending.popLast() { follow(position) }
        if isFull { return .tooMany }
        guard !result.positions.isEmpty || result.canEnd else { return .none }
        if result.positions.count > 1 {
            // One order for one set, however it came about.
            result.positions.sort {
                $0.state != $1.state ? $0.state < $1.state : GrammarStack.precedes($0.stack, $1.stack)
            }
        }
        return .next(result)
    }

    private mutating func follow(_ position: GrammarPosition) {
        switch network.operations[Int(position.state)] {
        case .read: break
        case .split(let first, let end):
            for target in network.targets[Int(first)..<Int(end)] {
                add(GrammarPosition(state: target, stack: position.stack))
            }
        case .call(let rule, let next):
            let start = network.starts[Int(rule)]
            // A rule that ends with this call needs no place to return to: lists may then be as long as they like.
            if network.operations[Int(next)] == .end {
                add(GrammarPosition(state: start, stack: position.stack))
            } else if position.stack?.depth ?? 0 < GrammarLimits.stackDepth {
                let stack = GrammarStack(returnState: next, below: position.stack)
                add(GrammarPosition(state: start, stack: stack))
            }
        case .end:
            if let stack = position.stack {
                add(GrammarPosition(state: stack.returnState, stack: stack.below))
            } else {
                result.canEnd = true
            }
        }
    }
}
