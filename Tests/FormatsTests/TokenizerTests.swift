import Formats
import TestSupport
import Testing

@Suite struct TokenizerTests {
    private func fixtureTokenizer(_ name: String) throws -> Tokenizer {
        try Tokenizer(folder: fixture("tokenizer/" + name))
    }

    // MARK: Round trips

    /// U+2581 is left out where it stands for a space: there no vocabulary can tell the two apart.
    private func checkRoundTrips(_ tokenizer: Tokenizer, mark: Bool) throws {
        var generator = SplitMix64(seed: 99)
        var texts = try TokenizerGoldenTests.golden.get().texts
        for _ in 0..<200 { texts.append(generator.text(scalars: Int(generator.next() % 60))) }
        for text in texts where mark || !text.unicodeScalars.contains("\u{2581}") {
            var work = EncodingWork()
            let ids = try tokenizer.encode(
                spans: [.init(text, parsesSpecial: false)], addSpecial: false, work: &work)
            // Vocabularies without a token for every byte lose what they cannot spell.
            if work.omissions > 0 { continue }
            #expect(tokenizer.decode(ids, skipSpecial: false).elementsEqual(text.utf8), "\(text.debugDescription)")
        }
    }

    @Test(arguments: ["llama3", "deepseek-coder", "deepseek-v3", "falcon", "inverted"])
    func byteLevelRoundTrip(_ name: String) throws { try checkRoundTrips(try fixtureTokenizer(name), mark: true) }

    @Test(
        .enabled(if: haveShared("tokenizers/smollm2"), "FTK_TEST_DATA is not set"),
        arguments: [
            "tokenizers/ggml-vocab-gpt-2.gguf", "tokenizers/ggml-vocab-llama-bpe.gguf",
            "tokenizers/ggml-vocab-qwen2.gguf", "tokenizers/ggml-vocab-llama-spm.gguf",
            "models/stories260k/stories260K-f32.gguf", "models/pair/target-Q8_0.gguf",
        ])
    func sharedRoundTrip(_ path: String) throws {
        let isSentencePiece = path.contains("spm") || path.contains("stories")
        try checkRoundTrips(try Tokenizer(gguf: try GGUF(path: try shared(path))), mark: !isSentencePiece)
    }

    @Test(.enabled(if: haveShared("tokenizers/smollm2"), "FTK_TEST_DATA is not set"))
    func smolLM2RoundTrip() throws {
        try checkRoundTrips(try Tokenizer(folder: try shared("tokenizers/smollm2")), mark: true)
    }

    @Test func sentencePieceSpaces() throws {
        let tokenizer = try SmallVocabulary.sentencePiece().tokenizer()
        for text in ["", " ", "ab", " ab", "  ab ", "é", "a<user>b", " <user> ", "<user><user>a", "x\u{0}\n"] {
            let ids = try tokenizer.encode(text, addSpecial: false, parseSpecial: false)
            #expect(tokenizer.decode(ids, skipSpecial: true).elementsEqual(text.utf8), "\(text.debugDescription)")
        }
        let ids = try tokenizer.encode("ab", addSpecial: true, parseSpecial: false)
        #expect(ids == [1] + (try tokenizer.encode("ab", addSpecial: false, parseSpecial: false)))
        #expect(tokenizer.decode(ids, skipSpecial: true) == Array("ab".utf8))
        #expect(tokenizer.decode(ids, skipSpecial: false) == Array("<s>ab".utf8))
    }

    // MARK: Work

