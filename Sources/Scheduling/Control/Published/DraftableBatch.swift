/// What the requests of a step could draft at most, for policies that choose one length for the whole batch. Requests
/// that end sooner, or whose lookup found less, count with what they have; where all reach the length, the sums are
/// those of the literature: tokens B·l(alpha, k) and rows B·(k+1) with a draft model, m·l(alpha, k) + B - m and
/// m·(k+1) + B - m for m lookups that matched. Rows of prompts that share the step are not part of them.
struct DraftableBatch: Sendable {
    struct Member: Sendable {
        /// nil: nothing to draft with.
        var source: DraftSource?
        var most: Int
        /// Why it is not more.
        var limit: DraftLimit
        var context: Int
    }
    let members: [Member]
    /// The longest draft of any member.
    let longest: Int
    let context: Int
    private let rowBudget: Int
    let freeTokens: Int

    init(_ view: StepView, modelLimit: Int, retrievalLimit: Int) {
        members = view.requests.map { Self.member($0, modelLimit: modelLimit, retrievalLimit: retrievalLimit) }
        longest = members.reduce(0) { max($0, $1.most) }
        context = view.decodingContext
        rowBudget = view.rowBudget
        freeTokens = view.freeTokens
    }

    private static func member(_ request: DecodingView, modelLimit: Int, retrievalLimit: Int) -> Member {
        let hasModel = request.prefersModel
        let proposal = hasModel ? nil : request.preferredProposal
        let most = hasModel ? modelLimit : retrievalLimit
        // A limit of 0 says that drafts of that kind do not pay.
        var member = Member(
            source: hasModel ? .model : proposal?.source, most: most, limit: most > 0 ? .length : .gain,
            context: request.context)
        func shorten(to most: Int, _ limit: DraftLimit) {
            guard most < member.most else { return }
            member.most = max(0, most)
            member.limit = limit
        }
        shorten(to: request.room, .end)
        if !hasModel { shorten(to: proposal?.features.count ?? 0, .drafter) }
        return member
    }

    func drafted(length: Int) -> Int { members.reduce(0) { $0 + min(length, $1.most) } }

    /// Why drafts of this length are not possible; nil if they are.
    func obstacle(length: Int) -> DraftLimit? {
        let drafted = drafted(length: length)
        guard drafted > 0 else { return nil }
        if drafted > rowBudget { return .budget }
        return drafted > freeTokens ? .memory : nil
    }

    /// The rows that drafts may have together.
    var rowLimit: Int { max(0, min(rowBudget, freeTokens)) }

    func goodput(length: Int, acceptance: Double, _ costs: FittedStepCosts) -> Double {
        let lengths = (0...max(0, length)).map { acceptedLength(acceptance: acceptance, length: $0) }
        let tokens = members.reduce(0) { $0 + lengths[min(length, $1.most)] }
        return tokens / time(length: length, costs)
    }

    private func time(length: Int, _ costs: FittedStepCosts) -> Double {
        let rows = members.count + drafted(length: length)
        return draftTime(length: length, costs.draft) + costs.target.time(context: context, rows: rows) + costs.overhead
    }

    /// A pass of the draft model for each position, with those that have a draft as long.
    private func draftTime(length: Int, _ model: FittedPassModel?) -> Double {
        guard let model, length > 0 else { return 0 }
        var sum = 0.0
        for position in 1...length {
            let present = members.filter { $0.source == .model && $0.most >= position }
            if present.isEmpty { break }
            sum += model.time(context: present.reduce(0) { $0 + $1.context }, rows: present.count)
        }
        return sum
    }

    /// Drafts of one length; `limit` is why it is not more.
    func wishes(length: Int, _ limit: DraftLimit) -> [DraftWish] {
        wishes(lengths: members.map { min(length, $0.most) }, limit)
    }

    func wishes(lengths: [Int], _ limit: DraftLimit) -> [DraftWish] {
        zip(members, lengths).map { member, length in
            DraftWish(source: member.source, length: length, limit: length == member.most ? member.limit : limit)
        }
    }
}

/// One length for the whole batch.
struct LengthChoice: Sendable, Equatable {
    var length: Int
    /// Why it is not more, as far as the batch goes.
    var limit: DraftLimit
}

extension DraftableBatch {
    /// The length from `first` on with the highest goodput, the shortest of equals; nil if none is possible. All are
    /// tried: goodput may have more than one peak.
    func best(from first: Int, obstacle: (Int) -> DraftLimit?, goodput: (Int) -> Double) -> LengthChoice? {
        var best: (length: Int, goodput: Double)?
        for length in first..<max(first, longest + 1) where obstacle(length) == nil {
            let value = goodput(length)
            if best.map({ value > $0.goodput }) ?? true { best = (length, value) }
        }
        return best.map { LengthChoice(length: $0.length, limit: obstacle($0.length + 1) ?? .gain) }
    }
}
