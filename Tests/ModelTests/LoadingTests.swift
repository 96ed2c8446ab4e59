import Formats
import Kernels
import Model
import Speculation
import TestSupport
import Testing

/// What a load reports, how it is cancelled, and what damaged weights lead to.
@Suite struct LoadingTests {
    private let folder: TemporaryFolder
    private let tiny: TinyLlama
    private let path: String

    init() throws {
        folder = try TemporaryFolder()
        tiny = try TinyLlama(.q4_0)
        path = try folder.write(tiny.file.bytes, to: "model.gguf")
    }

    private var matrixBytes: Int { tiny.file.tensors.filter { $0.shape.count == 2 }.reduce(0) { $0 + $1.bytes.count } }

    @Test(arguments: [1, 3])
    func progressCountsUpToTheTotal(threads: Int) throws {
        var reports: [(done: Int, total: Int)] = []
        _ = try LanguageModel(path: path, threads: threads) { done, total in
            reports.append((done, total))
            return true
        }
        #expect(reports.count > 2)
        #expect(reports.allSatisfy { $0.total == matrixBytes })
        #expect(reports.first?.done == 0)
        #expect(reports.last?.done == matrixBytes)
        let steps = zip(reports, reports.dropFirst()).map { $1.done - $0.done }
        #expect(steps.allSatisfy { $0 > 0 && $0 < matrixBytes * 4 / 5 })
    }

    @Test func progressCancelsAtAnyReport() throws {
        var reports = 0
        _ = try LanguageModel(path: path, threads: 1) { _, _ in
            reports += 1
            return true
        }
        for stop in 1...reports {
            var seen = 0
            let problem = failure {
                _ = try LanguageModel(path: path, threads: 1) { _, _ in
                    seen += 1
                    return seen < stop
                }
            }
            #expect(problem?.code == .cancelled)
            #expect(seen == stop)
        }
    }

    /// A file of more than one piece of reading is put together in the right order.
    @Test func largeTensorsArriveWhole() throws {
        var shape = TinyLlama.Shape()
        (shape.feedForward, shape.layers) = (8192, 1)
        let big = try TinyLlama(.f32, shape: shape)
        let bigPath = try folder.write(big.file.bytes, to: "big.gguf")
        let one = try LanguageModel(path: bigPath, threads: 1)
        let three = try LanguageModel(path: bigPath, threads: 3)
        #expect(one.weightsBytes >= big.file.tensors.reduce(0) { $0 + $1.bytes.count })
        let tokens: [Int32] = [5, 6, 7, 8]
        let logits = try Machine(one).run(tokens)
        #expect(try Machine(three).run(tokens).differing(from: logits).isEmpty)
        // The last rows of the matrix do matter: with them zeroed, the answer is another.
        var cut = big
        cut.change("blk.0.ffn_up.weight") { tensor in
            for index in tensor.bytes.count - 1024..<tensor.bytes.count { tensor.bytes[index] = 0 }
        }
        let other = try LanguageModel(path: try folder.write(cut.file.bytes, to: "big.gguf"), threads: 1)
        #expect(!(try Machine(other).run(tokens)).differing(from: logits).isEmpty)
    }

    /// A weight that is not a number must surface as an error, whatever tensor holds it and however keys are stored.
    @Test(arguments: [Float.nan, .infinity, -.infinity])
    func weightsThatAreNotFiniteAreNoticed(bad: Float) throws {
        let sound = tiny.expanded
        for tensor in sound.file.tensors where tensor.name.hasPrefix("blk.1.") || !tensor.name.hasPrefix("blk.") {
            var damaged = sound
            damaged.change(tensor.name) { tensor in
                // The row of token 3, in the embedding and the output.
                let place = tensor.shape.count == 2 && tensor.shape[0] > 300 ? 3 * 256 + 7 : 7
                tensor.bytes.replaceSubrange(place * 4..<place * 4 + 4, with: littleEndian([bad]))
            }
            let model = try LanguageModel(path: try folder.write(damaged.file.bytes, to: "bad.gguf"), threads: 1)
            for kv in KVFormat.allCases {
                let rows = try Machine(model, kv: kv).run([3, 3, 9])
                let last = rows[tensor.name == "token_embd.weight" ? 1 : 2]
                let notices = last.withUnsafeBufferPointer { logits in
                    failure { _ = try LogitScan.best(of: logits.span) }?.code == .corruptFile
                }
                // An infinite output weight may well give -infinity, which a mask gives too.
                let isMask = tensor.name == "output.weight" && last[3] == -.infinity
                #expect(notices || isMask, "\(tensor.name), \(kv)")
            }
        }
    }

    @Test func soundWeightsAreNotRejected() throws {
        let model = try LanguageModel(path: path, threads: 1)
        for row in try Machine(model).run([1, 2, 3]) {
            let best = try row.withUnsafeBufferPointer { try LogitScan.best(of: $0.span) }
            #expect(row[Int(best.token)] == row.max())
        }
    }

    @Test func cachesOfAbsurdSizeAreRefused() throws {
        let model = try LanguageModel(path: path, threads: 1)
        for blocks in [Int.max, Int.max / 1000, 1 << 40, -1] {
            let problem = failure { _ = try KVCache(configuration: model.configuration, format: .f32, blocks: blocks) }
            #expect(problem?.code == .outOfMemoryBudget)
        }
        let cache = try KVCache(configuration: model.configuration, format: .f32, blocks: 1)
        for rows in [1 << 58, 1 << 40, Int.max] {
            let problem = failure {
                _ = try Transformer(
                    model: model, cache: cache, pool: ThreadPool(threads: 1), maxRows: rows, maxLogitRows: 1)
            }
            #expect(problem?.code == .outOfMemoryBudget)
        }
    }
}
