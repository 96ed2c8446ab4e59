import ArgumentParser
import Engine
import Formats
import Glibc
import Kernels
import Model

/// What a pass of the model costs for several numbers of rows.
struct BenchModelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model", abstract: "Time passes of a model: decoding or verifying some rows, and prefill.")

    @OptionGroup var model: ModelOption
    @OptionGroup var output: JSONFlag
    @Option(help: "Rows of a decoding pass.") var rows = "1,2,4,8,16,32"
    @Option(help: "Rows of a prefill pass; 0: none.") var prefill = 256
    @Option(help: "Tokens in the cache before the pass.") var context = "0"
    @Flag(help: "Each row of a decoding pass has a text of its own, as requests do; else one text, as drafts do.")
    var separate = false
    @Option(name: [.customShort("t"), .long], help: "Threads that compute; 0: as many as the process may use.")
    var threads = 0
    @Option(help: "Storage of the KV cache.") var kv = KVName.auto
    @Option(help: "How quantised weights see activations: q8, or f32, which is exact and slower.")
    var activations = ActivationsName.q8
    @Option(help: "Measured runs of each shape, in turn.") var repeats = 5

    /// A pass that is timed.
    private struct Shape {
        let rows: Int
        let context: Int
        let isPrefill: Bool
        var times: [Double] = []
        var median: Double { times.median }
        var spread: Double { times.spread }
    }

    func run() throws {
        var shapes = try numbers(context, "--context", 0...1 << 20).flatMap { context in
            try numbers(rows, "--rows", 1...8192).map { Shape(rows: $0, context: context, isPrefill: false) }
        }
        if prefill > 0 { shapes.append(Shape(rows: prefill, context: 0, isPrefill: true)) }
        guard repeats > 0, (0...8192).contains(prefill) else {
            throw Failure.invalid("--repeats must be above 0 and --prefill from 0 to 8192")
        }
        let loadStart = monotonicMicroseconds()
        let model = try loadModel(model.model, threads: threads)
        let loadTime = monotonicMicroseconds() - loadStart
        let pool = ThreadPool(threads: threads > 0 ? threads : availableProcessors())
        let bandwidth = try measure(&shapes, model, pool)
        let report = Report(
            model: model, pool: pool, bandwidth: bandwidth, loadTime: loadTime, resident: residentBytes())
        if output.json { Output.line(json(shapes, report).rendered) } else { show(shapes, report) }
    }

    /// Times every shape in turn; gives the bandwidth that was measured between the rounds, for machines change.
    private func measure(_ shapes: inout [Shape], _ model: LanguageModel, _ pool: ThreadPool) throws -> Double {
        let mostRows = shapes.map(\.rows).max() ?? 1
        let blocks = shapes.map { table($0).count }.max() ?? 1
        let cache = try KVCache(
            configuration: model.configuration, format: kv.format ?? model.defaultKVFormat, blocks: blocks)
        let transformer = try Transformer(
            model: model, cache: cache, pool: pool, maxRows: mostRows, maxLogitRows: min(mostRows, 64),
            precision: activations.precision)
        let probe = BandwidthProbe(pool: pool)
        var bandwidths: [Double] = []
        for round in 0...repeats {  // the first round warms up
            if round > 0 { bandwidths.append(probe?.measure() ?? 0) }
            // There and back, so that no shape always follows the same one.
            for index in round % 2 == 0 ? Array(shapes.indices) : shapes.indices.reversed() {
                if Interrupt.isRequested { throw Failure(.cancelled, "interrupted") }
                let batch = batch(shapes[index], round, vocabulary: model.configuration.vocabularySize)
                let start = monotonicMicroseconds()
                transformer.forward(batch)
                // Every row of a decoding pass needs its logits, of a prefill the last one.
                let wanted = shapes[index].isPrefill ? [batch.count - 1] : Array(0..<batch.count)
                for from in stride(from: 0, to: wanted.count, by: transformer.maxLogitRows) {
                    _ = unsafe transformer.logits(
                        rows: wanted[from..<min(from + transformer.maxLogitRows, wanted.count)])
                }
                let time = Double(max(1, monotonicMicroseconds() - start))
                if round > 0 { shapes[index].times.append(time) }
            }
        }
        return bandwidths.median
    }

    private func isSeparate(_ shape: Shape) -> Bool { separate && !shape.isPrefill }

    private func table(_ shape: Shape) -> Range<Int32> {
        let texts = isSeparate(shape) ? shape.rows : 1
        return 0..<Int32(texts * EngineSizing.blocks(forTokens: shape.context + shape.rows / texts))
    }

    /// The rows of a pass; other tokens in each round.
    private func batch(_ shape: Shape, _ round: Int, vocabulary: Int) -> RowBatch {
        var batch = RowBatch()
        let tokens = (0..<shape.rows).map { Int32(($0 * 7 + round) % vocabulary) }
        let blocks = Array(table(shape))
        guard isSeparate(shape) else {
            batch.append(tokens: tokens, position: shape.context, blocks: blocks)
            return batch
        }
        let each = blocks.count / shape.rows
        for (row, token) in tokens.enumerated() {
            batch.append(
                tokens: [token], position: shape.context, blocks: Array(blocks[row * each..<(row + 1) * each]))
        }
        return batch
    }

    // MARK: Reports

    private struct Report {
        let model: LanguageModel
        let pool: ThreadPool
        let bandwidth: Double
        let loadTime: Int64
        let resident: Int

        /// Weights read per second, as a share of what the machine can read.
        func share(_ shape: Shape) -> Double {
            bandwidth > 0 ? Double(model.weightsBytes) / (shape.median * 1e-6) / bandwidth : 0
        }
    }

    private func json(_ shapes: [Shape], _ report: Report) -> JSONText {
        .object([
            ("machine", .string(machineName())), ("isa", .string(InstructionSet.native.name)),
            ("threads", .int(report.pool.threads)), ("commit", .string(commitName())),
            ("activations", .string(activations.rawValue)), ("separate", .bool(separate)),
            ("read_bandwidth_gb_s", .number(report.bandwidth / 1e9)),
            ("weights_bytes", .int(report.model.weightsBytes)),
            ("resident_bytes", .int(report.resident)), ("load_ms", .number(Double(report.loadTime) / 1000)),
            (
                "decode",
                .array(
                    shapes.filter { !$0.isPrefill }.map { shape in
                        .object([
                            ("rows", .int(shape.rows)), ("context", .int(shape.context)),
                            ("us_median", .number(shape.median)), ("us_spread", .number(shape.spread)),
                            ("tokens_per_s", .number(Double(shape.rows) / shape.median * 1e6)),
                            ("bandwidth_share", .number(report.share(shape))),
                        ])
                    })
            ),
            (
                "prefill",
                .array(
                    shapes.filter(\.isPrefill).map { shape in
                        .object([
                            ("rows", .int(shape.rows)), ("us_median", .number(shape.median)),
                            ("tokens_per_s", .number(Double(shape.rows) / shape.median * 1e6)),
                        ])
                    })
            ),
        ])
    }

    private func show(_ shapes: [Shape], _ report: Report) {
        Output.line(
            "\(machineName()), \(InstructionSet.native.name), \(report.pool.threads) threads, reads "
                + "\(fixed(report.bandwidth / 1e9, 1)) GB/s; activations as \(activations.rawValue)")
        Output.line(
            "\(report.model.quantization), weights \(fixed(Double(report.model.weightsBytes) / 1e6, 1)) MB, resident "
                + "\(fixed(Double(report.resident) / 1e6, 1)) MB, loaded in \(fixed(Double(report.loadTime) / 1000, 0)) ms"
        )
        Output.columns(["rows", "context", "ms", "spread", "tokens/s", "price", "bandwidth"])
        for shape in shapes {
            let one = shapes.first { $0.rows == 1 && $0.context == shape.context && !$0.isPrefill }
            Output.columns([
                shape.isPrefill ? "prefill \(shape.rows)" : "\(shape.rows)", "\(shape.context)",
                fixed(shape.median / 1000, 2), fixed(shape.spread / 1000, 2),
                fixed(Double(shape.rows) / shape.median * 1e6, 1),
                one.map { fixed(shape.median / $0.median, 2) } ?? "", "\(fixed(report.share(shape) * 100, 0))%",
            ])
        }
    }
}

func commitName() -> String { unsafe getenv("FTK_COMMIT").map { unsafe String(cString: $0) } ?? "unknown" }

/// Resident memory of this process.
private func residentBytes() -> Int {
    let fields = textFile("/proc/self/statm").split(separator: " ")
    return fields.count > 1 ? (Int(fields[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE))) : 0
}