    @Test(.enabled(if: haveShared("tokenizers/smollm2"), "FTK_TEST_DATA is not set"))
    func workIsLinear() throws {
        let prose = String(decoding: try fileBytes(try shared("prompts/self-instruct.jsonl")), as: UTF8.self)
        var generator = SplitMix64(seed: 5)
        let noise = (0..<700_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let texts = [
            String(repeating: prose, count: 6), String(repeating: "a", count: 1_000_000),
            String(repeating: " ", count: 1_000_000), String(repeating: " \n", count: 500_000),
            String(decoding: noise, as: UTF8.self), String(repeating: "<|im_start|", count: 90_000),
        ]
        for name in ["gpt-2", "llama-bpe", "llama-spm", "qwen2"] {
            let tokenizer = try Tokenizer(gguf: try GGUF(path: try shared("tokenizers/ggml-vocab-\(name).gguf")))
            for text in texts {
                var work = EncodingWork()
                let ids = try tokenizer.encode(
                    spans: [.init(text, parsesSpecial: true)], addSpecial: false, work: &work)
                // Each symbol queues at most one merge, each merge at most two more, and each entry leaves once.
                #expect(work.symbols <= text.utf8.count + 1 && work.merges < work.symbols)
                #expect(work.queueOperations <= 2 * (work.symbols + 2 * work.merges))
                #expect(!ids.isEmpty && tokenizer.decode(ids, skipSpecial: false).elementsEqual(text.utf8))
            }
        }
    }

    // MARK: Spans

    @Test func userTextNeverBecomesAControlToken() throws {
        let tokenizer = try fixtureTokenizer("qwen2")
        let start = try #require(
            try tokenizer.encode("<|im_start|>", addSpecial: false, parseSpecial: true).first)
        let end = start + 1
        #expect(tokenizer.isControl(start) && tokenizer.piece(end) == Array("<|im_end|>".utf8))
        func spans(_ content: String) -> [Tokenizer.Span] {
            [
                .init("<|im_start|>user\n", parsesSpecial: true), .init(content, parsesSpecial: false),
                .init("<|im_end|>\n", parsesSpecial: true),
            ]
        }
        for content in ["hello", " some text ", "é\u{301}x", "", "12 34"] {
            let whole = "<|im_start|>user\n" + content + "<|im_end|>\n"
            #expect(
                try tokenizer.encode(spans: spans(content), addSpecial: false)
                    == tokenizer.encode(whole, addSpecial: false, parseSpecial: true))
        }
        for content in ["<|im_end|>", "a<|im_end|>b<|im_start|>", "<|im_", "|>", "<|im_end|>\u{301}"] {
            let ids = try tokenizer.encode(spans: spans(content), addSpecial: false)
            #expect(ids.filter { tokenizer.isControl($0) } == [start, end])
            #expect(tokenizer.decode(ids, skipSpecial: true).elementsEqual(("user\n" + content + "\n").utf8))
        }
        let split: [Tokenizer.Span] = [.init("<|im_", parsesSpecial: true), .init("end|>", parsesSpecial: false)]
        #expect(try !tokenizer.encode(spans: split, addSpecial: false).contains(end))
        let allowed: [Tokenizer.Span] = [.init("<|im_", parsesSpecial: true), .init("end|>", parsesSpecial: true)]
        #expect(try tokenizer.encode(spans: allowed, addSpecial: false) == [end])
    }

    @Test(arguments: ["llama2", "mistral", "metaspace", "stages", "llama3", "qwen2", "falcon", "gpt2-prefix"])
    func bordersOfSpansHaveNoEffect(_ name: String) throws {
        let tokenizer = try fixtureTokenizer(name)
        var generator = SplitMix64(seed: 3)
        for text in try TokenizerGoldenTests.golden.get().texts {
            for parses in [false, true] {
                var spans: [Tokenizer.Span] = []
                var part = String.UnicodeScalarView()
                for scalar in text.unicodeScalars {
                    part.append(scalar)
                    guard generator.next() % 5 == 0 else { continue }
                    spans.append(.init(String(part), parsesSpecial: parses))
                    part = String.UnicodeScalarView()
                }
                spans.append(.init(String(part), parsesSpecial: parses))
                #expect(
                    try tokenizer.encode(spans: spans, addSpecial: false)
                        == tokenizer.encode(text, addSpecial: false, parseSpecial: parses))
            }
        }
    }

    /// Merges that spell a control token stop short of it.
    @Test func mergesDoNotLeadToControlTokens() throws {
        var file = GGUFWriter()
        file.add("tokenizer.ggml.model", "gpt2")
        file.add("tokenizer.ggml.pre", "gpt-2")
        file.add("tokenizer.ggml.tokens", strings: ["a", "b", "ab", "aba", "c"])
        file.add("tokenizer.ggml.token_type", integers: [1, 1, 3, 1, 3])
        file.add("tokenizer.ggml.merges", strings: ["a b", "ab a"])
        let tokenizer = try file.tokenizer()
        #expect(try tokenizer.encode("ab", addSpecial: false, parseSpecial: false) == [0, 1])
        #expect(try tokenizer.encode("aba", addSpecial: false, parseSpecial: false) == [3])
        #expect(try tokenizer.encode("cab", addSpecial: false, parseSpecial: true) == [4, 2])
        #expect(try tokenizer.encode("cab", addSpecial: false, parseSpecial: false) == [0, 1])
    }

    // MARK: Ids and roles

    @Test func idsOutOfRange() throws {
        for name in ["llama2", "qwen2"] {
            let tokenizer = try fixtureTokenizer(name)
            for id in [-1, Int32.min, Int32.max, Int32(tokenizer.vocabularySize)] {
                #expect(tokenizer.piece(id).isEmpty && tokenizer.storedText(id).isEmpty && !tokenizer.isControl(id))
                #expect(tokenizer.decode([id], skipSpecial: false).isEmpty)
                var stream = StreamDecoder(tokenizer, continuesText: false)
                #expect(stream.push(id).isEmpty && stream.finish().isEmpty)
            }
        }
    }

    @Test func rolesOfGGUF() throws {
        let tokenizer = try SmallVocabulary.sentencePiece().tokenizer()
        #expect(tokenizer.bos == 1 && tokenizer.eos == 2 && tokenizer.unknown == 0 && tokenizer.pad == nil)
        #expect(tokenizer.addsBOS && !tokenizer.addsEOS && tokenizer.endOfGeneration == [2, 3])
        #expect(tokenizer.bosText == "<s>" && tokenizer.eosText == "</s>" && tokenizer.chatTemplate == nil)
        var file = SmallVocabulary.byteLevel()
        file.add("tokenizer.chat_template", "{{ messages }}")
        file.add("tokenizer.ggml.add_eos_token", true)
        file.add("tokenizer.ggml.eos_token_id", 3 as UInt32)
        let byteLevel = try file.tokenizer()
        #expect(byteLevel.chatTemplate == "{{ messages }}" && byteLevel.bos == nil && byteLevel.bosText.isEmpty)
        #expect(!byteLevel.addsBOS && byteLevel.addsEOS && byteLevel.vocabularySize == 4)
        #expect(try byteLevel.encode("ab", addSpecial: true, parseSpecial: false) == [2, 3])
    }

    @Test func phi3TokensTakeSpaceAlong() throws {
        var file = SmallVocabulary.sentencePiece()
        file.add("general.name", "Phi-3 mini")
        let tokenizer = try file.tokenizer()
        let ids = try tokenizer.encode("<|end|> \n a", addSpecial: false, parseSpecial: true)
        #expect(ids == [3] + (try tokenizer.encode("a", addSpecial: false, parseSpecial: false)))
    }

    @Test func rolesOfFolder() throws {
        let model = try fileBytes(fixture("tokenizer/llama3/tokenizer.json"))
        func load(_ files: [String: String]) throws -> Tokenizer {
            let folder = try TemporaryFolder()
            try folder.add("tokenizer.json", model)
            for (name, text) in files { try folder.add(name, Array(text.utf8)) }
            return try Tokenizer(folder: folder.path)
        }
        let bare = try load([:])
        let start = Int32(bare.vocabularySize - 2)
        let (text, end) = (start - 1, start + 1)
        #expect(bare.bos == nil && bare.eos == nil && bare.endOfGeneration == [text, end] && bare.addsBOS)
        let full = try load([
            "tokenizer_config.json": """
            {"bos_token": {"content": "<|im_start|>"}, "eos_token": "<|im_end|>", "pad_token": null,
             "add_bos_token": false, "add_eos_token": true,
             "chat_template": [{"name": "tool", "template": "t"}, {"name": "default", "template": "d"}]}
            """,
            "generation_config.json": "{\"eos_token_id\": [\(text), \(end), 999999]}",
        ])
        #expect(full.bos == start && full.eos == end && full.pad == nil && full.endOfGeneration == [text, end])
        #expect(!full.addsBOS && full.addsEOS && full.chatTemplate == "d" && full.eosText == "<|im_end|>")
        let other = try load([
            "chat_template.jinja": "j", "config.json": "{\"bos_token_id\": \(start), \"eos_token_id\": \(start)}",
            "tokenizer_config.json": "{\"chat_template\": \"c\"}",
        ])
        #expect(other.chatTemplate == "j" && other.bos == start && other.eos == start)
        #expect(other.endOfGeneration == [text, start, end])
        #expect(throws: Failure.self) { try load(["tokenizer_config.json": "{\"bos_token\": \"<nowhere>\"}"]) }
        #expect(throws: Failure.self) { try load(["tokenizer_config.json": "{\"add_bos_token\": 1}"]) }
        #expect(throws: Failure.self) { try load(["config.json": "{\"eos_token_id\": \"x\"}"]) }
    }

    /// Canonically equivalent tokens are different tokens.
    @Test func equivalentSpellingsStayApart() throws {
        var file = GGUFWriter()
        file.add("tokenizer.ggml.model", "llama")
        file.add("tokenizer.ggml.tokens", strings: ["<unk>", "<s>", "</s>", "é", "e\u{301}", "e", "\u{301}"])
        file.add("tokenizer.ggml.scores", floats: [0, 0, 0, 0, 0, 0, 0])
        file.add("tokenizer.ggml.token_type", integers: [2, 3, 3, 1, 1, 1, 1])
        file.add("tokenizer.ggml.add_space_prefix", false)
        let tokenizer = try file.tokenizer()
        #expect(try tokenizer.encode("é", addSpecial: false, parseSpecial: false) == [3])
        #expect(try tokenizer.encode("e\u{301}", addSpecial: false, parseSpecial: false) == [4])
        #expect(try tokenizer.encode("xyé", addSpecial: false, parseSpecial: false) == [0, 3])
    }
}
