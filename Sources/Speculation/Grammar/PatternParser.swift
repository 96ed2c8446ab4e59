import Formats

/// Reads the regular expressions of `pattern`, as far as they are regular, and makes an expression for the JSON spelling
/// of what they match. Understood: literals, `.`, classes, \d \w \s and their opposites, groups, `|`, `* + ? {m,n}`. The
/// whole string must be matched, between `^` and `$`.
struct PatternParser {
    private let scalars: [Unicode.Scalar]
    private var position = 0

    private static let digits = CodePointSet([0x30...0x39])
    private static let wordCharacters = CodePointSet([0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F...0x5F])
    private static let spaces = CodePointSet([
        0x09...0x0D, 0x20...0x20, 0xA0...0xA0, 0x1680...0x1680, 0x2000...0x200A, 0x2028...0x2029, 0x202F...0x202F,
        0x205F...0x205F, 0x3000...0x3000, 0xFEFF...0xFEFF,
    ])
    /// What '.' does not match in one dialect or another.
    private static let lineEnds = CodePointSet([0x0A...0x0D, 0x85...0x85, 0x2028...0x2029])

    init(_ pattern: String) { scalars = Array(pattern.unicodeScalars) }

    mutating func parse() throws -> GrammarExpression {
        guard take("^") else {
            throw error("the pattern must match the whole string; write ^...$, with .* where anything may stand")
        }
        let body = try parseSequence(nesting: 0)
        guard current != "|" else { throw error("put alternatives into a group: ^(a|b)$") }
        guard current != ")" else { throw error("')' closes no group") }
        guard take("$"), current == nil else { throw error("the pattern must end with '$', its only one") }
        return body
    }

    private func error(_ what: String) -> Failure { Failure.invalid("character \(position + 1): \(what)") }

