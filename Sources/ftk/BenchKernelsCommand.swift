import ArgumentParser
import Formats
import Kernels
import Model

/// What the products cost by themselves: streamed from memory, and with the weights in the cache.
struct BenchKernelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kernels", abstract: "Time the products of rows with weights alone.")

    @OptionGroup var output: JSONFlag
    @Option(help: "Types of weights.") var types = "Q8_0,Q4_0,Q4_K,Q5_K,Q6_K,F16,BF16"
    @Option(help: "Rows of a product.") var rows = "1,2,4,8,16,32,64"
    @Option(help: "Outputs and columns of the matrix.") var shape = "8192,2048"
    @Option(name: [.customShort("t"), .long], help: "Threads that compute; 0: as many as the process may use.")
    var threads = 0
    @Option(help: "How quantised weights see activations: q8 or f32.") var activations = ActivationsName.q8
    @Option(help: "Measured rounds; the median counts.") var repeats = 15

    /// Times of one number of rows.
    private struct Cell {
        let type: String
        let rows: Int
        let bytes: Int
        let products: Double
        var streamed: [Double] = []
        var cached: [Double] = []
    }
    /// So much is streamed before a matrix is met again; no cache holds it.
    private static let streamedBytes = 384 << 20

    func run() throws {
        let rows = try numbers(self.rows, "--rows", 1...1024)
        let shape = try numbers(self.shape, "--shape", 1...1 << 20)
        guard shape.count == 2, repeats > 0 else {
            throw Failure.invalid("--shape must be two numbers, outputs and columns, and --repeats above 0")
        }
        let pool = ThreadPool(threads: threads > 0 ? threads : availableProcessors())
        let probe = BandwidthProbe(pool: pool)
        var bandwidths: [Double] = []
        var cells: [Cell] = []
        for name in types.split(separator: ",") {
            cells += try measure(String(name), rows, outputs: shape[0], columns: shape[1], pool)
            bandwidths.append(probe?.measure() ?? 0)
        }
        let bandwidth = bandwidths.median
        if output.json {
            Output.line(json(cells, pool, bandwidth, shape).rendered)
        } else {
            show(cells, pool, bandwidth, shape)
        }
    }

    private func measure(
        _ name: String, _ rows: [Int], outputs: Int, columns: Int, _ pool: ThreadPool
    ) throws -> [Cell] {
        guard let type = TensorType.allCases.first(where: { $0.name == name.uppercased() }),
            PackedFormat(type.blockFormat) != nil, columns % type.blockElements == 0
        else { throw Failure.invalid("--types: \(name) has no product of its own for \(columns) columns") }
        func bench(_ outputs: Int, copies: Int) throws -> ProductBench {
            guard
                let bench = ProductBench(
                    format: type.blockFormat, outputs: outputs, columns: columns, copies: copies,
                    maxRows: rows.max() ?? 1, precision: activations.precision, pool: pool)
            else { throw Failure(.outOfMemoryBudget, "no memory for matrices of \(outputs) x \(columns)") }
            return bench
        }
        let probe = try bench(outputs, copies: 1)
        let streamed = try bench(outputs, copies: Self.streamedBytes / probe.bytes + 1)
        // Four groups of 16 outputs for each thread stay in its cache.
        let near = 64 * pool.threads
        let cached = try bench(near, copies: 1)
        var cells = rows.map {
            Cell(type: type.name, rows: $0, bytes: streamed.bytes, products: Double($0 * outputs * columns))
        }
        var copy = 0
        for round in 0...repeats {
            // There and back, so that no shape always follows the same one.
            for index in round % 2 == 0 ? Array(cells.indices) : cells.indices.reversed() {
                if Interrupt.isRequested { throw Failure(.cancelled, "interrupted") }
                let time = streamed.time(rows: cells[index].rows, copy: copy)
                copy += 1
                _ = cached.time(rows: cells[index].rows, copy: 0)
                let near = cached.time(rows: cells[index].rows, copy: 0) * Double(outputs) / Double(near)
                if round > 0 {
                    cells[index].streamed.append(time)
                    cells[index].cached.append(near)
                }
            }
        }
        return cells
    }

    private func show(_ cells: [Cell], _ pool: ThreadPool, _ bandwidth: Double, _ shape: [Int]) {
        Output.line(
            "\(machineName()), \(InstructionSet.native.name), \(pool.threads) threads, reads "
                + "\(fixed(bandwidth / 1e9, 1)) GB/s, multiplies bytes in registers at "
                + "\(fixed(integerLimit(pool: pool) / 1e9, 0)) G MAC/s; [\(shape[0]), \(shape[1])], activations as "
                + activations.rawValue
        )
        Output.columns(["type", "rows", "us", "price", "GB/s", "G MAC/s", "cached"])
        for cell in cells {
            let one = cells.first { $0.type == cell.type }
            Output.columns([
                cell.type, "\(cell.rows)", fixed(cell.streamed.median, 0),
                one.map { fixed(cell.streamed.median / $0.streamed.median, 2) } ?? "",
                fixed(Double(cell.bytes) / cell.streamed.median / 1000, 1),
                fixed(cell.products / cell.streamed.median / 1000, 0),
                fixed(cell.products / cell.cached.median / 1000, 0),
            ])
        }
    }

    private func json(_ cells: [Cell], _ pool: ThreadPool, _ bandwidth: Double, _ shape: [Int]) -> JSONText {
        .object([
            ("machine", .string(machineName())), ("isa", .string(InstructionSet.native.name)),
            ("threads", .int(pool.threads)), ("commit", .string(commitName())),
            ("activations", .string(activations.rawValue)), ("read_bandwidth_gb_s", .number(bandwidth / 1e9)),
            ("integer_limit_gmac_s", .number(integerLimit(pool: pool) / 1e9)),
            ("outputs", .int(shape[0])), ("columns", .int(shape[1])),
            (
                "products",
                .array(
                    cells.map { cell in
                        .object([
                            ("type", .string(cell.type)), ("rows", .int(cell.rows)),
                            ("us_median", .number(cell.streamed.median)), ("us_spread", .number(cell.streamed.spread)),
                            ("gb_s", .number(Double(cell.bytes) / cell.streamed.median / 1000)),
                            ("gmac_s", .number(cell.products / cell.streamed.median / 1000)),
                            ("gmac_s_cached", .number(cell.products / cell.cached.median / 1000)),
                        ])
                    })
            ),
        ])
    }
}

extension [Double] {
    /// 0 for none.
    var median: Double { isEmpty ? 0 : sorted()[count / 2] }
    var spread: Double { (self.max() ?? 0) - (self.min() ?? 0) }
}

/// The numbers of a comma-separated option.
func numbers(_ list: String, _ name: String, _ range: ClosedRange<Int>) throws -> [Int] {
    try list.split(separator: ",", omittingEmptySubsequences: false).map { part in
        guard let value = Int(part), range.contains(value) else {
            throw Failure.invalid(
                "\(name): \"\(part)\" is not a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }
}
