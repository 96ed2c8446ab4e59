import Formats
import Kernels
import Model
import TestSupport
import Testing

/// Draft models that are made of a model's own weights.
@Suite struct SelfDraftTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func load(_ tiny: TinyLlama, _ name: String = "model.gguf") throws -> LanguageModel {
        try LanguageModel(path: try folder.write(tiny.file.bytes, to: name), threads: 1)
    }

    private static func tiny(_ type: TensorType, layers: Int, inner: Int = 256) throws -> TinyLlama {
        var shape = TinyLlama.Shape()
        (shape.layers, shape.feedForward) = (layers, inner)
        return try TinyLlama(type, shape: shape, seed: UInt64(layers))
    }

    /// The same with matrices of the layers in Q4_0, and the output matrix as well unless it is shared.
    private static func twin(_ tiny: TinyLlama, sharesOutput: Bool) -> TinyLlama {
        var twin = tiny
        for index in twin.file.tensors.indices {
            let tensor = twin.file.tensors[index]
            let isDrafted = tensor.name.hasPrefix("blk.") || tensor.name == "output.weight" && !sharesOutput
            guard isDrafted, tensor.shape.count == 2, tensor.shape[1] % 32 == 0,
                let type = TensorType(rawValue: tensor.type)
            else { continue }
            let values = type.expanded(tensor.bytes)
            var blocks = [UInt8](repeating: 0, count: values.count / 32 * 18)
            values.withUnsafeBufferPointer { source in
                blocks.withUnsafeMutableBytes { target in
                    guard let from = source.baseAddress, let to = target.baseAddress else { return }
                    QuantizedFormat.q4_0.quantize(from, count: values.count, into: to)
                }
            }
            twin.file.tensors[index].bytes = blocks
            twin.file.tensors[index].type = TensorType.q4_0.rawValue
        }
        return twin
    }

    /// Weights of a layer's matrices.
    private static func layerWeights(_ shape: TinyLlama.Shape) -> Int {
        let keys = shape.kvHeads * shape.headDimension
        let rows = 2 * shape.width + 2 * keys + 2 * shape.feedForward
        return rows * shape.width + shape.width * shape.feedForward
    }

    private static let tokens: [Int32] = (0..<40).map { ($0 * 37 + 5) % 319 }

    /// Few layers make the output matrix a large part of a pass, many a small one.
    @Test(arguments: [TensorType.f32, .f16, .bf16, .q8_0, .q6_K], [2, 24])
    func theBitsOfAFileWithThoseWeights(_ type: TensorType, _ layers: Int) throws {
        let tiny = try Self.tiny(type, layers: layers)
        let model = try load(tiny)
        let draft = try model.makeDraft(threads: 3)
        let plan = try ModelRequirements(path: model.path).selfDraft()
        // Q6_K is not far from Q4_0.
        #expect(plan.sharesOutput == (layers == 24 || type == .q6_K))
        let twin = try load(Self.twin(tiny, sharesOutput: plan.sharesOutput), "twin.gguf")
        let ours = try Machine(draft, threads: 2).run(Self.tokens)
        #expect(ours.differing(from: try Machine(twin).run(Self.tokens)).isEmpty)
        #expect(ours.differing(from: try Machine(model).run(Self.tokens)).count > 30)
        #expect(draft.weightsBytes == plan.weightsBytes)
        let layerBytes = Self.layerWeights(tiny.shape) / 32 * 18
        let outputBytes = (tiny.vocabularySize + 15) / 16 * 16 * tiny.shape.width / 32 * 18
        #expect(draft.weightsBytes == layers * layerBytes + (plan.sharesOutput ? 0 : outputBytes))
        #expect(draft.quantization == "Q4_0" && draft.parameters == model.parameters)
        #expect(draft.configuration.layers == layers && draft.tokenizer === model.tokenizer)
    }

    /// Passes read what is shared too, and of the embedding only rows; they multiply as the model's do.
    @Test(arguments: [2, 24]) func passesReadWhatIsShared(_ layers: Int) throws {
        let tiny = try Self.tiny(.q8_0, layers: layers)
        let model = try load(tiny)
        let draft = try model.makeDraft(threads: 1)
        let (inLayers, width) = (layers * Self.layerWeights(tiny.shape), tiny.shape.width)
        let inOutput = (tiny.vocabularySize + 15) / 16 * 16 * width
        #expect(model.passBytes == (inLayers + inOutput) / 32 * 34)
        #expect(draft.passBytes == inLayers / 32 * 18 + inOutput / 32 * (layers == 24 ? 34 : 18))
        #expect(draft.passBytes - draft.weightsBytes == (layers == 24 ? inOutput / 32 * 34 : 0))
        for one in [model, draft] { #expect(one.rowMultiplications == inLayers + tiny.vocabularySize * width) }
    }

    /// Rows that are no whole blocks stay as they are.
    @Test func whatDoesNotFillBlocksIsShared() throws {
        let tiny = try Self.tiny(.f32, layers: 24, inner: 264)
        let model = try load(tiny)
        let draft = try model.makeDraft(threads: 1)
        let plan = try ModelRequirements(path: model.path).selfDraft()
        let twin = try load(Self.twin(tiny, sharesOutput: plan.sharesOutput), "twin.gguf")
        let ours = try Machine(draft).run(Self.tokens)
        #expect(ours.differing(from: try Machine(twin).run(Self.tokens)).isEmpty)
    }

    @Test(arguments: TensorType.allCases) func fewBitsAreRefused(_ type: TensorType) throws {
        let model = try load(try TinyLlama(type))
        let pays: Set<TensorType> = [.f32, .f16, .bf16, .q8_0, .q6_K]
        let expected: Failure.Code? = pays.contains(type) ? nil : .unsupportedQuantization
        #expect(failure { _ = try model.makeDraft(threads: 1) }?.code == expected)
        #expect(failure { _ = try ModelRequirements(path: model.path).selfDraft() }?.code == expected)
    }

    @Test func theDraftOutlivesItsModel() throws {
        let tiny = try Self.tiny(.q8_0, layers: 2)
        func draft() throws -> LanguageModel { try load(tiny).makeDraft(threads: 1) }
        let (alone, model) = (try draft(), try load(tiny, "other.gguf"))
        let ours = try Machine(alone).run(Self.tokens)
        #expect(ours.differing(from: try Machine(model.makeDraft(threads: 2)).run(Self.tokens)).isEmpty)
        // A draft is a model like any other, of too few bits for another draft.
        #expect(failure { _ = try alone.makeDraft(threads: 1) }?.code == .unsupportedQuantization)
    }

    @Test func progressReachesTheEndAndCancels() throws {
        let model = try load(try Self.tiny(.q8_0, layers: 4))
        var steps: [(done: Int, total: Int)] = []
        let draft = try model.makeDraft(threads: 2) {
            steps.append(($0, $1))
            return true
        }
        #expect(steps.allSatisfy { $0.total == draft.weightsBytes && (0...$0.total).contains($0.done) })
        #expect(zip(steps, steps.dropFirst()).allSatisfy { $0.done < $1.done })
        #expect(steps.first?.done == 0 && steps.last?.done == draft.weightsBytes)
        for stop in steps.indices {
            var count = 0
            let problem = failure {
                _ = try model.makeDraft(threads: 2) { _, _ in
                    count += 1
                    return count <= stop
                }
            }
            #expect(problem?.code == .cancelled && count == stop + 1)
        }
    }
}
