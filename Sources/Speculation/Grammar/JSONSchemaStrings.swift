import Formats

extension JSONSchemaConverter {
    func string(_ schema: SchemaConstraints) throws -> GrammarExpression {
        let (least, most) = try bounds(schema, "minLength", "maxLength")
        let hasBounds = least > 0 || most != nil
        let pattern = try schema.single("pattern", self)
        let format = try schema.single("format", self)
        let isFormat = try format.map { try checkFormat($0.value, $0.path) } ?? false
        guard [hasBounds, pattern != nil, isFormat].count(where: { $0 }) < 2 else {
            throw failure(
                schema.path,
                "only one of length, pattern and format is supported at a time; put a length into the pattern")
        }
        if let pattern {
            guard let text = pattern.value.string else { throw failure(pattern.path, "must be a string") }
            return try self.pattern(text, pattern.path)
        }
        if let format, isFormat, let name = format.value.string { return try self.format(name, format.path) }
        guard hasBounds else { return try anyString() }
        return .sequence([
            .text("\""), .repeated(Self.character, least: least, most: most), .text("\""),
        ])
    }

    func anyString() throws -> GrammarExpression {
        try sharedRule(.string) {
            .sequence([.text("\""), .repeated(Self.character, least: 0, most: nil), .text("\"")])
        }
    }

    // MARK: Characters

    /// One character of a string, in any spelling.
    static var character: GrammarExpression {
        let hexadecimal = GrammarExpression.any(of: "0"..."9", "a"..."f", "A"..."F")
        let low = GrammarExpression.sequence([
            .text("\\u"), .set(CodePointSet("dD")), .any(of: "c"..."f", "C"..."F"), hexadecimal, hexadecimal,
        ])
        let unicode = GrammarExpression.choice([
            .sequence([
                .any(of: "0"..."9", "a"..."c", "A"..."C", "e"..."f", "E"..."F"), hexadecimal, hexadecimal, hexadecimal,
            ]),
            .sequence([.set(CodePointSet("dD")), .any(of: "0"..."7"), hexadecimal, hexadecimal]),
            // Beyond U+FFFF two escapes are one character.
            .sequence([
                .set(CodePointSet("dD")), .any(of: "8"..."9", "a"..."b", "A"..."B"), hexadecimal, hexadecimal, low,
            ]),
        ])
        let escape = GrammarExpression.choice([
            .set(CodePointSet("\"\\/bfnrt")), .sequence([.text("u"), unicode]),
        ])
        return .choice([.set(plain), .sequence([.text("\\"), escape])])
    }

    /// What stands for itself in a string.
    private static let plain = CodePointSet([0...0x1F]).union(CodePointSet("\"\\")).inverted

    private static let shortEscapes: [(scalar: UInt32, letter: String)] = [
        (0x22, "\""), (0x5C, "\\"), (0x08, "b"), (0x09, "t"), (0x0A, "n"), (0x0C, "f"), (0x0D, "r"),
    ]

    /// One character of `set`, in the shortest spelling.
    static func spelled(_ set: CodePointSet) -> GrammarExpression {
        let special = CodePointSet.all.subtracting(plain)
        let itself = set.subtracting(special)
        var spellings: [GrammarExpression] = itself.isEmpty ? [] : [.set(itself)]
        var escapes: [GrammarExpression] = []
        for range in special.ranges {
            for scalar in range where set.contains(scalar) {
                if let short = shortEscapes.first(where: { $0.scalar == scalar }) {
                    escapes.append(.text("\\" + short.letter))
                } else {
                    let digits = String(scalar, radix: 16)
                    escapes.append(.text("\\u" + String(repeating: "0", count: 4 - digits.count) + digits))
                }
            }
        }
        if !escapes.isEmpty { spellings.append(escapes.count == 1 ? escapes[0] : .choice(escapes)) }
        return spellings.count == 1 ? spellings[0] : .choice(spellings)
    }

    // MARK: Patterns and formats

    private func pattern(_ text: String, _ path: String) throws -> GrammarExpression {
        var parser = PatternParser(text)
        do {
            return .sequence([.text("\""), try parser.parse(), .text("\"")])
        } catch let failure as Failure {
            throw failure.prefixed("JSON schema, \(path)")
        }
    }

    private static let formats: [(name: String, pattern: String)] = {
        let month31 = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
        let month30 = "(0[469]|11)-(0[1-9]|[12][0-9]|30)"
        let february = "02-(0[1-9]|1[0-9]|2[0-8])"
        let leap = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29"
        let date = "([0-9]{4}-(\(month31)|\(month30)|\(february))|\(leap))"
        let time = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
        let uuid = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
        return [
            ("date", "^\(date)$"), ("time", "^\(time)$"), ("date-time", "^\(date)T\(time)$"), ("uuid", "^\(uuid)$"),
        ]
    }()

    /// Formats of the specification that cannot be honoured; others, such as "int32", say nothing about strings.
    private static let otherFormats: Set<String> = [
        "duration", "email", "idn-email", "hostname", "idn-hostname", "ipv4", "ipv6", "uri", "uri-reference", "iri",
        "iri-reference", "uri-template", "json-pointer", "relative-json-pointer", "regex",
    ]

    /// Whether the format limits strings.
    private func checkFormat(_ value: JSON, _ path: String) throws -> Bool {
        guard let name = value.string else { throw failure(path, "must be a string") }
        guard !Self.otherFormats.contains(name) else {
            throw failure(path, "the format '\(name)' is not supported; use a pattern, or leave it out")
        }
        return Self.formats.contains { $0.name == name }
    }

    private func format(_ name: String, _ path: String) throws -> GrammarExpression {
        guard let format = Self.formats.first(where: { $0.name == name }) else { return try anyString() }
        return try sharedRule(.format(name)) { try pattern(format.pattern, path) }
    }
}
