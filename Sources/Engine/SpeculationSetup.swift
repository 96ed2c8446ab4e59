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

    /// What drafts with the draft model, with a cache of its own; nil where none would be used.
    func makeModelDrafter(
        _ target: LanguageModel, _ sizing: EngineSizing, _ pool: ThreadPool
    ) throws -> (drafter: DraftModelDrafter, executor: ModelExecutor)? {
        // What is wrong with a draft model is said whether it is used or not.
        let map = try draftModel.flatMap { try vocabularyMap(target: target, draft: $0) }
        guard let draft = draftModel, usesDraftModel else { return nil }
        if let map { log.write(.info, "the draft model has another vocabulary: \(map.summary)") }
        let vocabulary = target.configuration.vocabularySize
        let executor = try ModelExecutor(draft, sizing, pool, self)
        let drafter = DraftModelDrafter(
            executor: executor, maxRows: maxStepTokens, contextTokens: draft.configuration.contextLength,
            targetVocabulary: vocabulary,
            translation: map.map {
                DraftTranslation(
                    $0, opening: draft.tokenizer.addsBOS ? draft.tokenizer.bos : nil, blocks: sizing.kvBlocks,
                    targetVocabulary: vocabulary)
            },
            clock: clock)
        drafter.reportsProbability = policy == .adaspec
        drafter.fixedStrength = coupling
        return (drafter, executor)
    }

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
