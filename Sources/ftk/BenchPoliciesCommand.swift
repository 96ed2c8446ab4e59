import ArgumentParser
import Engine
import Formats
import Kernels
import Model
import Speculation

/// What each policy makes of the same requests under several loads.
struct BenchPoliciesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policies", abstract: "Compare policies of speculation on the same prompts under several loads.",
        discussion: """
            The load is a closed loop: so many requests run at a time, and as one ends the next is submitted, until all \
            of a cell's have ended. Towards the end fewer run; more --requests make that matter less. Each policy is an \
            arm with an engine of its own that lives as long as the run, so that what it has learned stays. All arms get \
            the same prompts in the same order. They take turns, a quarter of a second each, there and back again, so \
            that slow spells of the machine meet all of them; what others do is not in an arm's time. One round warms \
            up. Every round has a cache salt of its own: neither the prefix cache nor the pool of finished texts knows \
            the prompts of earlier rounds.

            The arm unconfigured, an engine without drafts or draft model, is always there. Others are: again, which is \
            the same a second time and shows the noise; off, an engine that could draft, but whose requests want no \
            drafts; and policies, with the length of drafts after a colon, such as static:4.

            All arms must give the same texts; otherwise the run ends with an error. A text has at most \
            \(PolicySetting.defaultContext) tokens, its prompt included, if --context does not say otherwise; longer \
            prompts lose their beginning.
            """)

    @OptionGroup var model: ModelOption
    @OptionGroup var engine: EngineArguments
    @OptionGroup var output: JSONFlag
    @Option(help: "JSON lines, each with a text \"prompt\"; taken in order, and again from the first.")
    var prompts: String
    @Option(help: "Only prompts of this \"category\".") var category: String?
    @Option(help: "Requests that run at a time.") var concurrency = "1,2,4,8,16"
    @Option(help: "Arms besides unconfigured.")
    var policies = "off,static:1,static:2,static:4,static:8,smartspec,turbospec,adaspec,goodput"
    @Option(name: [.customShort("n"), .long], help: "Tokens that each request generates.") var maxTokens = 128
    @Option(help: "Requests of a cell. Default: twice as many as run at a time, but at least 8.") var requests: Int?
    @Option(
        name: [.customLong("temp"), .customLong("temperature")], parsing: .unconditional,
        help: "Temperature; 0 takes the likeliest token.")
    var temperature: Float = 0
    @Option(help: "Measured rounds of each arm; the median counts.") var repeats = 3
    @Option(help: "Where drafts come from: lookup, suffix or model. Default: what the policy finds best.")
    var drafter: DrafterName?
    @Option(
        help: "Seconds in which each arm measures what passes cost before it begins; 0: policies begin with guesses.")
    var profileTime = 2.0
    @Option(help: "A file that keeps what is measured; a later run with the same options goes on from there.")
    var resume: String?

    func run() throws {
        let levels = try numbers(concurrency, "--concurrency", 1...256)
        try refuseRepetition(levels.map(String.init), "--concurrency")
        let choices = try PolicyChoice.list(policies)
        let texts = try BenchPrompt.list(path: prompts, category: category)
        guard repeats > 0, requests ?? 1 > 0, maxTokens > 0 else {
            throw Failure.invalid("--repeats, --requests and -n must be above 0")
        }
        guard profileTime >= 0, profileTime <= 3600 else {
            throw Failure.invalid("--profile-time is \(profileTime); it must be from 0 to 3600")
        }
        let target = try loadModel(model.model, threads: engine.threads)
        let draft = try engine.draftModel(for: target)
        let setting = PolicySetting(
            engine: engine, target: target, draft: draft, maxTokens: maxTokens, temperature: temperature)
        var base = try setting.options(drafter: drafter, most: levels.max() ?? 1)
        base.profileTime = Int(profileTime * 1e6)
        var results = try PolicyResults(
            header: header(setting, base, choices), path: resume)
        let missing = levels.filter { !results.has(concurrency: $0, of: choices) }
        if !output.json { showHeader(target, draft) }
        if missing.isEmpty {
            if !output.json { results.cells(of: levels).forEach(show) }
        } else {
            try measure(
                levels, missing: missing,
                try PolicyBench(
                    arms: choices.map { try PolicyArm($0, target: target, base: base) },
                    requests: setting.requests(texts, base), repeats: repeats), &results)
        }
        if output.json { Output.line(results.json(of: levels).rendered) }
    }

    /// Measures what is missing, and shows everything as it is there.
    private func measure(
        _ levels: [Int], missing: [Int], _ bench: PolicyBench, _ results: inout PolicyResults
    ) throws {
        var bench = bench
        defer { bench.stop() }
        for level in levels {
            if missing.contains(level) {
                try results.add(bench.measure(concurrency: level, requests: requests ?? max(8, 2 * level)))
            }
            if !output.json { results.cells(of: [level]).forEach(show) }
        }
    }

    // MARK: Reports

    /// Everything that figures depend on.
    private func header(
        _ setting: PolicySetting, _ base: EngineOptions, _ choices: [PolicyChoice]
    ) throws -> [(String, JSONText)] {
        try setting.description + [
            ("prompts", .string(prompts)), ("category", category.map { .string($0) } ?? .null),
            ("policies", .string(choices.map(\.name).joined(separator: ","))),
            ("drafter", .string(drafter?.rawValue ?? "auto")), ("n", .int(maxTokens)),
            ("requests", requests.map { .int($0) } ?? .null), ("temperature", .number(Double(temperature))),
            ("repeats", .int(repeats)), ("profile_s", .number(profileTime)), ("context", .int(base.contextTokens)),
            ("kv", .string(engine.kv.rawValue)),
            ("activations", .string(engine.activations.rawValue)),
        ]
    }

    private func showHeader(_ target: LanguageModel, _ draft: LanguageModel?) {
        func described(_ model: LanguageModel) -> String {
            "\(model.path) (\(fixed(Double(model.weightsBytes) / 1e6, 1)) MB)"
        }
        Output.line("\(machineName()), \(InstructionSet.native.name); \(maxTokens) tokens of each request")
        Output.line("\(described(target)), draft model " + (draft.map(described) ?? "none"))
        Output.columns([
            "policy", "at a time", "tokens/s", "spread", "ratio", "tokens/pass", "accepted", "drafting", "control us",
            "latency ms",
        ])
    }

    private func show(_ cell: PolicyCell) {
        func percent(_ part: Double, _ whole: Double) -> String {
            whole > 0 ? "\(fixed(part / whole * 100, 1))%" : ""
        }
        Output.columns([
            cell.policy, "\(cell.concurrency)", fixed(cell.tokensPerSecond, 1), percent(cell.spread, 1),
            fixed(cell.ratio, 3), fixed(cell.tokensPerPass, 2), percent(cell.accepted, cell.drafted),
            percent(cell.draftTime, cell.stepTime), fixed(cell.controlTimePerStep, 1),
            fixed(cell.meanLatency / 1000, 1),
        ])
    }
}

/// Names that are given twice are a mistake.
func refuseRepetition(_ names: [String], _ option: String) throws {
    var seen: Set<String> = []
    for name in names where !seen.insert(name).inserted {
        throw Failure.invalid("\(option) names \(name) twice")
    }
}
