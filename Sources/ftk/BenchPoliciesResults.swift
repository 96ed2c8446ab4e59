import Formats

/// What one policy did under one load. Times in microseconds; sums are over all measured rounds.
struct PolicyCell {
    let policy: String
    let concurrency: Int
    /// The median of the rounds: tokens of all requests per second in steps.
    private(set) var tokensPerSecond = 0.0
    /// Of the rounds, from the slowest to the fastest, in parts of the median.
    private(set) var spread = 0.0
    /// For each request that runs in it.
    private(set) var tokensPerPass = 0.0
    private(set) var drafted = 0.0
    private(set) var accepted = 0.0
    private(set) var draftTime = 0.0
    private(set) var verifyTime = 0.0
    private(set) var stepTime = 0.0
    private(set) var steps = 0.0
    private(set) var controlTimePerStep = 0.0
    private(set) var meanLatency = 0.0
    /// How many requests ran at a time on the average; below `concurrency` because of the end of a round.
    private(set) var meanRunning = 0.0
    private(set) var ratio = 0.0

    /// What they are called in files.
    private static var fields: [(name: String, path: WritableKeyPath<PolicyCell, Double>)] {
        [
            ("tokens_per_s", \.tokensPerSecond), ("spread", \.spread), ("tokens_per_pass", \.tokensPerPass),
            ("drafted", \.drafted), ("accepted", \.accepted), ("draft_us", \.draftTime), ("verify_us", \.verifyTime),
            ("step_us", \.stepTime), ("steps", \.steps), ("control_us_per_step", \.controlTimePerStep),
            ("latency_us_mean", \.meanLatency), ("running_mean", \.meanRunning), ("ratio_to_unconfigured", \.ratio),
        ]
    }

    /// `unconfigured`: tokens per second without any speculation.
    init(policy: String, concurrency: Int, rounds: [PolicyRound], unconfigured: Double) {
        (self.policy, self.concurrency) = (policy, concurrency)
        func sum(_ part: (PolicyRound) -> Double) -> Double { rounds.reduce(0) { $0 + part($1) } }
        let speeds = rounds.map(\.tokensPerSecond)
        let latency = sum { Double($0.latency) }
        tokensPerSecond = speeds.median
        spread = speeds.spread / max(speeds.median, .leastNonzeroMagnitude)
        tokensPerPass = sum { Double($0.tokens) } / max(1, sum { Double($0.passes) })
        drafted = sum { Double($0.drafted) }
        accepted = sum { Double($0.accepted) }
        draftTime = sum { Double($0.draftTime) }
        verifyTime = sum { Double($0.verifyTime) }
        stepTime = sum { Double($0.time) }
        steps = sum { Double($0.steps) }
        controlTimePerStep = sum { $0.controlTime } / max(1, steps)
        meanLatency = latency / max(1, sum { Double($0.texts.count) })
        meanRunning = latency / max(1, stepTime)
        ratio = unconfigured > 0 ? tokensPerSecond / unconfigured : 0
    }

    /// nil for anything but what `json` gives.
    init?(_ json: JSON) {
        guard let policy = json["policy"]?.string, let concurrency = json["concurrency"]?.int else { return nil }
        (self.policy, self.concurrency) = (policy, concurrency)
        for field in Self.fields {
            guard let value = json[field.name]?.number else { return nil }
            self[keyPath: field.path] = value
        }
    }

    var json: JSONText {
        let figures = Self.fields.map { field in
            let value = self[keyPath: field.path]
            return (field.name, Int(exactly: value).map { JSONText.int($0) } ?? .number(value))
        }
        return .object([("policy", .string(policy)), ("concurrency", .int(concurrency))] + figures)
    }
}

/// The cells so far, and the file that keeps them: a line about the run, then a line for each cell.
struct PolicyResults {
    let header: [(String, JSONText)]
    private let path: String?
    private var cells: [PolicyCell] = []

    private static let limit = 16 << 20

    /// Takes over what the file holds, if there is one.
    init(header: [(String, JSONText)], path: String?) throws {
        (self.header, self.path) = (header, path)
        guard let path, fileExists(path) else { return }
        let lines = try FileSource.contents(of: path, limit: Self.limit).split(separator: UInt8(ascii: "\n"))
        let values = try lines.enumerated().map { index, line -> JSON in
            do { return try JSON(parsing: Array(line)) } catch let failure as Failure {
                throw failure.prefixed("--resume: \(path), line \(index + 1)")
            }
        }
        guard let first = values.first else { return }
        try check(first, path)
        cells = try values.dropFirst().enumerated().map { index, value in
            guard let cell = PolicyCell(value) else {
                throw Failure.corrupt("--resume: \(path), line \(index + 2) is not a measured cell")
            }
            return cell
        }
    }

    /// Figures of another machine, model or way to measure must not be mixed with this run's.
    private func check(_ found: JSON, _ path: String) throws {
        // The same way through text, so that numbers compare as they were written.
        let expected = try JSON(parsing: Array(JSONText.object(header).rendered.utf8))
        for (name, _) in header {
            guard let value = found[name] else {
                throw Failure.invalid("--resume: \(path) is not a file of this command: its first line has no \(name)")
            }
            let (theirs, ours) = (Self.described(value), Self.described(expected[name] ?? .null))
            guard theirs == ours else {
                throw Failure.invalid(
                    "--resume: \(path) was measured with \(name) = \(theirs), but this run has \(ours); name another file"
                )
            }
        }
    }

    private static func described(_ value: JSON) -> String {
        if let text = value.string { return text }
        if let number = value.number { return Int(exactly: number).map { "\($0)" } ?? "\(number)" }
        return value.isNull ? "none" : "something else"
    }

    func has(concurrency: Int, of choices: [PolicyChoice]) -> Bool {
        let names = Set(cells(of: [concurrency]).map(\.policy))
        return choices.allSatisfy { names.contains($0.name) }
    }

    func cells(of levels: [Int]) -> [PolicyCell] {
        levels.flatMap { level in cells.filter { $0.concurrency == level } }
    }

    /// Adds the cells of a load. The file is written as a whole: it never holds half of a line, or of a load.
    mutating func add(_ fresh: [PolicyCell]) throws {
        cells += fresh
        guard let path else { return }
        let file = try PartialFile(path: path, force: true)
        for line in [JSONText.object(header)] + cells.map(\.json) {
            try file.append(Array((line.rendered + "\n").utf8))
        }
        try file.finish()
    }

    func json(of levels: [Int]) -> JSONText {
        .object(header + [("cells", .array(cells(of: levels).map(\.json)))])
    }
}
