import Formats
import Glibc
import TestSupport
import Testing

/// Small GGUF vocabularies.
enum SmallVocabulary {
    /// The id of the token for byte 0.
    static let firstByte: Int32 = 5

    static func sentencePiece() -> GGUFWriter {
        let digits = Array("0123456789ABCDEF")
        let bytes = (0..<256).map { "<0x\(digits[$0 >> 4])\(digits[$0 & 15])>" }
        let words = ["▁", "a", "b", "ab", "▁a", "▁ab"]
        var file = GGUFWriter()
        file.add("tokenizer.ggml.model", "llama")
        file.add("tokenizer.ggml.tokens", strings: ["<unk>", "<s>", "</s>", "<|end|>", "<user>"] + bytes + words)
        file.add("tokenizer.ggml.scores", floats: [Float](repeating: 0, count: 261) + words.indices.map { -Float($0) })
        file.add("tokenizer.ggml.token_type", integers: [2, 3, 3, 3, 4] + bytes.map { _ in 6 } + words.map { _ in 1 })
        return file
    }

    static func byteLevel() -> GGUFWriter {
        var file = GGUFWriter()
        file.add("tokenizer.ggml.model", "gpt2")
        file.add("tokenizer.ggml.pre", "gpt-2")
        file.add("tokenizer.ggml.tokens", strings: ["a", "b", "ab", "<end>"])
        file.add("tokenizer.ggml.token_type", integers: [1, 1, 1, 3])
        file.add("tokenizer.ggml.merges", strings: ["a b"])
        return file
    }
}

extension TemporaryFolder {
    func add(_ name: String, _ bytes: [UInt8]) throws { try write(bytes, to: name) }
}

@Suite struct TokenizerMalformedTests {
    private func expectFailure(
        _ wanted: String, code: Failure.Code = .corruptFile, _ body: () throws -> Tokenizer,
        location: SourceLocation = #_sourceLocation
    ) {
        let failure = #expect(throws: Failure.self, sourceLocation: location) { _ = try body() }
        #expect(failure?.code == code, sourceLocation: location)
        #expect(failure?.message.contains(wanted) == true, "\(failure?.message ?? "")", sourceLocation: location)
    }

    private func gguf(_ change: (inout GGUFWriter) -> Void) throws -> Tokenizer {
        var file = GGUFWriter()
        change(&file)
        return try file.tokenizer()
    }

    @Test func ggufModel() {
        expectFailure("no tokenizer.ggml.model", code: .unsupportedFormat) { try gguf { _ in } }
        expectFailure("\"t5\"", code: .unsupportedFormat) { try gguf { $0.add("tokenizer.ggml.model", "t5") } }
        expectFailure("no tokens") { try gguf { $0.add("tokenizer.ggml.model", "gpt2") } }
        expectFailure("tokenizer.ggml.model") { try gguf { $0.add("tokenizer.ggml.model", 3 as UInt32) } }
    }

    @Test func ggufByteLevel() {
        func with(
            pre: String = "gpt-2", types: [Int32] = [1, 1, 1, 3], merges: [String]? = ["a b"],
            _ change: (inout GGUFWriter) -> Void = { _ in }
        ) throws -> Tokenizer {
            try gguf {
                $0.add("tokenizer.ggml.model", "gpt2")
                $0.add("tokenizer.ggml.pre", pre)
                $0.add("tokenizer.ggml.tokens", strings: ["a", "b", "ab", "<end>"])
                $0.add("tokenizer.ggml.token_type", integers: types)
                if let merges { $0.add("tokenizer.ggml.merges", strings: merges) }
                change(&$0)
            }
        }
        #expect(throws: Never.self) { try with() }
        expectFailure("\"klingon\"", code: .unsupportedFormat) { try with(pre: "klingon") }
        expectFailure("no merges") { try with(merges: nil) }
        expectFailure("merge 0, \"ab\"") { try with(merges: ["ab"]) }
        expectFailure("merge 1, \"a \"") { try with(merges: ["a b", "a "]) }
        expectFailure("the piece \"x\"") { try with(merges: ["a x"]) }
        expectFailure("its result \"ba\"") { try with(merges: ["b a"]) }
        expectFailure("3 token types") { try with(types: [1, 1, 1]) }
        expectFailure("type 7") { try with(types: [1, 1, 1, 7]) }
        expectFailure("type -1") { try with(types: [1, 1, 1, -1]) }
        expectFailure("not <0xNN>") { try with(types: [6, 1, 1, 1]) }
        expectFailure("eos_token_id") { try with { $0.add("tokenizer.ggml.eos_token_id", 4 as UInt32) } }
        expectFailure("add_bos_token") { try with { $0.add("tokenizer.ggml.add_bos_token", "yes") } }
    }

