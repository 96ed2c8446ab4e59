import ArgumentParser
import Engine
import Formats
import Kernels
import Model
import Scheduling

/// What passes cost on this machine, as policies see it.
struct ProfileCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "profile", abstract: "Measure what passes of a model, and of a draft model, take on this machine.")

    @OptionGroup var model: ModelOption
    @OptionGroup var engine: EngineArguments
    @OptionGroup var output: JSONFlag
    @Option(help: "Seconds to measure for.") var time = 2.0
    @Option(
        help: ArgumentHelp("Write the table as JSON to a file, in place of what is there.", valueName: "table.json"))
    var out: String?

    func run() throws {
        guard time > 0, time <= 3600 else {
            throw Failure.invalid("--time is \(time); it must be above 0 and at most 3600 seconds")
        }
        let target = try loadModel(model.model, threads: engine.threads)
        var options = engine.options()
        options.draftModel = try engine.draftModel(for: target)
        let profile = try CostProfile.measure(target: target, options: options, budget: Int(time * 1e6)) {
            !Interrupt.isRequested
        }
        if Interrupt.isRequested { throw Failure(.cancelled, "interrupted") }
        let json = profile.json().rendered
        if let out {
            let file = try PartialFile(path: out, force: true)
            try file.append(Array((json + "\n").utf8))
            try file.finish()
        }
        if output.json { Output.line(json) } else { show(profile) }
    }

    private func show(_ profile: CostProfile) {
        Output.line("\(profile.machine), \(profile.isa), \(profile.threads) threads")
        show("target", profile.costs.target)
        if let draft = profile.costs.draft { show("draft", draft) }
    }

    private func show(_ name: String, _ costs: PassCosts) {
        Output.line(
            "\(name): \(fixed(costs.perContext * 1000, 2)) us for 1000 tokens of context, "
                + "\(fixed(costs.perAttended * 1000, 2)) us for 1000 tokens that rows attend to")
        Output.columns(["rows", "ms", "price", "us a row"])
        for (rows, time) in zip(costs.widths, costs.base) {
            Output.columns([
                "\(rows)", fixed(time / 1000, 3), fixed(time / costs.base[0], 2), fixed(time / Double(rows), 1),
            ])
        }
    }
}
