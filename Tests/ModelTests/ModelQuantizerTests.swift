import Formats
import Kernels
import Model
import TestSupport
import Testing

/// Whole files through the quantiser.
@Suite struct ModelQuantizerTests {
    private let folder: TemporaryFolder
    private var target: String { folder.path + "/out.gguf" }

    init() throws { folder = try TemporaryFolder() }

    @discardableResult
    private func quantize(
        _ path: String, _ recipe: QuantizationRecipe, threads: Int = 2, progress: LoadProgress? = nil
    ) throws -> QuantizationReport {
        try ModelQuantizer(path: path, recipe: recipe).write(
            to: target, force: true, pool: ThreadPool(threads: threads), progress: progress)
    }

    private func write(_ tiny: TinyLlama) throws -> String { try folder.write(tiny.file.bytes, to: "in.gguf") }

    private func tensor(_ name: String, of file: GGUF) throws -> TensorEntry {
        try #require(file.tensors.first { $0.name == name })
    }

    private func values(_ entry: TensorEntry) throws -> [Float] {
        entry.type.expanded(try entry.file.read(count: entry.byteCount, at: entry.offset))
    }

    // MARK: Types

    private static func shape(layers: Int, ties: Bool) throws -> ModelConfiguration {
        var configuration = try TestModels.target().configuration
        configuration.layers = layers
        configuration.tiesEmbeddings = ties
        return configuration
    }

    private func type(
        _ name: String, _ recipe: QuantizationRecipe, shape: [Int] = [64, 512], _ configuration: ModelConfiguration
    ) -> TensorType { recipe.type(of: name, stored: .f32, shape: shape, in: configuration) }

