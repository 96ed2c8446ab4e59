import Formats
import Speculation

/// How the drafts of a request are verified.
package enum VerificationKind: Int32, Sendable, CaseIterable {
    /// The target chooses its token by noise of its own, and a draft is right where it says the same: the text does not
    /// depend on drafts.
    case coupled = 0
    /// A ratio test, token by token: the text follows the target's distribution, but is another one with other drafts.
    case rejection = 1
    /// A ratio test of the draft as a whole.
    case block = 2

    package var name: String { String(describing: self) }

    /// nil for a name that no kind has.
    package init?(name: String) {
        guard let kind = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = kind
    }
}

extension RequestOptions {
    /// The ratio test of its drafts; nil where there is none. Where the likeliest token is taken all tests are the same.
    var ratioTest: RatioTest? {
        if sampling.isGreedy { return nil }
        switch verification {
        case .coupled: return nil
        case .rejection: return .rejection
        case .block: return .block
        }
    }
}

extension Submission {
    /// The request's random numbers. Coupled, they are the same for the same seed, whatever the engine does besides.
    ///
    /// Under a ratio test they are the sample's alone, even where another has its seed. Its drafts may come from that one's
    /// text, and how far it is drafted may be learned from that one's luck: had both the same coins, a draft would know
    /// how it will be tested.
    var noise: GumbelNoise {
        let own = options.ratioTest == nil ? 0 : (requestID &+ UInt64(sample)) &* 0x9E37_79B9_7F4A_7C15
        return GumbelNoise(seed: seed &+ own, sample: UInt32(sample))
    }
}

extension ActiveSequence {
    /// What a step of a ratio test draws with; nil for other requests.
    var coins: RatioCoins? { options.ratioTest.map { _ in RatioCoins(noise, committed: tokens.count) } }
}

/// Verifies the draft of one request by a ratio test. The rows of the target come one by one; when all are there, coins
/// decide how much of the draft is accepted and what follows.
struct RatioStep {
    private enum Draft {
        case sampled(SampledDraft)
        case deterministic(DeterministicDraft)

        var tokens: [Int32] {
            switch self {
            case .sampled(let draft): draft.tokens
            case .deterministic(let draft): draft.tokens
            }
        }
    }

    private let test: RatioTest
    private let draft: Draft
    private let coins: RatioCoins
    /// As if all drafted tokens before the next row were accepted.
    private var history: TokenHistory
    private var constraint: GrammarConstraint?
    private var rows = 0
    /// The target's final distribution in each row, up to one that cannot be used.
    private var targets: [TokenDistribution] = []
    private var failure: Failure?
    /// Of each row, where log-probabilities are wanted.
    private var logits: [[Float]] = []

    /// nil where the request is tested otherwise, or there is nothing to test.
    init?(_ draft: SpeculativeDraft?, _ sequence: ActiveSequence) {
        guard let test = sequence.options.ratioTest, let coins = sequence.coins, let draft, !draft.tokens.isEmpty
        else { return nil }
        self.test = test
        self.coins = coins
        self.draft =
            draft.sampled.map { .sampled($0) } ?? .deterministic(DeterministicDraft(tokens: draft.tokens))
        history = sequence.history
        constraint = sequence.constraint
    }

    /// Whether all rows are there.
    var isComplete: Bool { rows == draft.tokens.count + 1 }

    /// Takes the next row; its draft is as the request's own tokens to it.
    mutating func take(_ row: Span<Float>, _ sequence: ActiveSequence, _ sampler: Sampler) throws {
        defer { rows += 1 }
        guard failure == nil else { return }
        do {
            if rows > 0 { try follow(draft.tokens[rows - 1], sequence) }
            let processors = sequence.ownProcessors + (constraint.map { [$0] } ?? [])
            targets.append(
                try sampler.distribution(
                    logits: row, parameters: sequence.options.sampling, processors: processors, history: history))
        } catch let failure as Failure {
            // It counts only if the text gets there.
            self.failure = failure
            return
        }
        if sequence.options.logprobs != nil { logits.append(row.indices.map { row[$0] }) }
    }

    private mutating func follow(_ token: Int32, _ sequence: ActiveSequence) throws {
        try constraint?.advance(token)
        if sequence.options.sampling.hasPenalties { history.append(token) }
    }

    /// The logits of a row; none where nobody wants them.
    func logits(_ row: Int) -> [Float] { row < logits.count ? logits[row] : [] }

    /// The tokens of this step, and why there is none after them: the row that they lead to cannot be used.
    func outcome() -> (tokens: [Int32], failure: Failure?) {
        guard let failure else { return (verify(), nil) }
        guard !targets.isEmpty else { return ([], failure) }
        let tokens = verify()
        return tokens.count > targets.count ? (tokens.dropLast(), failure) : (tokens, nil)
    }

    private func verify() -> [Int32] {
        switch draft {
        case .sampled(var draft):
            if failure != nil { draft.cut(by: UsableRows(count: targets.count)) }
            return verify(draft)
        case .deterministic(var draft):
            if failure != nil { draft.cut(to: targets.count) }
            return verify(draft)
        }
    }

    private func verify<Origin>(_ draft: RatioDraft<Origin>) -> [Int32] {
        // What would follow the whole draft is not asked for where its row cannot be used.
        let targets = failure == nil ? targets : targets + [TokenDistribution(certain: 0)]
        return RatioVerification(test, draft: draft, targets: targets).outcome(coins)
    }
}

/// Keeps the tokens that the target could rate. Whether it could rate x_j depends on x_1 … x_(j-1), which its row follows.
private struct UsableRows: CausalCut {
    let count: Int

    func keepsNext(_ view: CutView) -> Bool { view.earlier.count < count }
}
