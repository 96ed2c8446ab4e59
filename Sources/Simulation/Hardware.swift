import Formats
package import Scheduling

/// A machine with a target and perhaps a draft model on it, from a file of figures with their sources. From these
/// follow the times of passes: a roofline (Williams, Waterman, Patterson 2009), or a table where passes were measured.
package struct Hardware: Sendable {
    package let name: String
    package let description: String
    package let costs: StepCosts
    /// Tokens whose keys and values fit in memory besides the weights.
    package let kvTokens: Int
    /// Requests at the same time, and rows of a step.
    package let maxRunning: Int
    package let maxRows: Int

    /// A machine whose passes were measured.
    package init(
        name: String, description: String, costs: StepCosts, kvTokens: Int, maxRunning: Int, maxRows: Int
    ) {
        self.name = name
        self.description = description
        self.costs = costs
        self.kvTokens = kvTokens
        self.maxRunning = maxRunning
        self.maxRows = maxRows
    }

    package init(path: String) throws {
        try self.init(parsing: FileSource.contents(of: path, limit: 1 << 20), name: path)
    }

    package init(parsing bytes: [UInt8], name file: String) throws {
        let json: JSON
        do { json = try JSON(parsing: bytes) } catch let failure as Failure { throw failure.prefixed(file) }
        let root = try Fields(json, file: file, path: "")
        name = try root.text("name")
        description = try root.text("description")
        let machine = try Rates(root.object("machine"))
        let target = try ModelOnMachine(root.object("target"), machine)
        let draft = try root.optionalObject("draft").map { try ModelOnMachine($0, machine) }
        let engine = try root.object("engine")
        maxRunning = try engine.whole("max_running_requests", 1...65536)
        maxRows = try engine.whole("max_step_tokens", maxRunning...1 << 20)
        costs = StepCosts(
            target: target.costs, draft: draft?.costs, overhead: try engine.figure("step_overhead_us", atLeast: 0))
        let free = machine.memoryBytes - target.weightBytes - (draft?.weightBytes ?? 0)
        let tokens = free / (target.kvBytes + (draft?.kvBytes ?? 0))
        guard tokens >= 1 else {
            throw Failure.invalid(
                "\(file), field machine.memory_gb: no room is left for the KV cache beside the weights")
        }
        kvTokens = Int(min(tokens, 1e15))
    }
}

/// What the machine can do, per microsecond.
private struct Rates {
    let bytes: Double
    let operations: Double
    let attentionOperations: Double
    let memoryBytes: Double

    init(_ fields: Fields) throws {
        bytes = try fields.figure("read_gb_per_s", above: 0) * 1e3
        operations = try fields.figure("compute_tera_per_s", above: 0) * 1e6
        attentionOperations = try fields.figure("attention_tera_per_s", above: 0) * 1e6
        memoryBytes = try fields.figure("memory_gb", above: 0) * 1e9
    }
}

/// What passes of one model take on the machine.
private struct ModelOnMachine {
    let costs: PassCosts
    let weightBytes: Double
    let kvBytes: Double

    init(_ fields: Fields, _ machine: Rates) throws {
        weightBytes = try fields.figure("weights_gb", above: 0) * 1e9
        kvBytes = try fields.figure("kv_bytes_per_token", above: 0)
        if let measured = try fields.optionalObject("measured_passes") {
            costs = try Self.table(measured)
            return
        }
        let operations = 2e9 * (try fields.figure("parameters_billion", above: 0))
        let overhead = try fields.figure("pass_overhead_us", atLeast: 0)
        let rowOverhead = try fields.figure("row_overhead_us", atLeast: 0)
        let reading = weightBytes / machine.bytes
        let perRow = operations / machine.operations
        let widths = Self.widths(knee: reading / perRow)
        costs = PassCosts(
            widths: widths,
            base: widths.map { overhead + max(reading, Double($0) * perRow) + Double($0) * rowOverhead },
            perContext: kvBytes / machine.bytes,
            perAttended: try fields.figure("attention_ops_per_token", atLeast: 0) / machine.attentionOperations)
    }

    /// Every width to 64, then few, and those around the knee: lines between them are the roofline.
    private static func widths(knee: Double) -> [Int] {
        let coarse = (7...14).map { 1 << $0 }
        let around = (1...1 << 14).contains(Int(min(knee, 1e6))) ? [Int(knee), Int(knee) + 1] : []
        return Set(Array(1...64) + coarse + around).sorted()
    }