    /// Of the matrices of a model with 32 layers.
    private static let names =
        ["output.weight", "token_embd.weight"]
        + (0..<32).flatMap { layer in
            ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"].map {
                "blk.\(layer).\($0).weight"
            }
        }

    @Test func recipesAreThoseOfTheField() throws {
        let model = try Self.shape(layers: 32, ties: false)
        let tied = try Self.shape(layers: 32, ties: true)
        let more = (0..<32).filter { type("blk.\($0).ffn_down.weight", .q4_K_M, model) == .q6_K }
        #expect(more == [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31])
        for layer in 0..<32 {
            let expected: TensorType = more.contains(layer) ? .q6_K : .q4_K
            #expect(type("blk.\(layer).attn_v.weight", .q4_K_M, model) == expected)
            for name in ["attn_q", "attn_k", "attn_output", "ffn_gate", "ffn_up"] {
                #expect(type("blk.\(layer).\(name).weight", .q4_K_M, model) == .q4_K)
            }
        }
        #expect(type("output.weight", .q4_K_M, model) == .q6_K)
        #expect(type("token_embd.weight", .q4_K_M, model) == .q4_K)
        #expect(type("token_embd.weight", .q4_K_M, tied) == .q6_K)
        // The same tensors keep more bits in Q5_K_M.
        for (name, ours) in Self.names.flatMap({ name in [model, tied].map { (name, $0) } }) {
            let less = type(name, .q4_K_M, ours)
            #expect(type(name, .q5_K_M, ours) == (less == .q4_K ? .q5_K : less), "\(name)")
        }
        #expect(type("output.weight", .q4_0, model) == .q6_K)
        #expect(type("token_embd.weight", .q4_0, model) == .q4_0)
        #expect(type("token_embd.weight", .q4_0, tied) == .q6_K)
        for (recipe, all) in [(QuantizationRecipe.q8_0, TensorType.q8_0), (.q6_K, .q6_K), (.f16, .f16)] {
            #expect(type("output.weight", recipe, model) == all && type("blk.0.attn_v.weight", recipe, model) == all)
        }
    }

    @Test func otherTensorsStay() throws {
        let model = try Self.shape(layers: 4, ties: true)
        for recipe in QuantizationRecipe.allCases {
            #expect(type("blk.0.attn_norm.weight", recipe, shape: [512], model) == .f32)
            #expect(type("blk.0.attn_q.bias", recipe, shape: [512], model) == .f32)
            #expect(type("blk.0.attn_q_norm.weight", recipe, shape: [2, 512], model) == .f32)
            #expect(type("blk.0.ffn_gate_exps.weight", recipe, shape: [2, 64, 512], model) == .f32)
            #expect(type("rope_freqs.weight", recipe, shape: [32], model) == .f32)
        }
    }

    @Test func rowsThatAreNotWholeBlocksGetTheNearestType() throws {
        let model = try Self.shape(layers: 4, ties: false)
        let wide = [64, 96]
        #expect(type("blk.0.attn_q.weight", .q4_K_M, shape: wide, model) == .q5_0)
        #expect(type("blk.2.attn_v.weight", .q4_K_M, shape: wide, model) == .q8_0)
        #expect(type("blk.0.attn_q.weight", .q5_K_M, shape: wide, model) == .q8_0)
        #expect(type("output.weight", .q4_0, shape: wide, model) == .q8_0)
        #expect(type("blk.0.attn_q.weight", .q4_0, shape: wide, model) == .q4_0)
        #expect(type("blk.0.attn_q.weight", .q6_K, shape: wide, model) == .q8_0)
        for recipe in QuantizationRecipe.allCases {
            #expect(type("blk.0.attn_q.weight", recipe, shape: [64, 40], model) == .f16)
        }
    }

    @Test func namesAreInAnyCase() {
        #expect(QuantizationRecipe(name: "q4_k_m") == .q4_K_M)
        #expect(QuantizationRecipe(name: "q5_K_m") == .q5_K_M)
        #expect(QuantizationRecipe(name: "Q8_0") == .q8_0)
        #expect(QuantizationRecipe(name: "f16") == .f16)
        #expect(QuantizationRecipe(name: "Q5_0") == nil)
    }

    // MARK: Files

    @Test(arguments: QuantizationRecipe.allCases)
    func metadataStaysAndTensorsAreTheBlocksOfTheKernels(recipe: QuantizationRecipe) throws {
        var tiny = try TinyLlama(.f32, seed: 90)
        tiny.file.set("general.alignment", .uint32(64))
        tiny.file.alignment = 64
        let source = try GGUF(path: write(tiny))
        let report = try quantize(source.file.path, recipe)
        let result = try GGUF(path: target)
        let numbers = [("general.file_type", recipe.fileType), ("general.quantization_version", 2)]
        #expect(try result.metadataEntries(setting: []) == source.metadataEntries(setting: numbers))
        #expect(try result.int("general.file_type") == Int(recipe.fileType))
        #expect(result.tensors.map(\.name) == source.tensors.map(\.name))
        for (entry, original) in zip(result.tensors, source.tensors) {
            #expect(entry.offset % 64 == 0 && entry.shape == original.shape)
            let stored = try entry.file.read(count: entry.byteCount, at: entry.offset)
            let given = try values(original)
            let format = QuantizedFormat(entry.type.kernelFormat)
            var expected = littleEndian(given)
            if entry.shape.count == 2 {
                expected = [UInt8](repeating: 0, count: entry.byteCount)
                try #require(format).quantize(given, count: given.count, into: &expected)
            }
            #expect(stored == expected, "\(entry.name)")
        }
        #expect(report.inputBytes == tiny.file.bytes.count)
        #expect(try contents(of: target).count == report.outputBytes)
        #expect(report.types.reduce(0) { $0 + $1.tensors } == result.tensors.count)
        #expect(report.types.reduce(0) { $0 + $1.bytes } == result.tensors.reduce(0) { $0 + $1.byteCount })
        #expect(report.types.allSatisfy { $0.type == .f32 ? $0.relativeError == 0 : $0.relativeError > 0 })
    }

    /// Every type that can be read, of both versions, with each number of threads.
    @Test(arguments: TensorType.allCases)
    func everyReadableTypeBecomesAModel(type: TensorType) throws {
        let path = try write(TinyLlama(type, version: type == .q8_0 ? 2 : 3, seed: UInt64(type.rawValue) + 91))
        for recipe in QuantizationRecipe.allCases {
            try quantize(path, recipe, threads: 3)
            let bytes = try contents(of: target)
            try quantize(path, recipe, threads: 1)
            #expect(try contents(of: target) == bytes)
            let model = try LanguageModel(path: target, threads: 1)
            #expect(try Machine(model).run([1, 2, 3]).joined().allSatisfy { $0.isFinite })
        }
    }

    @Test func theSameTypeKeepsItsBytes() throws {
        let path = try write(TinyLlama(.q6_K, seed: 92))
        let report = try quantize(path, .q6_K)
        #expect(report.types.allSatisfy { $0.relativeError == 0 })
        let (source, result) = (try GGUF(path: path), try GGUF(path: target))
        for (entry, original) in zip(result.tensors, source.tensors) {
            let bytes = try entry.file.read(count: entry.byteCount, at: entry.offset)
            #expect(try bytes == original.file.read(count: original.byteCount, at: original.offset))
        }
    }

    @Test(arguments: [(96, 160), (72, 72)])
    func narrowModelsLoad(width: Int, feedForward: Int) throws {
        var shape = TinyLlama.Shape()
        (shape.width, shape.feedForward) = (width, feedForward)
        let path = try write(TinyLlama(.f16, shape: shape, seed: 93))
        for recipe in QuantizationRecipe.allCases {
            try quantize(path, recipe)
            let model = try LanguageModel(path: target, threads: 1)
            #expect(try Machine(model).run([1, 2, 3]).joined().allSatisfy { $0.isFinite })
        }
    }

    /// Tensors of several waves are put together in order.
    @Test func tensorsOfManyPiecesStayInOrder() throws {
        var shape = TinyLlama.Shape()
        (shape.layers, shape.feedForward) = (1, 9 * 1024 + 256)
        let path = try write(TinyLlama(.f32, shape: shape, seed: 94))
        let report = try quantize(path, .q8_0)
        #expect(report.types.allSatisfy { $0.relativeError < 0.01 })
        let (source, result) = (try GGUF(path: path), try GGUF(path: target))
        for name in ["blk.0.ffn_up.weight", "blk.0.ffn_down.weight"] {
            let (given, stored) = (try values(tensor(name, of: source)), try values(tensor(name, of: result)))
            let largest = given.map(\.magnitude).max() ?? 0
            #expect(zip(given, stored).allSatisfy { abs($0 - $1) < largest / 200 })
        }
    }

    // MARK: Refusals

    @Test(arguments: [Float.nan, .infinity, -.infinity])
    func valuesThatAreNotFiniteNameTheirTensor(bad: Float) throws {
        for name in ["blk.1.ffn_up.weight", "blk.0.attn_norm.weight"] {
            var tiny = try TinyLlama(.f32, seed: 95)
            tiny.change(name) { $0.bytes.replaceSubrange(400..<404, with: littleEndian([bad])) }
            let path = try write(tiny)
            for recipe in QuantizationRecipe.allCases {
                let problem = failure { _ = try quantize(path, recipe) }
                #expect(problem?.code == .corruptFile)
                #expect(problem?.message == "\(path): tensor \(name) holds a value that is not finite")
                #expect(!fileExists(target) && !fileExists(target + ".partial"))
            }
        }
    }

    @Test(arguments: QuantizationRecipe.allCases)
    func valuesThatNoScaleReachesNameTheirTensor(recipe: QuantizationRecipe) throws {
        var tiny = try TinyLlama(.f32, seed: 96)
        tiny.change("blk.0.attn_k.weight") { $0.bytes.replaceSubrange(400..<404, with: littleEndian([-1e10])) }
        let path = try write(tiny)
        let problem = failure { _ = try quantize(path, recipe) }
        #expect(problem?.message.contains("tensor blk.0.attn_k.weight holds values that are too large for") == true)
        #expect(!fileExists(target) && !fileExists(target + ".partial"))
    }

    @Test func whatIsNoWholeModelIsRefused() throws {
        let model = try TinyLlama(.f32, seed: 97)
        var (part, alien) = (model, model)
        part.file.set("split.count", .uint16(3))
        alien.file.set("general.architecture", .text("mamba"))
        let cases = [(part, "one of 3 parts"), (alien, "unsupported architecture mamba")]
        for (tiny, words) in cases {
            let path = try write(tiny)
            #expect(failure { _ = try quantize(path, .q8_0) }?.message.contains(words) == true)
        }
        let cut = try folder.write(Array(model.file.bytes.dropLast(500)), to: "cut.gguf")
        #expect(failure { _ = try quantize(cut, .q8_0) }?.code == .corruptFile)
        #expect(failure { _ = try quantize(folder.path, .q8_0) }?.message.contains("only GGUF files") == true)
        let path = try write(model)
        let same = failure {
            _ = try ModelQuantizer(path: path, recipe: .q8_0).write(to: path, force: true, pool: ThreadPool(threads: 1))
        }
        #expect(same?.message.contains("would overwrite") == true)
        #expect(try contents(of: path) == model.file.bytes)
        #expect(!fileExists(target))
    }

    @Test func aStopLeavesNothing() throws {
        let path = try write(TinyLlama(.f32, seed: 98))
        var calls = 0
        try quantize(path, .q8_0) { done, total in
            calls += 1
            #expect(done <= total)
            return true
        }
        for last in [0, 1, calls / 2, calls - 2] {
            try folder.write([1], to: "out.gguf")
            var count = 0
            let problem = failure {
                _ = try quantize(path, .q8_0) { _, _ in
                    count += 1
                    return count <= last
                }
            }
            #expect(problem?.code == .cancelled)
            #expect(try contents(of: target) == [1])
            #expect(!fileExists(target + ".partial"))
        }
    }

    // MARK: A trained model

    /// Bounds of how much the logarithm of perplexity grows, and of how far log-probabilities move on average: the second
    /// twice what was measured. The bundled model, itself Q8_0, stands in where there is none in F16.
    @Test(arguments: [
        (QuantizationRecipe.f16, 0.001, 0.001), (.q8_0, 0.001, 0.023), (.q6_K, 0.004, 0.065), (.q5_K_M, 0.005, 0.1),
        (.q4_K_M, 0.012, 0.18), (.q4_0, 0.033, 0.27),
    ])
    func realTextKeepsItsProbabilities(recipe: QuantizationRecipe, perplexity: Double, difference: Double) throws {
        let path = sharedTestData("models/pair/target-F16.gguf") ?? TestModels.targetPath
        try quantize(path, recipe)
        let original = try Machine(LanguageModel(path: path, threads: 2), threads: 2)
        let smaller = try Machine(LanguageModel(path: target, threads: 2), threads: 2)
        let pairs = try RealText.windows(original.model.tokenizer).flatMap { window in
            zip(RealText.scores(window, original), RealText.scores(window, smaller)).map { ($0, $1) }
        }
        #expect(pairs.count > 1500)
        let sums = pairs.reduce((0.0, 0.0)) { ($0.0 + $1.0 - $1.1, $0.1 + abs($1.0 - $1.1)) }
        #expect(sums.0 / Double(pairs.count) < perplexity, "log-perplexity")
        #expect(sums.1 / Double(pairs.count) < difference, "log-probabilities")
    }
}
