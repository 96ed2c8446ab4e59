extension Jinja {
    /// Evaluated arguments of a call, filter or test.
    struct CallArguments {
        var positional: [Value] = []
        var named: [(name: String, value: Value)] = []

        var isEmpty: Bool { positional.isEmpty && named.isEmpty }
    }
}

extension Jinja.Interpreter {
    func evaluate(_ expression: Expression) throws -> Value {
        try deeper {
            try charge(1)
            return try evaluate(expression.kind)
        }
    }

    /// Every case that needs room is a function of its own: their frames add up only where they are in use.
    private func evaluate(_ kind: Jinja.Kind) throws -> Value {
        switch kind {
        case .literal(let literal): Self.value(literal)
        case .name(let name): scope.lookUp(name) ?? .undefined(name)
        case .list(let elements): try sequence(elements, isTuple: false)
        case .tuple(let elements): try sequence(elements, isTuple: true)
        case .dictionary(let pairs): try evaluate(pairs)
        case .attribute(let object, let name): try attribute(name, of: object)
        case .element(let object, let key): try element(key, of: object)
        case .slice(let object, let start, let stop, let step): try slice(object, start, stop, step)
        case .call(let callee, let arguments): try call(callee, arguments)
        case .filter(let input, let filter): try filtered(input, filter)
        case .test(let input, let test, let arguments): try tested(input, test, arguments)
        case .not(let operand): try inverted(operand)
        case .negate(let operand): try signed(operand, isNegative: true)
        case .plus(let operand): try signed(operand, isNegative: false)
        case .binary(let sign, let left, let right): try operation(sign, left, right)
        case .and(let left, let right): try either(left, right, endsWhen: false)
        case .or(let left, let right): try either(left, right, endsWhen: true)
        case .compare(let first, let comparands): try compare(first, comparands)
        case .concatenate(let parts): try concatenated(parts)
        case .conditional(let value, let test, let otherwise): try choice(value, test, otherwise)
        }
    }

    @inline(never)
    private func sequence(_ elements: [Expression], isTuple: Bool) throws -> Value {
        let items = try items(evaluate(elements))
        return isTuple ? .tuple(items) : .list(items)
    }

    @inline(never)
    private func attribute(_ name: String, of object: Expression) throws -> Value {
        try attribute(name, of: evaluate(object))
    }

    @inline(never)
    private func element(_ key: Expression, of object: Expression) throws -> Value {
        let object = try evaluate(object)
        return try element(evaluate(key), of: object)
    }

    @inline(never)
    private func slice(
        _ object: Expression, _ start: Expression?, _ stop: Expression?, _ step: Expression?
    ) throws -> Value {
        let object = try evaluate(object)
        return try slice(object, bound(start), bound(stop), bound(step))
    }

    @inline(never)
    private func filtered(_ input: Expression, _ call: Jinja.FilterCall) throws -> Value {
        let value = try evaluate(input)
        return try apply(call.filter, to: value, evaluate(call.arguments))
    }

    @inline(never)
    private func tested(_ input: Expression, _ test: Jinja.Test, _ arguments: Jinja.Arguments) throws -> Value {
        let value = try evaluate(input)
        return .bool(try check(test, value, evaluate(arguments)))
    }

    @inline(never)
    private func inverted(_ operand: Expression) throws -> Value { .bool(!(try evaluate(operand).isTrue)) }

    @inline(never)
    private func signed(_ operand: Expression, isNegative: Bool) throws -> Value {
        let value = try evaluate(operand)
        return isNegative ? try negated(value) : try numeric(value)
    }

    @inline(never)
    private func operation(_ sign: Jinja.BinaryOperator, _ left: Expression, _ right: Expression) throws -> Value {
        let left = try evaluate(left)
        return try binary(sign, left, evaluate(right))
    }

    /// `and` and `or` give the operand that decides.
    @inline(never)
    private func either(_ left: Expression, _ right: Expression, endsWhen: Bool) throws -> Value {
        let value = try evaluate(left)
        return value.isTrue == endsWhen ? value : try evaluate(right)
    }

