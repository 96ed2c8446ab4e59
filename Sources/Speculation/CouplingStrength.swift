/// How strongly a draft follows its own model against the noise that it shares with the target: beta of the draft's
/// choice, argmax of beta·log q + G. 1 couples draft and target, above 1 leans to the likeliest token, infinity takes it.
/// No strength changes a text; it only decides how often draft and target agree.
package struct CouplingStrength: Hashable, Sendable {
    /// The strengths there are; one scan of a row tells what each would draft.
    package static let ladder = SIMD8<Double>(0.5, 0.75, 1, 1.25, 1.5, 2, 3, .infinity)

    /// The place on the ladder.
    package let rung: Int

    private init(rung: Int) { self.rung = rung }

    package var value: Double { Self.ladder[rung] }

    /// In the order of the ladder.
    package static let all = (0..<ladder.scalarCount).map { CouplingStrength(rung: $0) }
    package static let coupled = CouplingStrength(rung: 2)
    package static let argmax = CouplingStrength(rung: ladder.scalarCount - 1)
}

/// Learns which strength agrees most often with the target.
///
/// Nothing has to be tried out: a verified position tells for every strength at once whether it would have drafted the
/// target's token. What is best depends on how flat the distributions are, so bands of temperature learn apart.
package struct CouplingLearner: Sendable {
    /// An observation weighs half after 350 more of its band.
    private static let retention = 0.998
    /// Below this weight the prior still counts for too much; about 50 observations.
    private static let leastWeight = 50.0
    /// By how much another strength's rate of agreement must be ahead to be taken. Rungs that differ by less are as
    /// good as each other.
    private static let lead = 0.01
    /// Where the bands of temperature begin, after the first.
    private static let borders: [Float] = [0.45, 0.75, 1.05, 1.5]

    private struct Band {
        var hits = SIMD8<Double>()
        var weight = 0.0
        var strength = CouplingStrength.coupled

        mutating func observe(_ drafted: SIMD8<Int32>, target token: Int32) {
            hits *= CouplingLearner.retention
            for rung in drafted.indices where drafted[rung] == token { hits[rung] += 1 }
            weight = weight * CouplingLearner.retention + 1
            guard weight >= CouplingLearner.leastWeight else { return }
            let rates = hits / weight
            let best = rates.max()
            guard best > rates[strength.rung] + CouplingLearner.lead else { return }
            // The rung nearest to coupling among equals.
            strength =
                CouplingStrength.all.filter { rates[$0.rung] == best }
                .min { abs($0.rung - CouplingStrength.coupled.rung) < abs($1.rung - CouplingStrength.coupled.rung) }
                ?? strength
        }
    }

    private var bands = [Band](repeating: Band(), count: borders.count + 1)

    package init() {}

    private static func band(_ temperature: Float) -> Int { borders.count { $0 <= temperature } }

    /// What to draft with at a temperature. Greedy requests have no noise: every strength drafts the same for them.
    package func strength(temperature: Float) -> CouplingStrength { bands[Self.band(temperature)].strength }

    /// The share of verified positions at which each strength agrees, recent ones counting most; nil where nothing was
    /// observed.
    package func agreement(temperature: Float) -> SIMD8<Double>? {
        let band = bands[Self.band(temperature)]
        return band.weight > 0 ? band.hits / band.weight : nil
    }

    /// A drafted position was verified: all drafts before it had been right, and the target chose `token`. Positions
    /// beyond the first wrong draft tell nothing; requests whose grammar or penalties bend the distribution should not
    /// speak for the others.
    package mutating func observe(_ choice: DraftChoice, target token: Int32, temperature: Float) {
        guard temperature >= SamplingParameters.greedyTemperature else { return }
        bands[Self.band(temperature)].observe(choice.ladder, target: token)
    }
}
