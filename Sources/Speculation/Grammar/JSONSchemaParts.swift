import Formats

/// A schema as it is written, and where; or what is left of one.
struct RawSchema {
    enum Content {
        case written(JSON)
        case rest(SchemaPart)
    }

    let content: Content
    let path: String

    init(value: JSON, path: String) {
        content = .written(value)
        self.path = path
    }

    init(part: SchemaPart) {
        content = .rest(part)
        path = part.path
    }
}

/// The keywords of one schema object that say what is valid.
struct SchemaPart {
    let path: String
    private(set) var keywords: [(name: String, value: JSON)]

    /// Say nothing about what is valid, or are used from elsewhere.
    private static let annotations: Set<String> = [
        "title", "description", "default", "example", "examples", "deprecated", "readOnly", "writeOnly", "$schema",
        "$id", "id", "$comment", "$anchor", "$vocabulary", "$defs", "definitions", "contentEncoding",
        "contentMediaType", "contentSchema", "discriminator",
    ]
    private static let supported: Set<String> = [
        "$ref", "allOf", "anyOf", "oneOf", "enum", "const", "type", "properties", "required", "additionalProperties",
        "items", "prefixItems", "additionalItems", "minItems", "maxItems", "minLength", "maxLength", "pattern",
        "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    ]

    init(_ members: [JSON.Member], path: String, _ converter: JSONSchemaConverter) throws {
        self.path = path
        keywords = []
        for member in members where !Self.annotations.contains(member.key) && !member.key.hasPrefix("x-") {
            guard Self.supported.contains(member.key) else {
                throw converter.failure(
                    path, "the keyword '\(member.key)' is not supported; remove it, or say the same with others")
            }
            guard self[member.key] == nil else {
                throw converter.failure(path, "the keyword '\(member.key)' occurs twice; remove one")
            }
            keywords.append((member.key, member.value))
        }
    }

    subscript(name: String) -> JSON? { keywords.first { $0.name == name }?.value }

    var isEmpty: Bool { keywords.isEmpty }

    /// What the schema refers to when it says nothing else.
    var loneReference: String? { keywords.count == 1 ? self["$ref"]?.string : nil }

    mutating func remove(_ name: String) { keywords.removeAll { $0.name == name } }
}

extension JSONSchemaConverter {
    /// The parts that all must hold, without those that say nothing; `allOf` is taken apart.
    func parts(of schemas: [RawSchema]) throws -> [SchemaPart] {
        var result: [SchemaPart] = []
        // The next one last.
        var waiting = schemas.reversed().map { (schema: $0, depth: 0) }
        while let (schema, depth) = waiting.popLast() {
            try charge(schema.path, 1 + result.count / 16)
            guard depth < GrammarLimits.nesting else {
                throw failure(schema.path, "allOf is nested deeper than \(GrammarLimits.nesting) levels")
            }
            guard var part = try part(of: schema) else { continue }
            if let all = part["allOf"] {
                let path = part.path + "/allOf"
                guard let schemas = all.array, !schemas.isEmpty else {
                    throw failure(path, "must be an array of schemas, at least one")
                }
                part.remove("allOf")
                for (index, value) in schemas.enumerated().reversed() {
                    waiting.append((RawSchema(value: value, path: Self.path(path, "\(index)")), depth + 1))
                }
            }
            if !part.isEmpty, !result.contains(where: { Self.areEqual($0, part) }) { result.append(part) }
        }
        return result
    }

    /// nil for a schema that allows everything.
    private func part(of schema: RawSchema) throws -> SchemaPart? {
        switch schema.content {
        case .rest(let part): return part
        case .written(.bool(true)): return nil
        case .written(.bool(false)): throw failure(schema.path, "the schema 'false' allows nothing here")
        case .written(.object(let members)): return try SchemaPart(members, path: schema.path, self)
        case .written: throw failure(schema.path, "a schema must be an object, true or false")
        }
    }

    private static func areEqual(_ left: SchemaPart, _ right: SchemaPart) -> Bool {
        left.keywords.count == right.keywords.count
            && left.keywords.allSatisfy { keyword in
                right[keyword.name].map { areEqual($0, keyword.value) } ?? false
            }
    }

