import Formats
import Speculation
import TestSupport
import Testing

/// What JSON schemas allow once they are grammars.
@Suite struct JSONSchemaGrammarTests {
    /// `made`: documents that the grammar must allow; `refused`: those that it must not.
    struct Example: Sendable, CustomTestStringConvertible {
        let schema: String
        let made: [String]
        let refused: [String]
        /// Some of `refused` satisfy the schema all the same: the grammar is narrower on purpose.
        var isNarrower = false
        var testDescription: String { schema }
    }

    static let examples: [Example] = [
        // Types
        Example(
            schema: "{}",
            made: ["null", "true", "[1, {\"a\": \"b\"}]", "-1.5e-7", "\"\\ud83d\\uDE00\\u00e9\"", "{}", "[]"],
            refused: [
                "", "nul", "[1,]", "01", "1.", "\"\u{1}\"", "\"\\ud800\"", "\"\\udc00x\"", "{\"a\"}", "[1 2]", "{} ",
            ]),
        Example(schema: "true", made: ["1", "{\"a\":[]}"], refused: ["x"]),
        Example(schema: #"{"type":"boolean"}"#, made: ["true", "false"], refused: ["null", "\"true\"", "tru"]),
        Example(schema: #"{"type":"null"}"#, made: ["null"], refused: ["0", ""]),
        Example(
            schema: #"{"type":"integer"}"#, made: ["0", "-12", "1234567890123456"], refused: ["1.5", "01", "-", "1e3"],
            isNarrower: true),
        Example(
            schema: #"{"type":"number"}"#, made: ["0", "-12.25", "1e9", "1E-09"], refused: ["1.", ".5", "\"1\"", "NaN"]),
        Example(
            schema: #"{"type":"string"}"#, made: ["\"\"", "\"é\\n\\\"\""], refused: ["'a'", "\"a", "1", "\"\n\""]),
        Example(
            schema: #"{"type":["string","null","integer"]}"#, made: ["\"a\"", "null", "3"],
            refused: ["true", "3.5", "[]"]),
        Example(schema: #"{"type":["integer","number"]}"#, made: ["3.5", "3"], refused: ["\"3\""]),
        // Objects
        Example(
            schema:
                #"{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},"required":["a","b"]}"#,
            made: [#"{"a": 1, "b": "x"}"#, "{\n  \"a\": 1,\n  \"b\": \"\"\n}", #"{"a":1,"b":"x"}"#],
            refused: [
                #"{"b": "x", "a": 1}"#, #"{"a": 1}"#, #"{"a": 1, "b": 2}"#, #"{"a": 1, "b": "x", "c": 1}"#, "{}",
            ],
            isNarrower: true),
        Example(
            schema: #"{"properties":{"a":{"const":1},"b":{"const":2},"c":{"const":3}},"additionalProperties":false}"#,
            made: ["{}", #"{"a":1}"#, #"{"b":2}"#, #"{"c":3}"#, #"{"a":1,"b":2,"c":3}"#, #"{"a":1,"c":3}"#],
            refused: [#"{"a":2}"#, #"{"d":1}"#, #"{"a":1,}"#, #"{,"a":1}"#, #"{"a":1 "b":2}"#]),
        Example(
            schema: #"{"properties":{"a":true,"b":true,"c":true,"d":true},"required":["b","d"]}"#,
            made: [
                #"{"b":1,"d":2}"#, #"{"a":0,"b":1,"c":[],"d":2}"#, #"{"a":0,"b":1,"d":2}"#, #"{"b":1,"c":1,"d":2}"#,
            ],
            refused: [#"{"a":1,"d":2}"#, #"{"d":2}"#, #"{"a":1,"b":2}"#, "[]"], isNarrower: true),
        Example(
            schema: #"{"type":"object"}"#, made: ["{}", #"{"x": {"y": []}}"#], refused: ["[]", "{1:2}"]),
        Example(
            schema: #"{"type":"object","additionalProperties":{"type":"integer"}}"#,
            made: ["{}", #"{"x": 1, "é": 2}"#], refused: [#"{"x": "1"}"#, #"{"x": null}"#]),
        Example(schema: #"{"type":"object","additionalProperties":false}"#, made: ["{}"], refused: [#"{"a":1}"#]),
        Example(
            schema:
                #"{"properties":{"ab":{"type":"integer"},"ac":{"type":"integer"}},"additionalProperties":{"type":"string"},"required":["ab"]}"#,
            made: [
                #"{"ab": 1}"#, #"{"ab": 1, "ac": 2, "a": "x", "abc": "y", "": "z", "b": "", "\n\"é": "q"}"#,
                #"{"ab": 1, "aé": ""}"#,
            ],
            refused: [
                #"{"ab": "x"}"#, #"{"ab": 1, "ac": "x"}"#, #"{"ab": 1, "\u0061c": "x"}"#, #"{"ab": 1, "x": 1}"#,
                #"{"x": "y"}"#,
            ]),
        Example(
            schema: #"{"properties":{"a":{"type":"integer"}},"additionalProperties":true}"#,
            made: ["{}", #"{"a":1}"#, #"{"b":[]}"#, #"{"a":1,"b":"","c":null}"#],
            refused: [#"{"a":"1"}"#, #"{"a":"1","b":2}"#]),
        Example(
            schema: #"{"type":"object","required":["x"]}"#, made: [#"{"x":1}"#, #"{"x":[],"y":1}"#],
            refused: ["{}", #"{"y":1}"#]),
        Example(
            schema: #"{"properties":{"é\"\\\n":{"const":1},"never":false},"required":["é\"\\\n"]}"#,
            made: [#"{"é\"\\\n":1}"#], refused: ["{}", #"{"é\"\\\n":1,"never":1}"#]),
        // Arrays
        Example(schema: #"{"type":"array"}"#, made: ["[]", "[1, \"a\"]", "[[]]"], refused: ["{}", "[1,]"]),
        Example(
            schema: #"{"items":{"type":"integer"}}"#, made: ["[]", "[1]", "[1, 2,3]", "[\n1\n]"],
            refused: ["[\"a\"]", "[1 2]"]),
        Example(
            schema: #"{"items":{"type":"integer"},"minItems":2,"maxItems":3}"#, made: ["[1,2]", "[1,2,3]"],
            refused: ["[]", "[1]", "[1,2,3,4]"]),
        Example(schema: #"{"type":"array","maxItems":0}"#, made: ["[]"], refused: ["[1]"]),
        Example(schema: #"{"type":"array","minItems":1}"#, made: ["[null]", "[1,2,3,4]"], refused: ["[]"]),
        Example(schema: #"{"items":false}"#, made: ["[]"], refused: ["[1]"]),
        Example(
            schema: #"{"prefixItems":[{"type":"string"},{"type":"integer"}],"items":false}"#,
            made: ["[]", "[\"a\"]", "[\"a\",1]"], refused: ["[1]", "[\"a\",1,2]", "[\"a\",\"b\"]"]),
        Example(
            schema:
                #"{"prefixItems":[{"type":"string"},{"type":"integer"}],"items":{"type":"null"},"minItems":1,"maxItems":4}"#,
            made: ["[\"a\"]", "[\"a\",1]", "[\"a\",1,null,null]"],
            refused: ["[]", "[\"a\",1,2]", "[\"a\",1,null,null,null]"]),
        Example(
            schema: #"{"items":[{"type":"string"}],"additionalItems":{"type":"integer"},"minItems":2}"#,
            made: ["[\"a\",1]", "[\"a\",1,2]"], refused: ["[\"a\"]", "[\"a\",\"b\"]", "[]"]),
        Example(
            schema: #"{"prefixItems":[{"type":"integer"}],"minItems":2}"#, made: ["[1,\"x\"]"],
            refused: ["[1]", "[\"x\",1]"]),
        // Constants
        Example(
            schema: #"{"enum":["red","green",1,2.5,null,true,{"a":[1]},1e300,0]}"#,
            made: ["\"red\"", "\"green\"", "1", "2.5", "null", "true", "{\"a\": [1]}", "0"],
            refused: ["\"blue\"", "3", "false", "\"gre\"", "2"]),
        Example(schema: #"{"const":"a\"b\u0001"}"#, made: [#""a\"b\u0001""#], refused: ["\"ab\""]),
        Example(schema: #"{"type":"string","enum":["a",1]}"#, made: ["\"a\""], refused: ["1"]),
        Example(schema: #"{"enum":[1,2,3],"const":2}"#, made: ["2"], refused: ["1"]),
        // Strings
        Example(
            schema: #"{"type":"string","minLength":2,"maxLength":3}"#,
            made: ["\"ab\"", "\"😀é한\"", #""\ud83d\ude00a""#, #""\n\\""#],
            refused: ["\"a\"", "\"abcd\"", "\"\"", #""\ud83d\ude00""#]),
        Example(schema: #"{"maxLength":1}"#, made: ["\"\"", "\"a\""], refused: ["\"ab\""]),
        Example(schema: #"{"minLength":1}"#, made: ["\"a\"", "\"abc\""], refused: ["\"\""]),
        Example(
            schema: #"{"pattern":"^[a-z]{2,3}-\\d+(\\.\\d)?$"}"#, made: ["\"ab-1\"", "\"abc-12.5\""],
            refused: ["\"a-1\"", "\"ab-\"", "\"ab-1.\"", "\"AB-1\""]),
        Example(
            schema: #"{"pattern":"^(a|b\"c|\\\\|\\n|[^x\\u0000-\\u001f])?\\/\\w[ \\t]?$"}"#,
            made: [#""a/b""#, #""b\"c/_ ""#, #""\\/0""#, #""\n/x""#, #""é/x\t""#],
            refused: [#""x/b""#, #""a/""#, #""\/b""#, #""a/-""#], isNarrower: true),
        Example(schema: #"{"pattern":"^.*$"}"#, made: ["\"\"", "\"aé😀\\\"\""], refused: ["\"\\n\""]),
        Example(
            schema: #"{"pattern":"^(?:ab?)+?[\\]\\-a-]$"}"#, made: ["\"aab-\"", "\"a]\""],
            refused: ["\"b-\"", "\"ab\""]),
        Example(
            schema: #"{"format":"date"}"#, made: ["\"2024-02-29\"", "\"2000-02-29\"", "\"1999-12-31\""],
            refused: [
                "\"2023-02-29\"", "\"1900-02-29\"", "\"2024-04-31\"", "\"2024-13-01\"", "\"2024-1-01\"",
                "\"2024-00-10\"",
            ]),
        Example(
            schema: #"{"format":"time"}"#, made: ["\"23:59:59Z\"", "\"00:00:00.125+05:30\""],
            refused: ["\"24:00:00Z\"", "\"12:00:00\"", "\"12:60:00Z\""]),
        Example(
            schema: #"{"type":"string","format":"date-time"}"#, made: ["\"2024-02-29T12:00:00Z\""],
            refused: ["\"2024-02-30T12:00:00Z\"", "\"2024-02-29\""]),
        Example(
            schema: #"{"format":"uuid"}"#, made: ["\"123e4567-e89b-12d3-a456-426614174000\""],
            refused: ["\"123e4567e89b12d3a456426614174000\"", "\"g23e4567-e89b-12d3-a456-426614174000\""]),
        Example(schema: #"{"type":"string","format":"password"}"#, made: ["\"x\""], refused: ["1"]),
        // Numbers
        Example(
            schema: #"{"type":"integer","minimum":-12,"maximum":305}"#, made: ["-12", "-1", "0", "9", "99", "305"],
            refused: ["-13", "306", "400", "1000", "-20", "00"]),
        Example(
            schema: #"{"type":"integer","exclusiveMinimum":0,"exclusiveMaximum":10}"#, made: ["1", "9"],
            refused: ["0", "10", "-1"]),
        Example(schema: #"{"type":"integer","minimum":1.5,"maximum":3.5}"#, made: ["2", "3"], refused: ["1", "4"]),
        Example(schema: #"{"type":"integer","minimum":1000}"#, made: ["1000", "123456"], refused: ["999", "-5", "1"]),
        Example(schema: #"{"type":"integer","maximum":-1}"#, made: ["-1", "-1000"], refused: ["0", "1"]),
        Example(schema: #"{"type":"integer","minimum":5,"maximum":5}"#, made: ["5"], refused: ["4", "6"]),
        Example(
            schema: #"{"type":"number","minimum":0,"maximum":1}"#, made: ["0", "0.5", "1", "1.0", "0.999999999"],
            refused: ["1.1", "-0.1", "2"]),
        Example(
            schema: #"{"minimum":-2,"exclusiveMaximum":3}"#, made: ["-2", "-1.5", "2.999", "0", "-0.5"],
            refused: ["3", "3.0", "-2.1", "-3"]),
        Example(
            schema: #"{"type":"number","exclusiveMinimum":0}"#, made: ["0.01", "5", "123.456"],
            refused: ["0", "0.0", "-1"]),
        Example(
            schema: #"{"type":"number","exclusiveMinimum":-3,"exclusiveMaximum":-1}"#, made: ["-2", "-2.999", "-1.1"],
            refused: ["-3", "-1", "-1.0", "-3.5", "0"]),
        // Combinations
        Example(
            schema: #"{"anyOf":[{"type":"integer"},{"type":"string","maxLength":1},{"type":"null"}]}"#,
            made: ["1", "\"a\"", "null"], refused: ["\"ab\"", "true"]),
        Example(
            schema:
                #"{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},"anyOf":[{"required":["a"]},{"required":["b"]}]}"#,
            made: [#"{"a":1}"#, #"{"b":1}"#, #"{"a":1,"b":2}"#], refused: ["{}", #"{"a":"x"}"#]),
        Example(
            schema:
                #"{"oneOf":[{"type":"object","properties":{"kind":{"const":"a"},"x":{"type":"integer"}},"required":["kind","x"]},{"type":"object","properties":{"kind":{"const":"b"}},"required":["kind"]}]}"#,
            made: [#"{"kind":"a","x":1}"#, #"{"kind":"b"}"#], refused: [#"{"kind":"a"}"#, #"{"kind":"c"}"#]),
        Example(
            schema:
                #"{"oneOf":[{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]},{"type":"object","properties":{"b":{"type":"integer"}},"required":["b"]},{"type":"string"},{"enum":[1,2]},{"const":3}]}"#,
            made: [#"{"a":1}"#, #"{"b":1}"#, "\"x\"", "2", "3"], refused: [#"{"a":1,"b":2}"#, "{}", "4"]),
        Example(
            schema:
                #"{"allOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},{"properties":{"b":{"type":"string"},"a":{"minimum":3}}}]}"#,
            made: [#"{"a":3}"#, #"{"a":4,"b":"x"}"#], refused: [#"{"a":2}"#, #"{"b":"x"}"#]),
        Example(
            schema: #"{"allOf":[{"type":["string","integer"]},{"type":["integer","null"]}],"minimum":2}"#,
            made: ["2", "30"],
            refused: ["1", "null", "\"a\""]),
        Example(
            schema:
                #"{"allOf":[{"properties":{"a":{"const":1}},"additionalProperties":{"type":"integer"}},{"properties":{"b":{"minimum":5}}}]}"#,
            made: [#"{"a":1,"b":5}"#, #"{"c":9}"#], refused: [#"{"b":4}"#, #"{"b":"x"}"#, #"{"c":"x"}"#]),
        // References
        Example(
            schema:
                ##"{"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{"value":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["value","next"]}}}"##,
            made: [#"{"value":1,"next":{"value":2,"next":null}}"#],
            refused: [#"{"value":1}"#, #"{"value":1,"next":{}}"#]),
        Example(
            schema:
                ##"{"type":"object","properties":{"children":{"type":"array","items":{"$ref":"#"}}},"additionalProperties":false}"##,
            made: ["{}", #"{"children":[{},{"children":[]}]}"#], refused: [#"{"children":[1]}"#]),
        Example(
            schema:
                ##"{"definitions":{"a/b~":{"type":"integer"},"s":{"type":"string"}},"properties":{"x":{"$ref":"#/definitions/a~1b~0"},"y":{"$ref":"#/definitions/s","maxLength":1,"description":"d"},"z":{"$ref":"#/properties/x"}}}"##,
            made: [#"{"x":1,"y":"a","z":2}"#], refused: [#"{"x":"1"}"#, #"{"y":"ab"}"#, #"{"z":""}"#]),
        Example(
            schema:
                #"{"$schema":"x","$id":"y","title":"T","description":"D","default":1,"examples":[2],"type":"integer","x-note":{}}"#,
            made: ["3"], refused: ["\"a\""]),
    ]

    @Test(arguments: examples) func documents(_ example: Example) throws {
        let grammar = try Grammar(jsonSchema: example.schema)
        let validator = SchemaValidator(document: try JSON(parsing: Array(example.schema.utf8)))
        for text in example.made {
            #expect(matches(grammar, text), "\(text)")
            #expect(validator.accepts(text), "\(text)")
        }
        for text in example.refused {
            #expect(!matches(grammar, text), "\(text)")
            if !example.isNarrower, text != "{} " { #expect(!validator.accepts(text), "\(text)") }
        }
    }

    /// As ECMAScript has them, whose regular expressions the specification wants.
    @Test(arguments: [
        ("\\\\s", " \u{A0}\u{2003}\u{2028}\u{FEFF}", "a\u{85}_"), ("\\\\S", "aé1", " \u{FEFF}"), ("\\\\d", "09", "a٣"),
        ("\\\\D", "a٣ ", "09"), ("\\\\w", "aZ_9", "é -"), ("\\\\W", "é -", "aZ_9"), ("[^\\\\s\\\\w]", "é-", " a"),
        ("\\\\x41|\\\\u00e9", "Aé", "B"), (".", "aé😀", "\u{2028}\u{85}"),
    ])
    func escapesOfPatterns(_ pattern: String, _ matching: String, _ others: String) throws {
        let grammar = try Grammar(jsonSchema: "{\"pattern\":\"^(\(pattern))$\"}")
        for scalar in matching.unicodeScalars { #expect(matches(grammar, "\"\(scalar)\""), "\(scalar.value)") }
        for scalar in others.unicodeScalars { #expect(!matches(grammar, "\"\(scalar)\""), "\(scalar.value)") }
    }

    @Test func compactDocuments() throws {
        let schema = #"{"properties":{"a":{"items":{"type":"integer"}},"b":{}},"required":["a","b"]}"#
        let grammar = try Grammar(jsonSchema: schema, compact: true)
        #expect(matches(grammar, #"{"a":[1,2],"b":{"x":[null]}}"#))
        #expect(!matches(grammar, #"{"a": [1,2],"b":1}"#) && !matches(grammar, #"{"a":[1, 2],"b":1}"#))
        #expect(GrammarState(grammar).forcedBytes(limit: 99) == Array(#"{"a":["#.utf8))
        let spaced = try Grammar(jsonSchema: schema)
        #expect(matches(spaced, "{\n    \"a\": [\n        1\n    ],\n    \"b\": 1\n}"))
        #expect(!matches(spaced, "{\n                      \"a\": [], \"b\": 1}"))
    }

    @Test(arguments: [
        ("{", "cannot be read"),
        ("3", "#: a schema must be an object, true or false"),
        ("false", "#: the schema 'false' allows nothing"),
        (#"{"properties":{"a":{"not":{}}}}"#, "#/properties/a: the keyword 'not' is not supported"),
        (#"{"items":{"uniqueItems":true}}"#, "#/items: the keyword 'uniqueItems'"),
        (#"{"type":"object","patternProperties":{}}"#, "#: the keyword 'patternProperties'"),
        (#"{"anyOf":[{"type":"string"},{"if":{}}]}"#, "#/anyOf/1: the keyword 'if'"),
        (#"{"multipleOf":2}"#, "#: the keyword 'multipleOf'"),
        (#"{"type":"int"}"#, "#/type: must be one of object"),
        (#"{"type":"string","type":"null"}"#, "#: the keyword 'type' occurs twice"),
        (#"{"enum":[]}"#, "#: no value satisfies"),
        (#"{"enum":3}"#, "#/enum: must be an array"),
        (#"{"enum":["a"],"minLength":1}"#, "#: 'minLength' beside enum or const"),
        (#"{"const":1e999}"#, "#: a number is too large"),
        (#"{"type":"string","enum":[1]}"#, "#: no value satisfies"),
        (#"{"allOf":[{"type":"string"},{"type":"null"}]}"#, "no type satisfies all"),
        (#"{"allOf":[]}"#, "#/allOf: must be an array of schemas"),
        (#"{"anyOf":{}}"#, "#/anyOf: must be an array of schemas"),
        (#"{"oneOf":[{"type":"integer"},{"type":"number"}]}"#, "#/oneOf/0: may hold together with #/oneOf/1"),
        (#"{"oneOf":[{"type":"object"},{"type":"object"}]}"#, "use anyOf"),
        (#"{"oneOf":[{"type":"string"},{"required":["a"]}]}"#, "#/oneOf/0: may hold together with #/oneOf/1"),
        (#"{"properties":[]}"#, "#/properties: must be an object"),
        (#"{"required":[1]}"#, "#/required: must be an array of names"),
        (#"{"properties":{"a":{}},"required":["b"],"additionalProperties":false}"#, "'b' is required"),
        (#"{"properties":{"a":false},"required":["a"]}"#, "#/properties/a: the schema 'false'"),
        (#"{"minItems":2,"maxItems":1}"#, "minItems 2 is more than maxItems 1"),
        (#"{"minItems":-1}"#, "#/minItems: must be a whole number"),
        (#"{"maxLength":1e9}"#, "#/maxLength: is 1000000000; at most 65536"),
        (#"{"items":false,"minItems":1}"#, "items is false"),
        (#"{"prefixItems":[{}],"items":false,"minItems":2}"#, "#/prefixItems: no items may follow"),
        (#"{"type":"integer","minimum":2,"maximum":1}"#, "no integer lies between"),
        (#"{"type":"integer","exclusiveMinimum":2,"exclusiveMaximum":3}"#, "no integer lies between"),
        (#"{"type":"integer","minimum":1e17}"#, "#/minimum: a bound beyond 9007199254740992"),
        (#"{"type":"number","minimum":0.5}"#, "#/minimum: a bound of numbers must be whole"),
        (#"{"type":"number","minimum":1,"exclusiveMaximum":1}"#, "no number lies between"),
        (#"{"minimum":1,"exclusiveMinimum":true}"#, "#/exclusiveMinimum: must be a number"),
        (#"{"pattern":"abc"}"#, "#/pattern: character 1: the pattern must match the whole string"),
        (#"{"pattern":"^abc"}"#, "#/pattern: character 5: the pattern must end with '$'"),
        (#"{"pattern":"^a|b$"}"#, "character 3: put alternatives into a group"),
        (#"{"pattern":"^(a$"}"#, "character 4: '$' may only stand at the end"),
        (#"{"pattern":"^(a"}"#, "character 2: '(' is not closed"),
        (#"{"pattern":"^(?=a)$"}"#, "character 4: only groups"),
        (#"{"pattern":"^\\1$"}"#, "the escape '\\1' is not supported"),
        (#"{"pattern":"^\\bx$"}"#, "the escape '\\b' is not supported"),
        (#"{"pattern":"^a**$"}"#, "'*' repeats a repetition"),
        (#"{"pattern":"^[b-a]$"}"#, "a range must lead"),
        (#"{"pattern":"^a{2,1}$"}"#, "ends below its start"),
        (#"{"pattern":"^a$","minLength":1}"#, "only one of length, pattern and format"),
        (#"{"format":"email"}"#, "#/format: the format 'email' is not supported"),
        (#"{"$ref":"other.json#/a"}"#, "leads out of the schema"),
        (##"{"$ref":"#/$defs/a"}"##, "names nothing in the schema"),
        (##"{"$ref":"#"}"##, "may begin with itself"),
        (##"{"$ref":"#","type":"object"}"##, "$ref leads to itself without an end"),
        (##"{"anyOf":[{"$ref":"#"},{"type":"null"}]}"##, "may begin with itself"),
        (##"{"properties":{"a":{"$ref":"#"}},"required":["a"]}"##, "never ends"),
    ])
    func errorsNameTheKeywordAndItsPlace(_ schema: String, _ expected: String) {
        let failure = failure { _ = try Grammar(jsonSchema: schema) }
        #expect(failure?.code == .invalidArgument)
        #expect(failure?.message.contains(expected) == true, "\(failure?.message ?? "accepted")")
        #expect(failure?.message.contains("JSON schema") == true)
    }

    @Test func limits() throws {
        func message(_ schema: String) -> String {
            failure { _ = try Grammar(jsonSchema: schema) }?.message ?? "accepted"
        }
        let deep = String(repeating: #"{"items":"#, count: 100) + "{}" + String(repeating: "}", count: 100)
        #expect(message(deep).contains("nested deeper than 64 levels"))
        let alternatives = (0..<8).reduce("{}") { schema, index in
            let branches = (0..<8).map { #"{"required":["p\#(index)q\#($0)"]}"# }.joined(separator: ",")
            return #"{"properties":{"x":\#(schema)},"anyOf":[\#(branches)]}"#
        }
        #expect(message(alternatives).contains("steps to convert"))
        #expect(message(String(repeating: " ", count: 1 << 20) + "{}").contains("at most 1048576"))
        let long = String(repeating: "n", count: 100_000)
        let properties = (0..<2000).map { #""\#($0)":{"items":{"type":"integer"}}"# }.joined(separator: ",")
        #expect(
            message(#"{"properties":{"\#(long)":{"properties":{\#(properties)}}}}"#).contains(
                "more than 512 properties in a row"))
        let values = (0..<20_000).map { #""value \#($0)""# }.joined(separator: ",")
        #expect(matches(try Grammar(jsonSchema: #"{"enum":[\#(values)]}"#), #""value 12345""#))
        #expect(matches(try Grammar(jsonSchema: #"{"type":"string","maxLength":60000}"#), "\"\(long.prefix(60_000))\""))
    }

    /// Every integer around the bounds is allowed exactly when it lies between them.
    @Test func integerRanges() throws {
        var random = SplitMix64(seed: 4)
        for _ in 0..<60 {
            let low = random.int(-1200..<1200)
            let high = low + random.int(0..<(random.int(0..<2) == 0 ? 20 : 2000))
            let grammar = try Grammar(jsonSchema: #"{"type":"integer","minimum":\#(low),"maximum":\#(high)}"#)
            for value in (low - 15)...(high + 15) where value - low < 40 || high - value < 40 || value % 97 == 0 {
                #expect(matches(grammar, "\(value)") == (low...high).contains(value), "\(low) \(high) \(value)")
            }
        }
    }
}
