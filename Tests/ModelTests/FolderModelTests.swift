import Formats
import Model
import TestSupport
import Testing

/// Damaged and unsuitable Hugging Face folders.
@Suite struct FolderModelTests {
    private let folder: TemporaryFolder
    private let tensors: SafetensorsFile
    private let config: String
    private static let weights = "model.safetensors"
    private static let index = "model.safetensors.index.json"

    init() throws {
        let source = GoldenModel.folder + "/llama-bias/hf"
        folder = try TemporaryFolder()
        try folder.copy(filesOf: source)
        tensors = try SafetensorsFile(contents(of: source + "/" + Self.weights))
        config = String(decoding: try contents(of: source + "/config.json"), as: UTF8.self)
    }

    private func failureOfLoading() -> Failure? {
        let problem = failure { _ = try LanguageModel(path: folder.path, threads: 1) }
        let other = failure { _ = try ModelRequirements(path: folder.path) }
        // Requirements do not read the tokenizer.
        if let other { #expect(problem?.code == other.code) }
        return problem
    }

    private func failureOf(_ file: SafetensorsFile) throws -> Failure? {
        try folder.write(file.bytes, to: Self.weights)
        return failureOfLoading()
    }

    @Test func theUndamagedOneLoads() throws {
        #expect(failureOfLoading() == nil)
        #expect(try failureOf(tensors) == nil)
    }

    // MARK: Safetensors

    @Test func everyTensorIsNeededInItsShape() throws {
        // A bias may be absent: the configuration is not asked.
        for entry in tensors.entries {
            var missing = tensors
            missing.entries.removeAll { $0.name == entry.name }
            let problem = try failureOf(missing)
            #expect(entry.name.hasSuffix(".bias") ? problem == nil : problem?.code == .corruptFile, "\(entry.name)")
            var reshaped = tensors
            reshaped.change(entry.name) { $0.shape = [1] + $0.shape }
            #expect(try failureOf(reshaped)?.code == .corruptFile, "\(entry.name)")
        }
    }

    @Test func headersThatDoNotFitAreRefused() throws {
        for length in [0, 1, UInt64(tensors.bytes.count) - 7, 1 << 28, 1 << 40, 1 << 63, .max] as [UInt64] {
            var damaged = tensors
            damaged.headerLength = length
            #expect(try failureOf(damaged)?.code == .corruptFile, "\(length)")
        }
        for size in [0, 1, 7, 8, 9, 10, 100, tensors.bytes.count - 1] {
            try folder.write(Array(tensors.bytes[..<size]), to: Self.weights)
            #expect(failureOfLoading()?.code == .corruptFile, "\(size) bytes")
        }
    }

    @Test func malformedHeadersAreRefused() throws {
        let entry = { (text: String) in "{\"model.norm.weight\":\(text)}" }
        for header in [
            "[]", "null", "{", "{}", "\"x\"", "{\"a\":1}", entry("{}"), entry("[1,2]"),
            entry(#"{"dtype":"F32","shape":[32]}"#), entry(#"{"dtype":5,"shape":[32],"data_offsets":[0,128]}"#),
            entry(#"{"dtype":"F32","shape":[32],"data_offsets":[0]}"#),
            entry(#"{"dtype":"F32","shape":[32],"data_offsets":[0,128,256]}"#),
            entry(#"{"dtype":"F32","shape":[32],"data_offsets":[128,0]}"#),
            entry(#"{"dtype":"F32","shape":[32],"data_offsets":[-128,0]}"#),
            entry(#"{"dtype":"F32","shape":[32],"data_offsets":[0.5,128.5]}"#),
            entry(#"{"dtype":"F32","shape":[32],"data_offsets":[0,1e300]}"#),
            entry(#"{"dtype":"F32","shape":[-32],"data_offsets":[0,128]}"#),
            entry(#"{"dtype":"F32","shape":["32"],"data_offsets":[0,128]}"#),
            entry(#"{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#),
            entry(#"{"dtype":"F32","shape":[4611686018427387904,16],"data_offsets":[0,0]}"#),
        ] {
            try folder.write(SafetensorsFile.bytes(header: header, data: tensors.data), to: Self.weights)
            #expect(failureOfLoading()?.code == .corruptFile, "\(header)")
        }
    }

    @Test func wrongSizesAndTypesAreRefused() throws {
        let name = "model.layers.1.mlp.up_proj.weight"
        for change in [
            { $0.end -= 4 }, { $0.start += 4 }, { $0.end += 1 << 40 }, { $0.type = "BF16" }, { $0.shape[0] -= 1 },
        ] as [(inout SafetensorsFile.Entry) -> Void] {
            var damaged = tensors
            damaged.change(name, change)
            #expect(try failureOf(damaged)?.code == .corruptFile)
        }
        for type in ["F8_E4M3", "I64", "f32", ""] {
            var damaged = tensors
            damaged.change(name) { $0.type = type }
            let problem = try failureOf(damaged)
            #expect(problem?.code == .unsupportedQuantization)
            #expect(problem?.message.contains(name) == true)
        }
    }

    @Test func tensorsMayNotOverlap() throws {
        let places = tensors.entries.sorted { $0.start < $1.start }
        let (first, second) = (places[0], places[1])
        // The same shape in another's place, and a few bytes into it.
        let twin = try #require(places.last { $0.shape == first.shape && $0.name != first.name })
        var damaged = tensors
        damaged.change(twin.name) { ($0.start, $0.end) = (first.start, first.end) }
        #expect(try failureOf(damaged)?.code == .corruptFile)
        damaged = tensors
        damaged.change(second.name) { ($0.start, $0.end) = ($0.start - 4, $0.end - 4) }
        #expect(try failureOf(damaged)?.code == .corruptFile)
    }

    @Test func namesMayNotRepeat() throws {
        var damaged = tensors
        damaged.entries.append(tensors.entries[0])
        #expect(try failureOf(damaged)?.code == .corruptFile)
    }

    // MARK: Configuration

    /// `config` with the value of `key` replaced.
    private func changed(_ key: String, _ value: String) throws -> String {
        let lines = config.split(separator: "\n").map { line -> String in
            guard line.hasPrefix("  \"\(key)\":") else { return String(line) }
            return "  \"\(key)\": \(value)" + (line.hasSuffix(",") ? "," : "")
        }
        return lines.joined(separator: "\n")
    }

    private func failureWith(_ key: String, _ value: String) throws -> Failure? {
        let text = try changed(key, value)
        try #require(text != config, "config.json has no such key: \(key)")
        try folder.write(Array(text.utf8), to: "config.json")
        return failureOfLoading()
    }

    @Test func unsuitableConfigurationsAreRefused() throws {
        for type in ["mixtral", "qwen2_moe", "gemma2", ""] {
            let problem = try failureWith("model_type", "\"\(type)\"")
            #expect(problem?.code == .unsupportedArchitecture)
            #expect(problem?.message.contains("architecture \(type)") == true)
        }
        #expect(try failureWith("hidden_act", "\"gelu\"")?.code == .unsupportedArchitecture)
        let cases = [
            "num_hidden_layers": ["0", "-1", "5000", "3", "2.5", "null", "\"2\"", "1e300"],
            "hidden_size": ["0", "31", "64", "1e10"],
            "num_attention_heads": ["0", "3", "-4"],
            "num_key_value_heads": ["0", "3", "4"],
            "intermediate_size": ["0", "51"],
            "max_position_embeddings": ["0", "-1"],
            "vocab_size": ["0", "300", "320", "null"],
            "rms_norm_eps": ["-1", "1e400", "\"x\""],
            "model_type": ["null", "7"],
        ]
        for (key, values) in cases {
            for value in values { #expect(try failureWith(key, value)?.code == .corruptFile, "\(key): \(value)") }
        }
        for text in ["", "[]", "{}", "{", config + "x", "\u{feff}" + config] {
            try folder.write(Array(text.utf8), to: "config.json")
            let problem = failureOfLoading()
            #expect(problem?.code == .corruptFile)
            #expect(problem?.message.contains("config.json") == true)
        }
    }

    /// An embedding that is large enough for itself, but not for the tokenizer.
    @Test func vocabularyMustFitTheEmbedding() throws {
        try folder.write(Array(changed("vocab_size", "300").utf8), to: "config.json")
        var smaller = tensors
        for name in ["model.embed_tokens.weight", "lm_head.weight"] {
            smaller.change(name) {
                $0.end -= ($0.shape[0] - 300) * $0.shape[1] * 4
                $0.shape[0] = 300
            }
        }
        let problem = try failureOf(smaller)
        #expect(problem?.code == .corruptFile)
        #expect(problem?.message.contains("tokenizer") == true)
    }

    @Test(arguments: ["config.json", "tokenizer.json", "model.safetensors"])
    func everyFileIsNeeded(name: String) {
        folder.remove(name)
        #expect(failureOfLoading()?.code == .io)
    }

    // MARK: Shards

    private func failureWithIndex(_ text: String) throws -> Failure? {
        try folder.write(Array(text.utf8), to: Self.index)
        return failureOfLoading()
    }

    @Test func indexesMayNotLeaveTheFolder() throws {
        for name in [
            "../x", "/etc/passwd", "a/b", "..", "./model.safetensors", "x\\u0000y", "..\\u002fx",
        ] {
            let problem = try failureWithIndex("{\"weight_map\":{\"model.norm.weight\":\"\(name)\"}}")
            #expect(problem?.code == .corruptFile, "\(name)")
            #expect(problem?.message.contains("index.json") == true)
        }
        for text in [
            "", "{}", "[]", "{\"weight_map\":[]}", "{\"weight_map\":{\"a\":1}}", "{\"weight_map\":{\"a\":null}}",
        ] {
            #expect(try failureWithIndex(text)?.code == .corruptFile, "\(text)")
        }
        for name in ["", ".", "gone.safetensors"] {
            let problem = try failureWithIndex("{\"weight_map\":{\"model.norm.weight\":\"\(name)\"}}")
            #expect(problem?.code == .io || problem?.code == .corruptFile, "\(name)")
        }
        #expect(try failureWithIndex("{\"weight_map\":{\"model.norm.weight\":\"model.safetensors\"}}") == nil)
    }

    @Test(arguments: 1...3)
    func missingShardsAreNoticed(shard: Int) throws {
        let sharded = try TemporaryFolder()
        try sharded.copy(filesOf: GoldenModel.folder + "/llama3-sharded/hf")
        _ = try LanguageModel(path: sharded.path, threads: 1)
        let name = "model-0000\(shard)-of-00003.safetensors"
        let bytes = try contents(of: sharded.path + "/" + name)
        sharded.remove(name)
        let problem = failure { _ = try LanguageModel(path: sharded.path, threads: 1) }
        #expect(problem?.code == .io)
        #expect(problem?.message.contains(name) == true)
        try sharded.write(Array(bytes.dropLast()), to: name)
        #expect(failure { _ = try LanguageModel(path: sharded.path, threads: 1) }?.code == .corruptFile)
        // A tensor in two shards is one too many.
        try sharded.write(bytes, to: name)
        let other = "model-0000\(shard % 3 + 1)-of-00003.safetensors"
        try sharded.write(bytes, to: other)
        #expect(failure { _ = try LanguageModel(path: sharded.path, threads: 1) }?.code == .corruptFile)
    }
}
