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

    private func evaluate(_ kind: Jinja.Kind) throws -> Value {
        switch kind {
        case .literal(let literal): return Self.value(literal)
        case .name(let name): return scope.lookUp(name) ?? .undefined(name)
        case .list(let elements): return try list(evaluate(elements))
        case .tuple(let elements): return .tuple(try items(evaluate(elements)))
        case .dictionary(let pairs): return try dictionary(evaluate(pairs))
        case .attribute(let object, let name): return try attribute(name, of: evaluate(object))
        case .element(let object, let key): return try element(evaluate(key), of: evaluate(object))
        case .slice(let object, let start, let stop, let step):
            return try slice(evaluate(object), bound(start), bound(stop), bound(step))
        case .call(let callee, let arguments): return try call(callee, arguments)
        case .filter(let input, let filter):
            return try apply(filter.filter, to: evaluate(input), evaluate(filter.arguments))
        case .test(let input, let test, let arguments):
            return .bool(try check(test, evaluate(input), evaluate(arguments)))
        case .not(let operand): return .bool(!(try evaluate(operand).isTrue))
        case .negate(let operand): return try negated(evaluate(operand))
        case .plus(let operand): return try numeric(evaluate(operand))
        case .binary(let sign, let left, let right): return try binary(sign, evaluate(left), evaluate(right))
        case .and(let left, let right):
            let value = try evaluate(left)
            return value.isTrue ? try evaluate(right) : value
        case .or(let left, let right):
            let value = try evaluate(left)
            return value.isTrue ? value : try evaluate(right)
        case .compare(let first, let comparands): return try compare(first, comparands)
        case .concatenate(let parts): return try concatenated(parts)
        case .conditional(let value, let test, let otherwise):
            if try evaluate(test).isTrue { return try evaluate(value) }
            return try otherwise.map { try evaluate($0) } ?? .undefined("the inline if without an else")
        }
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
    private func evaluate(_ pairs: [Jinja.Pair]) throws -> [(Value, Value)] {
        try pairs.map { (try evaluate($0.key), try evaluate($0.value)) }
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
        case "depth": return .int(loop.depth + 1)
        case "depth0": return .int(loop.depth)
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
            if let key = key.key, let value = dictionary[key] { return value }
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
