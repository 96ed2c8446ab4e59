import Formats
import TestSupport

/// Says whether a value satisfies a JSON schema, by the specification and independently of how grammars are made. Knows
/// the keywords that grammars know.
struct SchemaValidator {
    let document: JSON

    func accepts(_ text: String) -> Bool {
        do { return try accepts(JSON(parsing: Array(text.utf8)), document) } catch { return false }
    }

    func accepts(_ value: JSON, _ schema: JSON) throws -> Bool {
        if let flag = schema.bool { return flag }
        for member in schema.members ?? [] where try !holds(member.key, member.value, value, schema) { return false }
        return true
    }

    private func holds(_ keyword: String, _ argument: JSON, _ value: JSON, _ schema: JSON) throws -> Bool {
        switch keyword {
        case "$ref": return try accepts(value, target(argument.string ?? ""))
        case "allOf": return try (argument.array ?? []).allSatisfy { try accepts(value, $0) }
        case "anyOf": return try (argument.array ?? []).contains { try accepts(value, $0) }
        case "oneOf": return try (argument.array ?? []).filter { try accepts(value, $0) }.count == 1
        case "const": return Self.same(value, argument)
        case "enum": return (argument.array ?? []).contains { Self.same(value, $0) }
        case "type": return (argument.array ?? [argument]).contains { Self.has(value, $0.string ?? "") }
        default: break
        }
        switch value {
        case .object(let members): return try objectHolds(keyword, argument, members, schema)
        case .array(let items): return try arrayHolds(keyword, argument, items, schema)
        case .string(let text): return try stringHolds(keyword, argument, text)
        case .number(let number): return numberHolds(keyword, argument.number ?? 0, number)
        case .null, .bool: return true
        }
    }

    private func objectHolds(
        _ keyword: String, _ argument: JSON, _ members: [JSON.Member], _ schema: JSON
    ) throws -> Bool {
        switch keyword {
        case "properties":
            return try members.allSatisfy { member in
                try argument[member.key].map { try accepts(member.value, $0) } ?? true
            }
        case "required":
            return (argument.array ?? []).allSatisfy { name in members.contains { $0.key == name.string } }
        case "additionalProperties":
            let others = members.filter { schema["properties"]?[$0.key] == nil }
            return try others.allSatisfy { try accepts($0.value, argument) }
        default: return true
        }
    }

    private func arrayHolds(_ keyword: String, _ argument: JSON, _ items: [JSON], _ schema: JSON) throws -> Bool {
        let first = schema["prefixItems"]?.array ?? schema["items"]?.array ?? []
        switch keyword {
        case "minItems": return items.count >= argument.int ?? 0
        case "maxItems": return items.count <= argument.int ?? 0
        case "prefixItems",
            "items" where argument.array != nil:
            return try zip(items, argument.array ?? []).allSatisfy { try accepts($0, $1) }
        case "items": return try items.dropFirst(first.count).allSatisfy { try accepts($0, argument) }
        case "additionalItems" where schema["items"]?.array != nil:
            return try items.dropFirst(first.count).allSatisfy { try accepts($0, argument) }
        default: return true
        }
    }

    private func stringHolds(_ keyword: String, _ argument: JSON, _ text: String) throws -> Bool {
        switch keyword {
        case "minLength": return text.unicodeScalars.count >= argument.int ?? 0
        case "maxLength": return text.unicodeScalars.count <= argument.int ?? 0
        case "pattern":
            let regex = try Regex(argument.string ?? "").matchingSemantics(.unicodeScalar)
            return text.contains(regex)
        case "format": return Self.isFormat(argument.string ?? "", text)
        default: return true
        }
    }

    private func numberHolds(_ keyword: String, _ bound: Double, _ number: Double) -> Bool {
        switch keyword {
        case "minimum": number >= bound
        case "maximum": number <= bound
        case "exclusiveMinimum": number > bound
        case "exclusiveMaximum": number < bound
        default: true
        }
    }

    private func target(_ pointer: String) throws -> JSON {
        try pointer.split(separator: "/").dropFirst().reduce(document) { value, part in
            let name = part.replacing("~1", with: "/").replacing("~0", with: "~")
            guard let next = value[String(name)] ?? Int(part).flatMap({ value.array?[$0] }) else {
                throw Failure.invalid("no \(pointer)")
            }
            return next
        }
    }

    private static func has(_ value: JSON, _ type: String) -> Bool {
        switch value {
        case .object: type == "object"
        case .array: type == "array"
        case .string: type == "string"
        case .number(let number): type == "number" || (type == "integer" && number == number.rounded())
        case .bool: type == "boolean"
        case .null: type == "null"
        }
    }

    static func same(_ left: JSON, _ right: JSON) -> Bool {
        switch (left, right) {
        case (.object(let one), .object(let other)):
            one.count == other.count
                && one.allSatisfy { member in right[member.key].map { same($0, member.value) } ?? false }
        case (.array(let one), .array(let other)):
            one.count == other.count && zip(one, other).allSatisfy { same($0, $1) }
        case (.string(let one), .string(let other)): one == other
        case (.number(let one), .number(let other)): one == other
        case (.bool(let one), .bool(let other)): one == other
        case (.null, .null): true
        default: false
        }
    }

    private static func isFormat(_ name: String, _ text: String) -> Bool {
        let parts = text.split(separator: "T", omittingEmptySubsequences: false).map(String.init)
        switch name {
        case "date": return isDate(text)
        case "time": return isTime(text)
        case "date-time": return parts.count == 2 && isDate(parts[0]) && isTime(parts[1])
        case "uuid":
            let groups = text.split(separator: "-", omittingEmptySubsequences: false)
            return groups.map(\.count) == [8, 4, 4, 4, 12] && groups.joined().allSatisfy { $0.isASCII && $0.isHexDigit }
        default: return true
        }
    }

    private static func isDate(_ text: String) -> Bool {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.map(\.count) == [4, 2, 2], let year = Int(parts[0]), let month = Int(parts[1]),
            let day = Int(parts[2]), (1...12).contains(month)
        else { return false }
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let days = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
        return (1...days).contains(day)
    }

    private static func isTime(_ text: String) -> Bool {
        let clock = text.prefix(8).split(separator: ":", omittingEmptySubsequences: false)
        guard clock.map(\.count) == [2, 2, 2], let hour = Int(clock[0]), let minute = Int(clock[1]),
            let second = Int(clock[2]), hour < 24, minute < 60, second < 60
        else { return false }
        var rest = text.dropFirst(8)
        if rest.first == "." {
            let digits = rest.dropFirst().prefix { $0.isASCII && $0.isNumber }
            guard !digits.isEmpty else { return false }
            rest = rest.dropFirst(1 + digits.count)
        }
        if rest == "Z" { return true }
        let zone = rest.dropFirst().split(separator: ":", omittingEmptySubsequences: false)
        return (rest.first == "+" || rest.first == "-") && zone.map(\.count) == [2, 2] && Int(zone[0]) ?? 24 < 24
            && Int(zone[1]) ?? 60 < 60
    }
}
