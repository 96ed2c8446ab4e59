/// smartspec: "Optimizing Speculative Decoding for Serving Large Language Models Using Goodput", arXiv 2406.14066 v1.
/// Each step has one draft length for the whole batch: the one with the most expected tokens per predicted time, from
/// one acceptance average over everything and a straight line for the time of each model, fitted to a profile once.
/// Model drafts have at most 8 tokens. Lookups cost nothing and are there already; their length counts as verified
/// length, at most 10, and only those that matched have rows for it.
///
/// As published, an average that chose no drafts learns nothing more: only another batch or context brings drafts back,
/// and an average below what one request needs never does. The published search stops at the first drop of goodput,
/// which is a fault of the code; here all lengths are tried. Its token trees are not offered: drafts are chains.
package struct SmartSpecPolicy: SpeculationPolicy {
    package static let maximumLength = 8
    package static let maximumLookup = 10

    private var profile: StepProfile
    package private(set) var acceptance: AcceptanceAverage

    /// The costs of the steps are looked at only where `profile` is not measured.
    package init(profile: StepCosts, acceptance: Double = AcceptanceAverage.start) {
        self.profile = StepProfile(choosing: [.linear], profile: profile, length: Self.maximumLength)
        self.acceptance = AcceptanceAverage(acceptance)
    }

    package mutating func begin(_ view: StepView, _ costs: StepCosts) -> [DraftWish] {
        let batch = DraftableBatch(view, modelLimit: Self.maximumLength, retrievalLimit: Self.maximumLookup)
        let choice = batch.best(from: 0, obstacle: batch.obstacle) {
            batch.goodput(length: $0, acceptance: acceptance.value, profile.costs)
        }
        return batch.wishes(length: choice?.length ?? 0, choice?.limit ?? .gain)
    }

    package mutating func commit(_ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome) {
        profile.renew(costs)
        acceptance.learn(outcome)
    }
}
