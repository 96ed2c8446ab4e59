import Scheduling
import TestSupport
import Testing

/// What holds for any step, driven as an engine drives a policy.
@Suite struct PublishedPolicyPropertyTests {
    private static let profile = PolicyScene.costs(PolicyScene.line(100, perRow: 5), draft: 8)

    private static func policies() -> [any SpeculationPolicy] {
        [SmartSpecPolicy(profile: profile), TurboSpecPolicy(profile: profile), AdaSpecPolicy()]
    }

    private static func probabilities(_ random: inout SplitMix64, _ range: Range<Int>) -> [Float] {
        (0..<random.int(range)).map { _ in (random.float() + 1) / 2 }
    }

    private static func view(_ random: inout SplitMix64) -> StepView {
        var view = PolicyScene.view(random.int(1..<10)) { _ in DecodingView(id: 0, context: 0, room: 0) }
        for index in view.requests.indices {
            var request = DecodingView(
                id: UInt64(index), context: random.int(1..<2000), room: random.int(0..<14))
            if random.int(0..<2) == 0 { request.draftBacklog = random.int(1..<40) }
            if random.int(0..<2) == 0 {
                request.proposals = [PolicyScene.draft(.suffix, probabilities(&random, 1..<16))]
            }
            if random.int(0..<4) == 0 { request.targetTPOT = Double(random.int(20..<200)) }
            view.requests[index] = request
        }
        view.rowBudget = random.int(0..<80)
        if random.int(0..<3) == 0 { view.freeTokens = random.int(0..<400) }
        return view
    }

    /// Drafts of the model grow by a token a pass while the policy goes on.
    private static func draft(
        _ policy: inout any SpeculationPolicy, _ view: StepView, _ wishes: [DraftWish], _ random: inout SplitMix64
    ) -> [DraftView?] {
        var drafts = zip(view.requests, wishes).map { request, wish -> DraftView? in
            guard let source = wish.source else { return nil }
            let found = source == .model ? [] : request.preferredProposal?.features ?? []
            return DraftView(source: source, features: Array(found.prefix(wish.length)))
        }
        while true {
            let goes = policy.extend(view, profile, drafts)
            let going = drafts.indices.filter {
                goes[$0] && drafts[$0]?.source == .model && (drafts[$0]?.features.count ?? 0) < wishes[$0].length
            }
            if going.isEmpty { return drafts }
            for index in going {
                drafts[index]?.features += probabilities(&random, 1..<2).map { DraftFeature(probability: $0) }
            }
        }
    }

    @Test func draftsStayWithinWhatTheStepHas() {
        var random = SplitMix64(seed: 4)
        for var policy in Self.policies() {
            var (drafted, verified) = (0, 0)
            for _ in 0..<4000 {
                let view = Self.view(&random)
                let wishes = policy.begin(view, Self.profile)
                #expect(wishes.count == view.requests.count)
                for (request, wish) in zip(view.requests, wishes) {
                    let found = request.draftBacklog > 0 ? 8 : min(10, request.preferredProposal?.features.count ?? 0)
                    #expect(wish.length >= 0 && wish.length <= min(found, request.room))
                    #expect(wish.source == nil || (wish.source == .model) == (request.draftBacklog > 0))
                }
                let wished = wishes.reduce(0) { $0 + $1.length }
                #expect(wished <= min(view.rowBudget, view.freeTokens))
                let drafts = Self.draft(&policy, view, wishes, &random)
                let lengths = policy.select(view, Self.profile, drafts)
                #expect(lengths.count == drafts.count)
                var outcomes: [DraftOutcome] = []
                for (index, draft) in drafts.enumerated() {
                    let count = draft?.features.count ?? 0
                    #expect(lengths[index] >= 0 && lengths[index] <= count)
                    let accepted = random.int(0..<lengths[index] + 1)
                    var outcome = PolicyScene.outcome(UInt64(index), length: lengths[index], accepted: accepted)
                    outcome.source = draft?.source
                    outcome.features = draft?.features ?? []
                    outcomes.append(outcome)
                    drafted += count
                    verified += lengths[index]
                }
                policy.learn(view, outcomes)
            }
            // What was never tried holds nothing.
            #expect(drafted > 4000 && verified > 2000)
        }
    }

    @Test func theSameCallsGiveTheSameAnswers() {
        for (first, second) in zip(Self.policies(), Self.policies()) {
            var (first, second) = (first, second)
            var random = SplitMix64(seed: 9)
            for _ in 0..<500 {
                let view = Self.view(&random)
                #expect(first.begin(view, Self.profile) == second.begin(view, Self.profile))
                let outcomes = view.requests.map {
                    PolicyScene.outcome($0.id, length: 4, accepted: random.int(0..<5), probability: 0.7)
                }
                first.learn(view, outcomes)
                second.learn(view, outcomes)
            }
        }
    }
}
