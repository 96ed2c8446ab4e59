import Formats
import Speculation
import TestSupport
import Testing

/// Whatever is chosen among the allowed tokens, the text is JSON and satisfies the schema.
@Suite struct GrammarWalkTests {
    private static let larger = [
        ##"""
        {"title": "Person", "type": "object", "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 20},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "email": {"type": ["string", "null"]}, "id": {"type": "string", "format": "uuid"},
            "born": {"type": "string", "format": "date"}, "seen": {"type": "string", "format": "date-time"},
            "score": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
            "tags": {"type": "array", "items": {"enum": ["a", "b", "ab", "c d"]}, "maxItems": 4},
            "code": {"pattern": "^[A-Z]{2}-(\\d{3}|x+)$"}, "friends": {"type": "array", "items": {"$ref": "#"}}},
         "required": ["name", "age", "id", "code"], "additionalProperties": false}
        """##,
        ##"""
        {"$defs": {"shape": {"oneOf": [{"$ref": "#/$defs/circle"}, {"$ref": "#/$defs/group"}]},
            "circle": {"type": "object", "properties": {"type": {"const": "circle"}, "r": {"type": "number",
                "exclusiveMinimum": 0}}, "required": ["type", "r"]},
            "group": {"type": "object", "properties": {"type": {"const": "group"}, "parts": {"type": "array",
                "items": {"$ref": "#/$defs/shape"}, "minItems": 1}}, "required": ["type", "parts"],
                "additionalProperties": {"type": "boolean"}}},
         "$ref": "#/$defs/shape"}
        """##,
    ]

    /// Tokens in the order in which they bring a text to its end; within strings the quote comes first.
    private static let closing: [[UInt8]] = ["}", "]", "\"", "0", ":", "Z", "-"].map { Array($0.utf8) }

    private static func walk(_ mask: GrammarMask, _ tokens: [[UInt8]], _ random: inout SplitMix64) throws -> [UInt8] {
        var constraint = GrammarConstraint(mask)
        var text: [UInt8] = []
        let free = random.int(1..<80)
        for step in 0..<3000 {
            let allowed = try constraint.allowed()
            if allowed.contains(0), step > free || random.int(0..<4) == 0 { return text }
            var choices = tokens.indices.filter { $0 > 0 && allowed.contains(Int32($0)) }
            if choices.isEmpty { return text }
            if step > free {
                let isString = allowed.contains(tokens.firstIndex(of: Array("q".utf8)).map { Int32($0) } ?? 0)
                let wanted = isString ? [Array("\"".utf8)] : closing
                if let close = wanted.first(where: { close in choices.contains { tokens[$0] == close } }) {
                    choices = choices.filter { tokens[$0] == close }
                }
            }
            let token = choices[random.int(0..<choices.count)]
            // Drafts that the grammar forces are what it allows.
            for (offset, forced) in constraint.forcedTokens(limit: 4).enumerated() where offset == 0 {
                #expect(allowed.contains(forced))
            }
            try constraint.advance(Int32(token))
            text += tokens[token]
        }
        Issue.record("the text does not end: \(String(decoding: text.prefix(500), as: UTF8.self))")
        return text
    }

    @Test(arguments: larger + JSONSchemaGrammarTests.examples.map(\.schema)) func textsSatisfyTheSchema(
        _ schema: String
    ) throws {
        var random = SplitMix64(seed: UInt64(schema.utf8.count))
        let tokens = GrammarMaskTests.vocabulary(&random, pieces: 200)
        let trie = try GrammarMaskTests.trie(tokens)
        let validator = SchemaValidator(document: try JSON(parsing: Array(schema.utf8)))
        for compact in [false, true] {
            let mask = GrammarMask(try Grammar(jsonSchema: schema, compact: compact), trie, endTokens: [0])
            for _ in 0..<(schema.utf8.count > 300 ? 60 : 15) {
                let text = String(decoding: try Self.walk(mask, tokens, &random), as: UTF8.self)
                #expect(validator.accepts(text), "\(text)")
            }
        }
    }
}
