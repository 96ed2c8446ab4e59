import Scheduling
import TestSupport
import Testing

/// What is believed of the next best tokens.
@Suite struct RunnerUpModelTests {
    private static func feature(_ margin: Float, hasRunnerUp: Bool = true) -> DraftFeature {
        var feature = DraftFeature(margin: margin, probability: 0.5)
        feature.hasRunnerUp = hasRunnerUp
        return feature
    }

    /// The truth falls with the margin; each estimate comes close to its own.
    @Test func learnsWhatTheMarginSays() {
        var random = SplitMix64(seed: 1)
        var model = RunnerUpModel()
        func truth(_ margin: Float) -> Double { margin < 1 ? 0.7 : margin < 3 ? 0.4 : 0.1 }
        let margins: [Float] = [0.2, 0.8, 1.2, 2.5, 4, 9]
        var (predicted, right) = (0.0, 0.0)
        for step in 0..<4000 {
            let own = Self.feature(margins[random.int(0..<margins.count)])
            let wasRight = Double(random.int(0..<1000)) < 1000 * truth(own.margin)
            if step >= 1000 {
                predicted += model.probability(own, .model)
                right += wasRight ? 1 : 0
            }
            model.observe(own, .model, wasRight: wasRight)
        }
        for margin in margins {
            #expect(abs(model.probability(Self.feature(margin), .model) - truth(margin)) < 0.12, "\(margin)")
        }
        // Calibrated while it learned.
        #expect(abs(predicted - right) / 3000 < 0.03)
    }

    /// What was true once is forgotten, and retrieval and models have nothing to do with each other.
    @Test func forgets() {
        var model = RunnerUpModel()
        let own = Self.feature(0.6)
        for _ in 0..<2000 { model.observe(own, .model, wasRight: true) }
        #expect(model.probability(own, .model) > 0.95)
        #expect(model.probability(own, .lookup) == RunnerUpModel().probability(own, .suffix))
        for _ in 0..<2000 { model.observe(own, .model, wasRight: false) }
        #expect(model.probability(own, .model) < 0.05)
        for _ in 0..<2000 { model.observe(own, .suffix, wasRight: true) }
        #expect(model.probability(own, .lookup) > 0.95 && model.probability(own, .model) < 0.05)
    }

    private func worths(_ model: RunnerUpModel, _ draft: DraftView, survivals: [Double]) -> [Double] {
        var worths: [Double] = []
        #expect(model.append(draft, survivals: survivals[...], to: &worths) == !worths.isEmpty)
        return worths
    }

    /// Right up to the position, wrong there, and the next best right.
    @Test func worthIsThePartOfRefusalsThatItCovers() {
        var model = RunnerUpModel()
        let draft = DraftView(
            source: .model, features: [Self.feature(0.6), Self.feature(0.6, hasRunnerUp: false), Self.feature(0.6)])
        let survivals = [0.8, 0.5, 0.1]
        let r = model.probability(draft.features[0], .model)
        // At the last position the drafted token itself adds less than that.
        let own = worths(model, draft, survivals: survivals)
        #expect(own.count == 3 && own[1] == 0 && own[2] == 0.1)
        #expect(abs(own[0] - 0.2 * r) < 1e-12)
        // Nothing is said of tokens to come before anything was seen, and a mean from then on.
        let none = DraftView(source: .model, features: [])
        #expect(worths(model, none, survivals: survivals).isEmpty)
        for _ in 0..<100 { model.observe(draft.features[0], .model, wasRight: true) }
        let toCome = worths(model, none, survivals: survivals)
        #expect(toCome.count == 3 && toCome[0] > 0.15 && toCome[0] < 0.2)
        #expect(worths(model, DraftView(source: .lookup, features: []), survivals: survivals).isEmpty)
        // What adds next to nothing is not looked at.
        #expect(worths(model, draft, survivals: [0.995, 0.9, 0.8])[0] == 0)
    }
}
