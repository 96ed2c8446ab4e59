import Formats

/// Reads llama.cpp's notation of grammars (GBNF).
///
///     root ::= "[" item ("," item)* "]"   # literals, groups, * + ? {m} {m,} {m,n}
///     item ::= [a-z]+ | "\u00e9" .        # classes, alternatives, escapes, any code point
///
/// A new line ends a rule, but not within parentheses, after `|` or before it.
struct GBNFParser {
    private let scalars: [Unicode.Scalar]
    private let lineStarts: [Int]
    private var position = 0
    private var indices: [String: Int] = [:]
    private var rules: [GrammarRule?] = []
    /// Where each rule was first mentioned.
    private var mentions: [(name: String, position: Int)] = []

    init(_ source: String) throws {
        guard source.utf8.count <= GrammarLimits.sourceBytes else {
            throw Failure.invalid(
                "the grammar has \(source.utf8.count) bytes; at most \(GrammarLimits.sourceBytes) are accepted")
        }
        let scalars = Array(source.unicodeScalars)
        self.scalars = scalars
        lineStarts = [0] + scalars.indices.filter { scalars[$0] == "\n" }.map { $0 + 1 }
    }

    /// The index of the rule where matching starts; valid once `parse` has succeeded.
    var root: Int { indices["root"] ?? 0 }

    mutating func parse() throws -> [GrammarRule] {
        skipSpace(lines: true)
        while position < scalars.count { try parseRule() }
        if let missing = rules.firstIndex(where: { $0 == nil }) {
            let mention = mentions[missing]
            throw error(
                "the rule '\(mention.name)' is not defined; add \"\(mention.name) ::= ...\"", at: mention.position)
        }
        guard indices["root"] != nil else {
            throw error("there is no rule 'root', where matching starts; add \"root ::= ...\"", at: scalars.count)
        }
        return rules.compactMap { $0 }
    }

    // MARK: Places

    private func place(_ at: Int) -> String {
        // The last line that starts at or before the place.
        var (low, high) = (0, lineStarts.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if lineStarts[middle] <= at { low = middle } else { high = middle }
        }
        return "line \(low + 1), column \(at - lineStarts[low] + 1)"
    }

    private func error(_ what: String, at: Int? = nil) -> Failure {
        Failure.invalid("grammar, \(place(at ?? position)): \(what)")
    }

    // MARK: Characters

