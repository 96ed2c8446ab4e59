/// How probable it is that the next best token of a position is the target's, given that the drafted one is not and all
/// before it are. Every first refusal tells, whether the next best token was verified there or not, so that what is chosen
/// does not bend what is learned.
///
/// A model's drafts: by the margin between the two tokens in bins, each shrunk towards the mean of all. Retrieval: a mean of
/// what another source had where the first was wrong. Both forget.
package struct RunnerUpModel: Sendable {
    private static let edges: [Float] = [0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5]
    private static let memory = 400.0
    /// Observations that the mean is worth to a bin, and that the prior is worth to the mean.
    private static let binWeight = 10.0
    private static let weight = 8.0
    private static let prior = 0.3
    /// What adds less is not looked at.
    static let leastWorth = 0.02

    private struct Tally {
        var count = 0.0
        var right = 0.0

        mutating func add(_ wasRight: Bool) {
            count += 1
            right += wasRight ? 1 : 0
        }

        mutating func age() {
            count *= 1 - 1 / memory
            right *= 1 - 1 / memory
        }
    }
    private var bins = [Tally](repeating: Tally(), count: edges.count + 1)
    private var model = Tally()
    private var retrieval = Tally()

    package init() {}

    /// For a token that is there.
    package func probability(_ feature: DraftFeature, _ source: DraftSource) -> Double {
        guard source == .model else { return Self.mean(retrieval) }
        let bin = bins[Self.bin(feature.margin)]
        return (bin.right + Self.binWeight * Self.mean(model)) / (bin.count + Self.binWeight)
    }

    private static func mean(_ tally: Tally) -> Double { (tally.right + weight * prior) / (tally.count + weight) }

    private static func bin(_ margin: Float) -> Int { edges.firstIndex { $0 > margin } ?? edges.count }

    package mutating func observe(_ feature: DraftFeature, _ source: DraftSource, wasRight: Bool) {
        guard source == .model else {
            retrieval.age()
            retrieval.add(wasRight)
            return
        }
        for index in bins.indices { bins[index].age() }
        model.age()
        model.add(wasRight)
        bins[Self.bin(feature.margin)].add(wasRight)
    }

    /// Adds the tokens that the next best one at each position adds to what a step is expected to give to `worths`: the
    /// draft has to be right up to there and wrong there. Positions that the model has yet to draft count with its mean,
    /// once there is one. Returns false, and adds nothing, where there is nothing to add. It is never set above what the
    /// drafted token itself adds, so that a branch is not taken up without the token that it stands beside.
    package func append(_ draft: DraftView, survivals: ArraySlice<Double>, to worths: inout [Double]) -> Bool {
        let toCome = draft.source == .model && model.count > 0 ? Self.mean(model) : 0
        guard toCome > 0 || draft.features.contains(where: \.hasRunnerUp) else { return false }
        var (before, position) = (1.0, 0)
        for survival in survivals {
            var chance = toCome
            if position < draft.features.count {
                let feature = draft.features[position]
                chance = feature.hasRunnerUp ? probability(feature, draft.source) : 0
            }
            let worth = min((before - survival) * chance, survival)
            worths.append(worth < Self.leastWorth ? 0 : worth)
            (before, position) = (survival, position + 1)
        }
        return true
    }
}
