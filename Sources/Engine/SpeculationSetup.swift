import Formats
import Kernels
import Model
import Scheduling
import Speculation

// What drafts, and who decides how far, for the options of an engine.

extension EngineOptions {
    /// The most tokens of a draft.
    var longestDraft: Int { policy.longestDraft(draftTokens) }

    func makePolicy(_ costs: StepCosts) -> any SpeculationPolicy {
        policy.makePolicy(costs, draftTokens: draftTokens, branches: branches)
    }

    /// Whether drafts may be trees. What is recorded for replays are chains.
    var branches: Bool { treeWidth == 0 ? policy == .goodput && !tracesDrafts : treeWidth > 1 }

    /// Whether a draft model would be used.
    var usesDraftModel: Bool { draftModel != nil && (drafter == .auto || drafter == .model) }

    /// Where drafts are copied from. A policy that cannot choose among several drafters gets one.
    func makeRetrieval() -> [(source: DraftSource, drafter: any RetrievalDrafter)] {
        var pool = SuffixDrafter.Options()
        pool.poolBytes = draftPoolBytes
        pool.hashSeed = .random(in: 0 ... .max)
        switch drafter {
        case .model: return []
        case .lookup: return [(.lookup, PromptLookup())]
        case .suffix: return [(.suffix, SuffixDrafter(pool))]
        case .auto:
            // Where two sources differ a retrieved draft branches.
            if policy == .goodput || policy == .static && branches && !usesDraftModel {
                return [(.lookup, PromptLookup()), (.suffix, SuffixDrafter(pool))]
            }
            return usesDraftModel ? [] : [(.lookup, PromptLookup())]
        }
    }
}
