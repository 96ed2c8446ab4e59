extension Jinja {
    /// A recursive-descent parser of expressions and statements, with bounded depth.
    struct Parser {
        static let maximumNesting = 64

        let tokens: [Token]
        var index = 0
        /// Brackets, conditionals and unary operators open around the current token.
        var nesting = 0
        /// Blocks open around the current token.
        var blockNesting = 0
        /// Loops open around the current token, within the current macro.
        var loopNesting = 0

        init(_ tokens: [Token]) { self.tokens = tokens }

        // MARK: Tokens

        var current: Token.Kind { index < tokens.count ? tokens[index].kind : .end }
        var next: Token.Kind { index + 1 < tokens.count ? tokens[index + 1].kind : .end }
        var line: Int { tokens.isEmpty ? 1 : tokens[min(index, tokens.count - 1)].line }

        mutating func skip(_ sign: String) -> Bool {
            guard current == .sign(sign) else { return false }
            index += 1
            return true
        }

        mutating func skip(word: String) -> Bool {
            guard current == .name(word) else { return false }
            index += 1
            return true
        }

        mutating func expect(_ sign: String) throws {
            guard skip(sign) else { throw unexpected("'\(sign)'") }
        }

        mutating func expectName() throws -> String {
            guard case .name(let name) = current else { throw unexpected("a name") }
            index += 1
            return name
        }

        // MARK: Errors

        func syntaxError(_ what: String) -> Failure { Failure.corrupt("chat template line \(line): \(what)") }

        func unsupported(_ what: String, _ name: String) -> Failure {
            Failure.unsupported("chat template line \(line): unsupported \(what) '\(name)'")
        }

        func unexpected(_ wanted: String) -> Failure {
            syntaxError("expected \(wanted) but found \(Self.describe(current))")
        }

        static func describe(_ token: Token.Kind) -> String {
            switch token {
            case .text: "text"
            case .blockBegin: "'{%'"
            case .blockEnd: "'%}'"
            case .outputBegin: "'{{'"
            case .outputEnd: "'}}'"
            case .name(let name): "'\(name)'"
            case .string: "a string"
            case .integer, .float: "a number"
            case .sign(let sign): "'\(sign)'"
            case .end: "the end of the template"
            }
        }

        // MARK: Trees

        func make(_ kind: Kind, over children: [Expression] = []) throws -> Expression {
            let depth = 1 + (children.map(\.depth).max() ?? 0)
            guard depth <= Expression.maximumDepth else {
                throw syntaxError("an expression is nested deeper than \(Expression.maximumDepth) levels")
            }
            return Expression(kind: kind, depth: depth)
        }

        mutating func nested<Result>(_ body: (inout Parser) throws -> Result) throws -> Result {
            guard nesting < Self.maximumNesting else {
                throw syntaxError("an expression is nested deeper than \(Self.maximumNesting) levels")
            }
            nesting += 1
            let result = try body(&self)
            nesting -= 1
            return result
        }

        // MARK: Operators

        /// An expression; without its inline `if` where a `for` filter may follow.
        mutating func expression(conditional: Bool = true) throws -> Expression {
            try nested { parser in
                let value = try parser.binary(0)
                return conditional ? try parser.conditional(value) : value
            }
        }

        private mutating func conditional(_ first: Expression) throws -> Expression {
            var value = first
            while skip(word: "if") {
                let test = try binary(0)
                let otherwise = skip(word: "else") ? try expression() : nil
                value = try make(
                    .conditional(value, test: test, otherwise: otherwise),
                    over: [value, test] + (otherwise.map { [$0] } ?? []))
            }
            return value
        }

        private static let comparisonLevel = 3
        private static let concatenationLevel = 5
        private static let powerLevel = 7

        /// The level of the binary operator at the current token; nil when there is none.
        private var level: Int? {
            switch current {
            case .name("or"): 0
            case .name("and"): 1
            case .name("in"): Self.comparisonLevel
            case .name("not"): next == .name("in") ? Self.comparisonLevel : nil
            case .sign("=="), .sign("!="), .sign("<"), .sign("<="), .sign(">"), .sign(">="): Self.comparisonLevel
            case .sign("+"), .sign("-"): 4
            case .sign("~"): Self.concatenationLevel
            case .sign("*"), .sign("/"), .sign("//"), .sign("%"): 6
            case .sign("**"): Self.powerLevel
            default: nil
            }
        }

        /// Precedence climbing: an operand and the operators of at least `minimum` after it.
        private mutating func binary(_ minimum: Int) throws -> Expression {
            var left = try operand(minimum)
            while let level, level >= minimum {
                switch level {
                case Self.comparisonLevel: left = try comparison(left)
                case Self.concatenationLevel: left = try concatenation(left)
                default: left = try operation(left, level: level)
                }
            }
            return left
        }

        private mutating func operand(_ minimum: Int) throws -> Expression {
            guard minimum < Self.comparisonLevel, skip(word: "not") else { return try unary() }
            return try nested { parser in
                let value = try parser.binary(Self.comparisonLevel - 1)
                return try parser.make(.not(value), over: [value])
            }
        }

        private mutating func operation(_ left: Expression, level: Int) throws -> Expression {
            let sign = current
            index += 1
            let right = try binary(level + 1)
            let kind: Kind
            switch sign {
            case .name("or"): kind = .or(left, right)
            case .name("and"): kind = .and(left, right)
            case .sign("+"): kind = .binary(.add, left, right)
            case .sign("-"): kind = .binary(.subtract, left, right)
            case .sign("*"): kind = .binary(.multiply, left, right)
            case .sign("/"): kind = .binary(.divide, left, right)
            case .sign("//"): kind = .binary(.floorDivide, left, right)
            case .sign("%"): kind = .binary(.modulo, left, right)
            default: kind = .binary(.power, left, right)
            }
            return try make(kind, over: [left, right])
        }

        private mutating func concatenation(_ first: Expression) throws -> Expression {
            var parts = [first]
            while skip("~") { parts.append(try binary(Self.concatenationLevel + 1)) }
            return try make(.concatenate(parts), over: parts)
        }

        private mutating func comparison(_ first: Expression) throws -> Expression {
            var comparands: [Comparand] = []
            while let comparison = takeComparison() {
                comparands.append(Comparand(comparison: comparison, value: try binary(Self.comparisonLevel + 1)))
            }
            return try make(.compare(first, comparands), over: [first] + comparands.map(\.value))
        }

        private mutating func takeComparison() -> Comparison? {
            if current == .name("not"), next == .name("in") {
                index += 2
                return .notContained
            }
            let comparison: Comparison
            switch current {
            case .name("in"): comparison = .contained
            case .sign("=="): comparison = .equal
            case .sign("!="): comparison = .notEqual
            case .sign("<"): comparison = .less
            case .sign("<="): comparison = .lessOrEqual
            case .sign(">"): comparison = .greater
            case .sign(">="): comparison = .greaterOrEqual
            default: return nil
            }
            index += 1
            return comparison
        }

        private mutating func unary(filters: Bool = true) throws -> Expression {
            var value: Expression
            if current == .sign("-") || current == .sign("+") {
                let negative = current == .sign("-")
                index += 1
                let inner = try nested { try $0.unary(filters: false) }
                value = try make(negative ? .negate(inner) : .plus(inner), over: [inner])
            } else {
                value = try primary()
            }
            value = try postfix(value)
            return filters ? try filtered(value) : value
        }
    }
}
