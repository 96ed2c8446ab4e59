import Formats
import Kernels
import Model
import Speculation
import TestSupport
import Testing

/// Damaged and unsuitable GGUF models: what fails, with which code, and that the message names the culprit.
@Suite struct GGUFModelTests {
    private static func small() throws -> TinyLlama {
        var shape = TinyLlama.Shape()
        (shape.width, shape.feedForward) = (32, 48)
        return try TinyLlama(.f32, shape: shape)
    }

    private let folder: TemporaryFolder
    private let tiny: TinyLlama

    init() throws {
        folder = try TemporaryFolder()
        tiny = try Self.small()
    }

    /// Why `model` does not load; the requirements must fail in the same way.
    private func failureOfLoading(_ model: TinyLlama) throws -> Failure? {
        let path = try folder.write(model.file.bytes, to: "model.gguf")
        let problem = failure { _ = try LanguageModel(path: path, threads: 1) }
        let other = failure { _ = try ModelRequirements(path: path) }
        #expect(problem?.message == other?.message)
        return problem
    }

    @Test func theUndamagedOneLoads() throws {
        #expect(try failureOfLoading(tiny) == nil)
    }

    @Test func everyTensorIsNeeded() throws {
        for tensor in tiny.file.tensors where tensor.name != "output.weight" {
            var damaged = tiny
            damaged.file.tensors.removeAll { $0.name == tensor.name }
            let problem = try failureOfLoading(damaged)
            #expect(problem?.code == .corruptFile)
            #expect(problem?.message.contains(tensor.name) == true)
        }
        // Without an output matrix the embedding serves.
        var tied = tiny
        tied.file.tensors.removeAll { $0.name == "output.weight" }
        #expect(try failureOfLoading(tied) == nil)
    }

    @Test func everyShapeIsChecked() throws {
        for tensor in tiny.file.tensors {
            let shapes: [[UInt64]] = [
                tensor.shape + [1], [1] + tensor.shape, [tensor.shape.reduce(1, *) / 4, 4],
                tensor.shape.dropLast() + [tensor.shape[tensor.shape.count - 1] / 2],
                [tensor.shape[0] - 1] + tensor.shape.dropFirst(),
            ]
            for shape in shapes {
                var damaged = tiny
                damaged.change(tensor.name) { $0.shape = shape }
                let problem = try failureOfLoading(damaged)
                #expect(problem?.code == .corruptFile, "\(tensor.name) \(shape)")
                #expect(problem?.message.contains(tensor.name) == true)
            }
        }
        var damaged = tiny
        damaged.file.add("blk.0.attn_q.bias", .f32, shape: [31], [UInt8](repeating: 0, count: 31 * 4))
        #expect(try failureOfLoading(damaged)?.message.contains("attn_q.bias") == true)
    }

    @Test func otherArchitecturesAreRefused() throws {
        var other = tiny
        other.file.set("general.architecture", .text("gemma9"))
        let problem = try failureOfLoading(other)
        #expect(problem?.code == .unsupportedArchitecture)
        #expect(problem?.message.contains("gemma9") == true)
        var experts = tiny
        experts.file.set("llama.expert_count", .uint32(8))
        #expect(try failureOfLoading(experts)?.code == .unsupportedArchitecture)
        experts.file.set("llama.expert_count", .uint32(0))
        #expect(try failureOfLoading(experts) == nil)
        var scaled = tiny
        scaled.file.set("llama.rope.scaling.type", .text("yarn"))
        #expect(try failureOfLoading(scaled)?.code == .unsupportedArchitecture)
        var uneven = tiny
        uneven.file.set("llama.attention.head_count_kv", .array(type: 4, [.uint32(2), .uint32(1)]))
        #expect(try failureOfLoading(uneven)?.code == .unsupportedArchitecture)
        uneven.file.set("llama.attention.head_count_kv", .array(type: 4, []))
        #expect(try failureOfLoading(uneven)?.code == .unsupportedArchitecture)
        uneven.file.set("llama.attention.head_count_kv", .array(type: 4, [.uint32(2), .uint32(2)]))
        #expect(try failureOfLoading(uneven) == nil)
        var values = tiny
        values.file.set("llama.attention.value_length", .uint32(4))
        #expect(try failureOfLoading(values)?.code == .unsupportedArchitecture)
    }

