import Engine
import Formats
import Scheduling
import TestSupport
import Testing

/// The scheduler of drafts for hosts with an engine of their own.
@Suite struct SpeculationControllerTests {
    /// Sixteen rows for the price of one, and drafts that cost next to nothing.
    private static let flat = StepCosts(
        target: PassCosts(widths: [1, 64], base: [1000, 1000]), draft: PassCosts(widths: [1, 64], base: [10, 10]))
    /// Every row costs as much as the first.
    private static let steep = StepCosts(
        target: PassCosts(widths: [1, 64], base: [1000, 64_000]), draft: PassCosts(widths: [1, 64], base: [10, 10]))

    private static func step(_ ids: [UInt64] = [1, 2], room: Int = 32, backlog: Int = 1) -> StepView {
        var view = StepView()
        view.rowBudget = 256
        view.requests = ids.map {
            var request = DecodingView(id: $0, context: 100, room: room)
            request.draftBacklog = backlog
            return request
        }
        return view
    }

    private static func drafts(_ wishes: [DraftWish], length: Int? = nil) -> [DraftView?] {
        wishes.map { wish in
            wish.source.map {
                DraftView(
                    source: $0,
                    features: Array(
                        repeating: DraftFeature(margin: 3, probability: 0.8), count: min(wish.length, length ?? .max)))
            }
        }
    }

    private static func outcome(_ lengths: [Int], accepting share: Double = 1) -> StepOutcome {
        var outcome = StepOutcome()
        outcome.requests = lengths.map { length in
            var request = DraftOutcome(id: 0)
            request.verified = length
            request.accepted = Int(Double(length) * share)
            request.emitted = request.accepted + 1
            return request
        }
        outcome.targetTime = 1000
        outcome.stepTime = 1000
        return outcome
    }

    @Test func staticIsAlwaysTheSameLength() throws {
        let controller = try SpeculationController(policy: .static, draftTokens: 3, costs: Self.steep)
        for room in [32, 2] {
            let wishes = try controller.begin(Self.step(room: room))
            #expect(wishes.map(\.length) == [min(3, room), min(3, room)])
            #expect(wishes.allSatisfy { $0.source == .model })
            #expect(try controller.extend(Self.drafts(wishes, length: 1)) == [true, true])
            #expect(try controller.extend(Self.drafts(wishes)) == [false, false])
            let lengths = try controller.select(Self.drafts(wishes))
            #expect(lengths == wishes.map(\.length))
            try controller.commit(Self.outcome(lengths))
        }
    }

    @Test func goodputFollowsThePriceOfRows() throws {
        for (costs, isWorthIt) in [(Self.flat, true), (Self.steep, false)] {
            let controller = try SpeculationController(policy: .goodput, draftTokens: 0, costs: costs)
            for _ in 0..<2 {  // a batch is seen plain first
                #expect(try controller.begin(Self.step()).map(\.length) == [0, 0])
                try controller.commit(Self.outcome([0, 0]))
            }
            let wishes = try controller.begin(Self.step())
            if isWorthIt {
                #expect(wishes.map(\.length) == [16, 16])
                #expect(try controller.select(Self.drafts(wishes, length: 4)) == [4, 4])
            } else {
                #expect(wishes.reduce(0) { $0 + $1.length } <= 2, "more than a try")
            }
        }
    }

