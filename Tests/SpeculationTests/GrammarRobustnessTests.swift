import Formats
import Speculation
import TestSupport
import Testing

/// Damaged grammars and schemas are refused or work, and never trap.
@Suite struct GrammarRobustnessTests {
    private static let pieces = [
        "(", ")", "[", "]", "{", "}", "{0}", "{1,}", "{65536}", "*", "+", "?", "|", "\"", "\\", "\\x", "\\u00", "^",
        "$", "-",
        ".", "::=", "root", "\n", "#", "<", "!", ",", ":", "0", "-1", "1e308", "9007199254740993", "null", "true", "{}",
        "[]",
        "\"$ref\":\"#\"", "\"allOf\":[{}]", "\"anyOf\":[true]", "é", "\u{10FFFF}", "\"minimum\":",
        "\"type\":\"integer\",",
    ]

    private static func mutated(_ bytes: [UInt8], _ random: inout SplitMix64) -> [UInt8] {
        var result = bytes
        for _ in 0...random.int(0..<4) where !result.isEmpty {
            let at = random.int(0..<result.count)
            let end = min(result.count, at + random.int(1..<24))
            switch random.int(0..<6) {
            case 0: result[at] = UInt8(truncatingIfNeeded: random.next())
            case 1: result.removeSubrange(at..<end)
            case 2: result.insert(contentsOf: Array(result[at..<end]), at: random.int(0..<result.count))
            case 3: result.removeLast(random.int(0..<min(result.count, 64)))
            default: result.insert(contentsOf: Array(pieces[random.int(0..<pieces.count)].utf8), at: at)
            }
        }
        return result
    }

    /// Compiles, then follows the grammar a little.
    private static func exercise(_ trie: TokenTrie, _ random: inout SplitMix64, _ make: () throws -> Grammar) throws
        -> Bool
    {
        do {
            let grammar = try make()
            var constraint = GrammarConstraint(GrammarMask(grammar, trie, endTokens: [0]))
            for _ in 0..<6 {
                let allowed = try constraint.allowed()
                let choices = (1..<Int32(trie.vocabularySize)).filter { allowed.contains($0) }
                guard !choices.isEmpty else { break }
                _ = constraint.forcedTokens(limit: 8)
                try constraint.advance(choices[random.int(0..<choices.count)])
            }
            return true
        } catch let failure as Failure {
            #expect(failure.code == .invalidArgument && !failure.message.isEmpty)
            return false
        }
    }

    @Test func mutatedGrammars() throws {
        var random = SplitMix64(seed: 21)
        let tokens = GrammarMaskTests.vocabulary(&random, pieces: 30)
        let trie = try GrammarMaskTests.trie(tokens)
        let sources = [
            GrammarStateTests.json, GrammarStateTests.arithmetic,
            "root ::= ([^a-z\\n]{2,5} | \"\\u00e9\" x)*\nx ::= .+ \"end\"",
        ]
        var accepted = 0
        for round in 0..<4000 {
            let text = String(
                decoding: Self.mutated(Array(sources[round % sources.count].utf8), &random), as: UTF8.self)
            if try Self.exercise(trie, &random, { try Grammar(gbnf: text) }) { accepted += 1 }
        }
        #expect(accepted > 200)
    }

    @Test func mutatedSchemas() throws {
        var random = SplitMix64(seed: 22)
        let tokens = GrammarMaskTests.vocabulary(&random, pieces: 30)
        let trie = try GrammarMaskTests.trie(tokens)
        let sources = JSONSchemaGrammarTests.examples.map { Array($0.schema.utf8) }
        var accepted = 0
        for _ in 0..<6000 {
            let source = sources[random.int(0..<sources.count)]
            let text = String(decoding: Self.mutated(source, &random), as: UTF8.self)
            if try Self.exercise(trie, &random, { try Grammar(jsonSchema: text) }) { accepted += 1 }
        }
        #expect(accepted > 50)
    }

    /// Schemas put together from schemas: valid JSON that says strange things.
    @Test func combinedSchemas() throws {
        var random = SplitMix64(seed: 23)
        let tokens = GrammarMaskTests.vocabulary(&random, pieces: 30)
        let trie = try GrammarMaskTests.trie(tokens)
        let schemas = JSONSchemaGrammarTests.examples.map(\.schema)
        var accepted = 0
        for _ in 0..<1500 {
            let parts = (0..<random.int(1..<4)).map { _ in schemas[random.int(0..<schemas.count)] }
            let list = "[" + parts.joined(separator: ",") + "]"
            let keyword = ["allOf", "anyOf", "oneOf", "prefixItems"][random.int(0..<4)]
            let schema = #"{"\#(keyword)":\#(list),"properties":{"p":\#(parts[0])},"$defs":{}}"#
            if try Self.exercise(trie, &random, { try Grammar(jsonSchema: schema) }) { accepted += 1 }
        }
        #expect(accepted > 100)
    }
}
