import Speculation
import Testing

@Suite struct CouplingLearnerTests {
    private static func choice(_ ladder: SIMD8<Int32>) -> DraftChoice {
        DraftChoice(token: ladder[0], margin: 1, ladder: ladder)
    }

    private static let low = choice(SIMD8(7, 7, 7, 7, 5, 5, 5, 5))

    @Test func ladderHoldsCouplingAndArgmax() {
        #expect(CouplingStrength.coupled.value == 1)
        #expect(CouplingStrength.argmax.value == .infinity)
        #expect(CouplingStrength.all.map(\.value) == CouplingStrength.all.map(\.value).sorted())
        #expect(CouplingStrength.all.count == 8)
    }

    @Test func startsCoupledAndWaitsForEvidence() {
        var learner = CouplingLearner()
        #expect(learner.agreement(temperature: 1) == nil)
        var observations = 0
        while learner.strength(temperature: 1) == .coupled, observations < 1000 {
            learner.observe(Self.low, target: 5, temperature: 1)
            observations += 1
        }
        // The nearest of those that are right.
        #expect(learner.strength(temperature: 1).value == 1.5)
        #expect((50...60).contains(observations))
        #expect(learner.agreement(temperature: 1) == SIMD8(0, 0, 0, 0, 1, 1, 1, 1))
    }

    /// Alternating evidence leaves the rates of two strengths within the lead of each other.
    @Test func smallDifferencesChangeNothing() {
        var learner = CouplingLearner()
        for _ in 0..<2000 {
            learner.observe(Self.low, target: 7, temperature: 1)
            learner.observe(Self.low, target: 5, temperature: 1)
            #expect(learner.strength(temperature: 1) == .coupled)
        }
    }

    @Test func followsAChange() {
        var learner = CouplingLearner()
        for _ in 0..<5000 { learner.observe(Self.low, target: 7, temperature: 0.8) }
        #expect(learner.strength(temperature: 0.8) == .coupled)
        var observations = 0
        while learner.strength(temperature: 0.8) == .coupled, observations < 5000 {
            learner.observe(Self.low, target: 5, temperature: 0.8)
            observations += 1
        }
        #expect(observations < 400)
        for _ in 0..<1000 { learner.observe(Self.low, target: 7, temperature: 0.8) }
        // 1 to 1.25 are equals; the nearest to coupling is coupling.
        #expect(learner.strength(temperature: 0.8) == .coupled)
    }

    @Test func bandsOfTemperatureLearnApart() {
        var learner = CouplingLearner()
        for _ in 0..<200 { learner.observe(Self.low, target: 5, temperature: 0.2) }
        #expect(learner.strength(temperature: 0.3) != .coupled)
        for temperature in [0.5, 0.8, 1.2, 2] as [Float] {
            #expect(learner.strength(temperature: temperature) == .coupled)
            #expect(learner.agreement(temperature: temperature) == nil)
        }
    }

    @Test func greedyRequestsTeachNothing() {
        var learner = CouplingLearner()
        for _ in 0..<200 { learner.observe(Self.low, target: 5, temperature: 0) }
        #expect(learner.agreement(temperature: 0) == nil)
        #expect(learner.strength(temperature: 0) == .coupled)
    }
}
