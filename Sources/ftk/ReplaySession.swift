import Engine
import Formats
import Kernels
import Model
import Scheduling
import Simulation
import Speculation

/// All runs of a replay, one after the other, and what came of them.
struct ReplaySession {
    private let command: ReplayCommand
    private let target: LanguageModel
    private let base: EngineOptions
    private let prompts: ReplayPrompts
    private let arms: [Arm]
    private let scales: [Double]
    private var progress: ReplayProgress
    private let recorder: PartialFile?
    private var hasRecorded = false
    private(set) var cells: [WorkloadCell] = []
    /// Of the first seed.
    private(set) var lengths: LengthFit?

    /// The lines of a recording may become long; the file is written as runs end.
    init(
        command: ReplayCommand, target: LanguageModel, base: EngineOptions, prompts: ReplayPrompts, arms: [Arm],
        scales: [Double]
    ) throws {
        (self.command, self.target, self.base, self.prompts) = (command, target, base, prompts)
        (self.arms, self.scales) = (arms, scales)
        let plain = command.targets.needsPlainRun ? 1 : 0
        let last = try command.workload.arrivals(seed: command.seed).last?.time ?? 0
        progress = ReplayProgress(
            runs: scales.count * command.seeds * (arms.count + plain),
            expected: min(command.maxSeconds * 1e6, last * (scales.max() ?? 1)) + command.profileTime * 1e6,
            isWanted: command.progress)
        recorder = try command.record.map { try PartialFile(path: $0, force: true) }
    }

    mutating func run() throws {
        try recorder?.append(Self.line(RecordedRun.header(about)))
        for scale in scales {
            for offset in 0..<command.seeds where !Interrupt.isRequested {
                try measure(scale: scale, seed: command.seed + UInt64(offset), reversed: offset % 2 == 1)
            }
        }
        progress.end()
        guard let recorder else { return }
        // Without a run there is nothing to read, and what an earlier replay wrote stays.
        guard hasRecorded else { return Output.note("No step was recorded; \(recorder.path) is not written.") }
        try recorder.finish()
    }

    /// A run that was cut off before its first step tells nothing of the machine or the texts.
    private mutating func record(_ sent: SentRun, _ arm: Arm) throws {
        guard let recorder, !sent.run.requests.isEmpty, !sent.run.steps.isEmpty else { return }
        let review = ReplayReview(target: target, longest: max(command.maxSeconds, Self.shortestReview) * 1e6)
        let (run, reason) = review.read(sent, options(arm))
        if let reason {
            progress.end()
            Output.note(
                "\(arm.name), seed \(run.seed): the recording knows of the texts only what the steps showed; \(reason)."
            )
        }
        for json in run.lines { try recorder.append(Self.line(json)) }
        hasRecorded = true
    }

    private var about: [(String, JSONText)] {
        [
            ("machine", .string(machineName())), ("isa", .string(InstructionSet.native.name)),
            ("model", .string(target.path)),
            ("draft", base.draftModel.map { .string(command.engine.selfDraft ? "self" : $0.path) } ?? .null),
            ("prompts", .string(command.prompts)), ("context", .int(base.contextTokens)),
        ]
    }

    /// Seconds: texts are read again for so long even if runs are short.
    private static let shortestReview = 60.0

    private static func line(_ json: JSONText) -> [UInt8] { Array((json.rendered + "\n").utf8) }

    // MARK: Cells

    /// The arms under one workload.
    private mutating func measure(scale: Double, seed: UInt64, reversed: Bool) throws {
        let fit = LengthFit(
            try command.workload.arrivals(seed: seed).scaled(by: scale), context: base.contextTokens)
        lengths = lengths ?? fit
        var measured: [(arm: Arm, cut: ReplaySender.Cut?, result: OpenLoopResult)] = []
        var targets = try command.targets.needsPlainRun ? Targets() : command.targets.targets(plain: nil)
        var plain: OpenLoopResult?
        if command.targets.needsPlainRun {
            let result = try run(.unconfigured, fit, scale: scale, seed: seed, targets).result
            if Interrupt.isRequested { return }
            targets = try command.targets.targets(plain: OpenLoopMetrics(result))
            plain = result
        }
        for arm in reversed ? arms.reversed() : arms where !Interrupt.isRequested {
            let (sent, result) = try run(arm, fit, scale: scale, seed: seed, targets)
            if sent.run.requests.isEmpty { break }
            measured.append((arm, sent.cut, result))
            try record(sent, arm)
        }
        plain = measured.first { $0.arm.name == Arm.unconfigured.name }?.result ?? plain
        for arm in arms {
            guard let own = measured.first(where: { $0.arm.name == arm.name }) else { continue }
            cells.append(
                WorkloadCell(
                    arm: arm.name, scale: scale, seed: seed, targetTPOT: command.targets.tpotText, result: own.result,
                    metrics: OpenLoopMetrics(own.result), speedUp: plain.flatMap { SpeedUp(own.result, plain: $0) },
                    real: RealFigures(own.cut, own.result)))
        }
    }

    private func options(_ arm: Arm) -> EngineOptions { arm.options(base, draftTokens: command.draftTokens) }

    /// The engine is gone when its run is over.
    private mutating func run(
        _ arm: Arm, _ fit: LengthFit, scale: Double, seed: UInt64, _ targets: Targets
    ) throws -> (sent: SentRun, result: OpenLoopResult) {
        progress.begin("\(arm.name), seed \(seed)", requests: fit.arrivals.count)
        let engine = try InferenceEngine(target: target, options: options(arm))
        defer { engine.stop() }
        var run = RecordedRun(
            policy: arm.name, seed: seed, maxRunning: base.maxRunningRequests, maxRows: base.maxStepTokens)
        run.draftTokens = command.draftTokens
        run.timeScale = scale
        run.targets = targets
        run.requests = fit.arrivals.map { RequestRecord($0) }
        var sender = ReplaySender(
            engine, run, requests: fit.arrivals.indices.map { request($0, fit.arrivals[$0], arm, seed, targets) },
            longest: command.maxSeconds * 1e6)
        try sender.send { progress.show($0) }
        var result = sender.sent.run.result()
        result.calibration = engine.calibration()
        return (sender.sent, result)
    }

    private func request(
        _ place: Int, _ arrival: Arrival, _ arm: Arm, _ seed: UInt64, _ targets: Targets
    ) -> RequestOptions {
        var request = RequestOptions()
        // Another seed brings prompts and lengths together otherwise.
        request.prompt = .tokens(prompts.tokens(place + Int(seed), count: arrival.promptTokens))
        request.maxTokens = arrival.outputTokens
        request.ignoresEndOfGeneration = true
        request.sampling.temperature = command.temperature
        request.seed = seed << 24 | UInt64(place)
        request.cacheSalt = UInt64(place) + 1
        request.draftTokens = arm.requestedDraft
        request.targetTimeToFirstToken = targets.firstToken.map { Self.microseconds($0) }
        request.targetTimePerOutputToken = targets.perOutputToken.map { Self.microseconds($0) }
        return request
    }

    private static func microseconds(_ time: Double) -> Int64 { Int64(max(1, time)) }
}
