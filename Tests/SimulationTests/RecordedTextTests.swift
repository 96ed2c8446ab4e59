import Formats
import Scheduling
import Simulation
import Testing

/// What steps show of a text, and what a simulation makes of what they do not show.
@Suite struct RecordedTextTests {
    private static func features(_ count: Int, _ margin: Float) -> [DraftFeature] {
        (0..<count).map { DraftFeature(margin: margin + Float($0), probability: 0.5) }
    }

    /// A run of one request whose prompt has 10 tokens; each step drafted, verified and accepted so many, and retrieval
    /// proposed so many, of which so many were judged and accepted.
    private static func run(
        length: Int, _ steps: [(drafted: Int, verified: Int, accepted: Int, found: (Int, Int, Int)?)]
    ) -> RecordedRun {
        var run = RecordedRun(policy: "static:4", seed: 1, maxRunning: 1, maxRows: 64)
        run.requests = [RequestRecord(Arrival(time: 0, promptTokens: 10, outputTokens: length))]
        var context = 11  // the prompt's end gave a token
        for (index, step) in steps.enumerated() {
            var part = LoggedStep.Decoding(request: 0, context: context)
            (part.drafted, part.verified, part.accepted) = (step.drafted, step.verified, step.accepted)
            part.emitted = step.accepted + 1
            part.source = step.drafted > 0 ? .model : nil
            part.features = features(step.drafted, Float(10 * index))
            part.looked = true
            if let found = step.found {
                part.proposals = [
                    LoggedStep.Proposal(
                        source: .lookup, features: features(found.0, 0), judged: found.1, accepted: found.2)
                ]
            }
            context += part.emitted
            var log = LoggedStep()
            log.decoding = [part]
            run.steps.append(log)
        }
        run.readTexts()
        return run
    }

    @Test func whatWasJudgedIsKnown() {
        let text = Self.run(length: 12, [(4, 4, 2, nil), (4, 3, 3, nil), (4, 2, 0, nil)]).texts[0]
        // From position 1: two right and one wrong; from 4: three right, and nobody knows of the target's own; from 8: wrong.
        #expect(text.accepted == [nil, true, true, false, true, true, true, nil, false, nil, nil, nil])
        #expect(text.features.map { $0?.margin } == [nil, 0, 1, 2, 10, 11, 12, nil, 20, nil, nil, nil])
        #expect(text.looks == [1, 4, 8])
    }

    @Test func aProposalGoesOnInTheNextOne() {
        // Six found, of which the step's three tokens show as many right; the next look has two right of four.
        let text = Self.run(length: 12, [(4, 4, 2, (6, 3, 3)), (0, 0, 0, (4, 1, 1)), (0, 0, 0, (3, 1, 0))]).texts[0]
        #expect(text.proposals.map(\.position) == [1, 4, 5])
        // The second was right for its one token, and what comes then is the third, which was wrong at once.
        #expect(text.proposals.map(\.right) == [4, 1, 0])
    }

    @Test func recordingsOfOneTextComplementEachOther() {
        let one = Self.run(length: 8, [(2, 2, 0, nil), (2, 2, 1, (3, 2, 1))]).texts[0]
        let other = Self.run(length: 8, [(4, 4, 3, (2, 2, 2))]).texts[0]
        let both = one.merged(with: other)
        #expect(one.accepted == [nil, false, true, false, nil, nil, nil, nil])
        #expect(other.accepted == [nil, true, true, true, false, nil, nil, nil])
        #expect(both.accepted == [nil, false, true, false, false, nil, nil, nil])
        #expect(both.looks == [1, 2] && both.proposals.map(\.position) == [2])
        #expect(other.merged(with: one).accepted == other.accepted)
    }

