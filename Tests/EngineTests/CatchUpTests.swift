import Engine
import Formats
import Model
import Scheduling
import Speculation
import TestSupport
import Testing

/// The draft model reads what it missed of one request in as many rows as the targets of the others leave time for.
@Suite struct CatchUpTests {
    private static let prompt = (0..<100).map { ToyExecutor.tokens[$0 * 7 % 4] }

    private struct Run {
        var texts: [[Int32]] = []
        /// The rows of each pass of the draft model after the second request came.
        var draftRows: [Int] = []
        var draftTokensOfTheSecond = 0
        var problems: [String] = []
    }

    /// A request in the middle of its text when another with a long prompt comes. Passes of the target take 1 ms, those of
    /// the draft model 20 us and 10 us for each row.
    private static func run(timePerOutputToken: Int64?) throws -> Run {
        let model = try TestModels.random("llama2")
        let vocabulary = model.configuration.vocabularySize
        let clock = ManualClock()
        var options = EngineOptions()
        options.threads = 1
        options.policy = .static
        options.draftTokens = 2
        options.clock = clock.clock
        let (target, draft) = ToyExecutor.pair(seed: 3)
        let executor = ToyExecutor(vocabularySize: vocabulary, logits: target, time: (1000, 0), clock: clock)
        let drafter = ToyExecutor(vocabularySize: vocabulary, logits: draft, time: (20, 10), clock: clock)
        let engine = try InferenceEngine(
            target: model, options: options, executor: executor, drafter: ScriptedDrafter { _ in [] },
            draftExecutor: drafter,
            costs: StepCosts(
                target: PassCosts(widths: [1, 256], base: [1000, 1000]),
                draft: PassCosts(widths: [1, 256], base: [30, 2580])))
        var (result, log) = (Run(), EventLog())
        drafter.onForward = { result.draftRows.append($0.count) }
        var first = tokenRequest([10, 11], 60, temperature: 1)
        first.targetTimePerOutputToken = timePerOutputToken
        first.ignoresEndOfGeneration = true
        var ids = [try engine.submit(first)]
        for _ in 0..<5 { log.add(try stepped(engine)) }
        result.draftRows = []
        var second = tokenRequest(prompt, 20, temperature: 1)
        second.ignoresEndOfGeneration = true
        ids.append(try engine.submit(second))
        while try engine.step() { log.add(engine.poll(timeout: 0)) }
        log.add(engine.poll(timeout: 0))
        result.texts = ids.map { log.outcomes[$0]?.tokens ?? [] }
        result.draftTokensOfTheSecond = log.finishes[ids[1]]?.statistics.draftTokens ?? 0
        result.problems = log.problems + executor.problems + drafter.problems
        return result
    }

    private static func stepped(_ engine: InferenceEngine) throws -> [EngineEvent] {
        _ = try engine.step()
        return engine.poll(timeout: 0)
    }

    @Test func withoutTargetsItReadsAllAtOnce() throws {
        let run = try Self.run(timePerOutputToken: nil)
        #expect(run.problems.isEmpty)
        #expect((run.draftRows.max() ?? 0) > 100)
        #expect(run.draftTokensOfTheSecond > 10)
    }

    @Test func aTargetLimitsTheRows() throws {
        let free = try Self.run(timePerOutputToken: nil)
        // Behind it: the draft model has 350 us, 33 rows of 10 us and 20 us.
        let run = try Self.run(timePerOutputToken: 400)
        #expect(run.problems.isEmpty)
        let most = run.draftRows.max() ?? 0
        #expect(most >= 33 && most <= 33 + 3)
        #expect(run.draftTokensOfTheSecond > 0)
        #expect(run.texts == free.texts)
        // Time in plenty: all at once.
        #expect((try Self.run(timePerOutputToken: 50_000).draftRows.max() ?? 0) > 100)
    }
}
