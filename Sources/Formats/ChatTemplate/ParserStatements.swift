extension Jinja.Parser {
    typealias Statement = Jinja.Statement
    typealias Target = Jinja.Target

    static let maximumBlockNesting = 40

    mutating func template() throws -> [Statement] {
        let body = try block(until: [])
        guard current == .end else { throw unexpected("text or a tag") }
        return body
    }

    /// Statements up to a tag named in `ends` (which is left as the current token, after its "{%") or the end.
    private mutating func block(until ends: [String]) throws -> [Statement] {
        guard blockNesting < Self.maximumBlockNesting else {
            throw syntaxError("blocks are nested deeper than \(Self.maximumBlockNesting) levels")
        }
        blockNesting += 1
        var statements: [Statement] = []
        while current != .end {
            if current == .blockBegin, case .name(let name) = next, ends.contains(name) {
                index += 1
                break
            }
            let line = self.line
            let kinds = try statement(within: ends)
            statements.append(contentsOf: kinds.map { Statement(kind: $0, line: line) })
        }
        if current == .end, let end = ends.last { throw syntaxError("'\(end)' is missing") }
        blockNesting -= 1
        return statements
    }

    private mutating func statement(within ends: [String]) throws -> [Jinja.StatementKind] {
        let token = current
        index += 1
        switch token {
        case .text(let bytes): return [.text(Jinja.Text(bytes: bytes, trusted: true))]
        case .outputBegin:
            let value = try tuple(end: .outputEnd)
            guard current == .outputEnd else { throw unexpected("'}}'") }
            index += 1
            return [.output(value)]
        case .blockBegin: return try tag(within: ends)
        default:
            index -= 1
            throw unexpected("text or a tag")
        }
    }

    private mutating func tag(within ends: [String]) throws -> [Jinja.StatementKind] {
        let name = try expectName()
        switch name {
        case "if": return [try branches()]
        case "for": return [try loop()]
        case "set": return [try assignment()]
        case "macro": return [try macro()]
        case "filter": return [try filterBlock()]
        case "with": return [try with()]
        case "generation":
            try endTag()
            return [.with([], try scoped("endgeneration"))]
        case "break", "continue":
            guard loopNesting > 0 else { throw syntaxError("'\(name)' outside of a loop") }
            try endTag()
            return [name == "break" ? .breakLoop : .continueLoop]
        case "elif", "else", "endif", "endfor", "endset", "endmacro", "endfilter", "endwith", "endgeneration", "endraw":
            let wanted = ends.last.map { "; '\($0)' is missing" } ?? ""
            throw syntaxError("unexpected '\(name)'\(wanted)")
        default:
            index -= 1
            throw unsupported("tag", name)
        }
    }

    private mutating func endTag() throws {
        guard current == .blockEnd else { throw unexpected("'%}'") }
        index += 1
    }

    /// The body up to and including the tag `end`.
    private mutating func body(until end: String) throws -> [Statement] {
        let body = try block(until: [end])
        index += 1
        try endTag()
        return body
    }

    /// A body that cannot leave the loop around it.
    private mutating func scoped(_ end: String) throws -> [Statement] {
        let loops = loopNesting
        loopNesting = 0
        let result = try body(until: end)
        loopNesting = loops
        return result
    }

    // MARK: Tags

    private mutating func branches() throws -> Jinja.StatementKind {
        var branches: [Jinja.Branch] = []
        var otherwise: [Statement] = []
        var hasElse = false
        while true {
            if !hasElse {
                let test = try tuple(end: .blockEnd, conditional: false)
                try endTag()
                branches.append(Jinja.Branch(test: test, body: try block(until: ["elif", "else", "endif"])))
            } else {
                try endTag()
                otherwise = try block(until: ["endif"])
            }
            if skip(word: "endif") { break }
            hasElse = current == .name("else")
            index += 1
        }
        try endTag()
        return .branches(branches, otherwise: otherwise)
    }

    private mutating func loop() throws -> Jinja.StatementKind {
        let target = try target(allowsAttribute: false)
        guard skip(word: "in") else { throw unexpected("'in'") }
        let sequence = try tuple(end: .blockEnd, conditional: false)
        let filter = skip(word: "if") ? try expression() : nil
        if current == .name("recursive") { throw unsupported("loop", "recursive") }
        try endTag()
        loopNesting += 1
        let body = try block(until: ["else", "endfor"])
        loopNesting -= 1
        var otherwise: [Statement] = []
        if skip(word: "else") {
            try endTag()
            otherwise = try block(until: ["endfor"])
        }
        index += 1
        try endTag()
        return .loop(
            Jinja.ForLoop(target: target, sequence: sequence, filter: filter, body: body, otherwise: otherwise))
    }

    private mutating func target(allowsAttribute: Bool) throws -> Target {
        let first = try singleTarget(allowsAttribute: allowsAttribute)
        guard current == .sign(",") else { return first }
        var targets = [first]
        while skip(",") {
            if current == .name("in") || current == .sign("=") { break }
            targets.append(try singleTarget(allowsAttribute: allowsAttribute))
        }
        return .tuple(targets)
    }

    private mutating func singleTarget(allowsAttribute: Bool) throws -> Target {
        if skip("(") {
            let inner = try nested { try $0.target(allowsAttribute: allowsAttribute) }
            try expect(")")
            return inner
        }
        let name = try expectName()
        if ["true", "True", "false", "False", "none", "None"].contains(name) {
            throw syntaxError("cannot assign to '\(name)'")
        }
        guard allowsAttribute, skip(".") else { return .name(name) }
        return .attribute(name, try expectName())
    }

    private mutating func assignment() throws -> Jinja.StatementKind {
        let target = try target(allowsAttribute: true)
        if skip("=") {
            let value = try tuple(end: .blockEnd)
            try endTag()
            return .set(Jinja.Assignment(target: target, value: value))
        }
        let filters = try filterChain(first: false)
        try endTag()
        return .setBlock(target, filters, try scoped("endset"))
    }

    /// Filters with "|" between them; before the first one too unless `first`.
    private mutating func filterChain(first: Bool) throws -> [Jinja.FilterCall] {
        var filters = first ? [try filterCall()] : []
        while skip("|") { filters.append(try filterCall()) }
        return filters
    }

    private mutating func filterBlock() throws -> Jinja.StatementKind {
        let filters = try filterChain(first: true)
        try endTag()
        return .filterBlock(filters, try scoped("endfilter"))
    }

    private mutating func with() throws -> Jinja.StatementKind {
        var assignments: [Jinja.Assignment] = []
        while current != .blockEnd {
            if !assignments.isEmpty { try expect(",") }
            let target = try singleTarget(allowsAttribute: false)
            try expect("=")
            assignments.append(Jinja.Assignment(target: target, value: try expression()))
        }
        try endTag()
        return .with(assignments, try body(until: "endwith"))
    }

    private mutating func macro() throws -> Jinja.StatementKind {
        let name = try expectName()
        try expect("(")
        var parameters: [Jinja.MacroDefinition.Parameter] = []
        while !skip(")") {
            if !parameters.isEmpty { try expect(",") }
            let parameter = try expectName()
            let fallback = skip("=") ? try expression() : nil
            if fallback == nil, parameters.last?.fallback != nil {
                throw syntaxError("parameter '\(parameter)' without a default follows one with a default")
            }
            parameters.append(Jinja.MacroDefinition.Parameter(name: parameter, fallback: fallback))
        }
        try endTag()
        return .macro(Jinja.MacroDefinition(name: name, parameters: parameters, body: try scoped("endmacro")))
    }
}
