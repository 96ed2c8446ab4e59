import ArgumentParser
import Engine
import Formats
import Scheduling
import Simulation

/// A workload on virtual time, under the engine's own planner and policies.
struct SimulateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate", abstract: "Show what policies would do under a workload, on virtual time.",
        discussion: """
            Arrivals, lengths and which drafts are right are the same for every policy and follow from the seed. \
            A machine is a file of figures with their sources; --show-hardware prints one that comes with the command: \
            \(Hardware.names.joined(separator: ", ")).
            """)

    static let defaultHardware = "cpu-2-core-1b"
    static let defaultAcceptance = "0.7"

    @OptionGroup var workload: WorkloadArguments
    @Option(help: "Arms, run in turn: \(Arm.forms).") var policies =
        "off,static:2,static:4,static:8,smartspec,turbospec,adaspec,goodput"
    @Option(help: "The most tokens of a draft where the policy chooses; default: the policy's own.") var draftTokens:
        Int?
    @Option(
        help: ArgumentHelp("A machine, by name or as a file. Default: \(defaultHardware).", valueName: "name|file"))
    var hardware: String?
    @Option(
        help: ArgumentHelp("A table that ftk profile --out wrote, instead of --hardware.", valueName: "table.json"))
    var profile: String?
    @OptionGroup var recorded: RecordingArguments
    @Option(help: "How often a draft model's tokens are right: \(AcceptanceProcess.forms). Default: 0.7.")
    var acceptance: String?
    @Option(help: "Share of the output that earlier text predicts, for prompt lookup. Default: 0, no lookup.")
    var retrieval: Double?
    @Option(
        help: ArgumentHelp(
            "Target of the time to first token in ms, or as 1.5x the P90 without speculation.", valueName: "ms|x"))
    var targetTtft: String?
    @Option(
        help: ArgumentHelp(
            "Target of the time per output token, likewise. A list gives a cell for each.", valueName: "ms|x,…"))
    var targetTpot: String?
    @Option(help: "Standard deviation of a pass's time, as a share of it.") var noise = 0.0
    @Option(help: "What policies are told of the costs, as a multiple of the truth.") var costError = 1.0
    @Flag(help: "Policies learn the costs from what passes take.") var learnCosts = false
    @Option(help: "Requests at the same time; default: the machine's.") var maxRunning: Int?
    @Option(help: "Rows of a step; default: the machine's.") var maxStepTokens: Int?
    @Option(help: "Tokens that the KV cache holds; default: the machine's.") var kvTokens: Int?
    @Option(help: "Shorten requests to so many tokens of prompt and output, as ftk replay does.") var context: Int?
    @Option(name: [.customShort("s"), .long], help: "Everything random follows from it.") var seed: UInt64 = 1
    @Option(help: "Run with so many seeds, from --seed on.") var seeds = 1
    @OptionGroup var output: JSONFlag
    @Flag(help: "Add every request's times to the JSON.") var raw = false
    @Option(help: ArgumentHelp("Print the figures of a machine and their sources.", valueName: "name"))
    var showHardware: String?

    func run() throws {
        if let showHardware {
            guard let text = Hardware.builtInText(showHardware) else {
                throw Failure(
                    .notFound,
                    "no hardware is called \(showHardware); known are \(Hardware.names.joined(separator: ", "))")
            }
            return Output.line(text)
        }
        try check()
        try refuseForRecording()
        if recorded.validate { return try RecordedSource(recorded).validate(json: output.json) }
        let source = try recorded.recording.map { _ in try RecordedSource(recorded) }
        let machine = try machine(source)
        let arms = try policies.split(separator: ",", omittingEmptySubsequences: false).map {
            try Arm(parsing: String($0), longestDraft: draftTokens)
        }
        var cells: [WorkloadCell] = []
        for scale in try workload.timeScales() {
            for seed in seed..<seed + UInt64(seeds) {
                cells += try run(arms, machine, source, scale: scale, seed: seed)
            }
        }
        let report = SimulationReport(command: self, machine: machine, cells: cells)
        if output.json { Output.line(report.json.rendered) } else { report.show() }
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
        if let retrieval {
            try within((0...1).contains(retrieval), "--retrieval is \(retrieval); it must be from 0 to 1")
        }
        try within((0...1).contains(noise), "--noise is \(noise); it must be from 0 to 1")
        try within(costError > 0 && costError.isFinite, "--cost-error is \(costError); it must be above 0")
        if let context { try within((2...1 << 30).contains(context), "--context is \(context); it must be at least 2") }
        if let kvTokens { try within(kvTokens >= 1, "--kv-tokens is \(kvTokens); it must be at least 1") }
        try within((1...1000).contains(seeds), "--seeds is \(seeds); it must be from 1 to 1000")
        try within(seed < .max - 1000, "--seed is too large")
    }

    /// What is accepted is recorded, and so are the requests unless others are stated.
    private func refuseForRecording() throws {
        guard recorded.recording != nil else { return }
        for (option, isStated) in [("--acceptance", acceptance != nil), ("--retrieval", retrieval != nil)]
        where isStated {
            throw Failure.invalid("\(option) does not apply to --recording, which shows what is accepted")
        }
        if workload.isUnstated { try workload.refuseForRecorded() }
    }

    private func machine(_ source: RecordedSource?) throws -> Hardware {
        guard let profile else {
            if let source, hardware == nil { return try source.machine() }
            return try Hardware(nameOrPath: hardware ?? Self.defaultHardware)
        }
        let measured: CostProfile
        do {
            measured = try CostProfile(parsing: FileSource.contents(of: profile, limit: 1 << 20))
        } catch let failure as Failure { throw failure.prefixed(profile) }
        let engine = EngineOptions()
        return Hardware(
            name: profile, description: "\(measured.machine), \(measured.isa), \(measured.threads) threads",
            costs: measured.costs, kvTokens: EngineOptions.defaultKVTokens, maxRunning: engine.maxRunningRequests,
            maxRows: engine.maxStepTokens)
    }

    // MARK: Cells

    /// The arms under one workload, for each target. Speculation is measured against a run without it, which is made in
    /// any case.
    private func run(
        _ arms: [Arm], _ machine: Hardware, _ source: RecordedSource?, scale: Double, seed: UInt64
    ) throws -> [WorkloadCell] {
        var loop = try loop(machine, source, scale: scale, seed: seed)
        let untargeted = loop.run(.off)
        let metrics = OpenLoopMetrics(untargeted)
        let paces = targetTpot?.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        return try (paces.map { $0.map(Optional.some) } ?? [nil]).flatMap { pace -> [WorkloadCell] in
            loop.targets = try Targets(
                firstToken: target(targetTtft, "--target-ttft", metrics.timeToFirstToken?.p90),
                perOutputToken: target(pace, "--target-tpot", metrics.timePerOutputToken?.p90))
            let plain = loop.targets.isEmpty ? untargeted : loop.run(.off)
            return try arms.map { arm in
                if Interrupt.isRequested { throw Failure(.cancelled, "interrupted") }
                let result = arm.name == Arm.off.name ? plain : loop.run(arm)
                return WorkloadCell(
                    arm: arm.name, scale: scale, seed: seed, targetTPOT: pace, result: result,
                    metrics: OpenLoopMetrics(result), speedUp: SpeedUp(result, plain: plain))
            }
        }
    }

    private func loop(
        _ machine: Hardware, _ source: RecordedSource?, scale: Double, seed: UInt64
    ) throws -> OpenLoop {
        let given = try source.map { try $0.arrivals(workload, seed: seed) } ?? workload.arrivals(seed: seed)
        let arrivals = try (context.map { LengthFit(given, context: $0).arrivals } ?? given).scaled(by: scale)
        var loop = OpenLoop(arrivals: arrivals, text: try text(machine, source, seed: seed), hardware: machine)
        loop.seed = seed
        loop.machine.noise = noise
        loop.maxRunning = maxRunning ?? loop.maxRunning
        loop.maxRows = maxStepTokens ?? loop.maxRows
        loop.machine.draftPassRows = loop.maxRows
        loop.kvTokens = kvTokens ?? loop.kvTokens
        guard loop.maxRunning >= 1, loop.maxRows >= loop.maxRunning else {
            throw Failure.invalid(
                "--max-running is \(loop.maxRunning), but a step of --max-step-tokens \(loop.maxRows) has "
                    + "no row for each of them")
        }
        let believed = machine.costs.scaled(target: costError, draft: costError)
        loop.costs = learnCosts ? LearnedCosts(believed) : StatedCosts(believed)
        return loop
    }

    private func text(_ machine: Hardware, _ source: RecordedSource?, seed: UInt64) throws -> TextModel {
        let hasDraft = machine.costs.draft != nil
        if let source { return source.text(seed: seed, hasDraft: hasDraft) }
        var text = TextModel(
            model: hasDraft ? try AcceptanceProcess(parsing: acceptance ?? Self.defaultAcceptance) : nil)
        if let retrieval, retrieval > 0 { text.retrieval = [RetrievalProcess(copiedShare: retrieval)] }
        return text
    }

    /// Microseconds of a target in milliseconds, or of a multiple of what was measured without speculation.
    private func target(_ text: String?, _ option: String, _ plain: Double?) throws -> Double? {
        guard let text else { return nil }
        guard text.hasSuffix("x") else { return try positive(text, option) * 1000 }
        guard let plain else { throw Failure.invalid("\(option) \(text): no request of the workload has this time") }
        return try positive(String(text.dropLast()), option) * plain
    }
}
