import Glibc

extension Jinja.Interpreter {
    // MARK: Arithmetic

    func numeric(_ value: Value) throws -> Value {
        switch value {
        case .int, .float: return value
        case .bool(let flag): return .int(flag ? 1 : 0)
        case .undefined(let name): throw failure("'\(name)' is undefined")
        default: throw failure("\(value.typeName) is not a number")
        }
    }

    func negated(_ value: Value) throws -> Value {
        switch try numeric(value) {
        case .float(let value): return .float(-value)
        case .int(let value): return .int(try exact(0.subtractingReportingOverflow(value)))
        default: throw failure("\(value.typeName) is not a number")
        }
    }

    private func exact(_ result: (partialValue: Int, overflow: Bool)) throws -> Int {
        guard !result.overflow else { throw failure("a number does not fit in 64 bits") }
        return result.partialValue
    }

    @inline(never)
    func binary(_ sign: Jinja.BinaryOperator, _ left: Value, _ right: Value) throws -> Value {
        for value in [left, right] {
            if case .undefined(let name) = value { throw failure("'\(name)' is undefined") }
        }
        if let left = left.integer, let right = right.integer { return try binary(sign, left, right) }
        if let left = left.number, let right = right.number { return .float(try binary(sign, left, right)) }
        if sign == .add, let sum = try joined(left, right) { return sum }
        if sign == .multiply {
            if let count = right.integer { return try repeated(left, count) }
            if let count = left.integer { return try repeated(right, count) }
        }
        if sign == .modulo, left.text != nil { throw unsupported("operator on a string", "%") }
        throw failure("cannot combine \(left.typeName) and \(right.typeName) with \(sign)")
    }

    private func binary(_ sign: Jinja.BinaryOperator, _ left: Int, _ right: Int) throws -> Value {
        switch sign {
        case .add: return .int(try exact(left.addingReportingOverflow(right)))
        case .subtract: return .int(try exact(left.subtractingReportingOverflow(right)))
        case .multiply: return .int(try exact(left.multipliedReportingOverflow(by: right)))
        case .divide: return .float(try binary(sign, Double(left), Double(right)))
        case .power where right >= 0: return .int(try power(left, right))
        case .power: return .float(try binary(sign, Double(left), Double(right)))
        case .floorDivide, .modulo:
            guard right != 0 else { throw failure("division by zero") }
            let quotient = try exact(left.dividedReportingOverflow(by: right))
            let remainder = left - quotient * right
            let isBelow = remainder != 0 && (remainder < 0) != (right < 0)
            if sign == .modulo { return .int(isBelow ? remainder + right : remainder) }
            return .int(isBelow ? quotient - 1 : quotient)
        }
    }

    private func power(_ base: Int, _ exponent: Int) throws -> Int {
        if base == 0 || base == 1 { return exponent == 0 ? 1 : base }
        if base == -1 { return exponent % 2 == 0 ? 1 : -1 }
        guard exponent < 64 else { throw failure("a number does not fit in 64 bits") }
        var result = 1
        for _ in 0..<exponent { result = try exact(result.multipliedReportingOverflow(by: base)) }
        return result
    }

    private func binary(_ sign: Jinja.BinaryOperator, _ left: Double, _ right: Double) throws -> Double {
        switch sign {
        case .add: return left + right
        case .subtract: return left - right
        case .multiply: return left * right
        case .power:
            let result = pow(left, right)
            guard !result.isNaN, result.isFinite || !left.isFinite || !right.isFinite else {
                throw failure("the power of two numbers is out of range")
            }
            return result
        case .divide, .floorDivide, .modulo:
            guard right != 0 else { throw failure("division by zero") }
            if sign == .divide { return left / right }
            var remainder = left.truncatingRemainder(dividingBy: right)
            if remainder == 0 {
                remainder = right < 0 ? -0.0 : 0.0
            } else if (remainder < 0) != (right < 0) {
                remainder += right
            }
            return sign == .modulo ? remainder : ((left - remainder) / right).rounded()
        }
    }

    /// The sum of strings, lists or tuples; nil for others.
    private func joined(_ left: Value, _ right: Value) throws -> Value? {
        switch (left, right) {
        case (.text(var text), .text(let more)):
            try checkSize(text.bytes.count + more.bytes.count)
            text.append(more)
            return .text(text)
        case (.list(let first), .list(let second)): return try list(first.values + second.values)
        case (.tuple(let first), .tuple(let second)): return .tuple(try items(first.values + second.values))
        default: return nil
        }
    }

