/// Decides how far to draft. A pure value: the same calls with the same arguments give the same answers; time and coins are
/// arguments. Within a step the calls come in the order begin, extend (before each pass of the draft model), select,
/// commit. Arrays have one element for each of `view.requests`, in their order.
/// Reading a property changes nothing. The getters are `mutating` so that a policy of any kind is read in place instead of
/// copied as a whole.
package protocol SpeculationPolicy: Sendable {
    /// What each request drafts with, and how much at most.
    mutating func begin(_ view: StepView, _ costs: StepCosts) -> [DraftWish]

    /// Which of the requests that a draft model drafts for go on, after `drafts` were drafted so far. Those that had no
    /// token in the pass before, or have as many as was wished, do not go on whatever the answer.
    mutating func extend(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?]) -> [Bool]

    /// How many of each request's drafted tokens are verified.
    mutating func select(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?]) -> [Int]

    /// The positions of each draft whose next best token is verified as well, ascending, as of the last `select`; empty: of
    /// none. Positions that are not verified themselves after all do not count.
    var branches: [[Int]] { mutating get }

    /// The tokens that each request was expected to get as of the last `select`; empty without one, or where what it chose
    /// is a try. nil: the policy does not estimate them. An account of what was believed: it changes nothing.
    var expectedTokens: [Double]? { mutating get }

    /// What came of it.
    mutating func commit(_ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome)

    /// The request is gone.
    mutating func forget(_ id: UInt64)

    /// How far its probabilities and what came of them are apart, from 0 to 1; nil where it has none.
    var calibrationError: Double? { mutating get }
}

extension SpeculationPolicy {
    package mutating func extend(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?]) -> [Bool] {
        drafts.map { $0 != nil }
    }

    package mutating func select(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?]) -> [Int] {
        drafts.map { $0?.features.count ?? 0 }
    }

    package var branches: [[Int]] { mutating get { [] } }

    package var expectedTokens: [Double]? { mutating get { nil } }

    package mutating func commit(_ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome) {}

    package mutating func forget(_ id: UInt64) {}

    package var calibrationError: Double? { mutating get { nil } }
}

extension DecodingView {
    private var hostProposal: DraftView? { proposals.first { $0.source == .host && !$0.features.isEmpty } }

    /// For policies that do not compare drafters: what the caller expects goes first, then the longest proposal of retrieval.
    package var preferredProposal: DraftView? {
        hostProposal ?? proposals.max { $0.features.count < $1.features.count }
    }

    /// And whether the draft model goes before that.
    package var prefersModel: Bool { draftBacklog > 0 && hostProposal == nil }
}

/// The policies `off` (0) and `static`: always the same length, whatever it costs. What the caller expects goes first, then the
/// draft model, then the longest of what retrieval has.
package struct FixedLengthPolicy: SpeculationPolicy {
    package let length: Int
    /// Whether every position is verified with its next best token too.
    private let doesBranch: Bool
    package private(set) var branches: [[Int]] = []

    package init(length: Int, branches: Bool = false) {
        self.length = length
        doesBranch = branches
    }

    package mutating func begin(_ view: StepView, _ costs: StepCosts) -> [DraftWish] {
        branches = []
        return view.requests.map { Self.wish($0, length: length) }
    }

    package mutating func select(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?]) -> [Int] {
        if doesBranch {
            branches = drafts.map { draft in
                draft.map { draft in draft.features.indices.filter { draft.features[$0].hasRunnerUp } } ?? []
            }
        }
        return drafts.map { $0?.features.count ?? 0 }
    }

    /// A draft of `length` tokens from the caller, else from the draft model, if there is one, else from retrieval.
    package static func wish(_ request: DecodingView, length: Int) -> DraftWish {
        let most = min(length, request.room)
        let limit = most < length ? DraftLimit.end : .length
        if request.prefersModel { return DraftWish(source: .model, length: most, limit: limit) }
        guard let proposal = request.preferredProposal else { return .none(.drafter) }
        let found = min(most, proposal.features.count)
        return DraftWish(source: proposal.source, length: found, limit: found < most ? .drafter : limit)
    }
}