    @inline(never)
    private func choice(_ value: Expression, _ test: Expression, _ otherwise: Expression?) throws -> Value {
        if try evaluate(test).isTrue { return try evaluate(value) }
        guard let otherwise else { return .undefined("the inline if without an else") }
        return try evaluate(otherwise)
    }

    private static func value(_ literal: Jinja.Literal) -> Value {
        switch literal {
        case .none: Value.none
        case .bool(let value): .bool(value)
        case .int(let value): .int(value)
        case .float(let value): .float(value)
        case .text(let text): .text(text)
        }
    }

    @inline(never)
    private func evaluate(_ expressions: [Expression]) throws -> [Value] { try expressions.map { try evaluate($0) } }

    @inline(never)
    private func evaluate(_ pairs: [Jinja.Pair]) throws -> Value {
        try dictionary(pairs.map { (try evaluate($0.key), try evaluate($0.value)) })
    }

    @inline(never)
    func evaluate(_ arguments: Jinja.Arguments) throws -> Jinja.CallArguments {
        Jinja.CallArguments(
            positional: try evaluate(arguments.positional),
            named: try arguments.named.map { (name: $0.name, value: try evaluate($0.value)) })
    }

    @inline(never)
    private func concatenated(_ parts: [Expression]) throws -> Value {
        var result = Text()
        for part in parts {
            let text = try string(evaluate(part))
            try checkLength(result.bytes.count + text.bytes.count)
            result.append(text)
        }
        try checkSize(result.bytes.count)
        return .text(result)
    }

    /// A chain holds when each neighbouring pair does.
    @inline(never)
    private func compare(_ first: Expression, _ comparands: [Jinja.Comparand]) throws -> Value {
        var left = try evaluate(first)
        for comparand in comparands {
            let right = try evaluate(comparand.value)
            guard try holds(comparand.comparison, left, right) else { return .bool(false) }
            left = right
        }
        return .bool(true)
    }

    // MARK: Attributes and elements

    private static let textMethods: Set<String> = [
        "capitalize", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdigit", "islower", "isspace",
        "isupper", "join", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rsplit",
        "rstrip", "split", "splitlines", "startswith", "strip", "title", "upper", "format", "zfill", "center", "ljust",
        "rjust", "swapcase", "casefold", "encode", "rpartition", "expandtabs", "isdecimal", "isnumeric", "istitle",
        "isidentifier", "isprintable", "translate", "rindex", "format_map",
    ]
    private static let dictionaryMethods: Set<String> = [
        "copy", "get", "items", "keys", "values", "pop", "update", "clear", "setdefault", "popitem", "fromkeys",
    ]
    private static let listMethods: Set<String> = [
        "count", "index", "append", "clear", "copy", "extend", "insert", "pop", "remove", "reverse", "sort",
    ]

    @inline(never)
    func attribute(_ name: String, of object: Value) throws -> Value {
        let methods: Set<String>
        switch object {
        case .undefined(let name): throw failure("'\(name)' is undefined")
        case .text: methods = Self.textMethods
        case .list: methods = Self.listMethods
        case .tuple: methods = ["count", "index"]
        case .dictionary(let dictionary):
            methods = Self.dictionaryMethods
            if !methods.contains(name), let value = dictionary[.text(Array(name.utf8))] { return value }
        case .namespace(let namespace): return namespace.values[Array(name.utf8)] ?? .undefined(name)
        case .loop(let loop): return try attribute(name, of: loop)
        case .macro(let macro) where name == "name": return .string(macro.definition.name)
        default: methods = []
        }
        return methods.contains(name) ? .method(Jinja.Method(receiver: object, name: name)) : .undefined(name)
    }

    private func attribute(_ name: String, of loop: Jinja.Loop) throws -> Value {
        let index = loop.index
        let count = loop.items.count
        switch name {
        case "index": return .int(index + 1)
        case "index0": return .int(index)
        case "revindex": return .int(count - index)
        case "revindex0": return .int(count - index - 1)
        case "first": return .bool(index == 0)
        case "last": return .bool(index == count - 1)
        case "length": return .int(count)
        case "depth": return .int(1)  // Only recursive loops, which are not supported, go deeper.
        case "depth0": return .int(0)
        case "previtem": return index > 0 ? loop.items[index - 1] : .undefined(name)
        case "nextitem": return index + 1 < count ? loop.items[index + 1] : .undefined(name)
        case "cycle", "changed": return .method(Jinja.Method(receiver: .loop(loop), name: name))
        default: throw unsupported("attribute of loop", name)
        }
    }

