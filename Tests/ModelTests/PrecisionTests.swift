import Formats
import Kernels
import Model
import TestSupport
import Testing

/// Activations as bytes: close to the exact products on a trained model, and as independent of everything else.
@Suite struct PrecisionTests {
    @Test(arguments: InstructionSet.available)
    func bytesStayCloseOnRealText(set: InstructionSet) throws {
        try expectBytesClose(TestModels.target(), set)
    }

    @Test(arguments: [
        (QuantizationRecipe.q4_0, TensorType.q4_0), (.q4_K_M, .q4_K), (.q5_K_M, .q5_K), (.q6_K, .q6_K),
    ])
    func bytesStayCloseInEveryType(recipe: QuantizationRecipe, type: TensorType) throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/smaller.gguf"
        let source = try folder.write(WidenedTarget().bytes, to: "widened.gguf")
        _ = try ModelQuantizer(path: source, recipe: recipe).write(to: path, force: false, pool: ThreadPool(threads: 2))
        try expectMostParameters(of: path, are: type)
        try expectBytesClose(LanguageModel(path: path, threads: 2), .native)
    }

    /// The widened target computes what the bundled one does.
    @Test func wideningChangesNothing() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(WidenedTarget().bytes, to: "widened.gguf")
        let (model, widened) = (try TestModels.target(), try LanguageModel(path: path, threads: 2))
        #expect(widened.configuration.feedForwardLength == 768 && model.configuration.feedForwardLength == 704)
        let tokens = try RealText.windows(model.tokenizer)[0]
        let rows = try Machine(model, threads: 2).run(tokens)
        #expect(try Machine(widened, threads: 2).run(tokens).differing(from: rows).isEmpty)
    }

    /// Exact is what the weights expanded to F32 give: with activations in F32 the bits are the same.
    private func expectBytesClose(_ model: LanguageModel, _ set: InstructionSet) throws {
        let exact = try Machine(model, threads: 2, instructionSet: set)
        let rounded = try Machine(model, threads: 2, precision: .q8, instructionSet: set)
        let pairs = try RealText.windows(model.tokenizer).flatMap { window in
            zip(RealText.scores(window, exact), RealText.scores(window, rounded)).map { ($0, $1) }
        }
        #expect(pairs.count > 1500)
        let difference = pairs.reduce(0) { $0 + abs($1.0 - $1.1) } / Double(pairs.count)
        #expect(difference > 0 && difference < 0.05)
        let logPerplexity = pairs.reduce(0) { $0 + $1.0 - $1.1 } / Double(pairs.count)
        // Half a percent of perplexity is 0.005 of its logarithm.
        #expect(abs(logPerplexity) < 0.005)
    }

    private func expectMostParameters(of path: String, are type: TensorType) throws {
        let matrices = try GGUF(path: path).tensors.filter { $0.shape.count == 2 }
        let sizes = matrices.map { (type: $0.type, elements: $0.shape[0] * $0.shape[1]) }
        let all = sizes.reduce(0) { $0 + $1.elements }
        let some = sizes.reduce(0) { $0 + ($1.type == type ? $1.elements : 0) }
        #expect(2 * some > all)
        // The rest is what the recipe wants; no type had to be replaced because its blocks did not fit.
        #expect(matrices.allSatisfy { $0.type == type || $0.type == .q6_K })
    }

    @Test(arguments: [TensorType.q8_0, .q4_0, .q4_K, .q5_K, .q6_K], InstructionSet.available)
    func bytesKeepTheBits(type: TensorType, set: InstructionSet) throws {
        let folder = try TemporaryFolder()
        let tiny = try TinyLlama(type, seed: UInt64(type.rawValue) + 60)
        let model = try LanguageModel(path: try folder.write(tiny.file.bytes, to: "model.gguf"), threads: 1)
        var random = SplitMix64(seed: 79)
        let tokens = (0..<40).map { _ in Int32(random.int(0..<tiny.vocabularySize)) }
        let whole = try Machine(model, precision: .q8, instructionSet: set).run(tokens)
        #expect(whole.joined().allSatisfy { $0.isFinite })
        for pieces in [[Int](repeating: 1, count: 40), random.pieces(of: 40, upTo: 17)] {
            let machine = try Machine(model, threads: 3, seed: random.next(), precision: .q8, instructionSet: set)
            #expect(machine.run(tokens, pieces: pieces).differing(from: whole).isEmpty)
        }
    }
}

/// The bundled target with 768 inner units in its feed-forward layers instead of 704, so that rows are whole blocks of
/// every type. The weights of the new units are zeros.
private struct WidenedTarget {
    let bytes: [UInt8]

    init() throws {
        let file = try GGUF(path: TestModels.targetPath)
        let layout = try GGUFLayout(
            metadata: file.metadataEntries(setting: [("llama.feed_forward_length", 768)]),
            tensors: file.tensors.map { entry in
                GGUFLayout.Tensor(name: entry.name, type: entry.type, shape: entry.shape.map { $0 == 704 ? 768 : $0 })
            }, alignment: file.alignment)
        var bytes = layout.header
        for (index, entry) in file.tensors.enumerated() {
            let tensor = try Self.widened(entry, to: layout.byteCounts[index], shape: layout.tensors[index].shape)
            bytes += tensor + layout.padding(after: tensor.count)
        }
        self.bytes = bytes
    }

    /// With zeros after each row and after the last one: bytes of zero are elements of zero.
    private static func widened(_ entry: TensorEntry, to byteCount: Int, shape: [Int]) throws -> [UInt8] {
        let stored = try entry.file.read(count: entry.byteCount, at: entry.offset)
        // Bytes of a row.
        let (old, new) = (stored.count / entry.shape[0], byteCount / shape[0])
        var result: [UInt8] = []
        for row in 0..<entry.shape[0] {
            result += stored[row * old..<(row + 1) * old]
            result += [UInt8](repeating: 0, count: new - old)
        }
        return result + [UInt8](repeating: 0, count: byteCount - result.count)
    }
}
