/// Whether the drafts of one request are worth their time: what they yielded against what they cost, both in tokens at the
/// running rate. Losing for certain, the request is switched off for a while, twice as long after each failure. A pure value.
///
/// Utility, tokens gained against the cost of verification, is from Saxena, Tsai, Taneja, Jaleel and Qureshi, "Utility-driven
/// speculative decoding for mixture-of-experts", arXiv 2506.20675; here it is that of one request beside others.
package struct UtilitySwitch: Sendable {
    /// Decayed sums over the steps in which the request speculated: what its drafts yielded and what they cost, the rows they
    /// took, the squares of what they lost, and the steps.
    private var gained = 0.0
    private var paid = 0.0
    private var rows = 0.0
    private var squares = 0.0
    private var steps = 0.0
    /// The step in which it may draft again, and how long it is barred the next time.
    private var end = 0
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

    /// Tokens for each token's time; nil until drafts took time.
    package var utility: Double? { paid > 0 ? gained / paid : nil }

    package func isOff(at step: Int) -> Bool { step < end }

    /// Drafts of so many rows yielded `tokens`, in the time in which the batch gets `cost`. Returns whether that switches it off; if so,
    /// `isOff` holds for the steps from `step` on.
    package mutating func observe(tokens: Double, rows count: Int, cost: Double, step: Int) -> Bool {
        let loss = cost - tokens
        gained = gained * Self.keep + tokens
        paid = paid * Self.keep + cost
        rows = rows * Self.keep + Double(max(1, count))
        squares = squares * Self.keep + loss * loss
        steps = steps * Self.keep + 1
        guard steps >= Self.leastSteps else { return false }
        if paid <= gained {
            pause = Self.shortest
            return false
        }
        guard isCertain else { return false }
        end = step + pause
        pause = min(2 * pause, Self.longest)
        (gained, paid, rows, squares, steps, promise) = (0, 0, 0, 0, 0, 0)
        return true
    }

    /// If drafts just paid, they would yield on average what they cost, and vary about that as runs of right tokens do, or as
    /// drafts that are right as a whole or not at all: few steps that happen to be alike do not make a loss certain.
    private var isCertain: Bool {
        let (loss, mean) = (paid - gained, paid / steps)
        let expected = mean * max(1 + mean, rows / steps - mean)
        let variance = max(expected, squares / steps - (loss / steps) * (loss / steps))
        return loss * loss > Self.certainty * Self.certainty * variance * steps
    }

    /// Rows of a draft that was found and not used would have yielded so many tokens at that cost. Enough of that switches
    /// the request on again.
    package mutating func imagine(tokens: Double, cost: Double, step: Int) {
        promise = max(0, promise + tokens - cost)
        guard promise >= Self.enough else { return }
        end = min(end, step)
        promise = 0
    }
}

/// The switches of all requests. Who never speculates has none.
struct UtilitySwitches: Sendable {
    private var switches: [UInt64: UtilitySwitch] = [:]
    private var step = 0
    /// From this step on all are on: most of the time nothing else needs to be looked at.
    private var end = 0
    /// What one request more in each pass of the draft model took, added up; kept for its memory.
    private var passes: [Double] = []

    func isOff(_ id: UInt64) -> Bool { step < end && switches[id]?.isOff(at: step) == true }

    mutating func forget(_ id: UInt64) { switches[id] = nil }

    /// Takes what came of a step; `rate` is what a microsecond is worth, in tokens. Of a try nothing is expected.
    mutating func observe(_ view: StepView, _ costs: StepCosts, _ outcome: StepOutcome, rate: Double, isTry: Bool) {
        step += 1
        let drafted = outcome.requests.reduce(0) { $0 + $1.rows }
        // A request alone is the batch: its guard says the same, from measured times.
        let isJudged = !isTry && outcome.requests.count > 1 && (drafted > 0 || !outcome.draftPasses.isEmpty)
        guard rate > 0, isJudged || step <= end else { return }
        let rows = RowPrices(costs.target, rows: view.requests.count + view.prefillRows + drafted, drafted: drafted)
        price(outcome, costs)
        for index in view.requests.indices where index < outcome.requests.count {
            let (id, context) = (view.requests[index].id, view.requests[index].context)
            if step <= end, switches[id]?.isOff(at: step - 1) == true {
                imagine(outcome.requests[index], context, rows, rate)
            }
            let (source, taken) = (outcome.requests[index].source, outcome.requests[index].rows)
            let depth = source == .model ? outcome.requests[index].features.count : 0
            // Rows that a target asks for are not meant to pay, and an end cuts off what they yield.
            guard isJudged, taken + depth > 0, view.requests[index].neededTokens <= 1,
                !outcome.requests[index].wasCut
            else { continue }
            let accepted = outcome.requests[index].accepted + (outcome.requests[index].tookBranch ? 1 : 0)
            let time = rows.time(taken, context) + passTime(depth, context, costs)
            if switches[id, default: UtilitySwitch()].observe(
                tokens: Double(accepted), rows: taken, cost: rate * time, step: step)
            {
                end = max(end, step + UtilitySwitch.longest)
            }
        }
    }

    /// Adds up what one request more in each of the draft model's passes took. Only the last passes draft; those before them
    /// bring requests up to date.
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

    /// What the request's retrieval found is scored whether it was used or not, so a text that has become predictable shows
    /// before the time is over.
    private mutating func imagine(
        _ outcome: DraftOutcome, _ context: Int, _ rows: RowPrices, _ rate: Double
    ) {
        guard outcome.verified == 0, !outcome.counterfactuals.isEmpty else { return }
        var best: (tokens: Double, cost: Double) = (0, .infinity)
        for other in outcome.counterfactuals where other.judged > 0 {
            let found = (Double(other.accepted), rate * rows.further(other.judged, context))
            if found.0 - found.1 > best.tokens - best.cost { best = found }
        }
        guard best.cost.isFinite else { return }
        switches[outcome.id]?.imagine(tokens: best.tokens, cost: best.cost, step: step)
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

    /// The time of `count` of them: what the step would have taken less without them, but no more than their share. Where
    /// the price rises at once, each of the last rows would otherwise have to answer for all.
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
