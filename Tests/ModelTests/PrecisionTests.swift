import Formats
import Kernels
import Model
import TestSupport
import Testing

/// Activations as bytes: close to the exact products on a trained model, and as independent of everything else.
@Suite struct PrecisionTests {
    @Test(arguments: InstructionSet.available)
    func bytesStayCloseOnRealText(set: InstructionSet) throws {
        let model = try TestModels.target()
        let exact = try Machine(model, threads: 2, instructionSet: set)
        let rounded = try Machine(model, threads: 2, precision: .q8, instructionSet: set)
        let pairs = try RealText.windows(model.tokenizer).flatMap { window in
            zip(RealText.scores(window, exact), RealText.scores(window, rounded)).map { ($0, $1) }
        }
        #expect(pairs.count > 1500)
        let difference = pairs.reduce(0) { $0 + abs($1.0 - $1.1) } / Double(pairs.count)
        #expect(difference > 0 && difference < 0.05)
        // Half a percent of perplexity is 0.005 of its logarithm.
        let logPerplexity = pairs.reduce((0.0, 0.0)) { ($0.0 - $1.0, $0.1 - $1.1) }
        #expect(abs(logPerplexity.0 - logPerplexity.1) / Double(pairs.count) < 0.005)
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
