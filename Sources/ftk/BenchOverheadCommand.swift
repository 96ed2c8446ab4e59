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

            pass is no engine, but what the steps of unconfigured come down to: a bare pass of the model with a row for each \
            request, as 'bench model --separate' times it, with the request's latest token and its own past. It takes its \
            turn where every request decodes, and only those turns count for it. Its \
            ratio is the share that the engine reaches of the throughput which such passes promise: 1 is an engine that \
            costs nothing. The tokens that it finds must be the engine's.
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
        let passes = try BarePasses(target: target, options: base, requests: levels.max() ?? 1)
        if !output.json {
            Output.line("\(machineName()), \(InstructionSet.native.name); \(target.path)")
            Output.columns(["engine", "at a time", "steps", "us a step", "ratio", "from", "to", "planning us"])
        }
        let turns = Turns(arms: arms, passes: passes, requests: requests)
        var cells: [OverheadCell] = []
        for level in levels {
            let measured = try turns.cells(concurrency: level, steps: steps)
            if !measured.contains(where: { $0.name == BarePasses.name }) {
                Output.note("At no time did all of \(level) requests decode, so no pass was compared; raise -n.")
            }
            if !output.json { measured.forEach(show) }
            cells += measured
        }
        guard output.json else { return }
        Output.line(JSONText.object(try setting.description + [("cells", .array(cells.map(\.json)))]).rendered)
    }

    private func show(_ cell: OverheadCell) {
        Output.columns([
            cell.name, "\(cell.concurrency)", "\(cell.steps)", fixed(cell.time, 1), fixed(cell.ratio, 4),
            fixed(cell.interval.lowerBound, 4), fixed(cell.interval.upperBound, 4),
            cell.scheduling.map { fixed($0, 1) } ?? "",
        ])
    }
}

/// An engine's steps, or bare passes, compared with the steps of the first engine.
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
    /// Of an engine: microseconds of a step in which it is decided who runs with how many rows, the mean.
    var scheduling: Double?
    /// Of passes: tokens in the cache before each row, the mean.
    private(set) var context: Double?

    /// `times` and `first` are pairs, at least one.
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

    init(passes: PassTimes, concurrency: Int) {
        self.init(name: BarePasses.name, concurrency: concurrency, times: passes.times, first: passes.steps)
        context = passes.contexts.reduce(0, +) / Double(passes.contexts.count)
    }

    var json: JSONText {
        let fields: [(String, JSONText)] = [
            ("policy", .string(name)), ("concurrency", .int(concurrency)), ("steps", .int(steps)),
            ("us_median", .number(time)), ("ratio", .number(ratio)),
            ("ratio_from", .number(interval.lowerBound)), ("ratio_to", .number(interval.upperBound)),
        ]
        let more = [("scheduling_us", scheduling), ("context_mean", context)].compactMap { name, value in
            value.map { (name, JSONText.number($0)) }
        }
        return .object(fields + more)
    }
}

/// Bare passes, and what the first engine did in the same turns.
private struct PassTimes {
    /// In microseconds.
    private(set) var times: [Double] = []
    /// Of the first engine, in microseconds.
    private(set) var steps: [Double] = []
    /// Tokens in the cache before each row, the mean over the rows.
    private(set) var contexts: [Double] = []

    mutating func add(_ time: Double, step: Double, context: Double) {
        times.append(time)
        steps.append(step)
        contexts.append(context)
    }

    static func += (passes: inout PassTimes, more: PassTimes) {
        passes.times += more.times
        passes.steps += more.steps
        passes.contexts += more.contexts
    }
}

/// Engines that do the same, step by step.
private struct Turns {
    let arms: [PolicyArm]
    /// Follow the first arm.
    let passes: BarePasses
    let requests: [RequestOptions]

    func cells(concurrency: Int, steps: Int) throws -> [OverheadCell] {
        var times = arms.map { _ in [Double]() }
        var passTimes = PassTimes()
        var (round, isWarm) = (0, false)
        var before = arms.map { $0.engine.snapshot() }
        while times[0].count < steps {
            try submit(concurrency, round)
            let (measured, measuredPasses) = try takeTurns()
            if isWarm {
                for index in arms.indices { times[index] += measured[index] }
                passTimes += measuredPasses
            } else {
                before = arms.map { $0.engine.snapshot() }
            }
            (round, isWarm) = (round + 1, true)
        }
        let cells = arms.indices.map { index in
            var cell = OverheadCell(
                name: arms[index].name, concurrency: concurrency, times: times[index], first: times[0])
            let after = arms[index].engine.snapshot()
            let steps = Double(max(1, after.steps - before[index].steps))
            cell.scheduling = (after.schedulingTime - before[index].schedulingTime) / steps
            return cell
        }
        return passTimes.times.isEmpty ? cells : cells + [OverheadCell(passes: passTimes, concurrency: concurrency)]
    }

    private func submit(_ count: Int, _ round: Int) throws {
        passes.removeAll()
        for index in 0..<count {
            var request = requests[(round * count + index) % requests.count]
            request.seed = UInt64(index)
            request.cacheSalt = UInt64(count) << 32 | UInt64(round + 1)
            for (place, arm) in arms.enumerated() {
                request.draftTokens = arm.requestedDraft
                let id = try arm.engine.submit(request)
                if place == 0, case .tokens(let prompt) = request.prompt { passes.follow(id, prompt: prompt) }
            }
        }
    }

    /// Until the requests have ended; the times of steps in which no engine was idle, and of passes.
    private func takeTurns() throws -> ([[Double]], PassTimes) {
        var times = arms.map { _ in [Double]() }
        var passTimes = PassTimes()
        var turn = 0
        while true {
            if Interrupt.isRequested { throw Failure(.cancelled, "interrupted") }
            let withPass = passes.isDecoding
            if withPass { try passes.prepare() }
            let (steps, pass) = try takeTurn(turn, withPass: withPass)
            let working = steps.filter { $0 != nil }.count
            guard working > 0 else { return (times, passTimes) }
            guard working == arms.count else {
                throw Failure(.internalError, "engines with the same requests took different numbers of steps")
            }
            for (index, time) in steps.enumerated() { times[index].append(time ?? 0) }
            if let pass, let step = steps[0] {
                try passes.compare()
                passTimes.add(pass, step: step, context: passes.context)
            }
            turn += 1
        }
    }

    /// A step of each engine, nil of one that was idle, and a pass where it is wanted, in an order that changes.
    private func takeTurn(_ turn: Int, withPass: Bool) throws -> (steps: [Double?], pass: Double?) {
        var steps: [Double?] = Array(repeating: nil, count: arms.count)
        var pass: Double?
        for place in 0...arms.count {
            let index = (turn + place) % (arms.count + 1)
            if index < arms.count {
                steps[index] = try step(index)
            } else if withPass {
                pass = passes.run()
            }
        }
        return (steps, pass)
    }

    private func step(_ index: Int) throws -> Double? {
        let engine = arms[index].engine
        let start = monotonicNanoseconds()
        let worked = try engine.step()
        let time = Double(monotonicNanoseconds() - start) / 1000
        for event in engine.poll(timeout: 0) {
            if let failure = event.finish?.failure { throw failure }
            if index == 0 { passes.take(event) }
        }
        return worked ? time : nil
    }
}
