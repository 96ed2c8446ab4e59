import Engine
import Formats
import Model
import Scheduling
import Speculation
import TestSupport
import Testing

/// What an engine emits follows the target's distribution under each way to verify, whatever drafts and cuts them: on the
/// engine's own path with models whose law is known.
@Suite(.serialized) struct VerificationStatisticsTests {
    private static let (target, draft) = ToyExecutor.pair(seed: 6)
    /// Of each run; a way to verify has four.
    private static let draws = 72_000
    private static let length = 120
    private static let prompt: [Int32] = [10, 11]

    /// Who drafts.
    enum Drafts {
        /// A draft model that resembles the target.
        case model
        /// Guesses that depend on the last token.
        case guesses
        /// Either, as the policy finds best.
        case both
    }

    private struct Run {
        let texts: [[Int32]]
        let statistics: EngineStatistics
        let problems: [String]

        var tokensPerStep: Double {
            // A sequence has all of its tokens but the first from steps that could draft.
            let plain = texts.reduce(0) { $0 + $1.count - 1 }
            return Double(plain) / Double(plain - statistics.acceptedTokens)
        }
    }

    private static func run(
        _ verification: VerificationKind, _ policy: PolicyKind, _ drafts: Drafts, draws: Int = draws,
        guess: @escaping (DraftRequest) -> [Int32] = { request in
            let last = request.tokens.last ?? 10
            return [last ^ 1, last, 23 - last]
        },
        prepare: (_ target: ToyExecutor, _ draft: ToyExecutor, _ options: inout EngineOptions) -> Void = { _, _, _ in }
    ) throws -> Run {
        let model = try TestModels.random("llama2")
        let vocabulary = model.configuration.vocabularySize
        var options = EngineOptions()
        options.threads = 1
        options.policy = policy
        options.draftTokens = policy == .static ? 3 : 0
        options.maxQueuedRequests = 4096
        let clock = ManualClock()
        options.clock = clock.clock
        // Passes of the target are dear and their rows are not, so that drafts pay.
        let executor = ToyExecutor(vocabularySize: vocabulary, logits: target, time: (1000, 10), clock: clock)
        let drafter = ToyExecutor(vocabularySize: vocabulary, logits: draft, time: (20, 1), clock: clock)
        prepare(executor, drafter, &options)
        let engine = try InferenceEngine(
            target: model, options: options, executor: executor,
            drafter: ScriptedDrafter(drafts == .model ? { _ in [] } : guess),
            draftExecutor: drafts == .guesses ? nil : drafter)
        let samples = 50
        for seed in 0..<draws / length / samples {
            var request = tokenRequest(prompt, length, temperature: 1)
            request.seed = UInt64(seed)
            request.samples = samples
            request.ignoresEndOfGeneration = true
            request.verification = verification
            _ = try engine.submit(request)
        }
        var log = EventLog()
        while try engine.step() { log.add(engine.poll(timeout: 0)) }
        return Run(
            texts: log.outcomes.values.map(\.tokens), statistics: engine.snapshot(),
            problems: log.problems + executor.problems + drafter.problems)
    }

    /// Drafts of three tokens from the model.
    private static let modelRuns = Result {
        try VerificationKind.allCases.map { try run($0, .static, .model) }
    }

    /// How far the successors of each pair of tokens are from the target's distribution: chi-square with 48 degrees of
    /// freedom.
    private static func statistic(_ texts: [[Int32]]) throws -> Double {
        let count = ToyExecutor.tokens.count
        var counts = [[Double]](repeating: [Double](repeating: 0, count: count), count: count * count)
        for text in texts {
            let places = (prompt + text).map { Int($0 - ToyExecutor.tokens[0]) }
            for at in 2..<places.count { counts[places[at - 2] * count + places[at - 1]][places[at]] += 1 }
        }
        var statistic = 0.0
        for (pair, seen) in counts.enumerated() {
            let logits = target[pair / count][pair % count]
            let weights = logits.map { realExponential(Double($0)) }
            let total = seen.reduce(0, +)
            for (weight, count) in zip(weights, seen) {
                let expected = total * weight / weights.reduce(0, +)
                statistic += (count - expected) * (count - expected) / expected
            }
        }
        return statistic
    }