    private static func table(_ fields: Fields) throws -> PassCosts {
        _ = try fields.text("source")
        let rows = try fields.wholes("rows")
        let times = try fields.numbers("us")
        guard rows.count == times.count, rows.first == 1, zip(rows, rows.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw fields.bad("rows", "numbers of rows from 1 on, ascending, as many as there are times in us")
        }
        guard times.allSatisfy({ $0 > 0 }) else { throw fields.bad("us", "times above 0") }
        return PassCosts(
            widths: rows, base: times, perContext: try fields.figure("per_context_us", atLeast: 0),
            perAttended: try fields.figure("per_attended_us", atLeast: 0))
    }
}

/// The fields of one object of a file. A figure is an object of its value and its source, a text that says where the
/// value is from.
private struct Fields {
    private let json: JSON
    private let file: String
    private let path: String

    init(_ json: JSON, file: String, path: String) throws {
        guard json.members != nil else {
            throw Failure.corrupt("\(file)\(path.isEmpty ? "" : ", field \(path)") is not a JSON object")
        }
        self.json = json
        self.file = file
        self.path = path
    }

    private func named(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    func bad(_ key: String, _ wanted: String) -> Failure {
        Failure.corrupt("\(file), field \(named(key)): expected \(wanted)")
    }

    private func value(_ key: String) throws -> JSON {
        guard let value = json[key] else { throw Failure.corrupt("\(file), field \(named(key)) is missing") }
        return value
    }

    func text(_ key: String) throws -> String {
        guard let text = try value(key).string, !text.isEmpty else { throw bad(key, "a text") }
        return text
    }

    func object(_ key: String) throws -> Fields { try Fields(value(key), file: file, path: named(key)) }

    func optionalObject(_ key: String) throws -> Fields? {
        guard let member = json[key], !member.isNull else { return nil }
        return try Fields(member, file: file, path: named(key))
    }

    private func figure(_ key: String) throws -> Double {
        let figure = try object(key)
        _ = try figure.text("source")
        guard let value = try figure.value("value").number, value.isFinite else {
            throw figure.bad("value", "a number")
        }
        return value
    }

    func figure(_ key: String, above least: Double) throws -> Double {
        let value = try figure(key)
        guard value > least else { throw bad(key, "a value above \(least)") }
        return value
    }

    func figure(_ key: String, atLeast least: Double) throws -> Double {
        let value = try figure(key)
        guard value >= least else { throw bad(key, "a value of at least \(least)") }
        return value
    }

    func whole(_ key: String, _ range: ClosedRange<Int>) throws -> Int {
        guard let value = Int(exactly: try figure(key)), range.contains(value) else {
            throw bad(key, "a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    func numbers(_ key: String) throws -> [Double] {
        let values = try value(key).array?.map(\.number) ?? []
        let numbers = values.compactMap { $0 }
        guard !numbers.isEmpty, numbers.count == values.count, numbers.allSatisfy(\.isFinite) else {
            throw bad(key, "a list of numbers")
        }
        return numbers
    }

    func wholes(_ key: String) throws -> [Int] {
        let numbers = try numbers(key)
        let wholes = numbers.compactMap { Int(exactly: $0) }
        guard wholes.count == numbers.count else { throw bad(key, "a list of whole numbers") }
        return wholes
    }
}

extension Hardware {
    /// Files that come with the library, by name.
    private static let builtIn = [
        "cpu-2-core-1b": cpu2Core1B, "cpu-64-core-8b": cpu64Core8B, "h100-8b": h100With8B,
        "h100x4-70b": fourH100With70B,
    ]

    package static var names: [String] { builtIn.keys.sorted() }

    /// The text of a file that comes with the library.
    package static func builtInText(_ name: String) -> String? { builtIn[name] }

    /// One that comes with the library, or else a file.
    package init(nameOrPath: String) throws {
        if let text = Self.builtIn[nameOrPath] {
            try self.init(parsing: Array(text.utf8), name: nameOrPath)
        } else if fileExists(nameOrPath) {
            try self.init(path: nameOrPath)
        } else {
            throw Failure(
                .notFound,
                "no hardware is called \(nameOrPath), nor is there such a file; "
                    + "known are \(Self.names.joined(separator: ", "))"
            )
        }
    }
}
