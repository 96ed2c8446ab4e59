import Formats

/// The types of JSON schema.
enum JSONType: String, CaseIterable {
    case object, array, string, number, integer, boolean, null

    func contains(_ value: JSON) -> Bool {
        switch (self, value) {
        case (.object, .object), (.array, .array), (.string, .string), (.number, .number), (.boolean, .bool),
            (.null, .null):
            true
        case (.integer, .number(let number)): number == number.rounded(.towardZero)
        default: false
        }
    }

    func overlaps(_ other: JSONType) -> Bool {
        self == other || (self == .number && other == .integer) || (self == .integer && other == .number)
    }

    /// The keywords that say something about values of this type.
    var keywords: Set<String> {
        switch self {
        case .object: ["properties", "required", "additionalProperties"]
        case .array: ["items", "prefixItems", "additionalItems", "minItems", "maxItems"]
        case .string: ["minLength", "maxLength", "pattern", "format"]
        case .number, .integer: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]
        case .boolean, .null: []
        }
    }
}

/// What several schema objects say together.
struct SchemaConstraints {
    struct Property {
        let name: String
        var schemas: [RawSchema]
    }

    let path: String
    let parts: [SchemaPart]
    /// The types that are named; nil when none are.
    private(set) var explicitTypes: Set<JSONType>?
    /// The types of what is made, in a fixed order.
    private(set) var types: [JSONType] = []
    /// In the order in which they are declared.
    private(set) var properties: [Property] = []
    private(set) var required: [String] = []
    /// What members beyond `properties` must satisfy; nil when there are to be none.
    private(set) var additional: [RawSchema]?
    /// Whether the schema rules out such members.
    private(set) var isClosed = false

    init(_ parts: [SchemaPart], _ converter: JSONSchemaConverter) throws {
        self.parts = parts
        path = parts.first?.path ?? "#"
        try converter.charge(path, parts.reduce(0) { $0 + $1.keywords.count })
        try collectTypes(converter)
        try collectProperties(converter)
        try collectRequired(converter)
        try collectAdditional(converter)
    }

    /// The values of a keyword, with the places where they are written.
    func all(_ name: String) -> [(value: JSON, path: String)] {
        parts.compactMap { part in part[name].map { ($0, part.path + "/" + name) } }
    }

    /// The value of a keyword that may be given once, or several times alike.
    func single(_ name: String, _ converter: JSONSchemaConverter) throws -> (value: JSON, path: String)? {
        let values = all(name)
        guard let first = values.first else { return nil }
        guard values.allSatisfy({ JSONSchemaConverter.areEqual($0.value, first.value) }) else {
            throw converter.failure(first.path, "schemas with different '\(name)' cannot be joined; write one of them")
        }
        return first
    }

    // MARK: Types

    private mutating func collectTypes(_ converter: JSONSchemaConverter) throws {
        for (value, path) in all("type") {
            let names = value.array ?? [value]
            let listed = try names.map { name -> JSONType in
                guard let type = name.string.flatMap({ JSONType(rawValue: $0) }) else {
                    throw converter.failure(
                        path, "must be one of \(JSONType.allCases.map(\.rawValue).joined(separator: ", ")), or a list")
                }
                return type
            }
            let accepted = Set(listed.contains(.number) ? listed + [.integer] : listed)
            explicitTypes = explicitTypes?.intersection(accepted) ?? accepted
        }
        var made = explicitTypes ?? inferredTypes
        if made.contains(.number) { made.remove(.integer) }
        types = JSONType.allCases.filter { made.contains($0) }
        guard !types.isEmpty else { throw converter.failure(path, "no type satisfies all of the schemas") }
    }

    /// A schema that says how objects are, but not that it wants one, means objects.
    private var inferredTypes: Set<JSONType> {
        let names = Set(parts.flatMap { $0.keywords.map(\.name) })
        let meant = JSONType.allCases.filter { !$0.keywords.isDisjoint(with: names) }
        return Set(meant.isEmpty ? JSONType.allCases : meant)
    }

