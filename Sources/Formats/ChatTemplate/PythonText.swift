/// Values as Python's `str` and `repr` print them.
extension Jinja.Interpreter {
    /// What the value puts out.
    func string(_ value: Value) throws -> Text {
        switch value {
        case .undefined: return Text()
        case .text(let text): return text
        default: return try represented(value)
        }
    }

    /// As inside of a list. Untrusted as a whole when any part is.
    private func represented(_ value: Value) throws -> Text {
        var result = ""
        var trusted = true
        try write(value, into: &result, &trusted)
        try checkSize(result.utf8.count)
        return Text(result, trusted: trusted)
    }

    private func write(_ value: Value, into result: inout String, _ trusted: inout Bool) throws {
        try charge(1)
        switch value {
        case .undefined: result += "Undefined"
        case .none: result += "None"
        case .bool(let flag): result += flag ? "True" : "False"
        case .int(let number): result += String(number)
        case .float(let number): result += Self.float(number)
        case .text(let text):
            try charge(text.bytes.count / 4)
            result += Self.quoted(text)
            trusted = trusted && text.isTrusted
        case .list(let list): try write(list.values, "[", "]", into: &result, &trusted)
        case .tuple(let tuple):
            try write(tuple.values, "(", tuple.values.count == 1 ? ",)" : ")", into: &result, &trusted)
        case .dictionary(let dictionary): try write(dictionary, into: &result, &trusted)
        case .namespace, .macro, .loop, .function, .method: throw failure("\(value.typeName) cannot be printed")
        }
    }

    private func write(
        _ values: [Value], _ open: String, _ close: String, into result: inout String, _ trusted: inout Bool
    ) throws {
        result += open
        for (index, value) in values.enumerated() {
            if index > 0 { result += ", " }
            try write(value, into: &result, &trusted)
        }
        result += close
    }

    private func write(_ dictionary: Jinja.Dictionary, into result: inout String, _ trusted: inout Bool) throws {
        result += "{"
        for (index, entry) in dictionary.entries.enumerated() {
            if index > 0 { result += ", " }
            try write(entry.0, into: &result, &trusted)
            result += ": "
            try write(entry.1, into: &result, &trusted)
        }
        result += "}"
    }

    private static func quoted(_ text: Text) -> String {
        let scalars = text.scalars
        let quote: Unicode.Scalar = scalars.contains("'") && !scalars.contains("\"") ? "\"" : "'"
        var result = String.UnicodeScalarView([quote])
        for scalar in scalars {
            if scalar == quote || scalar == "\\" {
                result.append("\\")
                result.append(scalar)
            } else {
                result.append(contentsOf: escaped(scalar).unicodeScalars)
            }
        }
        result.append(quote)
        return String(result)
    }

    private static func escaped(_ scalar: Unicode.Scalar) -> String {
        switch scalar {
        case "\n": return "\\n"
        case "\r": return "\\r"
        case "\t": return "\\t"
        case " ": return " "
        default: break
        }
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator,
            .spaceSeparator:
            let value = scalar.value
            if value < 0x100 { return "\\x" + hexadecimal(value, digits: 2) }
            return value < 0x10000 ? "\\u" + hexadecimal(value, digits: 4) : "\\U" + hexadecimal(value, digits: 8)
        default: return String(Character(scalar))
        }
    }

    static func hexadecimal(_ value: UInt32, digits: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
    }

    /// The shortest decimal that reads back as the number, laid out as Python does.
    static func float(_ number: Double) -> String {
        if number.isNaN { return "nan" }
        if number.isInfinite { return number < 0 ? "-inf" : "inf" }
        let sign = number.sign == .minus ? "-" : ""
        if number == 0 { return sign + "0.0" }
        let (digits, point) = decimal(number.magnitude)
        if point > 16 || point < -3 {
            let fraction = digits.count > 1 ? "." + digits.dropFirst() : ""
            let exponent = (point - 1).magnitude
            return sign + digits.prefix(1) + fraction + (point > 0 ? "e+" : "e-") + (exponent < 10 ? "0" : "")
                + String(exponent)
        }
        if point <= 0 { return sign + "0." + String(repeating: "0", count: -point) + digits }
        if digits.count <= point {
            return sign + digits + String(repeating: "0", count: point - digits.count) + ".0"
        }
        return sign + digits.prefix(point) + "." + digits.dropFirst(point)
    }

    /// The significant digits, and how many of them lie before the decimal point.
    private static func decimal(_ number: Double) -> (digits: String, point: Int) {
        let parts = number.description.split(separator: "e")
        let mantissa = parts.first ?? "0"
        let exponent = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
        let whole = mantissa.prefix { $0 != "." }
        let all = mantissa.filter { $0 != "." }
        let leading = all.prefix { $0 == "0" }.count
        var digits = all.dropFirst(leading)
        while digits.last == "0" { digits.removeLast() }
        return (String(digits), whole.count - leading + exponent)
    }
}