    private var current: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard current == scalar else { return false }
        position += 1
        return true
    }

    private mutating func next() throws -> Unicode.Scalar {
        guard let scalar = current else { throw error("unexpected end of the pattern") }
        position += 1
        return scalar
    }

    // MARK: Structure

    private mutating func parseChoice(nesting: Int) throws -> GrammarExpression {
        var alternatives = [try parseSequence(nesting: nesting)]
        while take("|") { alternatives.append(try parseSequence(nesting: nesting)) }
        return alternatives.count == 1 ? alternatives[0] : .choice(alternatives)
    }

    private mutating func parseSequence(nesting: Int) throws -> GrammarExpression {
        var items: [GrammarExpression] = []
        while let item = try parseItem(nesting: nesting) { items.append(try parseRepetition(of: item)) }
        return items.count == 1 ? items[0] : .sequence(items)
    }

    /// nil where the sequence ends.
    private mutating func parseItem(nesting: Int) throws -> GrammarExpression? {
        guard let scalar = current else { return nil }
        switch scalar {
        case "|", ")", "$": return nil
        case "^": throw error("'^' may only stand at the start")
        case "*", "+", "?", "{": throw error("'\(scalar)' repeats nothing; a literal one needs a backslash")
        case "(":
            guard nesting < GrammarLimits.nesting else {
                throw error("groups are nested deeper than \(GrammarLimits.nesting) levels")
            }
            return try parseGroup(nesting: nesting + 1)
        case "[": return spelled(try parseClass())
        case ".":
            position += 1
            return spelled(Self.lineEnds.inverted)
        case "\\": return spelled(try parseEscape(inClass: false))
        default:
            position += 1
            return spelled(CodePointSet([scalar.value...scalar.value]))
        }
    }

    private func spelled(_ set: CodePointSet) -> GrammarExpression { JSONSchemaConverter.spelled(set) }

    private mutating func parseGroup(nesting: Int) throws -> GrammarExpression {
        let start = position
        position += 1
        if take("?") {
            guard take(":") else { throw error("only groups '(...)' and '(?:...)' are supported") }
        }
        let body = try parseChoice(nesting: nesting)
        if current == "$" { throw error("'$' may only stand at the end") }
        guard take(")") else {
            position = start
            throw error("'(' is not closed")
        }
        return body
    }

    // MARK: Repetitions

    private mutating func parseRepetition(of item: GrammarExpression) throws -> GrammarExpression {
        let bounds: (Int, Int?)
        switch current {
        case "*": bounds = (0, nil)
        case "+": bounds = (1, nil)
        case "?": bounds = (0, 1)
        case "{":
            position += 1
            bounds = try parseBounds()
            // As for the others, the last character is taken below.
            position -= 1
        default: return item
        }
        position += 1
        // A lazy repetition matches the same strings.
        _ = take("?")
        if let scalar = current, ["*", "+", "?", "{"].contains(scalar) {
            throw error("'\(scalar)' repeats a repetition; put it into a group")
        }
        return .repeated(item, least: bounds.0, most: bounds.1)
    }

    private mutating func parseBounds() throws -> (Int, Int?) {
        let least = try parseCount()
        var most: Int? = least
        if take(",") { most = current == "}" ? nil : try parseCount() }
        guard take("}") else { throw error("expected a repetition such as {2,5}; a literal '{' needs a backslash") }
        if let most, most < least { throw error("the repetition {\(least),\(most)} ends below its start") }
        return (least, most)
    }

    private mutating func parseCount() throws -> Int {
        let start = position
        var value = 0
        while let scalar = current, ("0"..."9").contains(scalar) {
            value = value * 10 + Int(scalar.value - 0x30)
            guard value <= GrammarLimits.repetitions else {
                throw error("more than \(GrammarLimits.repetitions) repetitions")
            }
            position += 1
        }
        guard position > start else { throw error("expected a number in a repetition such as {2,5}") }
        return value
    }

    // MARK: Characters

    private mutating func parseClass() throws -> CodePointSet {
        let start = position
        position += 1
        let inverted = take("^")
        var ranges: [ClosedRange<UInt32>] = []
        while !take("]") {
            guard let first = current, ranges.count <= GrammarLimits.classRanges else {
                position = start
                throw error("the class is not closed, or too large")
            }
            let low = try parseMember(first)
            guard current == "-", position + 1 < scalars.count, scalars[position + 1] != "]" else {
                ranges += low.ranges
                continue
            }
            position += 1
            let high = try parseMember(scalars[position])
            guard let from = Self.single(low), let to = Self.single(high), from <= to else {
                throw error("a range must lead from one character to a later one")
            }
            ranges.append(from...to)
        }
        let set = inverted ? CodePointSet(ranges).inverted : CodePointSet(ranges)
        guard !set.isEmpty else { throw error("the class matches nothing") }
        return set
    }

    private mutating func parseMember(_ first: Unicode.Scalar) throws -> CodePointSet {
        if first == "\\" { return try parseEscape(inClass: true) }
        position += 1
        return CodePointSet([first.value...first.value])
    }

    private static func single(_ set: CodePointSet) -> UInt32? {
        set.ranges.count == 1 && set.ranges[0].count == 1 ? set.ranges[0].lowerBound : nil
    }

    private mutating func parseEscape(inClass: Bool) throws -> CodePointSet {
        position += 1
        let scalar = try next()
        switch scalar {
        case "d": return Self.digits
        case "D": return Self.digits.inverted
        case "w": return Self.wordCharacters
        case "W": return Self.wordCharacters.inverted
        case "s": return Self.spaces
        case "S": return Self.spaces.inverted
        case "n": return CodePointSet("\n")
        case "r": return CodePointSet("\r")
        case "t": return CodePointSet("\t")
        case "f": return CodePointSet([0x0C...0x0C])
        case "v": return CodePointSet([0x0B...0x0B])
        case "0": return CodePointSet([0...0])
        case "x": return try parseHexadecimal(digits: 2)
        case "u": return try parseHexadecimal(digits: 4)
        case "b" where inClass: return CodePointSet([0x08...0x08])
        case "a"..."z", "A"..."Z", "1"..."9": throw error("the escape '\\\(scalar)' is not supported")
        default: return CodePointSet([scalar.value...scalar.value])
        }
    }

    private mutating func parseHexadecimal(digits: Int) throws -> CodePointSet {
        var value: UInt32 = 0
        for _ in 0..<digits {
            let scalar = try next()
            guard scalar.isASCII, let digit = Character(scalar).hexDigitValue else {
                throw error("expected \(digits) hexadecimal digits")
            }
            value = value << 4 | UInt32(digit)
        }
        guard let scalar = Unicode.Scalar(value) else { throw error("the escape is no code point of Unicode") }
        return CodePointSet([scalar.value...scalar.value])
    }
}
