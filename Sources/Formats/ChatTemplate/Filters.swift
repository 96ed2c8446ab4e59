extension Jinja.Interpreter {
    // MARK: Arguments

    /// The values of `parameters`, in their order.
    func bind(_ name: String, _ arguments: Jinja.CallArguments, _ parameters: [String]) throws -> [Value?] {
        guard arguments.positional.count <= parameters.count else {
            throw failure("'\(name)' takes at most \(parameters.count) arguments")
        }
        var values: [Value?] = arguments.positional
        values += [Value?](repeating: nil, count: parameters.count - values.count)
        for (parameter, value) in arguments.named {
            guard let index = parameters.firstIndex(of: parameter) else {
                throw unsupported("argument of '\(name)'", parameter)
            }
            guard values[index] == nil else { throw failure("'\(name)' gets '\(parameter)' twice") }
            values[index] = value
        }
        return values
    }

    func integer(_ value: Value?, _ name: String, fallback: Int) throws -> Int {
        guard let value else { return fallback }
        guard let integer = value.integer else { throw failure("'\(name)' must be an integer, not \(value.typeName)") }
        return integer
    }

    /// The text of a string argument.
    func text(_ value: Value?, _ name: String) throws -> Text {
        guard let text = value?.text else {
            throw failure("'\(name)' needs a string, not \(value?.typeName ?? "nothing")")
        }
        return text
    }

    // MARK: Filters

    @inline(never)
    func apply(_ filter: Jinja.Filter, to value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
        switch filter {
        case .trim, .upper, .lower, .capitalize, .title, .replace, .indent, .string, .safe:
            return .text(try textFilter(filter, string(value), arguments))
        case .abs, .float, .int, .round: return try numberFilter(filter, value, arguments)
        case .tojson: return try json(value, arguments)
        case .d, .default:
            let given = try bind("default", arguments, ["default_value", "boolean"])
            let isMissing = value.isUndefined || (given[1]?.isTrue ?? false) && !value.isTrue
            return isMissing ? given[0] ?? .string("") : value
        case .count, .length:
            _ = try bind("length", arguments, [])
            return .int(try length(value))
        default: return try listFilter(filter, value, arguments)
        }
    }

    func length(_ value: Value) throws -> Int {
        switch value {
        case .undefined: return 0
        case .text(let text):
            try charge(text)
            return text.count
        case .list(let items), .tuple(let items): return items.values.count
        case .dictionary(let dictionary): return dictionary.count
        default: throw failure("\(value.typeName) has no length")
        }
    }

    // MARK: Strings

    private func textFilter(_ filter: Jinja.Filter, _ text: Text, _ arguments: Jinja.CallArguments) throws -> Text {
        try charge(text)
        switch filter {
        case .trim:
            let given = try bind("trim", arguments, ["chars"])
            return text.stripped(try characters(given[0]))
        case .replace:
            let given = try bind("replace", arguments, ["old", "new", "count"])
            let old = try string(given[0] ?? .undefined("old"))
            return try replaced(text, old, string(given[1] ?? .undefined("new")), limit: limit(given[2]))
        case .indent: return try indented(text, arguments)
        default: break
        }
        _ = try bind(filter.rawValue, arguments, [])
        return try cased(filter.rawValue, text) ?? text
    }

    /// The characters to strip; nil for white space.
    func characters(_ value: Value?) throws -> Text? {
        if case .some(.none) = value { return nil }
        guard let value else { return nil }
        let characters = try text(value, "chars")
        try charge(characters.bytes.count / 8)
        return characters
    }

    /// A count where negative or absent means all.
    func limit(_ value: Value?) throws -> Int {
        if case .some(.none) = value { return .max }
        let count = try integer(value, "count", fallback: -1)
        return count < 0 ? .max : count
    }

    /// Changes of case; nil for another name.
    func cased(_ name: String, _ text: Text) throws -> Text? {
        try charge(text.bytes.count / 2)
        let scalars = text.scalars
        switch name {
        case "upper": return text.mapped { $1.properties.uppercaseMapping }
        case "lower": return text.mapped { index, _ in Text.lowercase(scalars, at: index) }
        case "capitalize":
            return text.mapped { $0 == 0 ? $1.properties.titlecaseMapping : Text.lowercase(scalars, at: $0) }
        case "title":
            let separators: Set<Unicode.Scalar> = ["-", "(", "{", "[", "<"]
            var isStart = true
            return text.mapped { index, scalar in
                let mapping = isStart ? scalar.properties.uppercaseMapping : Text.lowercase(scalars, at: index)
                isStart = Text.isSpace(scalar) || separators.contains(scalar)
                return mapping
            }
        default: return nil
        }
    }

    func replaced(_ text: Text, _ old: Text, _ new: Text, limit: Int) throws -> Text {
        try charge(text)
        let places = old.isEmpty ? Array(text.borders.prefix(limit)) : text.occurrences(of: old, limit: limit)
        guard !places.isEmpty else { return text }
        let added = new.bytes.count.multipliedReportingOverflow(by: places.count)
        let size = added.partialValue.addingReportingOverflow(text.bytes.count)
        try checkSize(added.overflow || size.overflow ? .max : size.partialValue)
        try charge(places.count)
        var result = Text()
        var start = 0
        for place in places {
            result.append(text.slice(start..<place))
            result.append(new)
            start = place + old.bytes.count
        }
        result.append(text.slice(start..<text.bytes.count))
        return result
    }

    private func indented(_ text: Text, _ arguments: Jinja.CallArguments) throws -> Text {
        let given = try bind("indent", arguments, ["width", "first", "blank"])
        let padding: Text
        if let given = given[0]?.text {
            padding = given
        } else {
            let width = try integer(given[0], "width", fallback: 4)
            guard width <= 1024 else { throw failure("an indentation of \(width) is too wide") }
            padding = Text(String(repeating: " ", count: max(width, 0)))
        }
        var whole = text
        whole.append(Text("\n"))
        var result = given[1]?.isTrue ?? false ? padding : Text()
        for (index, line) in whole.lines().enumerated() {
            try charge(1)
            try checkLength(result.bytes.count + line.bytes.count + padding.bytes.count + 1)
            if index > 0 {
                result.append(Text("\n"))
                if !line.isEmpty || given[2]?.isTrue ?? false { result.append(padding) }
            }
            result.append(line)
        }
        try checkSize(result.bytes.count)
        return result
    }

    // MARK: Numbers

    private func numberFilter(
        _ filter: Jinja.Filter, _ value: Value, _ arguments: Jinja.CallArguments
    ) throws -> Value {
        if let text = value.text { try charge(text) }
        switch filter {
        case .abs:
            _ = try bind("abs", arguments, [])
            let number = try numeric(value)
            if case .float(let number) = number { return .float(number.magnitude) }
            return (number.integer ?? 0) < 0 ? try negated(number) : number
        case .float:
            let given = try bind("float", arguments, ["default"])
            return parsedFloat(value).map { .float($0) } ?? given[0] ?? .float(0)
        case .int: return try toInteger(value, arguments)
        default: return try rounded(value, arguments)
        }
    }

    private func parsedFloat(_ value: Value) -> Double? {
        guard let text = value.text else { return value.number }
        let string = text.stripped().string
        let letters = string.utf8.drop { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") }
        guard let first = letters.first, first < 0x41, !string.contains("x"), !string.contains("X") else {
            switch string.lowercased() {
            case "inf", "+inf", "infinity", "+infinity": return .infinity
            case "-inf", "-infinity": return -.infinity
            case "nan", "+nan", "-nan": return .nan
            default: return nil
            }
        }
        return Double(string)
    }

    private func toInteger(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
        let given = try bind("int", arguments, ["default", "base"])
        let base = try integer(given[1], "base", fallback: 10)
        guard base == 10 || base == 16 || base == 8 || base == 2 else { throw unsupported("base of 'int'", "\(base)") }
        if let integer = value.integer { return .int(integer) }
        if let text = value.text, let integer = Int(text.stripped().string, radix: base) { return .int(integer) }
        guard let number = parsedFloat(value), number.isFinite else { return given[0] ?? .int(0) }
        guard let integer = Int(exactly: number.rounded(.towardZero)) else {
            throw failure("a number does not fit in 64 bits")
        }
        return .int(integer)
    }

    private func rounded(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
        let given = try bind("round", arguments, ["precision", "method"])
        let precision = try integer(given[0], "precision", fallback: 0)
        guard (0...15).contains(precision) else { throw unsupported("precision of 'round'", "\(precision)") }
        let method = given[1]?.text?.string ?? "common"
        let value = try numeric(value)
        if method == "common", case .int = value { return value }
        var scale = 1.0
        for _ in 0..<precision { scale *= 10 }
        let scaled = (value.number ?? 0) * scale
        switch method {
        case "common": return .float(scaled.isFinite ? scaled.rounded(.toNearestOrEven) / scale : value.number ?? 0)
        case "ceil": return .float(scaled.rounded(.up) / scale)
        case "floor": return .float(scaled.rounded(.down) / scale)
        default: throw unsupported("method of 'round'", method)
        }
    }
}
