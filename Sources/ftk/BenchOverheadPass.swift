import Engine
import Formats
import Kernels
import Model

/// The passes of the model that an engine's decoding comes down to, and nothing besides: as `bench model` times them, but with
/// the tokens, the places and the past of requests that run in the engine. It has a KV cache and threads of its own.
final class BarePasses {
    static let name = "pass"

    /// A request that the engine runs.
    private struct Sequence {
        /// Prompt, then what the engine has said.
        var tokens: [Int32]
        let promptCount: Int
        let blocks: [Int32]
        /// Tokens whose keys and values are in the cache.
        var computed = 0
        var isEnded = false
        /// What the latest pass expects next.
        var likeliest: Int32 = -1
    }

    private let transformer: Transformer
    private let blocksOfEach: Int
    private var sequences: [Sequence] = []
    private var places: [UInt64: Int] = [:]
    private var batch = RowBatch()

    /// As an engine with these options computes, for so many requests at a time.
    init(target: LanguageModel, options: EngineOptions, requests: Int) throws {
        let sizing = try EngineSizing(
            target: target.configuration, targetKV: target.defaultKVFormat, draft: nil, options: options)
        blocksOfEach = EngineSizing.blocks(forTokens: sizing.contextTokens)
        let cache = try KVCache(
            configuration: target.configuration, format: sizing.kvFormat, blocks: blocksOfEach * requests)
        transformer = try Transformer(
            model: target, cache: cache, pool: ThreadPool(threads: sizing.threads), maxRows: options.maxStepTokens,
            maxLogitRows: EngineOptions.logitRows, precision: options.activations)
    }

    // MARK: What the engine does

    func removeAll() {
        sequences = []
        places = [:]
    }

    /// Follows a request, which is to be greedy.
    func follow(_ id: UInt64, prompt: [Int32]) {
        places[id] = sequences.count
        let first = Int32(sequences.count * blocksOfEach)
        sequences.append(
            Sequence(
                tokens: prompt, promptCount: prompt.count, blocks: Array(first..<first + Int32(blocksOfEach))))
    }

    func take(_ event: EngineEvent) {
        guard let place = places[event.requestID] else { return }
        sequences[place].tokens += event.tokens
        if event.finish != nil { sequences[place].isEnded = true }
    }

    /// Whether every request decodes in the engine's next step.
    var isDecoding: Bool { sequences.allSatisfy { !$0.isEnded && $0.tokens.count > $0.promptCount } }

    // MARK: Passes

    /// Tokens in the cache before each row of the latest pass, the mean.
    var context: Double { Double(sequences.reduce(0) { $0 + $1.computed - 1 }) / Double(sequences.count) }

    /// Computes what lies before the latest token of each request, and lays out the pass that takes those.
    func prepare() throws {
        for index in sequences.indices {
            let end = sequences[index].tokens.count - 1
            while sequences[index].computed < end {
                if Interrupt.isRequested { throw Failure(.cancelled, "interrupted") }
                let next = min(end, sequences[index].computed + transformer.maxRows)
                batch.removeAll()
                place(sequences[index].computed..<next, of: sequences[index])
                transformer.forward(batch)
                sequences[index].computed = next
            }
        }
        batch.removeAll()
        for sequence in sequences { place(sequence.computed..<sequence.tokens.count, of: sequence) }
    }

    private func place(_ rows: Range<Int>, of sequence: Sequence) {
        batch.append(tokens: sequence.tokens[rows], position: rows.lowerBound, blocks: sequence.blocks)
    }

    /// The pass that was prepared, with the logits of all of its rows; what it took in microseconds.
    func run() -> Double {
        let start = monotonicNanoseconds()
        transformer.forward(batch)
        var time = monotonicNanoseconds() - start
        let rows = Array(sequences.indices)
        for first in stride(from: 0, to: rows.count, by: transformer.maxLogitRows) {
            let some = rows[first..<min(first + transformer.maxLogitRows, rows.count)]
            let start = monotonicNanoseconds()
            let logits = unsafe transformer.logits(rows: some)
            time += monotonicNanoseconds() - start
            let vocabulary = logits.count / some.count
            for row in some {
                let own = (row - first) * vocabulary
                sequences[row].likeliest = unsafe likeliest(.init(rebasing: logits[own..<own + vocabulary]))
            }
        }
        for index in rows { sequences[index].computed += 1 }
        return Double(time) / 1000
    }

    private func likeliest(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
        var best = 0
        for token in logits.indices where unsafe logits[token] > logits[best] { best = token }
        return Int32(best)
    }

    /// Fails unless the engine took the tokens that the pass expects, in a step of one row for each request.
    func compare() throws {
        for (index, sequence) in sequences.enumerated() {
            guard sequence.tokens.count == sequence.computed + 1, sequence.tokens.last == sequence.likeliest else {
                throw Failure(
                    .internalError,
                    "request \(index): behind \(sequence.computed) tokens the engine goes on with "
                        + "\(sequence.tokens[sequence.computed...]), but a bare pass with \(sequence.likeliest)")
            }
        }
    }
}