    @Test func ggufSentencePiece() {
        func with(scores: [Float]?) throws -> Tokenizer {
            try gguf {
                $0.add("tokenizer.ggml.model", "llama")
                $0.add("tokenizer.ggml.tokens", strings: ["<unk>", "a"])
                if let scores { $0.add("tokenizer.ggml.scores", floats: scores) }
            }
        }
        #expect(throws: Never.self) { try with(scores: [0, 1]) }
        expectFailure("no scores") { try with(scores: nil) }
        expectFailure("1 scores") { try with(scores: [0]) }
        expectFailure("token 1 has the score nan") { try with(scores: [0, .nan]) }
        expectFailure("token 0 has the score -inf") { try with(scores: [-.infinity, 0]) }
    }

    private func json(_ text: String) throws -> Tokenizer {
        let folder = try TemporaryFolder()
        try folder.add("tokenizer.json", Array(text.utf8))
        return try Tokenizer(folder: folder.path)
    }

    private func model(
        _ vocab: String = "{\"a\":0,\"b\":1,\"ab\":2}", merges: String = "[\"a b\"]", more: String = ""
    ) -> String { "\"model\":{\"type\":\"BPE\",\"vocab\":\(vocab),\"merges\":\(merges)\(more)}" }

    @Test func jsonModel() {
        #expect(throws: Never.self) { try json("{\(model())}") }
        #expect(throws: Never.self) { try json("{\(model(merges: "[[\"a\",\"b\"]]"))}") }
        expectFailure("no such file or directory", code: .io) {
            do { return try Tokenizer(folder: "/nonexistent") } catch let failure as Failure {
                throw Failure(failure.code, failure.message.lowercased())
            }
        }
        expectFailure("JSON, byte") { try json("{") }
        expectFailure("no model") { try json("{}") }
        expectFailure("Unigram", code: .unsupportedFormat) { try json("{\"model\":{\"type\":\"Unigram\"}}") }
        expectFailure("model.vocab") { try json("{\"model\":{\"type\":\"BPE\",\"merges\":[]}}") }
        expectFailure("model.merges") { try json("{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}") }
        expectFailure("\"b\" has no id") { try json("{\(model("{\"a\":0,\"b\":-1}"))}") }
        expectFailure("\"a\" has no id") { try json("{\(model("{\"a\":99999999999}"))}") }
        expectFailure("\"a\" has no id") { try json("{\(model("{\"a\":0.5}"))}") }
        expectFailure("have the id 0") { try json("{\(model("{\"a\":0,\"b\":0}"))}") }
        expectFailure("the piece \"x\"") { try json("{\(model(merges: "[\"a x\"]"))}") }
        expectFailure("merge 0") { try json("{\(model(merges: "[\"a b c\"]"))}") }
        expectFailure("merge 0") { try json("{\(model(merges: "[[\"a\"]]"))}") }
        expectFailure("unk_token") { try json("{\(model(more: ",\"unk_token\":\"u\""))}") }
        expectFailure("dropout", code: .unsupportedFormat) { try json("{\(model(more: ",\"dropout\":0.1"))}") }
        expectFailure("end_of_word_suffix", code: .unsupportedFormat) {
            try json("{\(model(more: ",\"end_of_word_suffix\":\"</w>\""))}")
        }
        expectFailure("byte_fallback") { try json("{\(model(more: ",\"byte_fallback\":1"))}") }
    }

    @Test func jsonAddedTokens() {
        func added(_ entry: String) throws -> Tokenizer { try json("{\"added_tokens\":[\(entry)],\(model())}") }
        #expect(throws: Never.self) { try added("{\"id\":3,\"content\":\"<s>\",\"special\":true}") }
        expectFailure("added_tokens[0]") { try added("{\"id\":3}") }
        expectFailure("added_tokens[0]") { try added("{\"id\":-3,\"content\":\"<s>\"}") }
        expectFailure("which is that of \"a\"") { try added("{\"id\":0,\"content\":\"<s>\"}") }
        expectFailure("has the ids 0 and 5") { try added("{\"id\":5,\"content\":\"a\"}") }
        expectFailure("lstrip") { try added("{\"id\":3,\"content\":\"<s>\",\"lstrip\":\"no\"}") }
    }

    @Test(arguments: [
        ("\"normalizer\":{\"type\":\"StripAccents\"}", "StripAccents"),
        ("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(a|b)*\"},\"content\":\"\"}", "(a|b)*"),
        ("\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}", "BertPreTokenizer"),
        ("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x+y\"},\"behavior\":\"Isolated\"}", "x+y"),
        ("\"decoder\":{\"type\":\"WordPiece\"}", "WordPiece"),
        ("\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}", "Strip"),
        ("\"post_processor\":{\"type\":\"RobertaProcessing\"}", "RobertaProcessing"),
    ])
    func unknownStages(_ section: String, _ named: String) {
        expectFailure(named, code: .unsupportedFormat) { try json("{\(section),\(model())}") }
    }

    @Test func malformedStages() {
        expectFailure("no type") { try json("{\"normalizer\":{},\(model())}") }
        expectFailure("normalizers") { try json("{\"normalizer\":{\"type\":\"Sequence\"},\(model())}") }
        let split = "\"pattern\":{\"String\":\"x\"},\"behavior\":\"Sideways\""
        expectFailure("Sideways") { try json("{\"pre_tokenizer\":{\"type\":\"Split\",\(split)},\(model())}") }
        let single = "[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}]"
        let template = "\"type\":\"TemplateProcessing\",\"single\":\(single)"
        expectFailure("<s> is not defined") { try json("{\"post_processor\":{\(template)},\(model())}") }
        let tokens = "\"special_tokens\":{\"<s>\":{\"ids\":[9]}}"
        expectFailure("out of range") { try json("{\"post_processor\":{\(template),\(tokens)},\(model())}") }
    }

    @Test func textsDoNotExplode() throws {
        let replace = "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"aaaaaaaa\"}"
        let steps = Array(repeating: replace, count: 30).joined(separator: ",")
        let tokenizer = try json("{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[\(steps)]},\(model())}")
        #expect(throws: Failure.self) { try tokenizer.encode("aaaa", addSpecial: false, parseSpecial: false) }
        let long = String(repeating: "a", count: 65)
        expectFailure("64 characters", code: .unsupportedFormat) {
            try json("{\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"\(long)\"},\(model())}")
        }
        let bytes = Array(repeating: "{\"type\":\"ByteLevel\"}", count: 3).joined(separator: ",")
        expectFailure("ByteLevel", code: .unsupportedFormat) {
            try json("{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[\(bytes)]},\(model())}")
        }
        let text = String(repeating: "a", count: Tokenizer.maximumTextBytes + 1)
        let plain = try json("{\(model())}")
        #expect(throws: Failure.self) { try plain.encode(text, addSpecial: false, parseSpecial: false) }
    }

    @Test func damagedGGUF() throws {
        var generator = SplitMix64(seed: 4)
        let folder = try TemporaryFolder()
        for file in [SmallVocabulary.sentencePiece().bytes, SmallVocabulary.byteLevel().bytes] {
            for _ in 0..<200 {
                var damaged = file
                let place = 24 + Int(generator.next() % UInt64(file.count - 24))
                damaged[place] = UInt8(truncatingIfNeeded: generator.next())
                do {
                    let tokenizer = try Tokenizer(gguf: try GGUF(path: folder.write(damaged, to: "damaged.gguf")))
                    let ids = try tokenizer.encode("ab <user>é🙂 <s>", addSpecial: true, parseSpecial: true)
                    _ = tokenizer.decode(ids, skipSpecial: false)
                } catch is Failure {}
            }
        }
    }

    /// Random damage gives a failure or a working tokenizer, never a trap.
    @Test(arguments: ["llama2", "qwen2", "stages"]) func damagedFiles(_ name: String) throws {
        let bytes = try fileBytes(fixture("tokenizer/\(name)/tokenizer.json"))
        var generator = SplitMix64(seed: 8)
        let replacements = Array("0129-\"{}[]:,ax \\".utf8)
        let folder = try TemporaryFolder()
        var loaded = 0
        for _ in 0..<300 {
            var damaged = bytes
            for _ in 0...generator.next() % 3 {
                let place = Int(generator.next() % UInt64(bytes.count))
                damaged[place] = replacements[Int(generator.next() % UInt64(replacements.count))]
            }
            try folder.add("tokenizer.json", damaged)
            do {
                let tokenizer = try Tokenizer(folder: folder.path)
                let ids = try tokenizer.encode("Hello <s> <|im_end|> tool é🙂", addSpecial: true, parseSpecial: true)
                _ = tokenizer.decode(ids, skipSpecial: false)
                loaded += 1
            } catch is Failure {}
        }
        #expect(loaded > 0 && loaded < 300)
    }
}
