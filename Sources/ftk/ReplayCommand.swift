import ArgumentParser
import Engine
import Formats
import Kernels
import Model
import Scheduling
import Simulation

/// A workload on the real engine.
struct ReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay", abstract: "Show what policies do under a workload, on this machine.",
        discussion: """
            Requests are sent when the workload says, whether the engine keeps up or not. Each arm has an engine of its \
            own and gets the same requests; arms run in turn, every second seed in reverse order. Prompts are those of \
            the file in turn, cut or lengthened with the text of their neighbours to the workload's lengths; outputs have \
            the workload's lengths, whatever the model would say. Requests that are longer than the context are \
            shortened: an output to half of it, a prompt to what is left. No request finds anything of another in the \
            prefix cache or the pool of finished texts.

            Below saturation tokens per second are what arrives, for every arm: compare tokens per busy second, latency \
            and attainment. Ctrl-C ends the run and reports what is measured.
            """)

    @OptionGroup var model: ModelOption
    @OptionGroup var engine: EngineArguments
    @OptionGroup var workload: WorkloadArguments
    @Option(help: "JSON lines, each with a text \"prompt\"; taken in turn.") var prompts: String
    @Option(help: "Only prompts of this \"category\".") var category: String?
    @Option(help: "Arms, run in turn: \(Arm.forms); oracle only on virtual time.") var policies =
        "unconfigured,off,static:1,static:2,static:4,static:8,smartspec,turbospec,adaspec,goodput"
    @Option(help: "The most tokens of a draft where the policy chooses; default: the policy's own.") var draftTokens:
        Int?
    @Option(help: "Where drafts come from: lookup, suffix or model. Default: what the policy finds best.")
    var drafter: DrafterName?
    @Option(
        name: [.customLong("temp"), .customLong("temperature")], parsing: .unconditional,
        help: "Temperature; 0 takes the likeliest token.")
    var temperature: Float = 0
    @OptionGroup var targets: ReplayTargets
    @Option(help: "Requests at the same time.") var maxRunning = 16
    @Option(help: "Rows of a step.") var maxStepTokens = 256
    @Option(help: "The most seconds of each arm and seed; what has not ended by then is cut off.") var maxSeconds =
        120.0
    @Option(help: "Seconds that each engine measures its passes for before it begins; 0: the sizes of the models tell.")
    var profileTime = 2.0
    @Option(name: [.customShort("s"), .long], help: "Everything random follows from it.") var seed: UInt64 = 1
    @Option(help: "Run with so many seeds, from --seed on.") var seeds = 1
    @Option(
        help: ArgumentHelp(
            """
            Write the runs to a file, for ftk simulate --recording: what the engine believed of its passes, every request \
            and step, and what drafters say of each token of the texts. The latter is found out when a run is over, within \
            --max-seconds or, where that is more, a minute; else, and for a draft model with a temperature, it is what the \
            steps showed. Drafts are chains then, as they are there.
            """,
            valueName: "file"))
    var record: String?
    @Flag(help: "Show how far the run is, even where standard error is no terminal.") var progress = false
    @OptionGroup var output: JSONFlag

    func run() throws {
        try check()
        let arms = try policies.split(separator: ",", omittingEmptySubsequences: false).map {
            try Arm(parsing: String($0), longestDraft: draftTokens)
        }
        try refuseRepetition(arms.map(\.name), "--policies")
        if let arm = arms.first(where: \.isVirtual) {
            throw Failure.invalid("--policies: \(arm.name) exists on virtual time only, in ftk simulate")
        }
        // What the workload is must be known to be right before models are loaded.
        let scales = try workload.timeScales()
        let arrivals = try workload.arrivals(seed: seed)
        for scale in scales { _ = try arrivals.scaled(by: scale) }
        let texts = try BenchPrompt.list(path: prompts, category: category)
        let target = try loadModel(model.model, threads: engine.threads)
        let draft = try engine.draftModel(for: target)
        let base = try options(target, draft)
        var session = try ReplaySession(
            command: self, target: target, base: base,
            prompts: ReplayPrompts(texts, path: prompts, tokenizer: target.tokenizer), arms: arms, scales: scales)
        try session.run()
        let report = ReplayReport(command: self, target: target, draft: draft, base: base, session: session)
        if output.json { Output.line(report.json.rendered) } else { report.show() }
        if Interrupt.isRequested { throw ExitCode(130) }
    }

    private func check() throws {
        func within(_ holds: Bool, _ message: @autoclosure () -> String) throws {
            if !holds { throw Failure.invalid(message()) }
        }
        let most = Arm.mostDraft
        if let draftTokens {
            try within(
                (1...most).contains(draftTokens), "--draft-tokens is \(draftTokens); it must be from 1 to \(most)")
        }
        try within(
            maxSeconds > 0 && maxSeconds <= 86400, "--max-seconds is \(maxSeconds); it must be above 0, at most 86400")
        try within(
            profileTime >= 0 && profileTime <= 3600, "--profile-time is \(profileTime); it must be from 0 to 3600")
        try within((1...1000).contains(seeds), "--seeds is \(seeds); it must be from 1 to 1000")
        try within(engine.context >= 0, "--context is \(engine.context); it must not be negative")
        try within(seed < 1 << 32, "--seed is \(seed); it must be below 2^32")
        try targets.check()
    }

    /// What all arms have in common.
    private func options(_ target: LanguageModel, _ draft: LanguageModel?) throws -> EngineOptions {
        var options = engine.options()
        if options.contextTokens == 0 {
            options.contextTokens = min(PolicySetting.defaultContext, target.configuration.contextLength)
        }
        options.draftModel = draft
        options.drafter = drafter?.kind ?? .auto
        options.maxRunningRequests = maxRunning
        options.maxStepTokens = maxStepTokens
        options.maxQueuedRequests = 1_000_000
        options.runsInBackground = true
        options.traces = true
        // What is known of a text that cannot be read again.
        options.tracesDrafts = record != nil
        // What the simulator can run again.
        if record != nil { options.treeWidth = 1 }
        options.profileTime = Int(profileTime * 1e6)
        try options.validate()
        // As many bytes for each arm, and enough that memory never decides.
        let sizing = try EngineSizing(
            target: target.configuration, targetKV: target.defaultKVFormat, draft: draft?.configuration,
            options: options)
        options.kvBudgetBytes =
            EngineSizing.blocks(forTokens: options.contextTokens) * (maxRunning + 1) * kvBlockTokens
            * sizing.kvBytesPerToken
        return options
    }
}

