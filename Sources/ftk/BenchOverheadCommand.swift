import ArgumentParser
import Engine
import Formats
import Kernels
import Model
import Speculation

/// What it costs to be able to draft, where nothing is drafted.
struct BenchOverheadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "overhead", abstract: "Compare the steps of an engine that could draft, but does not.",
        discussion: """
            Three engines share the model and get the same requests: unconfigured has no drafts and no draft model; again \
            is the same a second time and shows the noise; off could draft, but its requests want no drafts. They step in \
            turn, one step each, and the first of a turn changes. As all do the same work, step for step, the times of a \
            turn are pairs: the median of their ratios counts, with the interval that holds it with 95% confidence.
            """)

    @OptionGroup var model: ModelOption
    @OptionGroup var engine: EngineArguments
    @OptionGroup var output: JSONFlag
    @Option(help: "JSON lines, each with a text \"prompt\"; taken in order, and again from the first.")
    var prompts: String
    @Option(help: "Only prompts of this \"category\".") var category: String?
    @Option(help: "Requests that run at a time.") var concurrency = "1,4,16"
    @Option(name: [.customShort("n"), .long], help: "Tokens that each request generates.") var maxTokens = 48
    @Option(help: "At least so many steps of each engine.") var steps = 400

    func run() throws {
        let levels = try numbers(concurrency, "--concurrency", 1...256)
        try refuseRepetition(levels.map(String.init), "--concurrency")
        guard steps > 0, maxTokens > 0 else { throw Failure.invalid("--steps and -n must be above 0") }
        let target = try loadModel(model.model, threads: engine.threads)
        let setting = PolicySetting(
            engine: engine, target: target, draft: try engine.draftModel(for: target),
            maxTokens: maxTokens, temperature: 0)
        let base = try setting.options(drafter: nil, most: levels.max() ?? 1)
        let requests = try setting.requests(BenchPrompt.list(path: prompts, category: category), base)
        let arms = try PolicyChoice.list("again,off").map { try PolicyArm($0, target: target, base: base) }
        defer { for arm in arms { arm.engine.stop() } }
        if !output.json {
            Output.line("\(machineName()), \(InstructionSet.native.name); \(target.path)")
            Output.columns(["engine", "at a time", "steps", "us a step", "ratio", "interval"])
        }
        var cells: [OverheadCell] = []
        for level in levels {
            let measured = try Turns(arms: arms, requests: requests).cells(concurrency: level, steps: steps)
            if !output.json { measured.forEach(show) }
            cells += measured
        }
        guard output.json else { return }
        Output.line(JSONText.object(try setting.description + [("cells", .array(cells.map(\.json)))]).rendered)
    }

    private func show(_ cell: OverheadCell) {
        Output.columns([
            cell.name, "\(cell.concurrency)", "\(cell.steps)", fixed(cell.time, 1), fixed(cell.ratio, 4),
            "\(fixed(cell.interval.lowerBound, 4)) to \(fixed(cell.interval.upperBound, 4))",
        ])
    }
}

/// An engine's steps, compared with those of the first one.
private struct OverheadCell {
    let name: String
    let concurrency: Int
    let steps: Int
    /// Of a step, the median in microseconds.
    let time: Double
    /// To the same step of the first engine, the median.
    let ratio: Double
    /// Of that median, with 95% confidence.
    let interval: ClosedRange<Double>

    init(name: String, concurrency: Int, times: [Double], first: [Double]) {
        (self.name, self.concurrency, steps) = (name, concurrency, times.count)
        time = times.median
        let ratios = zip(times, first).map { $0 / $1 }.sorted()
        ratio = ratios.median
        // The number of ratios below the median is binomial.
        let half = Int((0.98 * Double(ratios.count).squareRoot()).rounded(.up))
        let middle = ratios.count / 2
        interval = ratios[max(0, middle - half)]...ratios[min(ratios.count - 1, middle + half)]
    }

    var json: JSONText {
        .object([
            ("policy", .string(name)), ("concurrency", .int(concurrency)), ("steps", .int(steps)),
            ("us_median", .number(time)), ("ratio", .number(ratio)),
            ("ratio_from", .number(interval.lowerBound)), ("ratio_to", .number(interval.upperBound)),
        ])
    }
}

/// Engines that do the same, step by step.
private struct Turns {
    let arms: [PolicyArm]
    let requests: [RequestOptions]

    func cells(concurrency: Int, steps: Int) throws -> [OverheadCell] {
        var times = arms.map { _ in [Double]() }
        var (round, isWarm) = (0, false)
        while times[0].count < steps {
            try submit(concurrency, round)
            let measured = try takeTurns()
            if isWarm { for index in arms.indices { times[index] += measured[index] } }
            (round, isWarm) = (round + 1, true)
        }
        return arms.indices.map {
            OverheadCell(name: arms[$0].name, concurrency: concurrency, times: times[$0], first: times[0])
        }
    }

    private func submit(_ count: Int, _ round: Int) throws {
        for index in 0..<count {
            var request = requests[(round * count + index) % requests.count]
            request.seed = UInt64(index)
            request.cacheSalt = UInt64(count) << 32 | UInt64(round + 1)
            for arm in arms {
                request.draftTokens = arm.requestedDraft
                _ = try arm.engine.submit(request)
            }
        }
    }

    /// Until the requests have ended; the times of steps in which no engine was idle.
    private func takeTurns() throws -> [[Double]] {
        var times = arms.map { _ in [Double]() }
        var turn = 0
        while true {
            if Interrupt.isRequested { throw Failure(.cancelled, "interrupted") }
            var latest = arms.map { _ in 0.0 }
            var working = 0
            for place in arms.indices {
                let index = (turn + place) % arms.count
                let start = monotonicNanoseconds()
                if try arms[index].engine.step() { working += 1 }
                latest[index] = Double(monotonicNanoseconds() - start) / 1000
                for event in arms[index].engine.poll(timeout: 0) {
                    if let failure = event.finish?.failure { throw failure }
                }
            }
            guard working > 0 else { return times }
            guard working == arms.count else {
                throw Failure(.internalError, "engines with the same requests took different numbers of steps")
            }
            for index in arms.indices { times[index].append(latest[index]) }
            turn += 1
        }
    }
}
