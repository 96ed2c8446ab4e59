extension Jinja.Interpreter {
    /// What `is` asks.
    @inline(never)
    func check(_ test: Jinja.Test, _ value: Value, _ arguments: Jinja.CallArguments) throws -> Bool {
        switch test {
        case .eq, .equalto, .equalSign: return try holds(.equal, value, other(test, arguments))
        case .ne, .notEqualSign: return try holds(.notEqual, value, other(test, arguments))
        case .lt, .lessthan, .lessSign: return try holds(.less, value, other(test, arguments))
        case .le, .lessOrEqualSign: return try holds(.lessOrEqual, value, other(test, arguments))
        case .gt, .greaterthan, .greaterSign: return try holds(.greater, value, other(test, arguments))
        case .ge, .greaterOrEqualSign: return try holds(.greaterOrEqual, value, other(test, arguments))
        case .in: return try holds(.contained, value, other(test, arguments))
        case .sameas: return try isSame(value, other(test, arguments))
        case .divisibleby: return try binary(.modulo, value, other(test, arguments)).number == 0
        case .even, .odd:
            _ = try bind(test.rawValue, arguments, [])
            return (try binary(.modulo, value, .int(2)).number == 1) == (test == .odd)
        default:
            _ = try bind(test.rawValue, arguments, [])
            return try check(test, value)
        }
    }

    private func other(_ test: Jinja.Test, _ arguments: Jinja.CallArguments) throws -> Value {
        guard arguments.named.isEmpty, arguments.positional.count == 1 else {
            throw failure("test '\(test.rawValue)' takes one argument")
        }
        return arguments.positional[0]
    }

    private func isSame(_ left: Value, _ right: Value) throws -> Bool {
        switch (left, right) {
        case (.bool(let left), .bool(let right)): return left == right
        case (.bool, _), (_, .bool): return false
        case (.int, .float), (.float, .int): return false
        default: return try equal(left, right)
        }
    }

    private func check(_ test: Jinja.Test, _ value: Value) throws -> Bool {
        switch (test, value) {
        case (.undefined, _): return value.isUndefined
        case (.defined, _): return !value.isUndefined
        case (.none, .none), (.boolean, .bool), (.integer, .int), (.float, .float): return true
        case (.string, .text), (.mapping, .dictionary): return true
        case (.true, .bool(let flag)): return flag
        case (.false, .bool(let flag)): return !flag
        case (.number, .bool), (.number, .int), (.number, .float): return true
        case (.iterable, .text), (.iterable, .list), (.iterable, .tuple), (.iterable, .dictionary): return true
        case (.iterable, .undefined), (.sequence, .undefined): return true
        case (.sequence, .text), (.sequence, .list), (.sequence, .tuple), (.sequence, .dictionary): return true
        case (.callable, .macro), (.callable, .function), (.callable, .method), (.callable, .undefined): return true
        case (.upper, _), (.lower, _): return try isCased(string(value), upper: test == .upper)
        default: return false
        }
    }

    /// Whether there are letters with case, and all have the one asked for.
    func isCased(_ text: Text, upper: Bool) throws -> Bool {
        try charge(text.bytes.count / 8)
        let letters = text.scalars.filter { $0.properties.isUppercase || $0.properties.isLowercase }
        return !letters.isEmpty && letters.allSatisfy { upper ? $0.properties.isUppercase : $0.properties.isLowercase }
    }
}
