import Formats
import Glibc
import TestSupport
import Testing

/// What the golden files hold; see Tests/Golden/make_chat_golden.py.
struct ChatGolden {
    let root: JSON
    let now: Int
    let messages: [JSON]
    let extra: [(name: String, value: JSON)]

    init() throws {
        root = try Self.read("golden.json")
        now = try #require(root["now"]?.int)
        messages = try #require(root["messages"]?.array)
        extra = try #require(root["extra"]?.members).map { ($0.key, $0.value) }
    }

    static func read(_ name: String) throws -> JSON {
        let folder = try #require(ChatFixtures.folder)
        return try JSON(parsing: bytes("\(folder)/chat/\(name)"))
    }

    static func bytes(_ path: String) throws -> [UInt8] {
        let file = try #require(fopen(path, "r"), "\(path) cannot be read")
        defer { fclose(file) }
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            if count == 0 { return result }
            result.append(contentsOf: buffer[0..<count])
        }
    }

    /// nil when the rendering was as expected.
    static func complaint(_ golden: JSON, _ render: () throws -> [ChatTemplate.Segment]) -> String? {
        do {
            let text = try render().map(\.text).joined()
            guard let expected = golden["expected"]?.string else { return "rendered \(text.debugDescription)" }
            if Array(text.utf8) == Array(expected.utf8) { return nil }
            return "rendered \(text.debugDescription), not \(expected.debugDescription)"
        } catch let failure as Failure {
            guard let message = golden["error"]?.string else { return "failed: \(failure)" }
            if message.isEmpty || failure.message == "chat template: \(message)" { return nil }
            return "failed otherwise: \(failure)"
        } catch {
            return "threw \(error)"
        }
    }
}

enum ChatFixtures {
    /// The folder of this target's fixtures, beside this file.
    static var folder: String? {
        let file = #filePath
        return file.lastIndex(of: "/").map { file[..<$0] + "/Fixtures" }
    }
}

@Suite struct ChatTemplateTests {
    @Test func expressionsAndStatements() throws {
        let golden = try ChatGolden()
        let cases = try #require(golden.root["cases"]?.array)
        #expect(cases.count > 350)
        for item in cases {
            let source = try #require(item["template"]?.string)
            if source.contains("recursive") { continue }  // Refused by name; see the robustness tests.
            let complaint = ChatGolden.complaint(item) {
                try ChatTemplate(source).render(
                    messages: golden.messages, addGenerationPrompt: false, bosText: "<s>", eosText: "</s>",
                    extra: golden.extra, now: golden.now)
            }
            #expect(complaint == nil, "\(source)")
        }
    }

    @Test func families() throws {
        let golden = try ChatGolden()
        let cases = try #require(golden.root["family_cases"]?.array)
        #expect(cases.count == 960)
        var templates: [String: ChatTemplate] = [:]
        for family in try #require(golden.root["families"]?.members) {
            templates[family.key] = try ChatTemplate(try #require(family.value.string))
        }
        for item in cases {
            let family = try #require(item["family"]?.string)
            let template = try #require(templates[family])
            let conversation = try #require(item["conversation"]?.string)
            let messages = try #require(golden.root["conversations"]?[conversation]?.array)
            let complaint = ChatGolden.complaint(item) {
                try template.render(
                    messages: messages, addGenerationPrompt: item["prompt"]?.bool ?? false, bosText: "<s>",
                    eosText: "</s>", tools: item["tools"]?.bool == true ? golden.root["tools"] : nil,
                    extra: item["thinking"].map { [("enable_thinking", $0)] } ?? [], now: golden.now)
            }
            #expect(complaint == nil, "\(family), \(conversation)")
        }
    }

    @Test(.enabled(if: sharedTestData("tokenizers/ggml-vocab-qwen2.gguf") != nil, "FTK_TEST_DATA is not set"))
    func templateOfQwen2() throws {
        let golden = try ChatGolden()
        let path = try #require(sharedTestData("tokenizers/ggml-vocab-qwen2.gguf"))
        let source = try #require(try GGUF(path: path).string("tokenizer.chat_template"))
        let template = try ChatTemplate(source)
        for item in try #require(try ChatGolden.read("golden_qwen2.json")["cases"]?.array) {
            let conversation = try #require(item["conversation"]?.string)
            let messages = try #require(golden.root["conversations"]?[conversation]?.array)
            let complaint = ChatGolden.complaint(item) {
                try template.render(messages: messages, addGenerationPrompt: item["prompt"]?.bool ?? false)
            }
            #expect(complaint == nil, "\(conversation)")
        }
    }

    // MARK: Built-in templates

    private let conversation = [
        ChatMessage(role: "system", content: "Be kind."), ChatMessage(role: "user", content: " Hi"),
        ChatMessage(role: "assistant", content: "Hello!"), ChatMessage(role: "user", content: "Why?"),
    ]

    private static let builtins: [(String, String)] = [
        (
            "chatml",
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n Hi<|im_end|>\n<|im_start|>assistant\nHello!"
                + "<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
        ),
        (
            "gemma",
            "<s><start_of_turn>user\nBe kind.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n"
                + "<start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\n"
        ),
        (
            "llama2",
            "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\n Hi [/INST] Hello! </s><s>[INST] Why? [/INST]"
        ),
        (
            "llama3",
            "<s><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|><|start_header_id|>user<|end_header_id|>"
                + "\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
                + "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
                + "<|start_header_id|>assistant<|end_header_id|>\n\n"
        ),
        ("mistral", "<s>[INST] Be kind.\n\n Hi [/INST] Hello!</s>[INST] Why? [/INST]"),
        (
            "phi3",
            "<|system|>\nBe kind.<|end|>\n<|user|>\n Hi<|end|>\n<|assistant|>\nHello!<|end|>\n<|user|>\nWhy?<|end|>\n"
                + "<|assistant|>\n"
        ),
        (
            "zephyr",
            "<|system|>\nBe kind.</s>\n<|user|>\n Hi</s>\n<|assistant|>\nHello!</s>\n<|user|>\nWhy?</s>\n<|assistant|>\n"
        ),
    ]

    @Test func builtinTemplates() throws {
        #expect(Self.builtins.map(\.0) == ChatTemplateName.allCases.map(\.rawValue))
        for (name, expected) in Self.builtins {
            let segments = try ChatTemplate.named(name).render(conversation, bosText: "<s>", eosText: "</s>")
            #expect(segments.map(\.text).joined() == expected, "\(name)")
        }
    }

    @Test func unknownBuiltinIsNamed() throws {
        let failure = try #require(throws: Failure.self) { try ChatTemplate.named("nope") }
        #expect(failure.code == .notFound)
        #expect(failure.message.contains("'nope'") && failure.message.contains("chatml, gemma, llama2"))
    }

    @Test func dateFunctionExistsOnlyWithATime() throws {
        let template = try ChatTemplate("{{ strftime_now('%d %b %Y') if strftime_now is defined else 'no clock' }}")
        #expect(try template.render(messages: [], addGenerationPrompt: false).map(\.text) == ["no clock"])
        for (now, date) in [(0, "01 Jan 1970"), (951_782_400, "29 Feb 2000"), (4_107_542_400, "01 Mar 2100")] {
            #expect(try template.render(messages: [], addGenerationPrompt: false, now: now).map(\.text) == [date])
        }
    }
}
