import Formats

/// One rule of a grammar before compilation.
struct GrammarRule: Sendable {
    /// For messages: a name, or a path within a schema.
    let name: String
    /// Where it is, for messages; such as "line 3, column 1". nil for schemas, whose paths say it.
    let place: String?
    var body: GrammarExpression

    func failure(_ what: String) -> Failure {
        Failure.invalid(place.map { "grammar, \($0): \(what)" } ?? "JSON schema, \(name): \(what)")
    }
}

/// What a rule matches.
indirect enum GrammarExpression: Sendable {
    case literal([UInt8])
    /// One code point of a set.
    case set(CodePointSet)
    case sequence([GrammarExpression])
    case choice([GrammarExpression])
    /// From `least` to `most` times; without a bound when `most` is nil.
    case repeated(GrammarExpression, least: Int, most: Int?)
    case rule(Int)

    static let empty = GrammarExpression.sequence([])
    static func text(_ text: String) -> GrammarExpression { .literal(Array(text.utf8)) }
    static func optional(_ body: GrammarExpression) -> GrammarExpression { .repeated(body, least: 0, most: 1) }
    static func any(of scalars: ClosedRange<Unicode.Scalar>...) -> GrammarExpression {
        .set(CodePointSet(scalars.map { $0.lowerBound.value...$0.upperBound.value }))
    }

    /// How many states this takes, roughly; `bound` when it is more.
    func weight(upTo bound: Int) -> Int {
        var sum = 0
        switch self {
        case .literal(let bytes): sum = bytes.count
        case .set(let set): sum = set == .all ? 7 : set.ranges.count
        case .rule: sum = 1
        case .sequence(let items), .choice(let items):
            for item in items where sum < bound { sum += item.weight(upTo: bound - sum) }
        case .repeated(let body, let least, let most):
            sum = body.weight(upTo: bound)
            // Both factors are bounded.
            sum *= max(1, most ?? least)
        }
        return min(sum, bound)
    }
}

/// Code points as sorted ranges that do not touch. Surrogates are never members: UTF-8 has none.
struct CodePointSet: Sendable, Equatable {
    private(set) var ranges: [ClosedRange<UInt32>]

    static let all = CodePointSet([0...0x10FFFF])
    private static let surrogates: ClosedRange<UInt32> = 0xD800...0xDFFF

    init(_ members: [ClosedRange<UInt32>]) {
        ranges = []
        for range in members.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = ranges.last, range.lowerBound <= last.upperBound &+ 1 {
                ranges[ranges.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                ranges.append(range)
            }
        }
        ranges = ranges.flatMap { Self.cut($0, Self.surrogates) }
    }

    init(_ scalars: String) { self.init(scalars.unicodeScalars.map { $0.value...$0.value }) }

    var isEmpty: Bool { ranges.isEmpty }

    var inverted: CodePointSet { CodePointSet.all.subtracting(self) }

    func union(_ other: CodePointSet) -> CodePointSet { CodePointSet(ranges + other.ranges) }

    func subtracting(_ other: CodePointSet) -> CodePointSet {
        var result: [ClosedRange<UInt32>] = []
        for range in ranges {
            var low = range.lowerBound
            for hole in other.ranges where hole.upperBound >= low && hole.lowerBound <= range.upperBound {
                if hole.lowerBound > low { result.append(low...hole.lowerBound - 1) }
                low = hole.upperBound + 1
            }
            if low <= range.upperBound { result.append(low...range.upperBound) }
        }
        return CodePointSet(result)
    }

    func contains(_ value: UInt32) -> Bool { ranges.contains { $0.contains(value) } }

    private static func cut(
        _ range: ClosedRange<UInt32>, _ hole: ClosedRange<UInt32>
    ) -> [ClosedRange<UInt32>] {
        guard range.overlaps(hole) else { return [range] }
        var parts: [ClosedRange<UInt32>] = []
        if range.lowerBound < hole.lowerBound { parts.append(range.lowerBound...hole.lowerBound - 1) }
        if range.upperBound > hole.upperBound { parts.append(hole.upperBound + 1...range.upperBound) }
        return parts
    }
}
