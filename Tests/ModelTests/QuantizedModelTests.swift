import Formats
import Kernels
import Model
import TestSupport
import Testing

/// Models whose matrices are all of one type, against their twins in F32.
@Suite struct QuantizedModelTests {
    private func tokens(_ tiny: TinyLlama, _ count: Int) -> [Int32] {
        var random = SplitMix64(seed: 77)
        return (0..<count).map { _ in Int32(random.int(0..<tiny.vocabularySize)) }
    }

    @Test(arguments: TensorType.allCases)
    func expandedTwinGivesTheSameBits(type: TensorType) throws {
        let folder = try TemporaryFolder()
        for version in [2, 3] as [UInt32] {
            let tiny = try TinyLlama(type, version: version, seed: UInt64(type.rawValue))
            let path = try folder.write(tiny.file.bytes, to: "model.gguf")
            let twinPath = try folder.write(tiny.expanded.file.bytes, to: "twin.gguf")
            let model = try LanguageModel(path: path, threads: 2)
            let twin = try LanguageModel(path: twinPath, threads: 2)
            let tokens = tokens(tiny, 45)
            for kv in version == 3 ? KVFormat.allCases : [.f32] {
                let ours = try Machine(model, threads: 2, kv: kv).run(tokens)
                let theirs = try Machine(twin, threads: 1, kv: kv).run(tokens)
                #expect(ours.differing(from: theirs).isEmpty)
                #expect(ours.joined().allSatisfy { $0.isFinite })
                // The logits say something: a model of nothing but zeros would agree as well.
                #expect(largestDifference([ours[0]], from: [logSoftmax(ours[1])]) > 0.1)
            }
        }
    }

    @Test(arguments: TensorType.allCases)
    func chunkingAndThreadsKeepTheBits(type: TensorType) throws {
        let folder = try TemporaryFolder()
        let tiny = try TinyLlama(type, seed: UInt64(type.rawValue) + 50)
        let model = try LanguageModel(path: try folder.write(tiny.file.bytes, to: "model.gguf"), threads: 1)
        let tokens = tokens(tiny, 40)
        var random = SplitMix64(seed: 78)
        for kv in KVFormat.allCases {
            let whole = try Machine(model, threads: 1, kv: kv).run(tokens)
            for threads in [1, 3] {
                for pieces in [[Int](repeating: 1, count: 40), random.pieces(of: 40, upTo: 17)] {
                    let machine = try Machine(model, threads: threads, kv: kv, seed: random.next())
                    #expect(machine.run(tokens, pieces: pieces).differing(from: whole).isEmpty, "\(kv), \(pieces)")
                }
            }
        }
    }

    @Test(arguments: TensorType.allCases)
    func sizesAreWhatTheFileSays(type: TensorType) throws {
        let folder = try TemporaryFolder()
        let tiny = try TinyLlama(type)
        let path = try folder.write(tiny.file.bytes, to: "model.gguf")
        let elements = tiny.file.tensors.map { $0.shape.reduce(1) { $0 * Int($1) } }
        let model = try LanguageModel(path: path, threads: 1)
        #expect(model.parameters == elements.reduce(0, +))
        let stored = tiny.file.tensors.reduce(0) { $0 + $1.bytes.count }
        // Interleaving fills up the last group, and K types keep their scales as whole bytes.
        #expect(model.weightsBytes >= stored && Double(model.weightsBytes) < Double(stored) * 1.04)
        #expect(model.quantization == type.name)
        #expect(model.name == "tiny")
        #expect(model.defaultKVFormat == (type == .f32 ? .f32 : .f16))
        try expectRequirements(path, agreeWith: model)
    }

    private func expectRequirements(_ path: String, agreeWith model: LanguageModel) throws {
        let needed = try ModelRequirements(path: path)
        #expect(needed.weightsBytes == model.weightsBytes)
        #expect(needed.parameters == model.parameters)
        #expect(needed.quantization == model.quantization)
        #expect(needed.name == model.name)
        #expect(needed.defaultKVFormat == model.defaultKVFormat)
        #expect(needed.configuration.layers == model.configuration.layers)
        #expect(needed.configuration.vocabularySize == model.configuration.vocabularySize)
        let perToken = try KVCache.bytesPerToken(needed.configuration, .f16)
        let shape = model.configuration
        #expect(perToken == shape.layers * 2 * shape.kvHeads * shape.headDimension * 2)
    }

    @Test(arguments: GoldenModel.all)
    func requirementsAgreeWithLoadedFixtures(golden: GoldenModel) throws {
        for form in golden.forms { try expectRequirements(form, agreeWith: try LanguageModel(path: form, threads: 1)) }
    }
}
