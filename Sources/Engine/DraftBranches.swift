import Scheduling
import Speculation

// Drafts that branch: beside the drafted chain the next best token of some positions, each a leaf of its own. One that the
// target chooses is accepted like a drafted token, and the pass has the token after it too.

extension SpeculativeDraft {
    /// What the target sees: the chain, whose rows lie where its tokens will, then the leaves.
    var tree: DraftTree {
        var tree = DraftTree(chain: tokens)
        for position in branches {
            if let token = runnersUp[position] { tree.append(token, after: position - 1) }
        }
        return tree
    }

    /// The rows of the target that it takes.
    var rows: Int { tokens.count + branches.count }

    /// All that was drafted, also what is not verified.
    private var drafted: ArraySlice<Int32> {
        if source == .model { return choices.map(\.token)[...] }
        return found.first { $0.source == source }?.draft.tokens.prefix(features.count) ?? []
    }

    /// Finds what else its tokens could be. A draft model says it of every position; a retrieved draft branches where
    /// another source goes on differently.
    mutating func findRunnersUp() {
        guard let source, !features.isEmpty else { return }
        runnersUp = features.map { _ in nil }
        if source == .model {
            runnersUp = choices.map(\.runnerUp)
        } else {
            for other in found where other.source != source {
                let common = zip(drafted, other.draft.tokens).prefix { $0 == $1 }.count
                guard common < min(features.count, other.draft.tokens.count), runnersUp[common] == nil else { continue }
                runnersUp[common] = other.draft.tokens[common]
            }
        }
        for position in features.indices { features[position].hasRunnerUp = runnersUp[position] != nil }
    }

    /// Takes up those of `positions` that are beside its chain, no more than there are rows for.
    mutating func branch(at positions: [Int], rows: Int) {
        let possible = positions.filter { $0 < tokens.count && runnersUp[$0] != nil }
        branches = Array(possible.prefix(max(0, rows)))
    }

    /// Whether the next best token was right where the draft was first wrong; `tokens` are the target's. nil where the draft
    /// was right, or the target said nothing there.
    func runnerUp(judgedBy tokens: [Int32]) -> DraftOutcome.RunnerUp? {
        let position = zip(drafted, tokens).prefix { $0 == $1 }.count
        guard position < min(runnersUp.count, drafted.count, tokens.count), let token = runnersUp[position] else {
            return nil
        }
        return DraftOutcome.RunnerUp(position: position, wasRight: token == tokens[position])
    }
}

extension Verification {
    /// Rows of the draft beside its trunk.
    var branches: Int { draft.count - draft.trunk }

    /// Accepted tokens beside the draft's trunk.
    var acceptedBranches: Int { path.count { $0 >= draft.trunk } }
}

extension StepExecutor {
    /// Brings the rows of accepted tokens to the places of their positions, if they are elsewhere. `first` is the place of the
    /// draft's first node.
    func gather(_ path: [Int], from first: Int, blocks: [Int32]) {
        guard let last = path.last, last != path.count - 1 else { return }
        moveRows(from: path.map { first + $0 }, to: first, blocks: blocks)
    }
}