/// What requests are promised: a time, or a multiple of the P90 without speculation.
struct ReplayTargets: ParsableArguments {
    @Option(help: ArgumentHelp("Target of the time per output token, in microseconds.", valueName: "us"))
    var targetTpotUs: Double?
    @Option(help: ArgumentHelp("Target of the time to first token, in microseconds.", valueName: "us"))
    var targetTtftUs: Double?
    @Option(help: "Target of the time per output token, as a multiple of its P90 without speculation, measured first.")
    var tpotScale: Double?
    @Option(help: "Target of the time to first token, likewise.") var ttftScale: Double?

    /// An arm without speculation has to be measured before targets are known.
    var needsPlainRun: Bool { tpotScale != nil || ttftScale != nil }

    func check() throws {
        for (value, option) in [
            (targetTpotUs, "--target-tpot-us"), (targetTtftUs, "--target-ttft-us"), (tpotScale, "--tpot-scale"),
            (ttftScale, "--ttft-scale"),
        ] {
            guard let value else { continue }
            guard value > 0, value < 1e12 else {
                throw Failure.invalid("\(option) is \(value); it must be above 0 and below 1e12")
            }
        }
        guard targetTpotUs == nil || tpotScale == nil else {
            throw Failure.invalid("--target-tpot-us and --tpot-scale are both given")
        }
        guard targetTtftUs == nil || ttftScale == nil else {
            throw Failure.invalid("--target-ttft-us and --ttft-scale are both given")
        }
    }

    /// `plain`: what was measured without speculation and without targets.
    func targets(plain: OpenLoopMetrics?) throws -> Targets {
        func scaled(_ scale: Double?, _ time: Double?, _ option: String) throws -> Double? {
            guard let scale else { return nil }
            guard let time else { throw Failure.invalid("\(option): no request without speculation has this time") }
            return min(scale * time, RecordedRun.longestTime)
        }
        return try Targets(
            firstToken: targetTtftUs ?? scaled(ttftScale, plain?.timeToFirstToken?.p90, "--ttft-scale"),
            perOutputToken: targetTpotUs ?? scaled(tpotScale, plain?.timePerOutputToken?.p90, "--tpot-scale"))
    }

    /// As it was asked for, for the report.
    var tpotText: String? { tpotScale.map { "\($0)x" } ?? targetTpotUs.map { "\($0 / 1000)" } }
}
