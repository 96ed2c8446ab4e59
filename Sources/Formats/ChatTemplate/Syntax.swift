extension Jinja {
    /// An expression, with the depth of its tree so that no input makes it deeper than recursion allows.
    struct Expression: Sendable {
        static let maximumDepth = 100

        let kind: Kind
        let depth: Int
    }

    enum Literal: Sendable {
        case none
        case bool(Bool)
        case int(Int)
        case float(Double)
        case text(Text)
    }

    enum BinaryOperator: Sendable {
        case add, subtract, multiply, divide, floorDivide, modulo, power
    }

    enum Comparison: Sendable {
        case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual, contained, notContained
    }

    struct Arguments: Sendable {
        struct Named: Sendable {
            let name: String
            let value: Expression
        }

        var positional: [Expression] = []
        var named: [Named] = []

        var expressions: [Expression] { positional + named.map(\.value) }
    }

    struct Pair: Sendable {
        let key: Expression
        let value: Expression
    }

    struct Comparand: Sendable {
        let comparison: Comparison
        let value: Expression
    }

    struct FilterCall: Sendable {
        let filter: Filter
        let arguments: Arguments
    }

    indirect enum Kind: Sendable {
        case literal(Literal)
        case name(String)
        case list([Expression])
        case tuple([Expression])
        case dictionary([Pair])
        case attribute(Expression, String)
        case element(Expression, Expression)
        case slice(Expression, Expression?, Expression?, Expression?)
        case call(Expression, Arguments)
        case filter(Expression, FilterCall)
        case test(Expression, Test, Arguments)
        case not(Expression)
        case negate(Expression)
        case plus(Expression)
        case binary(BinaryOperator, Expression, Expression)
        case and(Expression, Expression)
        case or(Expression, Expression)
        case compare(Expression, [Comparand])
        case concatenate([Expression])
        case conditional(Expression, test: Expression, otherwise: Expression?)
    }

    struct Statement: Sendable {
        let kind: StatementKind
        let line: Int
    }

    /// What `set` and `for` assign to.
    indirect enum Target: Sendable {
        case name(String)
        case attribute(String, String)
        case tuple([Target])
    }

    struct Branch: Sendable {
        let test: Expression
        let body: [Statement]
    }

    struct ForLoop: Sendable {
        let target: Target
        let sequence: Expression
        let filter: Expression?
        let body: [Statement]
        let otherwise: [Statement]
    }

    struct MacroDefinition: Sendable {
        struct Parameter: Sendable {
            let name: String
            let fallback: Expression?
        }

        let name: String
        let parameters: [Parameter]
        let body: [Statement]
    }

    struct Assignment: Sendable {
        let target: Target
        let value: Expression
    }

    indirect enum StatementKind: Sendable {
        case text(Text)
        case output(Expression)
        case branches([Branch], otherwise: [Statement])
        case loop(ForLoop)
        case set(Assignment)
        case setBlock(Target, [FilterCall], [Statement])
        case macro(MacroDefinition)
        case filterBlock([FilterCall], [Statement])
        case with([Assignment], [Statement])
        case breakLoop
        case continueLoop
    }

    enum Filter: String, Sendable {
        case abs, capitalize, count, d, `default`, dictsort, first, float, indent, int, items, join, last, length, list
        case lower, map, max, min, reject, rejectattr, replace, reverse, round, safe, select, selectattr, sort, string
        case sum, title, tojson, trim, unique, upper
    }

    enum Test: String, Sendable {
        case boolean, callable, defined, divisibleby, eq, equalto, even, `false`, float, ge, greaterthan, gt, `in`
        case integer, iterable, le, lessthan, lower, lt, mapping, ne, none, number, odd, sameas, sequence, string
        case `true`, undefined, upper
        case equalSign = "=="
        case notEqualSign = "!="
        case lessSign = "<"
        case lessOrEqualSign = "<="
        case greaterSign = ">"
        case greaterOrEqualSign = ">="
    }
}
