import ArgumentParser
import Formats
import Glibc

@main
struct FTK: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ftk",
        abstract: "Generates text with language models on this machine's processors, fast.",
        version: "0.1.0",
        subcommands: [
            RunCommand.self, CompareCommand.self, ScoreCommand.self, TokenizeCommand.self, InfoCommand.self,
            PlanCommand.self, ProfileCommand.self, QuantizeCommand.self, SelfTestCommand.self, BenchCommand.self,
            SimulateCommand.self, ReplayCommand.self,
        ])

    static func main() {
        Interrupt.install()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let failure as Failure {
            reportAndExit(failure, json: CommandLine.arguments.contains("--json"))
        } catch {
            exit(withError: error)
        }
    }

    /// The text goes to standard error; with --json standard output still holds one JSON object.
    private static func reportAndExit(_ failure: Failure, json: Bool) -> Never {
        if json {
            Output.line(
                JSONText.object([
                    (
                        "error",
                        .object([("code", .int(Int(failure.code.rawValue))), ("message", .string(failure.message))])
                    )
                ]).rendered)
        }
        Output.note("ftk: \(failure.message)")
        Glibc.exit(failure.code == .cancelled ? 130 : 1)
    }
}

struct JSONFlag: ParsableArguments {
    @Flag(name: .long, help: "Print one JSON object instead of text.")
    var json = false
}