    // MARK: Constants

    /// The values that `enum` and `const` leave; nil where there is neither.
    func permittedValues(_ converter: JSONSchemaConverter) throws -> [JSON]? {
        var lists: [[JSON]] = all("const").map { [$0.value] }
        for (value, path) in all("enum") {
            guard let values = value.array else { throw converter.failure(path, "must be an array") }
            lists.append(values)
        }
        guard var values = lists.first else { return nil }
        for list in lists.dropFirst() {
            try converter.charge(path, 1 + values.count * list.count / 16)
            values = values.filter { value in list.contains { JSONSchemaConverter.areEqual($0, value) } }
        }
        values = values.filter { value in
            explicitTypes?.contains { $0.contains(value) } ?? true
        }
        let names = Set(parts.flatMap { $0.keywords.map(\.name) })
        for type in JSONType.allCases where values.contains(where: { type.contains($0) }) {
            if let name = type.keywords.intersection(names).min() {
                throw converter.failure(
                    path, "'\(name)' beside enum or const is not supported; leave out the values that it rules out")
            }
        }
        guard !values.isEmpty else { throw converter.failure(path, "no value satisfies enum, const and type") }
        return values
    }

    // MARK: Members

    private mutating func collectProperties(_ converter: JSONSchemaConverter) throws {
        var indices: [[UInt8]: Int] = [:]
        for (value, path) in all("properties") {
            guard let members = value.members else { throw converter.failure(path, "must be an object of schemas") }
            try converter.charge(path, members.count)
            var own: Set<[UInt8]> = []
            for member in members {
                let key = Array(member.key.utf8)
                guard own.insert(key).inserted else {
                    throw converter.failure(path, "the property '\(member.key)' occurs twice")
                }
                let schema = RawSchema(value: member.value, path: JSONSchemaConverter.path(path, member.key))
                if let index = indices[key] {
                    properties[index].schemas.append(schema)
                } else {
                    indices[key] = properties.count
                    properties.append(Property(name: member.key, schemas: [schema]))
                }
            }
        }
    }

    private mutating func collectRequired(_ converter: JSONSchemaConverter) throws {
        var known = Set(properties.map { Array($0.name.utf8) })
        var listed: Set<[UInt8]> = []
        for (value, path) in all("required") {
            guard let names = value.array else { throw converter.failure(path, "must be an array of names") }
            try converter.charge(path, names.count)
            for name in names {
                guard let name = name.string else { throw converter.failure(path, "must be an array of names") }
                if listed.insert(Array(name.utf8)).inserted { required.append(name) }
                if known.insert(Array(name.utf8)).inserted { properties.append(Property(name: name, schemas: [])) }
            }
        }
    }

    /// `additionalProperties` of a part speaks of the members that this part does not declare itself.
    private mutating func collectAdditional(_ converter: JSONSchemaConverter) throws {
        let wanted = Set(required.map { Array($0.utf8) })
        var isOpen = false
        var schemas: [RawSchema] = []
        for part in parts {
            guard let value = part["additionalProperties"] else { continue }
            isOpen = true
            let path = part.path + "/additionalProperties"
            let own = Set((part["properties"]?.members ?? []).map { Array($0.key.utf8) })
            try converter.charge(path, properties.count)
            if value.bool == false {
                isClosed = true
                if let name = required.first(where: { !own.contains(Array($0.utf8)) }) {
                    throw converter.failure(path, "is false, but '\(name)' is required and not among the properties")
                }
                properties.removeAll { !own.contains(Array($0.name.utf8)) && !wanted.contains(Array($0.name.utf8)) }
            } else {
                let schema = RawSchema(value: value, path: path)
                schemas.append(schema)
                for index in properties.indices where !own.contains(Array(properties[index].name.utf8)) {
                    properties[index].schemas.append(schema)
                }
            }
        }
        let declares = parts.contains { $0["properties"] != nil }
        if !isClosed, isOpen || !declares { additional = schemas }
    }
}
