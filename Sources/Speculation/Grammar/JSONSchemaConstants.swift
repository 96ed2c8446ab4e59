import Formats

extension JSONSchemaConverter {
    func constants(_ values: [JSON], at path: String) throws -> GrammarExpression {
        try charge(path, values.count)
        let alternatives = try values.map { try constant($0, at: path) }
        return alternatives.count == 1 ? alternatives[0] : .choice(alternatives)
    }

    /// A value as JSON text, with room for space where a value has it.
    private func constant(_ value: JSON, at path: String) throws -> GrammarExpression {
        try charge(path)
        switch value {
        case .null: return .text("null")
        case .bool(let flag): return .text(flag ? "true" : "false")
        case .number(let number):
            guard number.isFinite else { throw failure(path, "a number is too large") }
            return .text(Int(exactly: number).map { String($0) } ?? "\(number)")
        case .string(let text): return .literal(Self.quoted(text))
        case .array(let elements):
            return try bracketed("[", sequence(elements.map { try constant($0, at: path) }), "]")
        case .object(let members):
            let parts = try members.map { member -> GrammarExpression in
                try self.member(key: .literal(Self.quoted(member.key)), value: constant(member.value, at: path))
            }
            return try bracketed("{", sequence(parts), "}")
        }
    }

    private func sequence(_ items: [GrammarExpression]) throws -> GrammarExpression {
        .sequence(try items.enumerated().map { try $0 == 0 ? $1 : follower($1) })
    }

    /// `text` as a JSON string, in the shortest spelling.
    static func quoted(_ text: String) -> [UInt8] {
        var bytes: [UInt8] = [0x22]
        for scalar in text.unicodeScalars {
            if scalar.value >= 0x20, scalar != "\"", scalar != "\\" {
                bytes.append(contentsOf: Array(String(Character(scalar)).utf8))
            } else if case .literal(let escape) = spelled(CodePointSet([scalar.value...scalar.value])) {
                bytes.append(contentsOf: escape)
            }
        }
        return bytes + [0x22]
    }

    /// Whether two values are the same for JSON schema: the order of members does not count.
    static func areEqual(_ left: JSON, _ right: JSON) -> Bool {
        switch (left, right) {
        case (.null, .null): return true
        case (.bool(let one), .bool(let other)): return one == other
        case (.number(let one), .number(let other)): return one == other
        case (.string(let one), .string(let other)): return one.utf8.elementsEqual(other.utf8)
        case (.array(let one), .array(let other)):
            return one.count == other.count && zip(one, other).allSatisfy { areEqual($0, $1) }
        case (.object(let one), .object(let other)):
            return one.count == other.count
                && zip(sorted(one), sorted(other)).allSatisfy { member, twin in
                    member.key.utf8.elementsEqual(twin.key.utf8) && areEqual(member.value, twin.value)
                }
        default: return false
        }
    }

    private static func sorted(_ members: [JSON.Member]) -> [JSON.Member] {
        members.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    }
}
