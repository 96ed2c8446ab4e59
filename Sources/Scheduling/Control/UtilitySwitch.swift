/// Whether the drafts of one request are worth their time: what they yielded against what they cost, both in tokens at
/// the running rate. Losing for certain, the request is switched off for a while, twice as long after each failure. A
/// pure value.
///
/// Utility, tokens gained against the cost of verification, is from Saxena, Tsai, Taneja, Jaleel and Qureshi,
/// "Utility-driven speculative decoding for mixture-of-experts", arXiv 2506.20675; here it is that of one request
/// beside others.
package struct UtilitySwitch: Sendable {
    /// Decayed sums over the steps in which the request speculated: what its drafts yielded and what they cost, the
    /// squares of what they lost, what a token counted for, the rows that they took, weighted alike, and the steps.
    private var gained = 0.0
    private var paid = 0.0
    private var squares = 0.0
    private var worths = 0.0
    private var rows = 0.0
    private var steps = 0.0
    /// The step in which it may draft again, the requests of the batch in which its drafts lost, and how long it is
    /// barred the next time.
    private var end = 0
    private var crowd = 0
    private var pause = shortest
    /// What drafts that were found would have won while it was off.
    private var promise = 0.0

    private static let keep = 1 - 1.0 / 256
    /// How sure a loss has to be, in standard errors of its sum, and from how many steps on.
    private static let certainty = 2.5
    private static let leastSteps = 16.0
    package static let shortest = 32
    package static let longest = 512
    /// Tokens that have to be won in thought: a single match is no proof.
    private static let enough = 4.0

    package init() {}

    /// In a batch of so many requests. Drafts that lost in one of twice as many or more may pay in this one, where rows
    /// take less time from others; those of a request alone always may.
    package func isOff(at step: Int, among requests: Int) -> Bool { step < end && 2 * requests > crowd }

    /// Of drafts with so many rows `tokens` were accepted, each of which counts for `worth`, in a time in which the
    /// batch would get `cost` tokens. Returns whether that switches the request off; if so, `isOff` holds for the steps
    /// from `step` on in batches of more than half as many `requests`.
    package mutating func observe(
        tokens: Double, worth: Double = 1, rows count: Int, cost: Double, step: Int, among requests: Int
    ) -> Bool {
        let loss = cost - worth * tokens
        gained = gained * Self.keep + worth * tokens
        paid = paid * Self.keep + cost
        squares = squares * Self.keep + loss * loss
        worths = worths * Self.keep + worth
        rows = rows * Self.keep + worth * Double(max(1, count))
        steps = steps * Self.keep + 1
        guard steps >= Self.leastSteps else { return false }
        if paid <= gained {
            pause = Self.shortest
            return false
        }
        guard isCertain else { return false }
        (end, crowd) = (step + pause, requests)
        pause = min(2 * pause, Self.longest)
        (gained, paid, squares, worths, rows, steps, promise) = (0, 0, 0, 0, 0, 0, 0)
        return true
    }

    /// If drafts just paid, they would yield on average what they cost, and vary about that as runs of right tokens do,
    /// or as drafts that are right as a whole or not at all: few steps that happen to be alike do not make a loss
    /// certain.
    private var isCertain: Bool {
        let (loss, mean) = (paid - gained, paid / steps)
        let expected = mean * max(worths / steps + mean, rows / steps - mean)
        let variance = max(expected, squares / steps - (loss / steps) * (loss / steps))
        return loss * loss > Self.certainty * Self.certainty * variance * steps
    }

    /// Rows of a draft that was found and not used would have yielded what counts for so many tokens, at that cost.
    /// Enough of that switches the request on again.
    package mutating func imagine(tokens: Double, cost: Double, step: Int) {
        promise = max(0, promise + tokens - cost)
        guard promise >= Self.enough else { return }
        end = min(end, step)
        promise = 0
    }
}

