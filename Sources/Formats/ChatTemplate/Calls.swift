extension Jinja.Interpreter {
    func call(_ callee: Expression, _ arguments: Jinja.Arguments) throws -> Value {
        let function = try evaluate(callee)
        let values = try evaluate(arguments)
        switch function {
        case .macro(let macro): return try deeper { try call(macro, values) }
        case .function(let function): return try call(function, values)
        case .method(let method): return try call(method, values)
        case .loop: throw unsupported("loop", "recursive")
        default: throw notCallable(callee, function)
        }
    }

    private func notCallable(_ callee: Expression, _ value: Value) -> Failure {
        switch (callee.kind, value) {
        case (.name(let name), .undefined): unsupported("function", name)
        case (.attribute(_, let name), .undefined): unsupported("method", name)
        default: failure("\(value.typeName) cannot be called")
        }
    }

    // MARK: Functions

    private func call(_ function: Jinja.Function, _ arguments: Jinja.CallArguments) throws -> Value {
        switch function {
        case .range: return try range(arguments)
        case .dict: return try dictionary(copied(arguments, "dict"))
        case .namespace:
            let namespace = try makeNamespace()
            for (name, value) in try copied(arguments, "namespace") {
                guard value.depth != nil else { throw failure("\(value.typeName) cannot be put into a namespace") }
                namespace.values[try text(name, "namespace").bytes] = value
            }
            return .namespace(namespace)
        case .raiseException:
            let given = try bind("raise_exception", arguments, ["message"])
            let message = try string(given[0] ?? .undefined("message"))
            throw Failure.invalid("chat template: \(message.string.prefix(2000))")
        case .strftimeNow:
            let given = try bind("strftime_now", arguments, ["format"])
            guard let now else { throw unsupported("function", "strftime_now") }
            let format = try text(given[0], "strftime_now")
            try charge(format.bytes.count)
            return .text(try formattedDate(now, format))
        }
    }

    /// The pairs given by a dictionary and by names.
    private func copied(_ arguments: Jinja.CallArguments, _ name: String) throws -> [(Value, Value)] {
        guard arguments.positional.count <= 1 else { throw failure("'\(name)' takes at most 1 positional argument") }
        var pairs: [(Value, Value)] = []
        if let first = arguments.positional.first {
            guard case .dictionary(let dictionary) = first else {
                throw failure("'\(name)' needs a dictionary, not \(first.typeName)")
            }
            pairs = Array(dictionary.entries)
        }
        return pairs + arguments.named.map { (.string($0.name), $0.value) }
    }

    private func range(_ arguments: Jinja.CallArguments) throws -> Value {
        guard arguments.named.isEmpty, (1...3).contains(arguments.positional.count) else {
            throw failure("'range' takes 1 to 3 arguments")
        }
        let bounds = try arguments.positional.map { try integer($0, "range", fallback: 0) }
        let start = bounds.count > 1 ? bounds[0] : 0
        let stop = bounds.count > 1 ? bounds[1] : bounds[0]
        let step = bounds.count > 2 ? bounds[2] : 1
        guard step != 0 else { throw failure("the step of 'range' cannot be 0") }
        let distance = (step > 0 ? stop : start).subtractingReportingOverflow(step > 0 ? start : stop)
        guard !distance.overflow, distance.partialValue > 0 else {
            if distance.overflow, (step > 0) == (stop > start) { throw failure("'range' is too long") }
            return try list([])
        }
        let count = (UInt(distance.partialValue) - 1) / step.magnitude + 1
        // The limit that the sandbox of these templates has.
        guard count <= 100_000 else { throw failure("'range' is longer than 100000 elements") }
        return try list((0..<Int(count)).map { .int(start &+ $0 &* step) })
    }

    // MARK: Methods

    private func call(_ method: Jinja.Method, _ arguments: Jinja.CallArguments) throws -> Value {
        switch method.receiver {
        case .text(let text): return try call(method.name, on: text, arguments)
        case .dictionary(let dictionary): return try call(method.name, on: dictionary, arguments)
        case .list(let items), .tuple(let items): return try call(method.name, on: items, arguments)
        case .loop(let loop): return try call(method.name, on: loop, arguments)
        default: throw unsupported("method", method.name)
        }
    }

    private func call(
        _ name: String, on dictionary: Jinja.Dictionary, _ arguments: Jinja.CallArguments
    ) throws -> Value {
        switch name {
        case "get":
            let given = try bind("get", arguments, ["key", "default"])
            guard let key = try key(given[0] ?? .undefined("key")) else { throw failure("'get' needs a key") }
            return dictionary[key] ?? given[1] ?? Value.none
        case "items", "keys", "values", "copy":
            _ = try bind(name, arguments, [])
            if name == "items" { return try pairs(.dictionary(dictionary)) }
            if name == "copy" { return .dictionary(dictionary) }
            return try list(name == "keys" ? dictionary.keys : dictionary.values)
        default: throw unsupported("method of a dictionary", name)
        }
    }

    private func call(_ name: String, on items: Jinja.Items, _ arguments: Jinja.CallArguments) throws -> Value {
        guard name == "count" || name == "index" || name == "copy" else { throw unsupported("method of a list", name) }
        let given = try bind(name, arguments, name == "copy" ? [] : ["value"])
        guard let wanted = given.first else { return .list(items) }
        guard let wanted else { throw failure("'\(name)' needs a value") }
        let places = try items.values.indices.filter { try equal(items.values[$0], wanted) }
        if name == "count" { return .int(places.count) }
        guard let first = places.first else { throw failure("'index' does not find the value") }
        return .int(first)
    }

    private func call(_ name: String, on loop: Jinja.Loop, _ arguments: Jinja.CallArguments) throws -> Value {
        let values = arguments.positional
        if name == "cycle" {
            guard !values.isEmpty else { throw failure("'cycle' needs values") }
            return values[loop.index % values.count]
        }
        let isSame =
            try loop.lastChecked.map { last in
                try last.count == values.count && zip(last, values).allSatisfy { try equal($0, $1) }
            } ?? false
        guard values.allSatisfy({ $0.depth != nil }) else {
            throw failure("'changed' cannot compare the loop variable")
        }
        loop.lastChecked = values
        return .bool(!isSame)
    }
}
