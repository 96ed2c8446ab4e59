extension Jinja.Interpreter {
    /// The methods of strings.
    func call(_ name: String, on text: Text, _ arguments: Jinja.CallArguments) throws -> Value {
        try charge(text)
        switch name {
        case "strip", "lstrip", "rstrip":
            let given = try bind(name, arguments, ["chars"])
            return .text(text.stripped(try characters(given[0]), left: name != "rstrip", right: name != "lstrip"))
        case "split", "rsplit": return try split(text, arguments, fromEnd: name == "rsplit")
        case "splitlines":
            let given = try bind(name, arguments, ["keepends"])
            if given[0]?.isTrue ?? false { throw unsupported("argument of 'splitlines'", "keepends") }
            return try list(text.lines().map { .text($0) })
        case "partition", "rpartition": return try partition(text, arguments, fromEnd: name == "rpartition")
        case "startswith", "endswith": return .bool(try hasEnd(text, arguments, atStart: name == "startswith"))
        case "removeprefix", "removesuffix": return .text(try removing(text, arguments, prefix: name == "removeprefix"))
        case "find", "rfind", "index", "count": return .int(try search(name, text, arguments))
        case "replace":
            let given = try bind(name, arguments, ["old", "new", "count"])
            return .text(
                try replaced(text, self.text(given[0], name), self.text(given[1], name), limit: limit(given[2])))
        case "join":
            let given = try bind(name, arguments, ["iterable"])
            let parts = try elements(given[0] ?? .none).map { try self.text($0, "join") }
            return .text(try joined(parts, text))
        default:
            if let known = try plain(name, text) {
                _ = try bind(name, arguments, [])
                return known
            }
            throw unsupported("method of a string", name)
        }
    }

    /// Methods without arguments; nil for another name.
    private func plain(_ name: String, _ text: Text) throws -> Value? {
        switch name {
        case "upper", "lower", "capitalize": return try cased(name, text).map { .text($0) }
        case "title":
            var isStart = true
            let scalars = text.scalars
            return .text(
                text.mapped { index, scalar in
                    let properties = scalar.properties
                    let mapping = isStart ? properties.titlecaseMapping : Text.lowercase(scalars, at: index)
                    isStart = !properties.isCased
                    return mapping
                })
        case "isupper": return .bool(try isCased(text, upper: true))
        case "islower": return .bool(try isCased(text, upper: false))
        case "isspace": return .bool(!text.isEmpty && text.stripped().isEmpty)
        case "isdigit":
            return .bool(all(text) { $0.properties.numericType.map { $0 == .digit || $0 == .decimal } ?? false })
        case "isalpha": return .bool(all(text, isLetter))
        case "isalnum": return .bool(all(text) { isLetter($0) || $0.properties.numericType != nil })
        default: return nil
        }
        func isLetter(_ scalar: Unicode.Scalar) -> Bool {
            switch scalar.properties.generalCategory {
            case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
            default: false
            }
        }
    }

    private func all(_ text: Text, _ condition: (Unicode.Scalar) -> Bool) -> Bool {
        !text.isEmpty && text.scalars.allSatisfy(condition)
    }

    // MARK: Splitting

    private func split(_ text: Text, _ arguments: Jinja.CallArguments, fromEnd: Bool) throws -> Value {
        let given = try bind("split", arguments, ["sep", "maxsplit"])
        let limit = try limit(given[1])
        let parts: [Text]
        if let separator = try characters(given[0]) {
            guard !separator.isEmpty else { throw failure("'split' needs a separator that is not empty") }
            parts = fromEnd ? text.splitFromEnd(by: separator, limit: limit) : text.split(by: separator, limit: limit)
        } else {
            guard !fromEnd || limit == .max else { throw unsupported("method without a separator", "rsplit") }
            try charge(text.bytes.count)
            parts = text.words(limit: limit)
        }
        return try list(parts.map { .text($0) })
    }

    private func partition(_ text: Text, _ arguments: Jinja.CallArguments, fromEnd: Bool) throws -> Value {
        let given = try bind("partition", arguments, ["sep"])
        let separator = try self.text(given[0], "partition")
        guard !separator.isEmpty else { throw failure("'partition' needs a separator that is not empty") }
        let parts = fromEnd ? text.splitFromEnd(by: separator, limit: 1) : text.split(by: separator, limit: 1)
        guard parts.count == 2 else {
            let all = fromEnd ? [Text(), Text(), text] : [text, Text(), Text()]
            return .tuple(try items(all.map { .text($0) }))
        }
        let start = parts[0].bytes.count
        let found = text.slice(start..<start + separator.bytes.count)
        return .tuple(try items([parts[0], found, parts[1]].map { .text($0) }))
    }

    // MARK: Searching

    private func hasEnd(_ text: Text, _ arguments: Jinja.CallArguments, atStart: Bool) throws -> Bool {
        let name = atStart ? "startswith" : "endswith"
        let given = try bind(name, arguments, ["prefix"])
        var wanted = [given[0] ?? Value.none]
        if case .tuple(let several) = given[0] { wanted = several.values }
        return try wanted.contains { value in
            let part = try self.text(value, name).bytes
            return atStart ? text.bytes.starts(with: part) : text.bytes.suffix(part.count) == part[...]
        }
    }

    private func removing(_ text: Text, _ arguments: Jinja.CallArguments, prefix: Bool) throws -> Text {
        guard try hasEnd(text, arguments, atStart: prefix), let part = arguments.positional.first?.text else {
            return text
        }
        let rest = text.bytes.count - part.bytes.count
        return prefix ? text.slice(part.bytes.count..<text.bytes.count) : text.slice(0..<rest)
    }

    private func search(_ name: String, _ text: Text, _ arguments: Jinja.CallArguments) throws -> Int {
        let given = try bind(name, arguments, ["sub"])
        let part = try self.text(given[0], name)
        if name == "count" { return part.isEmpty ? text.count + 1 : text.occurrences(of: part).count }
        let place = name == "rfind" ? text.splitFromEnd(by: part, limit: 1) : text.split(by: part, limit: 1)
        if part.isEmpty { return name == "rfind" ? text.count : 0 }
        guard place.count == 2 else {
            if name == "index" { throw failure("'index' does not find the string") }
            return -1
        }
        return place[0].count
    }
}