/// The switches of all requests. Who never speculates has none.
package struct UtilitySwitches: Sendable {
    private var switches: [UInt64: UtilitySwitch] = [:]
    private var step = 0
    /// From this step on all are on: most of the time nothing else needs to be looked at.
    private var end = 0
    /// What one request more in each pass of the draft model took, added up; kept for its memory.
    private var passes: [Double] = []

    /// What holds for all requests of a step.
    private struct Terms {
        let rows: RowPrices
        /// What a microsecond is worth, in tokens.
        let rate: Double
        let worth: TokenWorth
        let requests: Int
    }

    package init() {}

    /// In a batch of so many requests.
    package func isOff(_ id: UInt64, among requests: Int) -> Bool {
        step < end && switches[id]?.isOff(at: step, among: requests) == true
    }

    package mutating func forget(_ id: UInt64) { switches[id] = nil }

    /// Takes what came of a step; `rate` is what a microsecond is worth, in tokens. Of a try nothing is expected.
    package mutating func observe(
        _ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome, rate: Double, worth: TokenWorth, isTry: Bool
    ) {
        step += 1
        let drafted = outcome.requests.reduce(0) { $0 + $1.rows }
        // A request alone is the batch: its guard says the same, from measured times.
        let isJudged = !isTry && outcome.requests.count > 1 && (drafted > 0 || !outcome.draftPasses.isEmpty)
        guard rate > 0, isJudged || step <= end else { return }
        let rows = RowPrices(costs.target, rows: view.requests.count + view.prefillRows + drafted, drafted: drafted)
        let terms = Terms(rows: rows, rate: rate, worth: worth, requests: view.requests.count)
        price(outcome, costs)
        for index in view.requests.indices where index < outcome.requests.count {
            if step <= end, switches[view.requests[index].id]?.isOff(at: step - 1, among: terms.requests) == true {
                imagine(view.requests[index], outcome.requests[index], terms)
            }
            if isJudged { judge(view.requests[index], outcome.requests[index], costs, terms) }
        }
    }

    private mutating func judge(
        _ request: DecodingView, _ outcome: DraftOutcome, _ costs: StepCosts, _ terms: Terms
    ) {
        let depth = outcome.source == .model ? outcome.features.count : 0
        // Rows that a target asks for are not meant to pay, and an end cuts off what they yield.
        guard outcome.rows + depth > 0, request.neededTokens <= 1, !outcome.wasCut else { return }
        let accepted = outcome.accepted + (outcome.tookBranch ? 1 : 0)
        let time = terms.rows.time(outcome.rows, request.context) + passTime(depth, request.context, costs)
        let isOff = switches[request.id, default: UtilitySwitch()].observe(
            tokens: Double(accepted), worth: terms.worth.of(request), rows: outcome.rows, cost: terms.rate * time,
            step: step, among: terms.requests)
        if isOff { end = max(end, step + UtilitySwitch.longest) }
    }

    /// Adds up what one request more in each of the draft model's passes took. Only the last passes draft; those before
    /// them bring requests up to date.
    private mutating func price(_ outcome: StepOutcome, _ costs: StepCosts) {
        passes.removeAll(keepingCapacity: true)
        guard let draft = costs.draft, !outcome.draftPasses.isEmpty else { return }
        let deepest = outcome.requests.reduce(0) { $1.source == .model ? max($0, $1.features.count) : $0 }
        var sum = 0.0
        for pass in outcome.draftPasses.suffix(deepest) {
            sum += draft.base(rows: pass.requests) - draft.base(rows: pass.requests - 1)
            passes.append(sum)
        }
    }

    private func passTime(_ depth: Int, _ context: Int, _ costs: StepCosts) -> Double {
        let count = min(depth, passes.count)
        guard let draft = costs.draft, count > 0 else { return 0 }
        return passes[count - 1] + Double(count * context) * (draft.perContext + draft.perAttended)
    }

    /// What the request's retrieval found is scored whether it was used or not, so a text that has become predictable
    /// shows before the time is over.
    private mutating func imagine(_ request: DecodingView, _ outcome: DraftOutcome, _ terms: Terms) {
        guard outcome.verified == 0, !outcome.counterfactuals.isEmpty else { return }
        let worth = terms.worth.of(request)
        var best: (tokens: Double, cost: Double) = (0, .infinity)
        for other in outcome.counterfactuals where other.judged > 0 {
            let cost = terms.rate * terms.rows.further(other.judged, request.context)
            let found = (worth * Double(other.accepted), cost)
            if found.0 - found.1 > best.tokens - best.cost { best = found }
        }
        guard best.cost.isFinite else { return }
        switches[request.id]?.imagine(tokens: best.tokens, cost: best.cost, step: step)
    }
}

/// What rows of drafts added to a pass of the target.
private struct RowPrices {
    private let costs: PassCosts
    private let rows: Int
    private let whole: Double
    private let average: Double

    init(_ costs: PassCosts, rows: Int, drafted: Int) {
        (self.costs, self.rows) = (costs, rows)
        whole = costs.base(rows: rows)
        average = drafted > 0 ? (whole - costs.base(rows: rows - drafted)) / Double(drafted) : 0
    }

    /// The time of `count` of them: what the step would have taken less without them, but no more than their share.
    /// Where the price rises at once, each of the last rows would otherwise have to answer for all.
    func time(_ count: Int, _ context: Int) -> Double {
        guard count > 0 else { return 0 }
        let spared = whole - costs.base(rows: rows - count)
        return min(spared, average * Double(count)) + costs.perAttended * Double(count * context)
    }

    /// The time of `count` more.
    func further(_ count: Int, _ context: Int) -> Double {
        costs.base(rows: rows + count) - whole + costs.perAttended * Double(count * context)
    }
}
