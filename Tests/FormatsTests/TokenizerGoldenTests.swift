import Formats
import TestSupport
import Testing

/// Against outside implementations: PyPI's `tokenizers`, and the expected ids that come with GGUF vocabularies.
@Suite struct TokenizerGoldenTests {
    static let golden = Result { try TokenizerGolden.load() }
    static let fixtures = [
        "llama2", "mistral", "metaspace", "stages", "llama3", "qwen2", "deepseek-coder", "deepseek-v3", "falcon",
        "gpt2-prefix", "inverted",
    ]

    private func compare(_ tokenizer: Tokenizer, _ name: String) throws {
        let golden = try Self.golden.get()
        let expected = try #require(golden.sets[name])
        try #require(golden.texts.count >= 200 && expected.ids.count == golden.texts.count)
        for (index, text) in golden.texts.enumerated() {
            let ids = try tokenizer.encode(text, addSpecial: false, parseSpecial: true)
            #expect(ids == expected.ids[index], "\(name), text \(index): \(text.debugDescription)")
            if !holdsAdded(ids, tokenizer) {
                let decoded = String(decoding: tokenizer.decode(ids, skipSpecial: false), as: UTF8.self)
                #expect(
                    decoded.utf8.elementsEqual((expected.decoded[index] ?? text).utf8),
                    "\(name), text \(index), decoded: \(text.debugDescription)")
            }
            let plain = try tokenizer.encode(text, addSpecial: false, parseSpecial: false)
            let wanted = expected.plain[index] ?? expected.ids[index]
            #expect(plain == wanted, "\(name), text \(index), no special tokens: \(text.debugDescription)")
        }
        #expect(try tokenizer.encode("Hello, world!", addSpecial: true, parseSpecial: false) == expected.framed)
    }

    /// Added tokens decode to their own text here. Elsewhere they go through the decoder like pieces of text, and
    /// the space that encoding puts after them stays.
    private func holdsAdded(_ ids: [Int32], _ tokenizer: Tokenizer) -> Bool {
        let added = ["tool", "Ée", "   "].map { Array($0.utf8) }
        return ids.contains { tokenizer.isControl($0) || added.contains(tokenizer.piece($0)) }
    }

    @Test(arguments: fixtures) func tokenizerJSON(_ name: String) throws {
        try compare(try Tokenizer(folder: fixture("tokenizer/" + name)), name)
    }

    @Test(.enabled(if: haveShared("tokenizers/smollm2/tokenizer.json"), "FTK_TEST_DATA is not set"))
    func smolLM2() throws {
        try compare(try Tokenizer(folder: try shared("tokenizers/smollm2")), "smollm2")
    }

    @Test(arguments: [
        "gpt-2", "mpt", "llama-bpe", "qwen2", "smollm", "starcoder", "refact", "deepseek-coder", "deepseek-v3",
        "falcon", "default",
    ])
    func namedPreTokenizer(_ name: String) throws {
        let golden = try Self.golden.get()
        let expected = try #require(golden.splits[name])
        let preTokenizer = try PreTokenizer(named: name)
        for (index, text) in golden.texts.enumerated() {
            let words = preTokenizer.split(text)
            #expect(words.map(\.unicodeScalars.count) == expected[index], "text \(index): \(text.debugDescription)")
            #expect(words.joined().utf8.elementsEqual(text.utf8))
        }
    }

    @Test(
        .enabled(if: haveShared("tokenizers/ggml-vocab-gpt-2.gguf"), "FTK_TEST_DATA is not set"),
        arguments: ["gpt-2", "llama-bpe", "llama-spm", "qwen2"])
    func vocabularyFile(_ name: String) throws {
        let path = try shared("tokenizers/ggml-vocab-\(name).gguf")
        let tokenizer = try Tokenizer(gguf: try GGUF(path: path))
        let texts = separated(
            try fileBytes(path + ".inp"), by: Array("\n__ggml_vocab_test__\n".utf8))
        let lines = separated(try fileBytes(path + ".out"), by: [0x0A])
        try #require(texts.count == 47 && lines.count >= 47)
        for (text, line) in zip(texts, lines) {
            let expected = line.split(separator: 0x20).compactMap { Int32(String(decoding: $0, as: UTF8.self)) }
            let string = String(decoding: text, as: UTF8.self)
            let ids = try tokenizer.encode(string, addSpecial: false, parseSpecial: false)
            #expect(ids == expected, "\(string.debugDescription)")
            #expect(tokenizer.decode(ids, skipSpecial: false) == text)
        }
    }

    @Test(.enabled(if: haveShared("models/pair/target-Q8_0.gguf"), "FTK_TEST_DATA is not set"))
    func pairOfFolderAndGGUF() throws {
        let folder = try Tokenizer(folder: try shared("models/pair/target"))
        let file = try Tokenizer(gguf: try GGUF(path: try shared("models/pair/target-Q8_0.gguf")))
        #expect(folder.vocabularySize == file.vocabularySize && folder.bos == 0 && file.bos == 0)
        #expect(folder.addsBOS && file.addsBOS && !folder.addsEOS && !file.addsEOS)
        #expect(folder.endOfGeneration == [0] && file.endOfGeneration == [0])
        #expect(folder.bosText == "<|endoftext|>" && file.bosText == "<|endoftext|>")
        for id in 0..<Int32(folder.vocabularySize) {
            #expect(folder.storedText(id) == file.storedText(id) && folder.piece(id) == file.piece(id))
        }
        let digests = try Self.golden.get().prompts
        let lines = separated(try fileBytes(try shared("prompts/python.jsonl")), by: [0x0A]).filter { !$0.isEmpty }
        try #require(lines.count == digests.count && lines.count == 256)
        for (line, expected) in zip(lines, digests) {
            let prompt = try #require(try JSON(parsing: line)["prompt"]?.string)
            let ids = try folder.encode(prompt, addSpecial: false, parseSpecial: true)
            #expect(ids == (try file.encode(prompt, addSpecial: false, parseSpecial: true)))
            #expect(digest(ids) == expected)
            #expect(try folder.encode(prompt, addSpecial: true, parseSpecial: true) == [0] + ids)
            #expect(folder.decode(ids, skipSpecial: true).elementsEqual(prompt.utf8))
        }
    }

    @Test(.enabled(if: haveShared("tokenizers/smollm2/tokenizer.json"), "FTK_TEST_DATA is not set"))
    func largeTexts() throws {
        let tokenizer = try Tokenizer(folder: try shared("tokenizers/smollm2"))
        let files = try ["prompts/python.jsonl", "prompts/self-instruct.jsonl"].map {
            String(decoding: try fileBytes(try shared($0)), as: UTF8.self)
        }
        let repeated = [("a", 100_000), (" ", 100_000), ("ab\n", 50_000), ("中文字", 30_000)]
        let texts = files + repeated.map { String(repeating: $0.0, count: $0.1) }
        let digests = try texts.map { digest(try tokenizer.encode($0, addSpecial: true, parseSpecial: true)) }
        #expect(digests == (try Self.golden.get().large))
    }

    private func digest(_ ids: [Int32]) -> String {
        let state = ids.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        let text = String(state, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }

    private func separated(_ bytes: [UInt8], by separator: [UInt8]) -> [[UInt8]] {
        var parts: [[UInt8]] = [[]]
        var index = 0
        while index < bytes.count {
            if bytes[index...].starts(with: separator) {
                parts.append([])
                index += separator.count
            } else {
                parts[parts.count - 1].append(bytes[index])
                index += 1
            }
        }
        return parts
    }
}