    /// Wilson and Hilferty's approximation of the value that chance exceeds three times in ten million.
    private static func bound(runs: Int) -> Double {
        let k = Double(48 * runs)
        let root = 1 - 2 / (9 * k) + 5 * (2 / (9 * k)).squareRoot()
        return k * root * root * root
    }

    @Test(arguments: VerificationKind.allCases)
    func textsFollowTheTarget(_ verification: VerificationKind) throws {
        let fixed = [
            try Self.modelRuns.get()[Int(verification.rawValue)], try Self.run(verification, .static, .guesses),
        ]
        let adaptive = try Self.run(verification, .goodput, .both)
        // How far it drafts, and what it verifies of that, follows from how sure the draft model is of each token.
        let confident = try Self.run(verification, .adaspec, .model)
        let runs = fixed + [adaptive, confident]
        #expect(runs.allSatisfy { $0.problems.isEmpty })
        #expect(runs.reduce(0) { $0 + $1.texts.reduce(0) { $0 + $1.count } } > 200_000)
        let statistics = try runs.map { try Self.statistic($0.texts) }
        #expect(statistics.allSatisfy { $0 < Self.bound(runs: 1) })
        #expect(statistics.reduce(0, +) < Self.bound(runs: 4))
        // Speculation took place.
        #expect(fixed.allSatisfy { $0.statistics.draftTokens > 50_000 && $0.tokensPerStep > 1.3 })
        #expect(fixed.map { $0.statistics.draftPasses > 0 } == [true, false])
        #expect(adaptive.statistics.draftTokens > 500 && adaptive.statistics.draftPasses > 0)
        #expect(confident.statistics.draftTokens > 10_000 && confident.tokensPerStep > 1.3)
        // Of more than one length.
        #expect(confident.statistics.acceptedPerPosition[1] > 500)
        #expect(confident.statistics.draftTokens < 6 * confident.statistics.drafts)
    }

    /// The statistic finds a bias: a drafter that knows how its draft will be tested offers a token only where that helps it.
    @Test(arguments: [VerificationKind.rejection, .block])
    func aDrafterThatKnowsTheCoinsIsFound(_ verification: VerificationKind) throws {
        let run = try Self.run(verification, .static, .guesses, draws: 24_000) { request in
            (request.coins?.coin(.acceptance, 0) ?? 1) < 0.3 ? [11] : []
        }
        #expect(run.problems.isEmpty)
        #expect(try Self.statistic(run.texts) > 2 * Self.bound(runs: 1))
    }

    /// And that of a cut that looks at what was drawn: a draft is dropped, by way of a pass that fails, if a certain token is
    /// among its first ones.
    @Test(arguments: [VerificationKind.rejection, .block])
    func aCutByWhatWasDrawnIsFound(_ verification: VerificationKind) throws {
        let run = try Self.run(
            verification, .static, .model, draws: 24_000,
            prepare: { target, draft, options in
                options.maxRunningRequests = 1
                // A step's first pass of the draft model is for tokens that are in the text already.
                var isFirst = true
                target.onForward = { _ in isFirst = true }
                draft.onForward = { tokens in
                    defer { isFirst = false }
                    if !isFirst, tokens.contains(12) { throw Failure(.internalError, "dropped") }
                }
            })
        #expect(run.problems.isEmpty)
        #expect(try Self.statistic(run.texts) > 2 * Self.bound(runs: 1))
    }

    /// Verifying a draft as a whole accepts more than token by token, and that more than sharing noise.
    @Test func acceptanceIsInTheKnownOrder() throws {
        let rates = try Self.modelRuns.get().map(\.tokensPerStep)
        #expect(rates[1] > rates[0] + 0.02)
        #expect(rates[2] > rates[1] + 0.02)
    }
}
