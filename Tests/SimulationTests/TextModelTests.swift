import Scheduling
import Simulation
import Testing

/// Whether texts have the statistics that they are stated to have, as a policy sees them.
@Suite struct TextModelTests {
    /// Keeps what came of every draft.
    private struct Observer: SpeculationPolicy {
        var length = 4
        var source = DraftSource.model
        var outcomes: [DraftOutcome] = []

        mutating func begin(_ view: StepView, _ costs: StepCosts) -> [DraftWish] {
            view.requests.map { _ in DraftWish(source: source, length: length, limit: .length) }
        }
        mutating func commit(_ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome) {
            outcomes += outcome.requests
        }

        /// Every position that was judged: its features, and whether it was accepted.
        var judged: [(feature: DraftFeature, isAccepted: Bool)] {
            outcomes.flatMap { outcome in
                outcome.features.prefix(outcome.wasRefused ? outcome.accepted + 1 : outcome.accepted).enumerated()
                    .map { ($1, $0 < outcome.accepted) }
            }
        }
    }

    private static func observe(
        _ text: TextModel, requests: Int = 4, steps: Int = 4000, _ observer: Observer = Observer()
    ) throws -> Observer {
        let loop = ClosedLoop(concurrency: requests, text: text, machine: VirtualMachine(CostShape.knee.costs()))
        var engine = VirtualEngine(loop, policy: observer)
        engine.run(until: .steps(steps))
        return try #require(engine.policy as? Observer)
    }

    private static func share(_ judged: [(feature: DraftFeature, isAccepted: Bool)]) -> Double {
        Double(judged.count(where: \.isAccepted)) / Double(judged.count)
    }

    @Test(arguments: [0.0, 0.3, 0.75, 1.0]) func tokensAreAcceptedAsOftenAsStated(alpha: Double) throws {
        let judged = try Self.observe(TextModel(model: .uniform(alpha))).judged
        #expect(judged.count > 10_000)
        #expect(abs(Self.share(judged) - alpha) < 0.015)
    }

    @Test func acceptanceChangesWhenStated() throws {
        let text = Schedule(AcceptanceProcess.Text.uniform(0.9), changes: [(.step(2000), .uniform(0.2))])
        let outcomes = try Self.observe(TextModel(model: AcceptanceProcess(text)), requests: 1).outcomes
        func accepted(_ range: Range<Int>) -> Double {
            Double(outcomes[range].reduce(0) { $0 + $1.accepted }) / Double(range.count)
        }
        // α + α² + α³ + α⁴
        #expect(abs(accepted(0..<2000) - 3.0951) < 0.15)
        #expect(abs(accepted(2000..<4000) - 0.2496) < 0.08)
    }

    @Test func easyAndHardTokensComeInStretches() throws {
        let text = AcceptanceProcess(.stretches(easy: 1, hard: 0, easyLength: 30, hardLength: 10))
        // Drafts of one token alternate with the target's own: every other position is looked at.
        let judged = try Self.observe(TextModel(model: text), requests: 1, steps: 40_000, Observer(length: 1)).judged
        let isEasy = judged.map(\.isAccepted)
        // A miss emits one token, a hit two: easy text passes twice as fast, so that per step it counts half.
        #expect(abs(Self.share(judged) - 15.0 / 25) < 0.03)
        let changes = zip(isEasy, isEasy.dropFirst()).count { $0 != $1 }
        // One turn after 15 steps of easy text, then one after 10 of hard text.
        #expect(abs(Double(changes) / Double(judged.count) - 2.0 / 25) < 0.01)
    }

    @Test func theMarginTellsWhatItIsStatedToTell() throws {
        func separation(_ signal: DraftSignal) throws -> Double {
            let text = AcceptanceProcess(.spread(low: 0.1, high: 0.99), signal: signal)
            let judged = try Self.observe(TextModel(model: text)).judged.sorted {
                $0.feature.margin < $1.feature.margin
            }
            let quarter = judged.count / 4
            return Self.share(Array(judged.suffix(quarter))) - Self.share(Array(judged.prefix(quarter)))
        }
        let (sharp, dull, blind) = try (
            separation(DraftSignal(noise: 0)), separation(DraftSignal(noise: 2)), separation(.uninformative)
        )
        #expect(sharp > 0.5)
        #expect(dull > 0.15 && dull < sharp - 0.1)
        #expect(abs(blind) < 0.04)
    }

    @Test func aRecordingIsReplayed() throws {
        let feature = DraftFeature(margin: 3, probability: 0.25)
        let pattern = [true, true, false, true]
        let tokens = pattern.map { AcceptanceProcess.RecordedToken(isAccepted: $0, feature: feature) }
        let observer = try Self.observe(
            TextModel(model: AcceptanceProcess(.recorded([tokens]))), requests: 1, steps: 3, Observer(length: 8))
        // Positions 0 1 (2 refused) | 3 0 1 (2 refused) | …
        #expect(observer.outcomes.map(\.accepted) == [2, 3, 3])
        #expect(observer.outcomes[0].features == Array(repeating: feature, count: 8))
    }

    @Test func retrievalFindsCopiedText() throws {
        var source = RetrievalProcess(source: .suffix, copiedShare: 0.5, spanLength: 40)
        source.chanceMatches = 0.2
        let text = TextModel(model: nil, retrieval: [source])
        let observer = try Self.observe(text, requests: 4, steps: 5000, Observer(length: 10, source: .suffix))
        let long = observer.judged.filter { $0.feature.matchLength > 4 }
        let short = observer.judged.filter { $0.feature.matchLength == 2 }
        #expect(long.count > 1000 && short.count > 1000)
        #expect(Self.share(long) > 0.85)
        #expect(Self.share(short) < 0.6)
        #expect(observer.outcomes.allSatisfy { $0.source == nil || $0.source == .suffix })
    }

    @Test func unusedProposalsAreJudgedByWhatTheTargetSaid() throws {
        let text = TextModel(
            model: .uniform(0.6), retrieval: [RetrievalProcess(source: .lookup), RetrievalProcess(source: .suffix)])
        let unused = try Self.observe(text, Observer(length: 3)).outcomes.flatMap { outcome in
            outcome.counterfactuals.map { (outcome, $0) }
        }
        #expect(unused.count > 1000)
        for (outcome, other) in unused {
            #expect(other.judged >= 1 && other.judged <= outcome.emitted)
            #expect(other.accepted == other.judged || other.accepted == other.judged - 1)
        }
        // Where retrieval is used, its own counterfactual says the same as the step.
        let used = try Self.observe(text, Observer(length: 3, source: .lookup)).outcomes
        let compared = used.compactMap { outcome in
            outcome.counterfactuals.first { $0.draft.source == .lookup && outcome.source == .lookup }
                .map { (outcome, $0) }
        }
        #expect(compared.count > 1000)
        for (outcome, other) in compared { #expect(other.accepted >= outcome.accepted) }
    }
}
