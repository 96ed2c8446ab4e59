extension Jinja.Interpreter {
    func listFilter(_ filter: Jinja.Filter, _ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
        switch filter {
        case .first, .last: return try end(filter, value, arguments)
        case .list:
            _ = try bind("list", arguments, [])
            return try list(elements(value))
        case .items:
            _ = try bind("items", arguments, [])
            return try pairs(value)
        case .join: return try joined(value, arguments)
        case .reverse: return try reversed(value, arguments)
        case .map: return try mapped(value, arguments)
        case .select, .reject: return try selected(value, arguments, keeps: filter == .select)
        case .selectattr, .rejectattr: return try selectedByAttribute(value, arguments, keeps: filter == .selectattr)
        case .sort, .unique, .min, .max: return try ordered(filter, value, arguments)
        case .dictsort: return try sortedPairs(value, arguments)
        case .sum: return try sum(value, arguments)
        default: throw unsupported("filter", filter.rawValue)
        }
    }

    // MARK: Whole sequences

    private func end(_ filter: Jinja.Filter, _ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
        _ = try bind(filter.rawValue, arguments, [])
        if case .text(let text) = value, !text.isEmpty {
            if filter == .first { return .text(text.slice(0..<text.scalar(at: 0).length)) }
            return .text(text.slice(text.start(before: text.bytes.count)..<text.bytes.count))
        }
        let elements = try elements(value)
        return (filter == .first ? elements.first : elements.last) ?? .undefined("element of an empty sequence")
    }

    /// The pairs of a dictionary as a list of tuples.
    func pairs(_ value: Value) throws -> Value {
        switch value {
        case .undefined: return try list([])
        case .dictionary(let dictionary):
            return try list(dictionary.entries.map { .tuple(try items([$0.0, $0.1])) })
        default: throw failure("\(value.typeName) has no items")
        }
    }

    private func joined(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
        let given = try bind("join", arguments, ["d", "attribute"])
        let separator = try given[0].map { try string($0) } ?? Text()
        let parts = try elements(value).map { element in
            try string(given[1].map { try follow($0, from: element) } ?? element)
        }
        return .text(try joined(parts, separator))
    }

    func joined(_ parts: [Text], _ separator: Text) throws -> Text {
        try charge(parts.count)
        var result = Text()
        for (index, part) in parts.enumerated() {
            try checkLength(result.bytes.count + separator.bytes.count + part.bytes.count)
            if index > 0 { result.append(separator) }
            result.append(part)
        }
        try checkSize(result.bytes.count)
        return result
    }

    private func reversed(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
        _ = try bind("reverse", arguments, [])
        guard case .text = value else { return try list(elements(value).reversed()) }
        return .text(try joined(elements(value).reversed().compactMap(\.text), Text()))
    }

    // MARK: Element by element

    /// The value at a path such as "function.name" or an index.
    func follow(_ path: Value, from start: Value) throws -> Value {
        guard let text = path.text else { return try element(path, of: start) }
        try charge(text)
        var value = start
        for part in text.split(by: Text(".")) {
            value = try element(Int(part.string).map { .int($0) } ?? .text(part), of: value)
        }
        return value
    }

    private func mapped(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
        let elements = try elements(value)
        guard let name = arguments.positional.first else {
            let given = try bind("map", arguments, ["attribute", "default"])
            guard let path = given[0] else { throw failure("map needs a filter or an attribute") }
            return try list(
                elements.map { element in
                    let found = try follow(path, from: element)
                    return found.isUndefined ? given[1] ?? found : found
                })
        }
        let filter = try text(name, "map").string
        guard let filter = Jinja.Filter(rawValue: filter) else { throw unsupported("filter", filter) }
        var rest = arguments
        rest.positional.removeFirst()
        return try list(
            elements.map { element in
                try charge(1)
                return try deeper { try apply(filter, to: element, rest) }
            })
    }

    private func selected(_ value: Value, _ arguments: Jinja.CallArguments, keeps: Bool) throws -> Value {
        let passes = try condition(arguments)
        return try list(elements(value).filter { try passes($0) == keeps })
    }

    private func selectedByAttribute(
        _ value: Value, _ arguments: Jinja.CallArguments, keeps: Bool
    ) throws -> Value {
        guard let path = arguments.positional.first else { throw failure("an attribute to select by is missing") }
        var rest = arguments
        rest.positional.removeFirst()
        let passes = try condition(rest)
        return try list(elements(value).filter { try passes(follow(path, from: $0)) == keeps })
    }

    /// The test that the arguments name; without any, whether a value is true.
    private func condition(_ arguments: Jinja.CallArguments) throws -> (Value) throws -> Bool {
        guard let first = arguments.positional.first else {
            return { [self] value in
                try charge(1)
                return value.isTrue
            }
        }
        let name = try text(first, "select").string
        guard let test = Jinja.Test(rawValue: name) else { throw unsupported("test", name) }
        var rest = arguments
        rest.positional.removeFirst()
        return { [self] value in
            try charge(1)
            return try check(test, value, rest)
        }
    }

    // MARK: Order

    /// A stable sort by Python's order of the keys.
    func sorted<Element>(
        _ elements: [Element], descending: Bool = false, by key: (Element) throws -> Value
    ) throws -> [Element] {
        try charge(elements.count)
        let keyed = try elements.enumerated().map { (index: $0.offset, key: try key($0.element), element: $0.element) }
        let ordered = try keyed.sorted { left, right in
            let order = try order(left.key, right.key) ?? 0
            if order == 0 { return left.index < right.index }
            return descending ? order > 0 : order < 0
        }
        return ordered.map(\.element)
    }

    /// How filters order and compare: strings without regard to case unless asked.
    private func sortKey(_ value: Value, isCaseSensitive: Bool) throws -> Value {
        guard !isCaseSensitive, let text = value.text else { return value }
        return try cased("lower", text).map { .text($0) } ?? value
    }

    private func ordered(_ filter: Jinja.Filter, _ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
        let parameters = (filter == .sort ? ["reverse"] : []) + ["case_sensitive", "attribute"]
        var given = try bind(filter.rawValue, arguments, parameters)
        let descending = filter == .sort ? given.removeFirst()?.isTrue ?? false : false
        let isCaseSensitive = given[0]?.isTrue ?? false
        let path = given[1]
        let key = { [self] (element: Value) throws -> Value in
            try sortKey(path.map { try follow($0, from: element) } ?? element, isCaseSensitive: isCaseSensitive)
        }
        let elements = try elements(value)
        switch filter {
        case .sort: return try list(sorted(elements, descending: descending, by: key))
        case .unique: return try list(distinct(elements, by: key))
        case .min: return try sorted(elements, by: key).first ?? .undefined("element of an empty sequence")
        default:
            return try sorted(elements, descending: true, by: key).first ?? .undefined("element of an empty sequence")
        }
    }

    private func distinct(_ elements: [Value], by key: (Value) throws -> Value) throws -> [Value] {
        var seen = Set<Jinja.Dictionary.Key>()
        return try elements.filter { element in
            let key = try key(element)
            guard let hashed = try self.key(key) else {
                throw failure("\(key.typeName) cannot be compared by 'unique'")
            }
            return seen.insert(hashed).inserted
        }
    }

    private func sortedPairs(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
        let given = try bind("dictsort", arguments, ["case_sensitive", "by", "reverse"])
        guard case .dictionary(let dictionary) = value else { throw failure("\(value.typeName) has no items") }
        let byValue = given[1]?.text?.string == "value"
        let isCaseSensitive = given[0]?.isTrue ?? false
        let entries = try sorted(Array(dictionary.entries), descending: given[2]?.isTrue ?? false) {
            try sortKey(byValue ? $0.1 : $0.0, isCaseSensitive: isCaseSensitive)
        }
        return try list(entries.map { .tuple(try items([$0.0, $0.1])) })
    }

    private func sum(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
        let given = try bind("sum", arguments, ["attribute", "start"])
        var total = given[1] ?? .int(0)
        var path = given[0]
        if case .some(.none) = path { path = nil }
        for element in try elements(value) {
            try charge(1)
            total = try binary(.add, total, path.map { try follow($0, from: element) } ?? element)
        }
        return total
    }
}
