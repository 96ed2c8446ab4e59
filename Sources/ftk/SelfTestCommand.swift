import ArgumentParser
import Engine
import Formats
import Model

/// Proves on the user's own model and machine that texts do not depend on how they are computed.
struct SelfTestCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "selftest",
        abstract: "Prove on a model that batching, threads, speculation and preemption never change a text.")

    @OptionGroup var model: ModelOption
    @OptionGroup var engine: EngineArguments
    @OptionGroup var output: JSONFlag

    func run() throws {
        var options = engine.options()
        let target = try loadModel(model.model, threads: engine.threads)
        options.draftModel = try engine.draftModel(for: target)
        var checks: [SelfTestCheck] = []
        defer { if output.json { Output.line(json(checks).rendered) } }
        try SelfTest(target: target, options: options).run { check in
            checks.append(check)
            if !output.json {
                Output.line("\(check.passed ? "same    " : "DIFFERS ")  \(check.name): \(check.detail)")
            }
            return !Interrupt.isRequested
        }
    }

    private func json(_ checks: [SelfTestCheck]) -> JSONText {
        .array(
            checks.map {
                .object([
                    ("name", .string($0.name)), ("passed", .bool($0.passed)), ("detail", .string($0.detail)),
                ])
            })
    }
}
