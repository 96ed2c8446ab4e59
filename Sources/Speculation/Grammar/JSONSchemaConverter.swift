import Formats

/// Makes the rules of a grammar from a JSON schema. What the grammar matches satisfies the schema; a keyword that it
/// cannot honour is an error. The reverse does not hold: members come in one order, numbers have at most 16 digits and
/// members beyond the declared ones are only allowed where the schema says so.
final class JSONSchemaConverter {
    /// Rules that many schemas need.
    enum Shared: Hashable {
        case space, value, object, array, string, character, integer, number, fraction, boolean
        case format(String)
    }

    private let document: JSON
    let compact: Bool
    private(set) var rules: [GrammarRule] = []
    private var shared: [Shared: Int] = [:]
    /// The rules of what `$ref` names, by pointer; those in `pending` have no body yet.
    private var references: [[UInt8]: Int] = [:]
    private var pending: [(pointer: String, rule: Int)] = []
    private var steps = 0

    /// Schemas that are looked at, again for each way they are combined.
    private static let maximumSteps = 1 << 16

    init(document: JSON, compact: Bool) {
        self.document = document
        self.compact = compact
    }

    func convertDocument() throws -> Int {
        let root = try reference("#", at: "#")
        while let (pointer, rule) = pending.popLast() {
            let schema = RawSchema(value: try resolve(pointer, at: pointer), path: pointer)
            let body = try convert([schema], depth: 0)
            rules[rule].body = body
        }
        return root
    }

    // MARK: Rules

    /// Makes a rule of `body`, unless it is one.
    func rule(_ body: GrammarExpression, at path: String) throws -> GrammarExpression {
        if case .rule = body { return body }
        return .rule(try add(body, at: path))
    }

    func add(_ body: GrammarExpression, at path: String) throws -> Int {
        guard rules.count < GrammarLimits.rules else {
            throw failure(path, "the schema takes more than \(GrammarLimits.rules) rules; make it smaller")
        }
        rules.append(GrammarRule(name: path, place: nil, body: body))
        return rules.count - 1
    }

    /// The rule `kind`; `make` gives its body, which may refer to it.
    func sharedRule(_ kind: Shared, _ make: () throws -> GrammarExpression) throws -> GrammarExpression {
        if let index = shared[kind] { return .rule(index) }
        let index = try add(.empty, at: "\(kind)")
        shared[kind] = index
        let body = try make()
        rules[index].body = body
        return .rule(index)
    }

    /// The path of what lies at `name` below `path`; shortened where names are so long that many paths would fill memory.
    static func path(_ path: String, _ name: String) -> String {
        let parent = path.utf8.count > 400 ? String(path.unicodeScalars.prefix(100)) + "/..." : path
        return parent + "/" + (name.utf8.count > 100 ? String(name.unicodeScalars.prefix(100)) + "..." : name)
    }

    func failure(_ path: String, _ what: String) -> Failure { Failure.invalid("JSON schema, \(path): \(what)") }

    /// Counts the work, which combinations can multiply.
    func charge(_ path: String, _ count: Int = 1) throws {
        steps += count
        guard steps <= Self.maximumSteps else {
            throw failure(path, "the schema takes more than \(Self.maximumSteps) steps to convert; make it smaller")
        }
    }

    // MARK: References

    /// The rule of what `pointer` names.
    func reference(_ pointer: String, at path: String) throws -> Int {
        let key = Array(pointer.utf8)
        if let known = references[key] { return known }
        _ = try resolve(pointer, at: path)
        let index = try add(.empty, at: pointer)
        references[key] = index
        pending.append((pointer, index))
        return index
    }

    /// What a JSON pointer within the document, such as "#/$defs/name", names.
    func resolve(_ pointer: String, at path: String) throws -> JSON {
        let parts = pointer.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard parts.first?.elementsEqual("#".utf8) == true else {
            throw failure(path, "$ref '\(pointer)' leads out of the schema; only '#/...' is supported")
        }
        var value = document
        for part in parts.dropFirst() {
            let key = Self.unescaped(Array(part))
            if let member = value.members?.first(where: { $0.key.utf8.elementsEqual(key) }) {
                value = member.value
            } else if let elements = value.array, let index = Int(String(decoding: key, as: UTF8.self)),
                elements.indices.contains(index)
            {
                value = elements[index]
            } else {
                throw failure(path, "$ref '\(pointer)' names nothing in the schema")
            }
        }
        return value
    }

    /// Undoes %41, ~1 and ~0.
    private static func unescaped(_ part: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = part[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        var result: [UInt8] = []
        rest = bytes[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "~"), let next = rest.first, next == 0x30 || next == 0x31 {
                result.append(next == 0x30 ? UInt8(ascii: "~") : UInt8(ascii: "/"))
                rest = rest.dropFirst()
            } else {
                result.append(byte)
            }
        }
        return result
    }