    @Test func otherQuantizationsAreRefused() throws {
        for (raw, name) in [(19, "IQ1_S"), (9, "Q8_1"), (28, "F64"), (4, "type 4"), (UInt32.max, "type")] {
            var other = tiny
            other.change("blk.1.ffn_up.weight") { $0.type = UInt32(raw) }
            let problem = try failureOfLoading(other)
            #expect(problem?.code == .unsupportedQuantization)
            #expect(problem?.message.contains(name) == true && problem?.message.contains("blk.1.ffn_up") == true)
        }
    }

    @Test func impossibleConfigurationsAreRefused() throws {
        let number = { (value: UInt32) in GGUFWriter.Value.uint32(value) }
        let cases: [(String, [GGUFWriter.Value])] = [
            (
                "block_count",
                [number(0), number(1 << 20), number(3), .text("2"), .int32(-1), .uint64(.max), .float32(2)]
            ),
            ("embedding_length", [number(0), number(64), number(.max), number(1 << 30), .int64(.min)]),
            ("attention.head_count", [number(0), number(3), number(1 << 20)]),
            ("attention.head_count_kv", [number(0), number(3), number(8)]),
            ("feed_forward_length", [number(0), number(49), number(1 << 30)]),
            ("context_length", [number(0), .int32(-5)]),
            ("attention.layer_norm_rms_epsilon", [.float32(.nan), .float32(-1), .float64(.infinity), .text("x")]),
            ("rope.dimension_count", [number(0), number(7), number(10), number(1 << 30)]),
            ("rope.freq_base", [.float32(0), .float32(-10), .float32(.nan), .bool(1)]),
            ("attention.key_length", [number(0), number(16), number(1 << 20)]),
            ("vocab_size", [number(1), number(320)]),
        ]
        for (key, values) in cases {
            for value in values {
                var damaged = tiny
                damaged.file.set("llama." + key, value)
                #expect(try failureOfLoading(damaged)?.code == .corruptFile, "\(key) = \(value)")
            }
            let optional = ["vocab_size", "rope.dimension_count", "rope.freq_base", "attention.key_length"]
            if optional.contains(key) || key == "attention.head_count_kv" { continue }
            var damaged = tiny
            damaged.file.metadata.removeAll { $0.key == "llama." + key }
            #expect(try failureOfLoading(damaged)?.message.contains(key) == true)
        }
    }

    @Test func ropeFactorsMustGiveFrequencies() throws {
        // Heads of 8 dimensions have 4 frequencies.
        let cases: [([Float], Bool)] = [
            ([1, 2, 3, 4], true), ([1, 2, 3], false), ([1, 2, 3, 4, 5], false), ([1, .nan, 1, 1], false),
            ([0, 1, 1, 1], false),
        ]
        for (factors, loads) in cases {
            var model = tiny
            model.file.add("rope_freqs.weight", .f32, shape: [factors.count], littleEndian(factors))
            #expect((try failureOfLoading(model) == nil) == loads, "\(factors)")
        }
    }

    @Test func vocabularyMustFitTheEmbedding() throws {
        for rows in [tiny.vocabularySize - 1, tiny.vocabularySize + 1] {
            var model = tiny
            model.file.metadata.removeAll { $0.key == "llama.vocab_size" }
            for name in ["token_embd.weight", "output.weight"] {
                model.change(name) {
                    $0.shape = [UInt64(rows), 32]
                    $0.bytes = [UInt8](repeating: 0, count: rows * 128)
                }
            }
            #expect(try failureOfLoading(model)?.code == .corruptFile)
        }
        var none = tiny
        none.file.metadata.removeAll { $0.key.hasPrefix("tokenizer.") }
        let path = try folder.write(none.file.bytes, to: "none.gguf")
        #expect(failure { _ = try LanguageModel(path: path, threads: 1) }?.code == .unsupportedFormat)
    }

    @Test func truncatedFilesFail() throws {
        let bytes = tiny.file.bytes
        var random = SplitMix64(seed: 3)
        let cuts =
            [0, 1, 23, 24, 100, bytes.count - 128, bytes.count - 1] + (0..<60).map { _ in random.int(0..<bytes.count) }
        for cut in cuts {
            let path = try folder.write(Array(bytes[..<cut]), to: "cut.gguf")
            #expect(failure { _ = try LanguageModel(path: path, threads: 1) }?.code == .corruptFile, "cut to \(cut)")
        }
    }

    @Test func missingFilesFail() {
        for path in [folder.path + "/nothing.gguf", folder.path + "/no/such/folder", "", "a\0b"] {
            let problem = failure { _ = try LanguageModel(path: path, threads: 1) }
            #expect(problem?.code == .io || problem?.code == .invalidArgument, "\(path)")
        }
    }
}
