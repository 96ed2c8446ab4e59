import ArgumentParser
import Engine
import Formats
import Model
import Scheduling

/// Plain decoding, prompt lookup and a draft model side by side on the same prompt.
struct CompareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare", abstract: "Show a prompt's speed with and without speculation, side by side.")

    @OptionGroup var model: ModelOption
    @OptionGroup var engine: EngineArguments
    @OptionGroup var sampling: SamplingArguments
    @OptionGroup var output: JSONFlag
    @Option(name: [.customShort("p"), .long], help: "The prompt; standard input when absent.")
    var prompt: String?
    @Option(name: [.customShort("n"), .long], help: "Tokens to generate.") var maxTokens = 128
    @Option(help: "Tokens of a draft.") var draftLength = 4
    @Option(help: "Measured runs of each arm, in turn; the median counts.") var repeats = 3

    private struct Arm {
        let name: String
        let engine: InferenceEngine
        var speeds: [Double] = []
        var completion = Completion()
        var medianSpeed: Double { speeds.isEmpty ? 0 : speeds.sorted()[speeds.count / 2] }
        var tokensPerPass: Double {
            let statistics = completion.finish?.statistics
            return Double(completion.tokens.count) / Double(max(1, statistics?.steps ?? 1))
        }
    }

    func run() throws {
        guard repeats > 0 else { throw Failure.invalid("--repeats is \(repeats); it must be above 0") }
        let text = try prompt ?? standardInput()
        let target = try loadModel(model.model, threads: engine.threads)
        let draft = try engine.draftModel(for: target)
        var arms = try makeArms(target, draft)
        defer { for arm in arms { arm.engine.stop() } }
        var request = RequestOptions()
        request.prompt = .text(text)
        request.maxTokens = maxTokens
        request.sampling = try sampling.parameters()
        request.seed = sampling.seed ?? 0
        for round in 0...repeats {
            for index in arms.indices {
                let completion = try arms[index].engine.complete(request)
                if completion.finish?.reason == .cancelled { throw Failure(.cancelled, "interrupted") }
                arms[index].completion = completion
                if round > 0 { arms[index].speeds.append(completion.tokensPerSecond) }  // the first round warms up
            }
        }
        let same = arms.allSatisfy { $0.completion.tokens == arms[0].completion.tokens }
        if output.json { Output.line(json(arms, same).rendered) } else { show(arms, same, prompt: text) }
        if !same { throw Failure(.internalError, "the arms gave different texts") }
    }

    private func makeArms(_ target: LanguageModel, _ draft: LanguageModel?) throws -> [Arm] {
        func arm(_ name: String, _ policy: PolicyKind, _ drafter: EngineOptions.DrafterKind) throws -> Arm {
            var options = engine.options()
            options.policy = policy
            options.drafter = drafter
            options.draftTokens = draftLength
            options.draftModel = drafter == .model ? draft : nil
            return Arm(name: name, engine: try InferenceEngine(target: target, options: options))
        }
        var arms = [try arm("off", .off, .auto), try arm("static, prompt lookup", .static, .lookup)]
        if draft != nil { arms.append(try arm("static, draft model", .static, .model)) }
        return arms
    }

    private func json(_ arms: [Arm], _ same: Bool) -> JSONText {
        .object([
            ("text", .string(String(decoding: arms[0].completion.text, as: UTF8.self))), ("same_text", .bool(same)),
            (
                "arms",
                .array(
                    arms.map { arm in
                        .object([
                            ("name", .string(arm.name)), ("tokens_per_s", .number(arm.medianSpeed)),
                            ("tokens_per_pass", .number(arm.tokensPerPass)),
                            ("drafted", .int(arm.completion.finish?.statistics.draftTokens ?? 0)),
                            ("accepted", .int(arm.completion.finish?.statistics.acceptedTokens ?? 0)),
                        ])
                    })
            ),
        ])
    }

    private func show(_ arms: [Arm], _ same: Bool, prompt: String) {
        Output.line(prompt + String(decoding: arms[0].completion.text, as: UTF8.self))
        Output.line(String(repeating: "─", count: 72))
        func row(_ cells: [String]) {
            let padded = zip(cells, [24, 14, 18, 14]).map { cell, width in
                cell + String(repeating: " ", count: max(0, width - cell.count))
            }
            Output.line(padded.joined())
        }
        row(["", "tokens/s", "tokens per pass", "text"])
        for arm in arms {
            let isSame = arm.completion.tokens == arms[0].completion.tokens
            row([
                arm.name, fixed(arm.medianSpeed, 1), fixed(arm.tokensPerPass, 2),
                arm.name == arms[0].name ? "" : isSame ? "the same" : "DIFFERENT",
            ])
        }
    }
}
