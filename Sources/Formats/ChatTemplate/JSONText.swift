/// Values as Python's `json.dumps` writes them.
extension Jinja {
    struct JSONStyle {
        var indent: [UInt8]?
        var itemSeparator: [UInt8] = Array(", ".utf8)
        var keySeparator: [UInt8] = Array(": ".utf8)
        var sortsKeys = false
        var escapesNonASCII = false
    }

    struct JSONWriter {
        let style: JSONStyle
        let interpreter: Interpreter
        var bytes: [UInt8] = []
        /// Whether everything written comes from the template.
        var trusted = true

        init(style: JSONStyle, interpreter: Interpreter) {
            self.style = style
            self.interpreter = interpreter
        }

        mutating func write(_ value: Value, level: Int = 0) throws {
            try interpreter.charge(1)
            try interpreter.checkLength(bytes.count)
            switch value {
            case .none: add("null")
            case .bool(let flag): add(flag ? "true" : "false")
            case .int(let number): add(String(number))
            case .float(let number): add(Self.float(number))
            case .text(let text): try write(text)
            case .list(let items), .tuple(let items): try write(items.values, level: level)
            case .dictionary(let dictionary): try write(dictionary, level: level)
            case .undefined(let name): throw interpreter.failure("'\(name)' is undefined and cannot become JSON")
            case .namespace, .macro, .loop, .function, .method:
                throw interpreter.failure("\(value.typeName) cannot become JSON")
            }
        }

        private mutating func add(_ text: String) { bytes.append(contentsOf: text.utf8) }

        private static func float(_ number: Double) -> String {
            if number.isNaN { return "NaN" }
            if number.isInfinite { return number < 0 ? "-Infinity" : "Infinity" }
            return Interpreter.float(number)
        }

        private mutating func breakLine(level: Int) throws {
            guard let indent = style.indent else { return }
            bytes.append(UInt8(ascii: "\n"))
            try interpreter.checkLength(bytes.count + indent.count * level)
            for _ in 0..<level { bytes.append(contentsOf: indent) }
        }

        private mutating func write(_ values: [Value], level: Int) throws {
            guard !values.isEmpty else { return add("[]") }
            add("[")
            for (index, value) in values.enumerated() {
                if index > 0 { bytes.append(contentsOf: style.itemSeparator) }
                try breakLine(level: level + 1)
                try write(value, level: level + 1)
            }
            try breakLine(level: level)
            add("]")
        }

        private mutating func write(_ dictionary: Dictionary, level: Int) throws {
            guard dictionary.count > 0 else { return add("{}") }
            var entries = Array(dictionary.entries)
            if style.sortsKeys { entries = try interpreter.sorted(entries) { $0.0 } }
            add("{")
            for (index, entry) in entries.enumerated() {
                if index > 0 { bytes.append(contentsOf: style.itemSeparator) }
                try breakLine(level: level + 1)
                try writeKey(entry.0)
                bytes.append(contentsOf: style.keySeparator)
                try write(entry.1, level: level + 1)
            }
            try breakLine(level: level)
            add("}")
        }

        private mutating func writeKey(_ key: Value) throws {
            if case .text(let text) = key { return try write(text) }
            add("\"")
            try write(key)
            add("\"")
        }

        private mutating func write(_ text: Text) throws {
            try interpreter.charge(text.bytes.count / 8)
            trusted = trusted && text.isTrusted
            add("\"")
            if style.escapesNonASCII {
                for scalar in text.scalars { add(Self.escaped(scalar)) }
            } else {
                for byte in text.bytes { write(byte) }
            }
            add("\"")
        }

        private mutating func write(_ byte: UInt8) {
            if byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
                bytes.append(byte)
            } else {
                add(Self.escaped(Unicode.Scalar(byte)))
            }
        }

        private static func escaped(_ scalar: Unicode.Scalar) -> String {
            switch scalar {
            case "\"": return "\\\""
            case "\\": return "\\\\"
            case "\n": return "\\n"
            case "\r": return "\\r"
            case "\t": return "\\t"
            case "\u{08}": return "\\b"
            case "\u{0C}": return "\\f"
            case " "..."~": return String(Character(scalar))
            default: return UTF16.encode(scalar)?.map { unit($0) }.joined() ?? ""
            }
        }

        private static func unit(_ unit: UInt16) -> String {
            "\\u" + Interpreter.hexadecimal(UInt32(unit), digits: 4)
        }
    }
}

extension Jinja.Interpreter {
    /// The filter `tojson`. The result is untrusted as a whole when any part of the value is.
    func json(_ value: Value, _ arguments: Jinja.CallArguments) throws -> Value {
        let given = try bind(
            "tojson", arguments, ["ensure_ascii", "indent", "separators", "sort_keys"])
        var style = Jinja.JSONStyle()
        style.escapesNonASCII = given[0]?.isTrue ?? false
        style.indent = try indent(given[1])
        if style.indent != nil { style.itemSeparator = Array(",".utf8) }
        if let separators = given[2], separators.key != Jinja.Dictionary.Key.none {
            let parts = try elements(separators).compactMap(\.text)
            guard parts.count == 2 else { throw failure("the separators of tojson must be two strings") }
            style.itemSeparator = parts[0].bytes
            style.keySeparator = parts[1].bytes
        }
        style.sortsKeys = given[3]?.isTrue ?? false
        var writer = Jinja.JSONWriter(style: style, interpreter: self)
        try writer.write(value)
        try checkSize(writer.bytes.count)
        return .text(Text(bytes: writer.bytes, trusted: writer.trusted))
    }

    private func indent(_ value: Value?) throws -> [UInt8]? {
        switch value {
        case nil, .some(.none): return nil
        case .text(let text): return text.bytes
        default:
            let width = try integer(value, "indent", fallback: 0)
            guard width <= 1024 else { throw failure("an indentation of \(width) is too wide") }
            return [UInt8](repeating: UInt8(ascii: " "), count: max(width, 0))
        }
    }
}