    /// The same steps through the controller and through the policy itself.
    @Test(arguments: PolicyKind.allCases) func decisionsAreThoseOfThePolicy(kind: PolicyKind) throws {
        let costs = StepCosts(
            target: PassCosts(widths: [1, 8, 64], base: [1000, 1300, 8000], perContext: 0.1, perAttended: 0.05),
            draft: PassCosts(widths: [1, 64], base: [150, 600], perContext: 0.01, perAttended: 0.01), overhead: 20)
        let controller = try SpeculationController(policy: kind, draftTokens: 0, costs: costs)
        var policy = kind.makePolicy(costs, draftTokens: 0)
        var table = CostTable(costs)
        var random = SplitMix64(seed: 3)
        for number in 0..<200 {
            var view = Self.step((1...UInt64(1 + random.next() % 12)).map { $0 }, room: Int(random.next() % 20))
            view.coin = Double(number % 64) / 64
            let wishes = try controller.begin(view)
            #expect(wishes == policy.begin(view, table.costs))
            let drafts = Self.drafts(wishes, length: 1 + Int(random.next() % 4))
            let goesOn = policy.extend(view, table.costs, drafts)
            for (index, answer) in try controller.extend(drafts).enumerated() where answer { #expect(goesOn[index]) }
            let lengths = try controller.select(drafts)
            if drafts.contains(where: { $0?.features.isEmpty == false }) {
                #expect(lengths == policy.select(view, table.costs, drafts))
            }
            var outcome = Self.outcome(lengths, accepting: Double(random.next() % 5) / 4)
            outcome.targetTime = 900 + Double(random.next() % 2000)
            outcome.stepTime = outcome.targetTime
            try controller.commit(outcome)
            for index in outcome.requests.indices {
                outcome.requests[index].id = view.requests[index].id
                outcome.requests[index].source = drafts[index]?.source
                outcome.requests[index].features = drafts[index]?.features ?? []
            }
            table.observe(view, outcome)
            policy.commit(view, table.costs, outcome)
            #expect(controller.costs == table.costs)
            if number % 7 == 0 {
                controller.forget(1)
                policy.forget(1)
            }
        }
    }

    @Test func callsOutOfOrderAreRefused() throws {
        let controller = try SpeculationController(policy: .static, draftTokens: 2, costs: Self.flat)
        func isRefused(_ call: () throws -> Void) -> Bool { failure(of: call)?.code == .wrongState }
        let view = Self.step()
        #expect(isRefused { _ = try controller.extend([nil, nil]) })
        #expect(isRefused { _ = try controller.select([nil, nil]) })
        #expect(isRefused { try controller.commit(Self.outcome([0, 0])) })
        #expect(isRefused { try controller.abandon() })
        let drafts = Self.drafts(try controller.begin(view))
        #expect(isRefused { _ = try controller.begin(view) })
        _ = try controller.select(drafts)
        #expect(isRefused { _ = try controller.begin(view) })
        #expect(isRefused { _ = try controller.extend(drafts) })
        #expect(isRefused { _ = try controller.select(drafts) })
        try controller.commit(Self.outcome([2, 2]))
        #expect(isRefused { try controller.commit(Self.outcome([2, 2])) })
        _ = try controller.begin(view)
        try controller.abandon()
        #expect(isRefused { _ = try controller.select(drafts) })
        // Without drafts select may be left out.
        _ = try controller.begin(Self.step(backlog: 0))
        try controller.commit(Self.outcome([0, 0]))
    }

    /// A call that fails can be made again.
    @Test func failuresChangeNothing() throws {
        let controller = try SpeculationController(policy: .static, draftTokens: 2, costs: Self.flat)
        func refuse(_ name: String, _ call: () throws -> Void) {
            let problem = failure(of: call)
            #expect(
                problem?.code == .invalidArgument && problem?.message.contains(name) == true,
                "\(name): \(problem?.message ?? "")")
        }
        refuse("id") { _ = try controller.begin(Self.step([5, 5])) }
        refuse("request_count") { _ = try controller.begin(StepView()) }
        let wishes = try controller.begin(Self.step())
        refuse("draft_count") { _ = try controller.extend([nil]) }
        var drafts = Self.drafts(wishes)
        drafts[1]?.source = .lookup
        refuse("drafts[1]") { _ = try controller.select(drafts) }
        drafts = Self.drafts(wishes)
        drafts[0]?.features.append(DraftFeature(probability: 1))
        refuse("feature_count") { _ = try controller.select(drafts) }
        #expect(try controller.select(Self.drafts(wishes)) == [2, 2])
        refuse("verified_tokens") { try controller.commit(Self.outcome([3, 2])) }
        refuse("outcome_count") { try controller.commit(Self.outcome([2])) }
        var outcome = Self.outcome([2, 2])
        outcome.requests[0].accepted = 3
        refuse("accepted_tokens") { try controller.commit(outcome) }
        outcome = Self.outcome([2, 2])
        outcome.targetTime = .nan
        refuse("target_time_us") { try controller.commit(outcome) }
        try controller.commit(Self.outcome([2, 2]))
    }

    /// The largest values that are allowed, in every policy.
    @Test(arguments: PolicyKind.allCases) func extremesDoNoHarm(kind: PolicyKind) throws {
        let costs = StepCosts(
            target: PassCosts(
                widths: [1, CostLimits.widest], base: [CostLimits.longest, CostLimits.longest],
                perContext: CostLimits.longest, perAttended: CostLimits.longest),
            draft: PassCosts(widths: [1], base: [1e-300]), overhead: CostLimits.longest)
        let controller = try SpeculationController(policy: kind, draftTokens: 16, costs: costs)
        var view = Self.step(Array(1...64), room: 1 << 30, backlog: 1 << 30)
        for index in view.requests.indices {
            view.requests[index].context = 1 << 30
            view.requests[index].neededTokens = CostLimits.longest
            view.requests[index].targetTPOT = 1e-300
            view.requests[index].proposals = [
                DraftView(
                    source: .suffix,
                    features: Array(
                        repeating: DraftFeature(margin: .infinity, probability: 1, matchLength: .max, support: .max),
                        count: 1024))
            ]
        }
        (view.rowBudget, view.prefillRows) = (1 << 20, 1 << 20)
        (view.prefillContext, view.prefillAttended) = (1 << 46, 1 << 50)
        for _ in 0..<3 {
            let wishes = try controller.begin(view)
            let drafts = Self.drafts(wishes)
            _ = try controller.extend(drafts)
            let lengths = try controller.select(drafts)
            #expect(zip(lengths, wishes).allSatisfy { $0 <= $1.length })
            var outcome = Self.outcome(lengths)
            (outcome.draftTime, outcome.targetTime, outcome.stepTime) = (
                CostLimits.longest, CostLimits.longest, CostLimits.longest
            )
            outcome.draftPasses = [
                StepOutcome.DraftPass(requests: 1 << 16, rows: 1 << 30, context: 1 << 46, time: CostLimits.longest)
            ]
            try controller.commit(outcome)
            view.prefillRows = 0
        }
    }
}
