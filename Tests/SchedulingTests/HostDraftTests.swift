import Scheduling
import Testing

/// How policies take drafts of the caller.
@Suite struct HostDraftTests {
    /// Found by lookup, expected by the caller, and a draft model besides.
    private static func request(_ id: UInt64 = 1, lookup: Int, host: Int, backlog: Int = 0) -> DecodingView {
        var request = PolicyScene.matching(id, length: lookup)
        if host > 0 {
            let features = (0..<host).map { DraftFeature(probability: 0.9, matchLength: Int32($0 + 1), support: 9) }
            request.proposals.append(DraftView(source: .host, features: features))
        }
        request.draftBacklog = backlog
        return request
    }

    @Test(arguments: [PolicyKind.static, .smartspec, .turbospec, .adaspec])
    func policiesThatDoNotCompareTakeTheCallers(_ kind: PolicyKind) {
        let costs = PolicyScene.costs(PolicyScene.line(1000), draft: 10)
        for backlog in [0, 1] {
            var policy = kind.makePolicy(costs, draftTokens: 0)
            let requests = [
                Self.request(1, lookup: 8, host: 3, backlog: backlog),
                Self.request(2, lookup: 8, host: 0, backlog: backlog),
            ]
            let wishes = policy.begin(PolicyScene.view(requests), costs)
            #expect(wishes.map(\.source) == [.host, backlog > 0 ? .model : .lookup])
            #expect(wishes[0].length == 3 && wishes[0].limit == .drafter)
        }
    }

    @Test func offTakesNone() {
        var policy = PolicyKind.off.makePolicy(PolicyScene.costs(PolicyScene.line(1)), draftTokens: 0)
        #expect(policy.lengths(PolicyScene.view([Self.request(lookup: 4, host: 4)])) == [0])
    }

    @Test func goodputTakesWhatPromisesMore() {
        let costs = PolicyScene.costs(PolicyScene.line(1000))
        var policy = GoodputPolicy(costs: costs)
        func source(_ request: DecodingView) -> DraftSource? {
            let view = PolicyScene.view([request])
            // It begins with plain steps, and has some now and then.
            for _ in 0..<8 {
                if let source = policy.begin(view, costs)[0].source { return source }
                policy.commit(view, costs, PolicyScene.outcome([PolicyScene.outcome(1, length: 0, accepted: 0)]))
            }
            return nil
        }
        #expect(source(Self.request(lookup: 8, host: 8)) == .host)
        #expect(source(Self.request(lookup: 8, host: 0)) == .lookup)
        #expect(source(Self.request(lookup: 0, host: 2)) == .host)
    }

    /// A caller may be certain, of its drafts or against them; nothing that is learned becomes certain, or no number.
    @Test(arguments: [0, 1] as [Float]) func certaintyIsOnlyAClaim(claim: Float) {
        var model = SurvivalModel()
        let draft = DraftView(source: .host, features: [DraftFeature(probability: claim)])
        let first = model.conditional(draft.features[0], .host, request: 1)
        #expect(first > 0 && first < 1)
        for accepted in [0, 1, 1, 0] {
            model.observe(draft, judged: 1, accepted: accepted, request: 1, isPeculiar: false)
        }
        #expect(model.calibration.expectedError.isFinite)
        #expect(abs(model.conditional(draft.features[0], .host, request: 1) - 0.5) < 0.45)
    }

    /// What the caller claims counts at first, and what came of it later; each source and request for itself.
    @Test func claimsGiveWayToOutcomes() {
        var model = SurvivalModel()
        let claimed = DraftFeature(probability: 0.9, matchLength: 1, support: 3)
        let draft = DraftView(source: .host, features: [claimed])
        #expect(abs(model.conditional(claimed, .host, request: 1) - 0.9) < 1e-6)
        let lookup = model.conditional(claimed, .lookup, request: 1)
        for round in 0..<200 {
            model.observe(draft, judged: 1, accepted: round % 4 == 0 ? 1 : 0, request: 1, isPeculiar: false)
        }
        #expect(abs(model.conditional(claimed, .host, request: 1) - 0.25) < 0.1)
        #expect(abs(model.conditional(claimed, .host, request: 2) - 0.25) < 0.1)
        #expect(model.conditional(claimed, .lookup, request: 1) == lookup)
    }
}