    @inline(never)
    func element(_ key: Value, of object: Value) throws -> Value {
        switch object {
        case .undefined(let name): throw failure("'\(name)' is undefined")
        case .dictionary(let dictionary):
            if let key = try self.key(key), let value = dictionary[key] { return value }
        case .list(let items), .tuple(let items):
            if let index = Self.position(key.integer, count: items.values.count) { return items.values[index] }
        case .text(let text):
            if let wanted = key.integer { return try character(wanted, of: text) }
        default: break
        }
        guard let name = key.text else { return .undefined("element") }
        return try attribute(name.string, of: object)
    }

    /// An index from the start or, when negative, the end; nil when it is outside.
    private static func position(_ index: Int?, count: Int) -> Int? {
        guard let index, index < count, index >= -count else { return nil }
        return index < 0 ? index + count : index
    }

    private func character(_ index: Int, of text: Text) throws -> Value {
        try charge(text)
        let borders = text.borders
        guard let place = Self.position(index, count: borders.count - 1) else { return .undefined("element") }
        return .text(text.slice(borders[place]..<borders[place + 1]))
    }

    // MARK: Slices

    private func bound(_ expression: Expression?) throws -> Int? {
        guard let expression else { return nil }
        let value = try evaluate(expression)
        if case .none = value { return nil }
        guard let integer = value.integer else { throw failure("a slice needs integers, not \(value.typeName)") }
        return integer
    }

    @inline(never)
    private func slice(_ object: Value, _ start: Int?, _ stop: Int?, _ step: Int?) throws -> Value {
        switch object {
        case .list(let list): return .list(try items(Self.sliced(list.values, try range(list.values.count))))
        case .tuple(let tuple): return .tuple(try items(Self.sliced(tuple.values, try range(tuple.values.count))))
        case .text(let text):
            try charge(text)
            return .text(try slice(text, in: range(text.count), step: step))
        case .undefined(let name): throw failure("'\(name)' is undefined")
        default: throw failure("\(object.typeName) cannot be sliced")
        }
        func range(_ count: Int) throws -> Stretch { try self.range(start, stop, step, count: count) }
    }

    private func slice(_ text: Text, in range: Stretch, step: Int?) throws -> Text {
        let borders = text.borders
        if (step ?? 1) == 1 { return text.slice(borders[range.first]..<borders[range.first + range.count]) }
        try charge(range.count)
        var result = Text()
        for number in 0..<range.count {
            let index = range.first + number * range.step
            result.append(text.slice(borders[index]..<borders[index + 1]))
        }
        return result
    }

    private struct Stretch {
        let first: Int
        let step: Int
        let count: Int
    }

    private static func sliced(_ values: [Value], _ range: Stretch) -> [Value] {
        (0..<range.count).map { values[range.first + $0 * range.step] }
    }

    /// The elements that Python's slice takes: always inside 0..<count.
    private func range(_ start: Int?, _ stop: Int?, _ step: Int?, count: Int) throws -> Stretch {
        let step = step ?? 1
        guard step != 0 else { throw failure("a slice step cannot be 0") }
        let low = step > 0 ? 0 : -1
        let high = step > 0 ? count : count - 1
        func clamp(_ bound: Int?, _ fallback: Int) -> Int {
            guard let bound else { return fallback }
            return min(max(bound < 0 ? bound + count : bound, low), high)
        }
        let first = clamp(start, step > 0 ? low : high)
        let last = clamp(stop, step > 0 ? high : low)
        let distance = step > 0 ? last - first : first - last
        guard distance > 0 else { return Stretch(first: 0, step: 1, count: 0) }
        // A step beyond the distance takes one element either way; cut, its products cannot overflow.
        let stride = min(step.magnitude, UInt(distance))
        let signed = step > 0 ? Int(stride) : -Int(stride)
        let count = (distance - 1) / Int(stride) + 1
        return Stretch(first: first, step: signed, count: count)
    }
}