    // MARK: Conversion

    /// What satisfies all of `schemas`. `depth`: how many schemas this is within.
    func convert(_ schemas: [RawSchema], depth: Int) throws -> GrammarExpression {
        let path = schemas.last?.path ?? "#"
        guard depth < GrammarLimits.nesting else {
            throw failure(path, "schemas are nested deeper than \(GrammarLimits.nesting) levels; use $ref")
        }
        var parts = try parts(of: schemas)
        guard let first = parts.first else { return try anyValue() }
        if parts.count == 1, let pointer = first.loneReference { return .rule(try reference(pointer, at: path)) }
        parts = try expandReferences(parts)
        for keyword in ["anyOf", "oneOf"] {
            if let at = parts.firstIndex(where: { $0[keyword] != nil }) {
                return try convertAlternatives(parts, at, keyword, depth: depth)
            }
        }
        return try convertPlain(SchemaConstraints(parts, self), depth: depth)
    }

    private func convertAlternatives(
        _ parts: [SchemaPart], _ at: Int, _ keyword: String, depth: Int
    ) throws -> GrammarExpression {
        let path = parts[at].path + "/" + keyword
        guard let branches = parts[at][keyword]?.array, !branches.isEmpty else {
            throw failure(path, "must be an array of schemas, at least one")
        }
        let raw = branches.enumerated().map { RawSchema(value: $1, path: Self.path(path, "\($0)")) }
        if keyword == "oneOf" { try checkDisjoint(raw) }
        var rest = parts
        rest[at].remove(keyword)
        let context = rest.filter { !$0.isEmpty }
        let alternatives = try raw.map { branch -> GrammarExpression in
            try charge(branch.path, 1 + context.count)
            return try rule(
                convert(context.map { RawSchema(part: $0) } + [branch], depth: depth + 1), at: branch.path)
        }
        return alternatives.count == 1 ? alternatives[0] : .choice(alternatives)
    }

    private func convertPlain(_ schema: SchemaConstraints, depth: Int) throws -> GrammarExpression {
        if let values = try schema.permittedValues(self) { return try constants(values, at: schema.path) }
        let alternatives = try schema.types.map { type -> GrammarExpression in
            switch type {
            case .object: try object(schema, depth: depth)
            case .array: try array(schema, depth: depth)
            case .string: try string(schema)
            case .number: try number(schema)
            case .integer: try integer(schema)
            case .boolean: try sharedRule(.boolean) { .choice([.text("true"), .text("false")]) }
            case .null: .text("null")
            }
        }
        guard alternatives.count != 1 else { return alternatives[0] }
        return .choice(try alternatives.map { try rule($0, at: schema.path) })
    }

    // MARK: Any value

    /// What may stand between the parts of a value.
    func space() throws -> GrammarExpression {
        if compact { return .empty }
        return try sharedRule(.space) {
            let blank = GrammarExpression.set(CodePointSet(" \t"))
            return .optional(.choice([.text(" "), .sequence([.text("\n"), .repeated(blank, least: 0, most: 20)])]))
        }
    }

    func anyValue() throws -> GrammarExpression {
        try sharedRule(.value) {
            .choice([
                try anyObject(), try anyArray(), try anyString(), try anyNumber(), .text("true"), .text("false"),
                .text("null"),
            ])
        }
    }

    func anyObject() throws -> GrammarExpression {
        try sharedRule(.object) {
            let member = try member(key: anyString(), value: anyValue())
            return try bracketed("{", list(of: member, least: 0, most: nil), "}")
        }
    }

    func anyArray() throws -> GrammarExpression {
        try sharedRule(.array) { try bracketed("[", list(of: anyValue(), least: 0, most: nil), "]") }
    }

    func member(key: GrammarExpression, value: GrammarExpression) throws -> GrammarExpression {
        .sequence([key, .text(":"), try space(), value])
    }

    func bracketed(_ open: String, _ body: GrammarExpression, _ close: String) throws -> GrammarExpression {
        if compact { return .sequence([.text(open), body, .text(close)]) }
        return .sequence([.text(open), try space(), body, try space(), .text(close)])
    }

    /// `item`, separated by commas.
    func list(of item: GrammarExpression, least: Int, most: Int?) throws -> GrammarExpression {
        guard most != 0 else { return .empty }
        let more = GrammarExpression.repeated(
            try follower(item), least: max(0, least - 1), most: most.map { $0 - 1 })
        let all = GrammarExpression.sequence([item, more])
        return least > 0 ? all : .optional(all)
    }

    /// `item` behind another one.
    func follower(_ item: GrammarExpression) throws -> GrammarExpression {
        .sequence([.text(","), try space(), item])
    }
}
