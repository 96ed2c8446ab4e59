import Formats
import Kernels
import Model
import TestSupport
import Testing

/// The forward pass against log-probabilities of an outside implementation, and against itself.
@Suite struct GoldenTests {
    @Test func allFixturesAreListed() {
        #expect(GoldenModel.all.count == 16)
        #expect(GoldenModel.all.reduce(0) { $0 + $1.forms.count } == 30)
    }

    @Test(arguments: GoldenModel.all)
    func logProbabilitiesAgree(golden: GoldenModel) throws {
        let (tokens, flat) = (try golden.tokens(), try golden.logProbabilities())
        for form in golden.forms {
            let model = try LanguageModel(path: form, threads: 2)
            let vocabulary = model.configuration.vocabularySize
            try #require(flat.count == tokens.count * vocabulary)
            let truth = tokens.indices.map { row in
                flat[row * vocabulary..<(row + 1) * vocabulary].map { Double($0) }
            }
            let difference = largestDifference(try Machine(model, threads: 2).run(tokens), from: truth)
            #expect(difference <= golden.tolerance, "\(form): \(difference)")
        }
    }

    /// Token by token, in random chunks, with any number of threads and in any blocks: the same bits.
    @Test(arguments: GoldenModel.all)
    func chunkingKeepsTheBits(golden: GoldenModel) throws {
        var random = SplitMix64(seed: 1)
        // Longer than a block of the cache, twice.
        let tokens = try golden.tokens() + golden.tokens().reversed()
        for form in golden.forms {
            let model = try LanguageModel(path: form, threads: 1)
            for kv in KVFormat.allCases where kv.bytes(of: model.configuration.headDimension) != nil {
                let whole = try Machine(model, threads: 1, kv: kv).run(tokens)
                for threads in [1, 3] {
                    let ways = [
                        [tokens.count], [Int](repeating: 1, count: tokens.count),
                        random.pieces(of: tokens.count, upTo: 20), random.pieces(of: tokens.count, upTo: 50),
                    ]
                    for pieces in ways {
                        let machine = try Machine(model, threads: threads, kv: kv, seed: random.next())
                        let differing = machine.run(tokens, pieces: pieces).differing(from: whole)
                        #expect(differing.isEmpty, "\(form), \(kv), \(threads) threads, pieces \(pieces)")
                    }
                }
            }
        }
    }

    /// What else runs in the same passes, and where its rows stand, changes no bit.
    @Test(arguments: GoldenModel.all)
    func companyKeepsTheBits(golden: GoldenModel) throws {
        var random = SplitMix64(seed: 2)
        let tokens = try golden.tokens()
        let form = try #require(golden.forms.first)
        let model = try LanguageModel(path: form, threads: 1)
        for kv in KVFormat.allCases where kv.bytes(of: model.configuration.headDimension) != nil {
            var sequences = [tokens]
            for _ in 0..<4 {
                let length = random.int(1..<60)
                sequences.append((0..<length).map { _ in Int32(random.int(0..<model.configuration.vocabularySize)) })
            }
            let alone = try sequences.map { try Machine(model, kv: kv).run($0) }
            let machine = try Machine(model, threads: 3, kv: kv, sequences: 5, seed: random.next())
            var (positions, results) = ([Int](repeating: 0, count: 5), [[[Float]]](repeating: [], count: 5))
            while zip(positions, sequences).contains(where: { $0 < $1.count }) {
                var pass: [Chunk] = []
                for index in (0..<5).shuffled(using: &random) where positions[index] < sequences[index].count {
                    let left = sequences[index].count - positions[index]
                    let count = random.int(0..<min(left, 15) + 1)
                    if count == 0 { continue }
                    pass.append(
                        Chunk(sequence: index, tokens: sequences[index][positions[index]..<positions[index] + count]))
                }
                if pass.isEmpty { continue }
                var rows = machine.run(pass, positions: &positions)[...]
                for chunk in pass {
                    results[chunk.sequence] += rows.prefix(chunk.tokens.count)
                    rows = rows.dropFirst(chunk.tokens.count)
                }
            }
            for index in 0..<5 {
                #expect(results[index].differing(from: alone[index]).isEmpty, "\(form), \(kv), sequence \(index)")
            }
        }
    }

    /// Rejected drafts leave stale keys behind in the cache; what overwrites them must not see them.
    @Test(arguments: GoldenModel.all)
    func staleRowsLeaveNoTrace(golden: GoldenModel) throws {
        let tokens = try golden.tokens()
        let model = try LanguageModel(path: try #require(golden.forms.first), threads: 1)
        let whole = try Machine(model).run(tokens)
        let machine = try Machine(model)
        var positions = [0]
        _ = machine.run([Chunk(sequence: 0, tokens: tokens[..<20])], positions: &positions)
        _ = machine.run([Chunk(sequence: 0, tokens: Array(tokens[..<15].reversed())[...])], positions: &positions)
        positions = [20]
        let rest = machine.run([Chunk(sequence: 0, tokens: tokens[20...])], positions: &positions)
        #expect(rest.differing(from: Array(whole[20...])).isEmpty)
    }

    /// Compressed caches stay near the plain one; a gross error in storing would not.
    @Test(arguments: GoldenModel.all)
    func compressedCachesStayNear(golden: GoldenModel) throws {
        let tokens = try golden.tokens()
        let model = try LanguageModel(path: try #require(golden.forms.first), threads: 1)
        let truth = try Machine(model).run(tokens).map(logSoftmax)
        for (kv, bound) in [(KVFormat.f16, 0.02), (.q8_0, 0.2)] {
            if kv.bytes(of: model.configuration.headDimension) == nil {
                let problem = failure { _ = try Machine(model, kv: kv) }
                #expect(problem?.code == .invalidArgument)
                continue
            }
            let difference = largestDifference(try Machine(model, kv: kv).run(tokens), from: truth)
            #expect(difference < bound && difference > 0, "\(golden.name), \(kv): \(difference)")
        }
    }

    /// Both forms hold the same weights; they may differ in the order of rotated elements only.
    @Test(arguments: GoldenModel.all.filter { $0.forms.count == 2 })
    func formsAgreeOnTheModel(golden: GoldenModel) throws {
        let models = try golden.forms.map { try LanguageModel(path: $0, threads: 1) }
        let (a, b) = (models[0].configuration, models[1].configuration)
        #expect(a.architecture == b.architecture)
        #expect(a.vocabularySize == b.vocabularySize && a.layers == b.layers && a.embeddingLength == b.embeddingLength)
        #expect(a.heads == b.heads && a.kvHeads == b.kvHeads && a.headDimension == b.headDimension)
        #expect(a.feedForwardLength == b.feedForwardLength && a.contextLength == b.contextLength)
        #expect(a.normEpsilon == b.normEpsilon && a.tiesEmbeddings == b.tiesEmbeddings)
        #expect(models[0].parameters == models[1].parameters)
        #expect(models[0].quantization == models[1].quantization)
        let types = ["float32": "F32", "float16": "F16", "bfloat16": "BF16"]
        #expect(models[0].quantization == types[golden.weights])
    }
}
