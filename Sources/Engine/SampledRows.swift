import Scheduling
import Speculation

/// The rows of a step for drafts under a ratio test that are drawn from a draft model. A token that is drawn has to be
/// verified, so each gets its row before it is drawn. Cutting afterwards, as is done with other drafts, would be decided by
/// what was drawn later, and bend the text.
enum SampledRows {
    /// A row for the first token of each.
    static func giveFirst(_ asks: [SpeculationAsk], budget: Int, _ wishes: inout [DraftWish]) {
        var left = budget
        for index in wishes.indices where asks[index].request.coins != nil && wishes[index].source == .model {
            if left == 0 { wishes[index] = .none(.budget) } else { left -= 1 }
        }
    }

    /// A row for the next token of those that want to go on. `drafting` are the requests that the draft model drafts for, and
    /// `goesOn` says of each whether it takes part in the next pass.
    static func giveNext(
        _ asks: [SpeculationAsk], _ wishes: [DraftWish], _ drafting: [Int], budget: Int, _ goesOn: inout [Bool],
        _ drafts: inout [SpeculativeDraft]
    ) {
        let deepest = drafting.reduce(0) { max($0, drafts[$1].features.count) }
        let sampled = drafting.indices.filter { asks[drafting[$0]].request.coins != nil }
        var left = sampled.reduce(budget) { $0 - drafts[drafting[$1]].features.count }
        for place in sampled where goesOn[place] {
            let index = drafting[place]
            let drafted = drafts[index].features.count
            guard drafted == deepest, drafted < wishes[index].length else { continue }
            if left > 0 {
                left -= 1
            } else {
                goesOn[place] = false
                drafts[index].limit = .budget
            }
        }
    }
}