    private var current: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard current == scalar else { return false }
        position += 1
        return true
    }

    /// Skips blanks and comments; new lines too where they mean nothing.
    private mutating func skipSpace(lines: Bool) {
        while let scalar = current {
            switch scalar {
            case " ", "\t": position += 1
            case "\r", "\n":
                guard lines else { return }
                position += 1
            case "#":
                while let scalar = current, scalar != "\n", scalar != "\r" { position += 1 }
            default: return
            }
        }
    }

    private static func isName(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9", "-", "_": true
        default: false
        }
    }

    private mutating func takeName() -> String? {
        var name = String.UnicodeScalarView()
        while let scalar = current, Self.isName(scalar) {
            name.append(scalar)
            position += 1
        }
        return name.isEmpty ? nil : String(name)
    }

    // MARK: Rules

    private mutating func index(of name: String, at place: Int) throws -> Int {
        if let index = indices[name] { return index }
        guard rules.count < GrammarLimits.rules else {
            throw error("more than \(GrammarLimits.rules) rules", at: place)
        }
        indices[name] = rules.count
        rules.append(nil)
        mentions.append((name, place))
        return rules.count - 1
    }

    private mutating func parseRule() throws {
        let start = position
        guard let name = takeName() else { throw error("expected the name of a rule") }
        skipSpace(lines: false)
        let sign = position
        guard take(":"), take(":"), take("=") else {
            throw error("expected '::=' after the name '\(name)'", at: sign)
        }
        let index = try index(of: name, at: start)
        guard rules[index] == nil else {
            throw error("the rule '\(name)' is defined twice; join the definitions with '|'", at: start)
        }
        skipSpace(lines: true)
        let body = try parseChoice(nesting: 0)
        rules[index] = GrammarRule(name: name, place: place(start), body: body)
        guard current == nil || current == "\n" || current == "\r" else {
            throw error(
                current == ")" ? "')' closes no group" : "expected an item, '|' or the end of the line")
        }
        skipSpace(lines: true)
    }

    private mutating func parseChoice(nesting: Int) throws -> GrammarExpression {
        var alternatives = [try parseSequence(nesting: nesting)]
        while takeBar() {
            skipSpace(lines: true)
            alternatives.append(try parseSequence(nesting: nesting))
        }
        return alternatives.count == 1 ? alternatives[0] : .choice(alternatives)
    }

    /// A bar may also stand at the start of a line that continues the rule.
    private mutating func takeBar() -> Bool {
        let start = position
        skipSpace(lines: true)
        if take("|") { return true }
        position = start
        return false
    }

    private mutating func parseSequence(nesting: Int) throws -> GrammarExpression {
        var items: [GrammarExpression] = []
        while let item = try parseItem(nesting: nesting) {
            items.append(try parseRepetitions(of: item, nesting: nesting))
            skipSpace(lines: nesting > 0)
        }
        return items.count == 1 ? items[0] : .sequence(items)
    }

    /// The next item of a sequence; nil where the sequence ends.
    private mutating func parseItem(nesting: Int) throws -> GrammarExpression? {
        guard let scalar = current else { return nil }
        switch scalar {
        case "\"": return try parseLiteral()
        case "[": return try parseClass()
        case "(": return try parseGroup(nesting: nesting)
        case ".":
            position += 1
            return .set(.all)
        case "*", "+", "?", "{": throw error("'\(scalar)' repeats nothing; put an item before it")
        case "<", "!": throw error("tokens in grammars are not supported; write their text as a literal")
        default:
            let start = position
            guard let name = takeName() else { return nil }
            return .rule(try index(of: name, at: start))
        }
    }

    private mutating func parseGroup(nesting: Int) throws -> GrammarExpression {
        let start = position
        guard nesting < GrammarLimits.nesting else {
            throw error("groups are nested deeper than \(GrammarLimits.nesting) levels; use more rules")
        }
        position += 1
        skipSpace(lines: true)
        let body = try parseChoice(nesting: nesting + 1)
        skipSpace(lines: true)
        guard take(")") else {
            throw current == nil ? error("'(' is not closed", at: start) : error("expected an item, '|' or ')'")
        }
        return body
    }

    // MARK: Repetitions

    private mutating func parseRepetitions(of item: GrammarExpression, nesting: Int) throws -> GrammarExpression {
        var result = item
        var count = 0
        while true {
            skipSpace(lines: nesting > 0)
            guard let scalar = current, ["*", "+", "?", "{"].contains(scalar) else { return result }
            count += 1
            guard count <= 3 else { throw error("a repetition of a repetition of a repetition is repeated") }
            position += 1
            switch scalar {
            case "*": result = .repeated(result, least: 0, most: nil)
            case "+": result = .repeated(result, least: 1, most: nil)
            case "?": result = .optional(result)
            default:
                let (least, most) = try parseBounds()
                result = .repeated(result, least: least, most: most)
            }
        }
    }

    private mutating func parseBounds() throws -> (Int, Int?) {
        let start = position - 1
        skipSpace(lines: true)
        let least = try parseCount()
        skipSpace(lines: true)
        var most: Int? = least
        if take(",") {
            skipSpace(lines: true)
            most = current == "}" ? nil : try parseCount()
            skipSpace(lines: true)
        }
        guard take("}") else { throw error("expected ',' or '}' in a repetition such as {2,5}") }
        if let most, most < least {
            throw error("the repetition {\(least),\(most)} ends below its start", at: start)
        }
        return (least, most)
    }

    private mutating func parseCount() throws -> Int {
        let start = position
        var value = 0
        while let scalar = current, ("0"..."9").contains(scalar) {
            value = value * 10 + Int(scalar.value - 0x30)
            guard value <= GrammarLimits.repetitions else {
                throw error(
                    "more than \(GrammarLimits.repetitions) repetitions; use '*' or a smaller number", at: start)
            }
            position += 1
        }
        guard position > start else { throw error("expected a number in a repetition such as {2,5}") }
        return value
    }

    // MARK: Literals and classes

    private mutating func parseLiteral() throws -> GrammarExpression {
        let start = position
        position += 1
        var bytes: [UInt8] = []
        while !take("\"") {
            guard current != nil else { throw error("the literal is not closed", at: start) }
            guard let scalar = Unicode.Scalar(try parseCharacter()) else { throw error("not a code point") }
            bytes.append(contentsOf: Array(String(Character(scalar)).utf8))
        }
        return .literal(bytes)
    }

    private mutating func parseClass() throws -> GrammarExpression {
        let start = position
        position += 1
        let inverted = take("^")
        var members: [ClosedRange<UInt32>] = []
        while !take("]") {
            guard current != nil else { throw error("the class is not closed", at: start) }
            let from = position
            let low = try parseCharacter()
            var high = low
            // A hyphen in front of the bracket stands for itself.
            if current == "-", position + 1 < scalars.count, scalars[position + 1] != "]" {
                position += 1
                high = try parseCharacter()
            }
            guard low <= high else { throw error("the range ends before its start", at: from) }
            members.append(low...high)
            guard members.count <= GrammarLimits.classRanges else {
                throw error("more than \(GrammarLimits.classRanges) members in a class", at: start)
            }
        }
        guard !members.isEmpty else { throw error("the class is empty; '.' matches any code point", at: start) }
        let set = inverted ? CodePointSet(members).inverted : CodePointSet(members)
        guard !set.isEmpty else { throw error("the class matches nothing", at: start) }
        return .set(set)
    }

    private mutating func parseCharacter() throws -> UInt32 {
        guard let scalar = current else { throw error("unexpected end") }
        position += 1
        guard scalar == "\\" else { return scalar.value }
        let start = position - 1
        guard let escape = current else { throw error("unexpected end after '\\'") }
        position += 1
        switch escape {
        case "n": return 0x0A
        case "r": return 0x0D
        case "t": return 0x09
        case "\\", "\"", "[", "]": return escape.value
        case "x": return try parseHexadecimal(digits: 2, start)
        case "u": return try parseHexadecimal(digits: 4, start)
        case "U": return try parseHexadecimal(digits: 8, start)
        default:
            throw error(
                "unknown escape '\\\(escape)'; there are \\n \\r \\t \\\\ \\\" \\[ \\] \\xHH \\uHHHH \\UHHHHHHHH",
                at: start)
        }
    }

    private mutating func parseHexadecimal(digits: Int, _ start: Int) throws -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<digits {
            guard let scalar = current, scalar.isASCII, let digit = Character(scalar).hexDigitValue else {
                throw error("expected \(digits) hexadecimal digits", at: start)
            }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        guard Unicode.Scalar(value) != nil else { throw error("the escape is no code point of Unicode", at: start) }
        return value
    }
}