    private func repeated(_ value: Value, _ count: Int) throws -> Value {
        let count = max(count, 0)
        switch value {
        case .text(let text):
            let size = text.bytes.count.multipliedReportingOverflow(by: count)
            try checkSize(size.overflow ? .max : size.partialValue)
            var result = Text()
            if !text.isEmpty { for _ in 0..<count { result.append(text) } }
            return .text(result)
        case .list(let items): return try list(repeated(items.values, count))
        case .tuple(let tuple): return .tuple(try items(repeated(tuple.values, count)))
        default: throw failure("\(value.typeName) cannot be repeated")
        }
    }

    private func repeated(_ values: [Value], _ count: Int) throws -> [Value] {
        guard !values.isEmpty else { return [] }
        let size = values.count.multipliedReportingOverflow(by: count)
        try charge(size.overflow ? .max : size.partialValue)
        return (0..<count).flatMap { _ in values }
    }

    // MARK: Comparison

    func holds(_ comparison: Jinja.Comparison, _ left: Value, _ right: Value) throws -> Bool {
        switch comparison {
        case .equal: try equal(left, right)
        case .notEqual: !(try equal(left, right))
        case .less: try order(left, right).map { $0 < 0 } ?? false
        case .lessOrEqual: try order(left, right).map { $0 <= 0 } ?? false
        case .greater: try order(left, right).map { $0 > 0 } ?? false
        case .greaterOrEqual: try order(left, right).map { $0 >= 0 } ?? false
        case .contained: try contains(right, left)
        case .notContained: !(try contains(right, left))
        }
    }

    func equal(_ left: Value, _ right: Value) throws -> Bool {
        try charge(1)
        switch (left, right) {
        case (.none, .none), (.undefined, .undefined): return true
        case (.text(let left), .text(let right)):
            try charge(min(left.bytes.count, right.bytes.count) / 32)
            return left == right
        case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)):
            return try left.values.count == right.values.count
                && zip(left.values, right.values).allSatisfy { try equal($0, $1) }
        case (.dictionary(let left), .dictionary(let right)):
            return try left.count == right.count
                && left.entries.allSatisfy { key, value in
                    guard let key = try self.key(key), let other = right[key] else { return false }
                    return try equal(value, other)
                }
        case (.namespace(let left), .namespace(let right)): return left === right
        case (.macro(let left), .macro(let right)): return left === right
        case (.loop(let left), .loop(let right)): return left === right
        default: return Self.equalNumbers(left, right)
        }
    }

    private static func equalNumbers(_ left: Value, _ right: Value) -> Bool {
        if let left = left.integer, let right = right.integer { return left == right }
        guard let left = left.number, let right = right.number else { return false }
        return left == right
    }

    /// Negative, zero or positive; nil for a comparison with not-a-number.
    func order(_ left: Value, _ right: Value) throws -> Int? {
        try charge(1)
        switch (left, right) {
        case (.undefined(let name), _), (_, .undefined(let name)): throw failure("'\(name)' is undefined")
        case (.text(let left), .text(let right)):
            try charge(min(left.bytes.count, right.bytes.count) / 32)
            return left == right ? 0 : left.bytes.lexicographicallyPrecedes(right.bytes) ? -1 : 1
        case (.list(let left), .list(let right)), (.tuple(let left), .tuple(let right)):
            for (left, right) in zip(left.values, right.values) where !(try equal(left, right)) {
                return try order(left, right)
            }
            return (left.values.count - right.values.count).signum()
        default: break
        }
        if let left = left.integer, let right = right.integer { return left < right ? -1 : left == right ? 0 : 1 }
        guard let first = left.number, let second = right.number else {
            throw failure("cannot order \(left.typeName) and \(right.typeName)")
        }
        return first < second ? -1 : first == second ? 0 : first > second ? 1 : nil
    }

    func contains(_ container: Value, _ element: Value) throws -> Bool {
        switch container {
        case .text(let text):
            guard let part = element.text else { throw failure("\(element.typeName) cannot be in a string") }
            try charge(text)
            return text.contains(part)
        case .list(let items), .tuple(let items): return try items.values.contains { try equal($0, element) }
        case .dictionary(let dictionary):
            guard let key = try key(element) else { throw failure("\(element.typeName) cannot be a key") }
            return dictionary[key] != nil
        case .undefined: return false
        default: throw failure("\(container.typeName) holds no elements")
        }
    }

    // MARK: Elements

    /// What a loop over the value goes through.
    func elements(_ value: Value) throws -> [Value] {
        switch value {
        case .undefined: return []
        case .list(let items), .tuple(let items): return items.values
        case .dictionary(let dictionary): return dictionary.keys
        case .text(let text):
            try charge(4 * text.bytes.count)  // Each code point becomes a string of its own.
            return text.characters.map { .text($0) }
        default: throw failure("\(value.typeName) cannot be iterated over")
        }
    }
}