    /// Who drafted with the model alone looked everywhere and found nothing; that says nothing of retrieval.
    @Test func whatHadNoRetrievalTakesThatOfOthers() {
        let model = Self.run(length: 8, [(4, 4, 0, nil), (4, 4, 0, nil), (4, 4, 0, nil)]).texts[0]
        let both = Self.run(length: 8, [(4, 4, 1, (3, 2, 2)), (0, 0, 0, (2, 1, 0))]).texts[0]
        #expect(model.looks == [1, 2, 3] && both.looks == [1, 3])
        let merged = model.merged(with: both)
        #expect(merged.looks == [1, 3] && merged.proposals == both.proposals)
        #expect(merged.accepted == [nil, false, false, false, nil, nil, nil, nil])
        #expect(both.merged(with: model).proposals == both.proposals)
    }

    /// A simulation may come to positions that nobody looked at when the text was recorded.
    @Test func whatIsLeftOfAProposalIsFoundLater() {
        var text = RecordedText(length: 12)
        text.looks = [2, 7]
        text.proposals = [
            RecordedProposal(position: 7, source: .suffix, features: Self.features(2, 0), right: 0),
            RecordedProposal(position: 2, source: .suffix, features: Self.features(2, 0), right: 2),
            RecordedProposal(position: 2, source: .lookup, features: Self.features(6, 0), right: 3),
        ]
        let costs = StepCosts(target: PassCosts(widths: [1, 16], base: [100, 101]), draft: nil)
        var run = Self.run(length: 12, [])
        run.texts = [text]
        // A token a step, whatever is found.
        let steps = OpenLoop(replaying: run, texts: run.texts, costs: costs)
            .record(Arm(name: "off", longestDraft: 4) { _ in FixedLengthPolicy(length: 0) }).steps
        let found = steps.compactMap(\.decoding.first).map { part in part.proposals.map(\.features.count) }
        // From the second position on: all, then what is left while it was right; then the second look, which was wrong.
        #expect(found == [[], [6, 2], [5, 1], [4], [3], [], [2], [], [], [], []])
    }

    /// Where a recording has gaps a simulation goes by what follows like tokens, the same for a seed.
    @Test func gapsAreFilledLikeTheRest() {
        var run = Self.run(length: 2000, [])
        for position in 0..<1000 {
            run.texts[0].accepted[position] = position % 10 != 9
            run.texts[0].features[position] = DraftFeature(margin: 1, probability: 0.5)
        }
        func accepted(_ seed: UInt64) -> [Int] {
            var replayed = run
            replayed.seed = seed
            let costs = StepCosts(
                target: PassCosts(widths: [1, 2], base: [100, 101]), draft: PassCosts(widths: [1, 2], base: [1, 2]))
            let again = OpenLoop(replaying: replayed, texts: run.texts, costs: costs).record(.fixed(1))
            return again.steps.compactMap { $0.decoding.first?.accepted }
        }
        // The steps pass over every wrong token of the first half, two tokens each; of the second nine in ten are right.
        let expected = 500.0 + 1000.0 / 1.9
        let steps = Double(accepted(1).count)
        #expect(abs(steps - expected) < 40)
        #expect(accepted(1).prefix(490).dropFirst(6).allSatisfy { $0 == 1 })
        #expect(accepted(1) == accepted(1))
        #expect(accepted(1) != accepted(2))
    }

    @Test func requestsAreBroughtWithinAContext() {
        let given = [(3, 4), (600, 20), (100, 900), (255, 256), (700, 700)].map {
            Arrival(time: 7, promptTokens: $0.0, outputTokens: $0.1)
        }
        let fit = LengthFit(given, context: 512)
        #expect(fit.arrivals.map(\.promptTokens) == [3, 492, 100, 255, 256])
        #expect(fit.arrivals.map(\.outputTokens) == [4, 20, 256, 256, 256])
        #expect(fit.shortened == 3 && fit.arrivals.allSatisfy { $0.time == 7 })
        #expect(LengthFit.meanPrompt(fit.arrivals) == 221.2)
        for context in 2...20 {
            let small = LengthFit(given, context: context)
            for one in small.arrivals {
                #expect(one.promptTokens >= 1 && one.outputTokens >= 1)
                #expect(one.promptTokens + one.outputTokens <= context)
            }
        }
    }
}
