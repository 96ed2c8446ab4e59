import Formats
import Kernels
import Model
import TestSupport
import Testing

/// One of the models of Fixtures/models, and what is known of it.
struct GoldenModel: Sendable, CustomTestStringConvertible {
    let name: String
    let forms: [String]
    let tolerance: Double
    let weights: String

    var testDescription: String { name }
    static let folder = testFile("ModelTests/Fixtures/models")

    static let all: [GoldenModel] = {
        do {
            let index = try JSON(parsing: contents(of: folder + "/index.json"))
            return try (index.array ?? []).map { entry in
                let name = try #require(entry["name"]?.string)
                var forms: [String] = []
                if try #require(entry["gguf"]?.bool as Bool?) { forms.append("\(folder)/\(name)/model.gguf") }
                if try #require(entry["folder"]?.bool as Bool?) { forms.append("\(folder)/\(name)/hf") }
                return GoldenModel(
                    name: name, forms: forms, tolerance: try #require(entry["tolerance"]?.number),
                    weights: try #require(entry["weights"]?.string))
            }
        } catch {
            Issue.record("the index of the fixtures cannot be read: \(error)")
            return []
        }
    }()

    func tokens() throws -> [Int32] {
        let golden = try JSON(parsing: contents(of: "\(Self.folder)/\(name)/golden.json"))
        return try #require(golden["tokens"]?.array).map { Int32(try #require($0.int)) }
    }

    func logProbabilities() throws -> [Float] { try floats(of: "\(Self.folder)/\(name)/golden.f32") }
}

/// Tokens of one sequence that go into the same pass.
struct Chunk {
    let sequence: Int
    let tokens: ArraySlice<Int32>
}

/// A model ready to run with some number of threads and KV type.
struct Machine {
    let model: LanguageModel
    let transformer: Transformer
    /// The block table of each sequence: in no order, with gaps.
    let tables: [[Int32]]
    private static let logitRows = 7

    init(
        _ model: LanguageModel, threads: Int = 1, kv: KVFormat = .f32, sequences: Int = 1, maxRows: Int = 128,
        seed: UInt64 = 0, precision: Activations.Precision = .f32, instructionSet: InstructionSet = .native
    ) throws {
        self.model = model
        let blocks = 6 * sequences + 1
        let cache = try KVCache(configuration: model.configuration, format: kv, blocks: blocks)
        transformer = try Transformer(
            model: model, cache: cache, pool: ThreadPool(threads: threads), maxRows: maxRows,
            maxLogitRows: Self.logitRows, precision: precision, instructionSet: instructionSet)
        var random = SplitMix64(seed: seed)
        let shuffled = (0..<Int32(blocks)).shuffled(using: &random)
        tables = (0..<sequences).map { Array(shuffled[$0 * 6..<$0 * 6 + 5]) }
    }

    /// The logits [tokens of the chunks, vocabulary] of passes of chunks; `positions` holds how far each sequence is.
    func run(_ pass: [Chunk], positions: inout [Int]) -> [[Float]] {
        var batch = RowBatch()
        for chunk in pass {
            batch.append(tokens: chunk.tokens, position: positions[chunk.sequence], blocks: tables[chunk.sequence])
            positions[chunk.sequence] += chunk.tokens.count
        }
        return run(batch)
    }

    /// The logits of all rows.
    func run(_ batch: RowBatch) -> [[Float]] {
        transformer.forward(batch)
        let vocabulary = model.configuration.vocabularySize
        let rows = Array(0..<batch.count)
        var result: [[Float]] = []
        for start in stride(from: 0, to: rows.count, by: Self.logitRows) {
            let part = rows[start..<min(start + Self.logitRows, rows.count)]
            let logits = transformer.logits(rows: part)
            for index in 0..<part.count {
                result.append(Array(logits[index * vocabulary..<(index + 1) * vocabulary]))
            }
        }
        return result
    }

    /// The logits of a single sequence that is run in `pieces`.
    func run(_ tokens: [Int32], pieces: [Int]) -> [[Float]] {
        var positions = [0]
        var result: [[Float]] = []
        for piece in pieces {
            let start = positions[0]
            result += run([Chunk(sequence: 0, tokens: tokens[start..<start + piece])], positions: &positions)
        }
        return result
    }

    /// In one pass.
    func run(_ tokens: [Int32]) -> [[Float]] { run(tokens, pieces: [tokens.count]) }
}

extension [[Float]] {
    /// For comparisons bit by bit.
    var bits: [[UInt32]] { map { $0.map(\.bitPattern) } }

    /// Rows that differ in some bit.
    func differing(from other: [[Float]]) -> [Int] {
        count == other.count ? indices.filter { self[$0].map(\.bitPattern) != other[$0].map(\.bitPattern) } : [-1]
    }
}
