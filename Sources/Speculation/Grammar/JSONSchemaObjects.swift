import Formats

extension JSONSchemaConverter {
    /// The members of `properties` in their order, then others where they are allowed.
    func object(_ schema: SchemaConstraints, depth: Int) throws -> GrammarExpression {
        if schema.properties.isEmpty, let additional = schema.additional, additional.isEmpty { return try anyObject() }
        var properties = schema.properties
        let required = Set(schema.required.map { Array($0.utf8) })
        let isRequired = { (name: String) in required.contains(Array(name.utf8)) }
        // A property that may not be there is left out.
        properties.removeAll { property in
            !isRequired(property.name) && property.schemas.contains { $0.isFalse }
        }
        let members = try properties.map { property -> GrammarExpression in
            let path = property.schemas.first?.path ?? schema.path + "/required"
            let value = try rule(convert(property.schemas, depth: depth + 1), at: path)
            return try member(key: .literal(Self.quoted(property.name)), value: value)
        }
        let others = try additionalMember(schema, depth: depth)
        let body = try memberList(
            members, isRequired: properties.map { isRequired($0.name) }, others: others, at: schema.path)
        return try bracketed("{", body, "}")
    }

    private func additionalMember(_ schema: SchemaConstraints, depth: Int) throws -> GrammarExpression? {
        guard let additional = schema.additional else { return nil }
        let path = additional.first?.path ?? schema.path
        let key = try schema.properties.isEmpty ? anyString() : key(except: schema.properties.map(\.name), at: path)
        return try member(key: key, value: rule(convert(additional, depth: depth + 1), at: path))
    }

    /// Any of the members that are not required may be missing; commas stand between those that are there. Commas come
    /// before the choice of a member, so that few ways are to be followed until its key.
    private func memberList(
        _ members: [GrammarExpression], isRequired: [Bool], others: GrammarExpression?, at path: String
    ) throws -> GrammarExpression {
        var optional = 0
        for flag in isRequired {
            optional = flag ? 0 : optional + 1
            guard optional <= Self.maximumOptional else {
                throw failure(path, "more than \(Self.maximumOptional) properties in a row are optional; require some")
            }
        }
        // What starts with member i or a later one, and what may follow member i.
        var start: GrammarExpression?
        var rest = GrammarExpression.empty
        if let others {
            rest = .repeated(try follower(others), least: 0, most: nil)
            start = .sequence([others, rest])
        }
        var mayEnd = true
        for index in members.indices.reversed() {
            let here = GrammarExpression.sequence([members[index], rest])
            let all = start.map { isRequired[index] ? here : .choice([here, $0]) } ?? here
            let current = try rule(all, at: path)
            start = current
            mayEnd = mayEnd && !isRequired[index]
            let next = try follower(current)
            rest = try rule(mayEnd ? .optional(next) : next, at: path)
        }
        guard let start else { return .empty }
        return mayEnd ? .optional(start) : start
    }

    private static let maximumOptional = 512

    // MARK: Keys

    /// A key other than `names`. Each character is spelled in one way only, so that no other spelling hides a name.
    private func key(except names: [String], at path: String) throws -> GrammarExpression {
        let unit = try sharedRule(.character) { Self.spelled(.all) }
        let anything = GrammarExpression.repeated(unit, least: 0, most: nil)
        let tree = NameTree(names)
        try charge(path, tree.nodes.count)
        var rules = [GrammarExpression](repeating: .empty, count: tree.nodes.count)
        // Children come after their parents.
        for (index, node) in tree.nodes.enumerated().reversed() {
            let children = CodePointSet(node.children.keys.map { $0...$0 })
            var alternatives = node.isEnd ? [] : [GrammarExpression.empty]
            alternatives.append(.sequence([Self.spelled(children.inverted), anything]))
            for (scalar, child) in node.children.sorted(by: { $0.key < $1.key }) {
                alternatives.append(.sequence([Self.spelled(CodePointSet([scalar...scalar])), rules[child]]))
            }
            rules[index] = .rule(try add(.choice(alternatives), at: path))
        }
        return .sequence([.text("\""), rules[0], .text("\"")])
    }

    /// Names as a tree of the code points that they begin with.
    private struct NameTree {
        struct Node {
            var children: [UInt32: Int] = [:]
            var isEnd = false
        }

        private(set) var nodes = [Node()]

        init(_ names: [String]) {
            for name in names {
                var at = 0
                for scalar in name.unicodeScalars {
                    if let child = nodes[at].children[scalar.value] {
                        at = child
                    } else {
                        nodes[at].children[scalar.value] = nodes.count
                        at = nodes.count
                        nodes.append(Node())
                    }
                }
                nodes[at].isEnd = true
            }
        }
    }
}

extension RawSchema {
    var isFalse: Bool { if case .written(.bool(false)) = content { true } else { false } }
}
