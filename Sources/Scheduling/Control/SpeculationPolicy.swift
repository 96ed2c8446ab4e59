/// Decides how far to draft. A pure value: the same calls with the same arguments give the same answers; time and coins are
/// arguments. Within a step the calls come in the order begin, extend (before each pass of the draft model), select, branch,
/// commit. Arrays have one element for each of `view.requests`, in their order.
package protocol SpeculationPolicy: Sendable {
    /// What each request drafts with, and how much at most.
    mutating func begin(_ view: StepView, _ costs: StepCosts) -> [DraftWish]

    /// Which of the requests that a draft model drafts for go on, after `drafts` were drafted so far. Those that had no
    /// token in the pass before, or have as many as was wished, do not go on whatever the answer.
    mutating func extend(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?]) -> [Bool]

    /// How many of each request's drafted tokens are verified.
    mutating func select(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?]) -> [Int]

    /// The positions of each draft whose next best token is verified as well, when so many of its tokens are: ascending, below
    /// `lengths`. Comes after `select`, where anyone can verify trees.
    mutating func branch(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?], lengths: [Int]) -> [[Int]]

    /// The tokens that each request is expected to get when so much of its draft is verified; nil where the policy does not
    /// estimate them. An account of what was believed: it changes nothing.
    func expectedTokens(_ view: StepView, _ verified: [DraftView?]) -> [Double]?

    /// What came of it.
    mutating func commit(_ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome)

    /// The request is gone.
    mutating func forget(_ id: UInt64)

    /// How far its probabilities and what came of them are apart, from 0 to 1; nil where it has none.
    var calibrationError: Double? { get }
}

extension SpeculationPolicy {
    package mutating func extend(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?]) -> [Bool] {
        drafts.map { $0 != nil }
    }

    package mutating func select(_ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?]) -> [Int] {
        drafts.map { $0?.features.count ?? 0 }
    }

    package mutating func branch(
        _ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?], lengths: [Int]
    ) -> [[Int]] {
        drafts.map { _ in [] }
    }

    package func expectedTokens(_ view: StepView, _ verified: [DraftView?]) -> [Double]? { nil }

    package mutating func commit(_ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome) {}

    package mutating func forget(_ id: UInt64) {}

    package var calibrationError: Double? { nil }
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
    private let branches: Bool

    package init(length: Int, branches: Bool = false) {
        self.length = length
        self.branches = branches
    }

    package mutating func begin(_ view: StepView, _ costs: StepCosts) -> [DraftWish] {
        view.requests.map { Self.wish($0, length: length) }
    }

    package mutating func branch(
        _ view: StepView, _ costs: StepCosts, _ drafts: [DraftView?], lengths: [Int]
    ) -> [[Int]] {
        zip(drafts, lengths).map { draft, length in
            guard branches, let features = draft?.features else { return [] }
            return features.indices.prefix(length).filter { features[$0].hasRunnerUp }
        }
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
