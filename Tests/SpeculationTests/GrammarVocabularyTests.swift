import Formats
import Speculation
import TestSupport
import Testing

/// Grammars over the vocabularies of real models.
@Suite(.enabled(if: sharedTestData("tokenizers") != nil, "FTK_TEST_DATA is not set"))
struct GrammarVocabularyTests {
    static let schema = #"""
        {"type": "object", "properties": {
            "name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}}, "extra": {"type": "object"},
            "kind": {"enum": ["small", "large"]}},
         "required": ["name", "age", "tags", "extra", "kind"]}
        """#
    static let document = #"""
        {
          "name": "Zoë \"Z\" 東京 😀 Straße, an ordinary name of some length",
          "age": 41,
          "tags": ["a", "to be done", "é\n"],
          "extra": {"list": [1.5e3, true, null, {"nested": [[], {}]}]},
          "kind": "large"
        }
        """#

    /// What a tokenizer makes of a document that matches is allowed, token by token; some masks are tested whole.
    @Test(arguments: ["llama-bpe", "qwen2", "gpt-2", "llama-spm"]) func realTokens(_ name: String) throws {
        guard let path = sharedTestData("tokenizers/ggml-vocab-\(name).gguf") else { return }
        let tokenizer = try Tokenizer(gguf: try GGUF(path: path))
        let trie = try TokenTrie(tokenizer)
        let ends = tokenizer.endOfGeneration
        // Behind another token: SentencePiece puts a space before a text, which is no part of it.
        let ids = try tokenizer.encode("x" + Self.document, addSpecial: false, parseSpecial: false).dropFirst()
        for grammar in [try Grammar(jsonSchema: Self.schema), try Grammar(gbnf: GrammarStateTests.json)] {
            var constraint = GrammarConstraint(GrammarMask(grammar, trie, endTokens: ends))
            var text: [UInt8] = []
            for (index, id) in ids.enumerated() {
                let allowed = try constraint.allowed()
                #expect(allowed.contains(id), "\(id) after \(String(decoding: text, as: UTF8.self))")
                if index % 24 == 7 { #expect(allowed == bruteForce(constraint.state, trie, tokenizer)) }
                try constraint.advance(id)
                text += tokenizer.piece(id)
            }
            #expect(constraint.state.canEnd && ends.allSatisfy { constraint.allows($0) })
        }
    }

    private func bruteForce(_ state: GrammarState, _ trie: TokenTrie, _ tokenizer: Tokenizer) -> TokenSet {
        var set = TokenSet(capacity: trie.vocabularySize)
        for id in 0..<Int32(trie.vocabularySize) where !tokenizer.isControl(id) {
            let piece = tokenizer.piece(id)
            set.set(id, !piece.isEmpty && state.accepts(piece))
        }
        for id in tokenizer.endOfGeneration { set.set(id, state.canEnd) }
        return set
    }
}
