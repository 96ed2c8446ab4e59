import ArgumentParser
import Engine
import Formats
import Kernels

struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure parts of the library on this machine.",
        subcommands: [
            BenchModelCommand.self, BenchKernelsCommand.self, BenchTokenizerCommand.self, BenchPoliciesCommand.self,
            BenchOverheadCommand.self, BenchVerificationCommand.self, BenchGatesCommand.self,
        ])
}

/// How long the tokenizer takes for a megabyte of several kinds of text.
struct BenchTokenizerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenizer", abstract: "Encode one megabyte of several kinds of text.")

    @OptionGroup var model: ModelOption
    @OptionGroup var output: JSONFlag
    @Option(help: "Runs of each kind; the median counts.") var repeats = 5

    func run() throws {
        guard repeats > 0 else { throw Failure.invalid("--repeats is \(repeats); it must be above 0") }
        let tokenizer = try Tokenizer(path: model.model)
        let results = try Self.texts().map { name, text in
            var times: [Int64] = []
            var tokens = 0
            for _ in 0..<repeats {
                let start = monotonicMicroseconds()
                tokens = try tokenizer.encode(text, addSpecial: false, parseSpecial: false).count
                times.append(monotonicMicroseconds() - start)
            }
            return (name: name, bytes: text.utf8.count, tokens: tokens, time: times.sorted()[repeats / 2])
        }
        if output.json {
            Output.line(
                JSONText.array(
                    results.map {
                        .object([
                            ("text", .string($0.name)), ("bytes", .int($0.bytes)), ("tokens", .int($0.tokens)),
                            ("us_median", .int(Int($0.time))),
                        ])
                    }
                ).rendered)
        } else {
            for result in results {
                Output.line("\(fixed(Double(result.time) / 1e6, 3)) s  \(result.name), \(result.tokens) tokens")
            }
        }
    }

    private static func texts() -> [(name: String, text: String)] {
        let size = 1 << 20
        func repeated(_ unit: String) -> String {
            String(repeating: unit, count: size / unit.utf8.count + 1)
        }
        var state: UInt64 = 1
        var random = ""
        while random.utf8.count < size {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            if let scalar = Unicode.Scalar(UInt32(state >> 33) % 0x3000 + 0x20) { random.unicodeScalars.append(scalar) }
        }
        return [
            ("prose", repeated("The quick brown fox, who is 42 years old, jumps over the lazy dog's back again.\n")),
            (
                "code",
                repeated("    def method(self, value: int = 0) -> None:\n        return self.items[value] + 1\n\n")
            ),
            ("one letter", repeated("a")), ("spaces", repeated(" ")), ("random characters", random),
        ]
    }
}
