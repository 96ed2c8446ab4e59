extension Jinja.Parser {
    typealias Expression = Jinja.Expression
    typealias Arguments = Jinja.Arguments

    // MARK: Primary expressions

    mutating func primary() throws -> Expression {
        let token = current
        index += 1
        switch token {
        case .name(let name): return try make(Self.constant(name).map { .literal($0) } ?? .name(name))
        case .string(let first): return try strings(first)
        case .integer(let value): return try make(.literal(.int(value)))
        case .float(let value): return try make(.literal(.float(value)))
        case .sign("("): return try parenthesis()
        case .sign("["):
            let elements = try list(until: "]")
            return try make(.list(elements), over: elements)
        case .sign("{"): return try dictionary()
        default:
            index -= 1
            throw unexpected("an expression")
        }
    }

    private static func constant(_ name: String) -> Jinja.Literal? {
        switch name {
        case "true", "True": .bool(true)
        case "false", "False": .bool(false)
        case "none", "None": Jinja.Literal.none
        default: nil
        }
    }

    /// Adjacent strings are one.
    private mutating func strings(_ first: [UInt8]) throws -> Expression {
        var text = first
        while case .string(let more) = current {
            text.append(contentsOf: more)
            index += 1
        }
        return try make(.literal(.text(Jinja.Text(bytes: text, trusted: true))))
    }

    private mutating func parenthesis() throws -> Expression {
        if skip(")") { return try make(.tuple([])) }
        let value = try tuple(end: .sign(")"))
        try expect(")")
        return value
    }

    private mutating func list(until end: String) throws -> [Expression] {
        var elements: [Expression] = []
        while !skip(end) {
            if !elements.isEmpty {
                try expect(",")
                if skip(end) { break }
            }
            elements.append(try expression())
        }
        return elements
    }

    private mutating func dictionary() throws -> Expression {
        var pairs: [Jinja.Pair] = []
        while !skip("}") {
            if !pairs.isEmpty {
                try expect(",")
                if skip("}") { break }
            }
            let key = try expression()
            try expect(":")
            pairs.append(Jinja.Pair(key: key, value: try expression()))
        }
        return try make(.dictionary(pairs), over: pairs.flatMap { [$0.key, $0.value] })
    }

    /// An expression, or several with commas between them up to `end`.
    mutating func tuple(end: Jinja.Token.Kind, conditional: Bool = true) throws -> Expression {
        var elements = [try expression(conditional: conditional)]
        guard current == .sign(",") else { return elements[0] }
        while skip(","), current != end { elements.append(try expression(conditional: conditional)) }
        return try make(.tuple(elements), over: elements)
    }

    // MARK: What follows a primary expression

    mutating func postfix(_ first: Expression) throws -> Expression {
        var value = first
        while true {
            if skip(".") {
                value = try attribute(of: value)
            } else if skip("[") {
                value = try subscripted(value)
            } else if skip("(") {
                value = try call(of: value)
            } else {
                return value
            }
        }
    }

    private mutating func attribute(of value: Expression) throws -> Expression {
        if case .integer(let position) = current {
            index += 1
            let key = try make(.literal(.int(position)))
            return try make(.element(value, key), over: [value])
        }
        return try make(.attribute(value, try expectName()), over: [value])
    }

    private mutating func subscripted(_ value: Expression) throws -> Expression {
        let start = current == .sign(":") ? nil : try expression()
        if let start, skip("]") { return try make(.element(value, start), over: [value, start]) }
        guard skip(":") else {
            throw current == .sign(",") ? unsupported("subscript", ",") : unexpected("']'")
        }
        let stop = try bound()
        let step = skip(":") ? try bound() : nil
        try expect("]")
        return try make(.slice(value, start, stop, step), over: [value] + [start, stop, step].compactMap { $0 })
    }

    private mutating func bound() throws -> Expression? {
        current == .sign(":") || current == .sign("]") ? nil : try expression()
    }

    private mutating func call(of value: Expression) throws -> Expression {
        let arguments = try arguments()
        return try make(.call(value, arguments), over: [value] + arguments.expressions)
    }

    /// Arguments after "(", up to and including ")".
    private mutating func arguments() throws -> Arguments {
        var arguments = Arguments()
        var isFirst = true
        while !skip(")") {
            if !isFirst {
                try expect(",")
                if skip(")") { break }
            }
            isFirst = false
            if current == .sign("*") || current == .sign("**") { throw unsupported("argument", "*") }
            if case .name(let name) = current, next == .sign("=") {
                index += 2
                arguments.named.append(Arguments.Named(name: name, value: try expression()))
            } else if arguments.named.isEmpty {
                arguments.positional.append(try expression())
            } else {
                throw syntaxError("a positional argument follows a named one")
            }
        }
        return arguments
    }

    // MARK: Filters and tests

    mutating func filtered(_ first: Expression) throws -> Expression {
        var value = first
        while true {
            if skip("|") {
                let call = try filterCall()
                value = try make(.filter(value, call), over: [value] + call.arguments.expressions)
            } else if skip(word: "is") {
                value = try tested(value)
            } else if skip("(") {
                value = try self.call(of: value)
            } else {
                return value
            }
        }
    }

    /// A filter's name and arguments, after "|".
    mutating func filterCall() throws -> Jinja.FilterCall {
        let name = try dottedName()
        guard let filter = Jinja.Filter(rawValue: name) else {
            index -= 1
            throw unsupported("filter", name)
        }
        return Jinja.FilterCall(filter: filter, arguments: skip("(") ? try arguments() : Arguments())
    }

    private mutating func dottedName() throws -> String {
        var name = try expectName()
        while skip(".") { name += "." + (try expectName()) }
        return name
    }

    private mutating func tested(_ value: Expression) throws -> Expression {
        let isNegated = skip(word: "not")
        let name = try dottedName()
        guard let test = Jinja.Test(rawValue: name) else {
            index -= 1
            throw unsupported("test", name)
        }
        let arguments = try testArguments()
        let result = try make(.test(value, test, arguments), over: [value] + arguments.expressions)
        return isNegated ? try make(.not(result), over: [result]) : result
    }

    private mutating func testArguments() throws -> Arguments {
        switch current {
        case .sign("("):
            index += 1
            return try arguments()
        case .name("else"), .name("or"), .name("and"): return Arguments()
        case .name("is"): throw syntaxError("tests cannot be chained")
        case .name, .string, .integer, .float, .sign("["), .sign("{"):
            return Arguments(positional: [try nested { try $0.postfix($0.primary()) }])
        default: return Arguments()
        }
    }
}
