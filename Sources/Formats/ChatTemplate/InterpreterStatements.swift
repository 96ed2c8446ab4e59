extension Jinja.Interpreter {
    typealias Value = Jinja.Value
    typealias Text = Jinja.Text
    typealias Expression = Jinja.Expression

    func execute(_ body: [Jinja.Statement]) throws -> Flow {
        try deeper {
            for statement in body {
                line = statement.line
                try charge(1)
                let flow = try execute(statement)
                if flow != .normal { return flow }
            }
            return .normal
        }
    }

    private func execute(_ statement: Jinja.Statement) throws -> Flow {
        switch statement.kind {
        case .text(let text): try put(text)
        case .output(let expression): try put(output(of: expression))
        case .branches(let branches, let otherwise): return try choose(branches, otherwise: otherwise)
        case .loop(let loop): try run(loop)
        case .set(let assignment): try assign(evaluate(assignment.value), to: assignment.target)
        case .setBlock(let target, let filters, let body):
            try assign(apply(filters, to: rendered(body)), to: target)
        case .macro(let definition): try define(definition)
        case .filterBlock(let filters, let body): try put(string(apply(filters, to: rendered(body))))
        case .with(let assignments, let body): return try run(body, with: assignments)
        case .breakLoop: return .breakLoop
        case .continueLoop: return .continueLoop
        }
        return .normal
    }

    @inline(never)
    private func output(of expression: Expression) throws -> Text { try string(evaluate(expression)) }

    private func choose(_ branches: [Jinja.Branch], otherwise: [Jinja.Statement]) throws -> Flow {
        for branch in branches where try evaluate(branch.test).isTrue { return try execute(branch.body) }
        return otherwise.isEmpty ? .normal : try execute(otherwise)
    }

    /// The text that `body` puts out, with its own scope.
    private func rendered(_ body: [Jinja.Statement]) throws -> Value {
        let inner = Jinja.Scope(parent: scope)
        return .text(try captured { _ = try inScope(inner) { try execute(body) } })
    }

    private func apply(_ filters: [Jinja.FilterCall], to first: Value) throws -> Value {
        var value = first
        for call in filters { value = try apply(call.filter, to: value, evaluate(call.arguments)) }
        return value
    }

    private func run(_ body: [Jinja.Statement], with assignments: [Jinja.Assignment]) throws -> Flow {
        let inner = Jinja.Scope(parent: scope)
        for assignment in assignments {
            let value = try evaluate(assignment.value)
            try inScope(inner) { try assign(value, to: assignment.target) }
        }
        return try inScope(inner) { try execute(body) }
    }

    private func define(_ definition: Jinja.MacroDefinition) throws {
        try capture(scope)
        scope.variables[definition.name] = .macro(Jinja.Macro(definition: definition, scope: scope))
    }

    // MARK: Assignment

    func assign(_ value: Value, to target: Jinja.Target) throws {
        switch target {
        case .name(let name): scope.variables[name] = value
        case .attribute(let name, let attribute):
            guard case .namespace(let namespace) = scope.lookUp(name) else {
                throw failure("cannot set an attribute of '\(name)', which is not a namespace")
            }
            guard value.depth != nil else { throw failure("\(value.typeName) cannot be put into a namespace") }
            namespace.values[Array(attribute.utf8)] = value
        case .tuple(let targets):
            let values = try elements(value)
            guard values.count == targets.count else {
                throw failure("cannot unpack \(values.count) values into \(targets.count) names")
            }
            for (target, value) in zip(targets, values) { try assign(value, to: target) }
        }
    }

    // MARK: Loops

    private func run(_ loop: Jinja.ForLoop) throws {
        let items = try loopItems(loop)
        guard !items.isEmpty else {
            let inner = Jinja.Scope(parent: scope)
            _ = try inScope(inner) { try execute(loop.otherwise) }
            return
        }
        let state = Jinja.Loop(items: items)
        for (index, item) in items.enumerated() {
            try charge(1)
            state.index = index
            let inner = Jinja.Scope(parent: scope)
            inner.variables["loop"] = .loop(state)
            let flow = try inScope(inner) {
                try assign(item, to: loop.target)
                return try execute(loop.body)
            }
            if flow == .breakLoop { break }
        }
    }

    private func loopItems(_ loop: Jinja.ForLoop) throws -> [Value] {
        let items = try elements(evaluate(loop.sequence))
        guard let filter = loop.filter else { return items }
        return try items.filter { item in
            let inner = Jinja.Scope(parent: scope)
            return try inScope(inner) {
                try assign(item, to: loop.target)
                return try evaluate(filter).isTrue
            }
        }
    }

    // MARK: Macros

    func call(_ macro: Jinja.Macro, _ arguments: Jinja.CallArguments) throws -> Value {
        let definition = macro.definition
        guard arguments.positional.count <= definition.parameters.count else {
            throw failure("macro '\(definition.name)' takes at most \(definition.parameters.count) arguments")
        }
        for name in arguments.named.map(\.name) where !definition.parameters.contains(where: { $0.name == name }) {
            throw failure("macro '\(definition.name)' has no parameter '\(name)'")
        }
        let inner = Jinja.Scope(parent: macro.scope)
        let callLine = line
        defer { line = callLine }
        return try inScope(inner) {
            for (index, parameter) in definition.parameters.enumerated() {
                inner.variables[parameter.name] = try argument(index, parameter, arguments)
            }
            return .text(try captured { _ = try execute(definition.body) })
        }
    }

    private func argument(
        _ index: Int, _ parameter: Jinja.MacroDefinition.Parameter, _ arguments: Jinja.CallArguments
    ) throws -> Value {
        if index < arguments.positional.count { return arguments.positional[index] }
        if let named = arguments.named.first(where: { $0.name == parameter.name }) { return named.value }
        return try parameter.fallback.map { try evaluate($0) } ?? .undefined(parameter.name)
    }
}