    /// Puts what `$ref` names in its place, where other keywords stand beside it.
    func expandReferences(_ parts: [SchemaPart]) throws -> [SchemaPart] {
        var parts = parts
        var rounds = 0
        while let at = parts.firstIndex(where: { $0["$ref"] != nil }) {
            rounds += 1
            let path = parts[at].path
            guard rounds <= GrammarLimits.nesting else { throw failure(path, "$ref leads to itself without an end") }
            guard let pointer = parts[at]["$ref"]?.string else { throw failure(path, "$ref must be a string") }
            parts[at].remove("$ref")
            let target = RawSchema(value: try resolve(pointer, at: path), path: pointer)
            parts = try self.parts(of: parts.map { RawSchema(part: $0) } + [target])
        }
        return parts
    }

    // MARK: oneOf

    /// What can be told about the values of a schema without looking far.
    private struct Outline {
        /// What values made from the schema can be, and what it accepts.
        let made: Set<JSONType>
        let accepted: Set<JSONType>
        let constants: [JSON]?
        let required: [String]
        /// The values of members that have few.
        let memberConstants: [(name: String, values: [JSON])]
        /// The names that members can have, made from the schema or accepted by it; nil when any.
        let madeNames: [String]?
        let acceptedNames: [String]?
    }

    /// Exactly one branch of `oneOf` may hold, so what one makes must not satisfy another.
    func checkDisjoint(_ branches: [RawSchema]) throws {
        let outlines = try branches.map { try outline(of: $0) }
        for left in outlines.indices {
            for right in outlines.indices where left != right {
                try charge(branches[left].path)
                guard try excludes(outlines[left], outlines[right]) else {
                    throw failure(
                        branches[left].path,
                        "may hold together with \(branches[right].path), which oneOf rules out; "
                            + "use anyOf, or a required property with different constants")
                }
            }
        }
    }

    private func outline(of schema: RawSchema) throws -> Outline? {
        let parts = try expandReferences(parts(of: [schema]))
        guard !parts.contains(where: { $0["anyOf"] != nil || $0["oneOf"] != nil }) else { return nil }
        let merged = try SchemaConstraints(parts, self)
        let names = merged.properties.map(\.name)
        return Outline(
            made: Set(merged.types), accepted: merged.explicitTypes ?? Set(JSONType.allCases),
            constants: try merged.permittedValues(self), required: merged.required,
            memberConstants: try merged.properties.compactMap { property in
                try constantValues(of: property.schemas).map { (property.name, $0) }
            },
            madeNames: merged.additional == nil ? names : nil,
            acceptedNames: merged.isClosed ? names : nil)
    }

    private func constantValues(of schemas: [RawSchema]) throws -> [JSON]? {
        guard !schemas.contains(where: { $0.isFalse }) else { return nil }
        let parts = try expandReferences(parts(of: schemas))
        guard !parts.contains(where: { $0["anyOf"] != nil || $0["oneOf"] != nil }) else { return nil }
        guard parts.contains(where: { $0["const"] != nil || $0["enum"] != nil }) else { return nil }
        return try SchemaConstraints(parts, self).permittedValues(self)
    }

    /// Whether no value made from `left` satisfies `right`.
    private func excludes(_ left: Outline?, _ right: Outline?) throws -> Bool {
        guard let left, let right else { return false }
        if let values = left.constants {
            if let others = right.constants { return try areDisjoint(values, others) }
            return values.allSatisfy { value in !right.accepted.contains { $0.contains(value) } }
        }
        if left.made.allSatisfy({ type in !right.accepted.contains { $0.overlaps(type) } }) { return true }
        if let others = right.constants {
            return others.allSatisfy { value in !left.made.contains { $0.contains(value) } }
        }
        guard left.made == [.object] else { return false }
        return try excludesObjects(left, right)
    }

    private func excludesObjects(_ left: Outline, _ right: Outline) throws -> Bool {
        func lists(_ names: [String], _ name: String) -> Bool { names.contains { $0.utf8.elementsEqual(name.utf8) } }
        if let names = left.madeNames, right.required.contains(where: { !lists(names, $0) }) { return true }
        if let names = right.acceptedNames, left.required.contains(where: { !lists(names, $0) }) { return true }
        return try left.memberConstants.contains { member in
            try lists(left.required, member.name)
                && right.memberConstants.contains { other in
                    try other.name.utf8.elementsEqual(member.name.utf8) && areDisjoint(member.values, other.values)
                }
        }
    }

    private func areDisjoint(_ left: [JSON], _ right: [JSON]) throws -> Bool {
        try charge("oneOf", 1 + left.count * right.count / 16)
        return left.allSatisfy { value in !right.contains { Self.areEqual($0, value) } }
    }
}
