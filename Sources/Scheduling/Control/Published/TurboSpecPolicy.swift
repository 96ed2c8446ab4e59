/// turbospec: "TurboSpec: Closed-loop Speculation Control System for Optimizing LLM Serving Goodput", arXiv 2406.14066 v3.
/// smartspec, and besides: the time of each model is linear or quadratic, whichever explains held-out samples of the
/// profile better; drafts have to promise 10% more than none; a decision holds for 20 steps while the batch is the same;
/// a length for which the KV cache could become too small is not taken; every 100th step without drafts drafts
/// nevertheless, with the length that is best after none; 40 of them stop lookups in between. The length of the batch is
/// shared out by the acceptance averages of the requests; one of which nothing is known counts with that of the batch.
///
/// As published, a request whose share rounds to 0 learns nothing, and has no drafts until the others' averages fall to
/// its own or a probe includes it, which only a batch without drafts has. A step in which no lookup matched decides
/// nothing and counts for none of the intervals, except that the time of stopped lookups goes on.
package struct TurboSpecPolicy: SpeculationPolicy {
    package static let maximumLength = SmartSpecPolicy.maximumLength
    package static let maximumLookup = SmartSpecPolicy.maximumLookup
    package static let decisionSteps = 20
    package static let probeInterval = 100
    package static let lookupPatience = 40
    private static let idleBonus = 1.1
    private static let memoryReserve = 1.1

    private struct Decision: Sendable {
        var choice: LengthChoice
        var batch: Set<UInt64>
        /// The steps that it was used for.
        var age = 1
    }

    private var profile: StepProfile
    package private(set) var acceptance: AcceptanceAverage
    private var averages: [UInt64: AcceptanceAverage] = [:]
    private var decision: Decision?
    /// Steps without drafts in a row.
    private var idleSteps = 0

    /// The costs of the steps are looked at only where `profile` is not measured.
    package init(profile: StepCosts, acceptance: Double = AcceptanceAverage.start) {
        self.profile = StepProfile(choosing: [.linear, .quadratic], profile: profile, length: Self.maximumLength)
        self.acceptance = AcceptanceAverage(acceptance)
    }

    package mutating func begin(_ view: StepView, _ costs: StepCosts) -> [DraftWish] {
        let isProbe = idleSteps + 1 >= Self.probeInterval
        let isStopped = idleSteps >= Self.lookupPatience && !isProbe
        let batch = DraftableBatch(
            view, modelLimit: Self.maximumLength, retrievalLimit: isStopped ? 0 : Self.maximumLookup)
        guard batch.longest > 0 else {
            if isStopped { idleSteps += 1 }
            return batch.wishes(length: 0, .gain)
        }
        if isProbe, let probe = search(batch, from: 1) {
            idleSteps = 0
            return batch.wishes(length: probe.length, probe.limit)
        }
        let choice = decide(view, batch)
        let lengths = Self.share(
            length: choice.length, most: batch.members.map(\.most),
            rates: view.requests.map { averages[$0.id]?.value ?? acceptance.value }, rowLimit: batch.rowLimit)
        idleSteps = lengths.allSatisfy { $0 == 0 } ? idleSteps + 1 : 0
        return batch.wishes(lengths: lengths, choice.limit)
    }

    /// The decision that still holds, or a new one.
    private mutating func decide(_ view: StepView, _ batch: DraftableBatch) -> LengthChoice {
        let ids = Set(view.requests.map(\.id))
        if let kept = decision, kept.batch == ids, kept.age < Self.decisionSteps,
            Self.obstacle(batch, length: kept.choice.length) == nil
        {
            decision?.age += 1
            return kept.choice
        }
        let choice = search(batch, from: 0) ?? LengthChoice(length: 0, limit: .gain)
        decision = Decision(choice: choice, batch: ids)
        return choice
    }

    private func search(_ batch: DraftableBatch, from first: Int) -> LengthChoice? {
        batch.best(from: first, obstacle: { Self.obstacle(batch, length: $0) }) { length in
            batch.goodput(length: length, acceptance: acceptance.value, profile.costs)
                * (length == 0 ? Self.idleBonus : 1)
        }
    }

    /// Besides rows and memory of this step: 1.1·B·(context + k + 1) tokens have to fit into what the requests hold and
    /// what is free.
    private static func obstacle(_ batch: DraftableBatch, length: Int) -> DraftLimit? {
        guard length > 0 else { return nil }
        let needed = memoryReserve * (Double(batch.context) + Double(batch.members.count * (length + 1)))
        if needed > Double(batch.context) + Double(batch.freeTokens) { return .memory }
        return batch.obstacle(length: length)
    }

    /// round(k·B·alpha_r / sum of alpha) for each of the B requests that can draft, at most what it can use; no drafts
    /// where all averages are 0. What rounding adds beyond `rowLimit` is taken from the longest drafts, the last first.
    package static func share(length: Int, most: [Int], rates: [Double], rowLimit: Int) -> [Int] {
        let able = most.indices.filter { most[$0] > 0 }
        let sum = able.reduce(0) { $0 + rates[$1] }
        var lengths = most.map { _ in 0 }
        guard sum > 0 else { return lengths }
        for index in able {
            let share = Double(length * able.count) * rates[index] / sum
            lengths[index] = min(most[index], Int(share + 0.5))
        }
        var excess = lengths.reduce(0, +) - rowLimit
        while excess > 0, let longest = lengths.indices.max(by: { (lengths[$0], $0) < (lengths[$1], $1) }),
            lengths[longest] > 0
        {
            lengths[longest] -= 1
            excess -= 1
        }
        return lengths
    }

    package mutating func commit(_ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome) {
        profile.renew(costs)
        let before = acceptance
        acceptance.learn(outcome)
        for request in outcome.requests where request.accepted + request.refused > 0 {
            averages[request.id, default: before].learn(accepted: request.accepted, refused: request.refused)
        }
    }

    package mutating func forget(_ id: UInt64) { averages[id] = nil }
}
