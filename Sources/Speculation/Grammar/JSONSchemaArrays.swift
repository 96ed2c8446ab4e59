import Formats

extension JSONSchemaConverter {
    func array(_ schema: SchemaConstraints, depth: Int) throws -> GrammarExpression {
        let (least, most) = try bounds(schema, "minItems", "maxItems")
        let tuples = schema.parts.filter { $0["prefixItems"] != nil || $0["items"]?.array != nil }
        guard tuples.count < 2, tuples.isEmpty || schema.all("items").count < 2 else {
            throw failure(schema.path, "schemas with 'prefixItems' cannot be joined with others about items")
        }
        if let tuple = tuples.first { return try self.tuple(tuple, least, most, depth: depth) }
        let items = schema.all("items").map { RawSchema(value: $0.value, path: $0.path) }
        if items.contains(where: { $0.isFalse }) { return try emptyArray(least, schema.path) }
        if items.isEmpty, least == 0, most == nil { return try anyArray() }
        let item = try rule(convert(items, depth: depth + 1), at: schema.path + "/items")
        return try bracketed("[", list(of: item, least: least, most: most), "]")
    }

    private func emptyArray(_ least: Int, _ path: String) throws -> GrammarExpression {
        guard least == 0 else { throw failure(path, "items is false, but minItems is \(least)") }
        return .text("[]")
    }

    /// An array whose first items have schemas of their own. Without a schema for the rest there is none, unless
    /// `minItems` asks for it.
    private func tuple(_ part: SchemaPart, _ least: Int, _ most: Int?, depth: Int) throws -> GrammarExpression {
        let keyword = part["prefixItems"] != nil ? "prefixItems" : "items"
        let rest = part[keyword == "items" ? "additionalItems" : "items"]
        let path = part.path + "/" + keyword
        guard let schemas = part[keyword]?.array, rest?.array == nil else {
            throw failure(path, "must be an array of schemas, and 'items' beside it one schema")
        }
        let items = try schemas.prefix(most ?? schemas.count).enumerated().map { index, value in
            try rule(
                convert([RawSchema(value: value, path: "\(path)/\(index)")], depth: depth + 1),
                at: "\(path)/\(index)")
        }
        var tail = GrammarExpression.empty
        let restLeast = max(0, least - items.count)
        let restMost = most.map { max(0, $0 - items.count) }
        let isClosed = rest.map { $0.bool == false } ?? (restLeast == 0)
        if isClosed, restLeast > 0 { throw failure(path, "no items may follow, but minItems is \(least)") }
        if !isClosed, restMost != 0 {
            let schemas = rest.map { [RawSchema(value: $0, path: part.path + "/items")] } ?? []
            let item = try rule(convert(schemas, depth: depth + 1), at: part.path + "/items")
            guard !items.isEmpty else {
                return try bracketed("[", list(of: item, least: restLeast, most: restMost), "]")
            }
            tail = .repeated(try follower(item), least: restLeast, most: restMost)
        }
        for index in items.indices.reversed() {
            let next = index == 0 ? items[0] : try follower(items[index])
            let all = GrammarExpression.sequence([next, tail])
            tail = try rule(index < least ? all : .optional(all), at: path)
        }
        return try bracketed("[", tail, "]")
    }

    /// The tightest of the lower and of the upper bounds, which count something.
    func bounds(_ schema: SchemaConstraints, _ lower: String, _ upper: String) throws -> (Int, Int?) {
        func count(_ value: JSON, _ path: String) throws -> Int {
            guard let count = value.int, count >= 0 else { throw failure(path, "must be a whole number, 0 or more") }
            guard count <= GrammarLimits.repetitions else {
                throw failure(path, "is \(count); at most \(GrammarLimits.repetitions) is supported")
            }
            return count
        }
        let least = try schema.all(lower).map { try count($0.value, $0.path) }.max() ?? 0
        let most = try schema.all(upper).map { try count($0.value, $0.path) }.min()
        if let most, most < least {
            throw failure(schema.path, "\(lower) \(least) is more than \(upper) \(most)")
        }
        return (least, most)
    }
}
