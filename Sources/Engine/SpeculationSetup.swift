import Formats
import Kernels
import Model
import Scheduling
import Speculation

// What drafts, and who decides how far, for the options of an engine.

extension EngineOptions {
    /// The most tokens of a draft.
    var longestDraft: Int {
        if draftTokens > 0 { return draftTokens }
        switch policy {
        case .off, .static: return Self.staticDraftTokens
        case .smartspec, .turbospec, .adaspec: return AdaSpecPolicy.maximumLength
        case .goodput: return RequestOptions.mostDraftTokens
        }
    }

    func makePolicy(_ costs: StepCosts) -> any SpeculationPolicy {
        switch policy {
        case .off: FixedLengthPolicy(length: 0)
        case .static: FixedLengthPolicy(length: longestDraft)
        case .smartspec: SmartSpecPolicy(profile: costs)
        case .turbospec: TurboSpecPolicy(profile: costs)
        case .adaspec: AdaSpecPolicy()
        case .goodput: GoodputPolicy(costs: costs, maxDraft: longestDraft)
        }
    }

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
            if policy == .goodput { return [(.lookup, PromptLookup()), (.suffix, SuffixDrafter(pool))] }
            return usesDraftModel ? [] : [(.lookup, PromptLookup())]
        }
    }
}

extension PassCosts {
    /// A guess from sizes alone: a pass reads all weights once, and multiplies once for each row; whichever takes longer.
    /// The corrections of the first passes say how fast the machine really is.
    static func guess(weightsBytes: Int, parameters: Int, kvBytesPerToken: Int, maxRows: Int) -> PassCosts {
        // Rather too fast a machine than too slow a one: what looks cheap is tried, and then known.
        let (bytesPerMicrosecond, multiplicationsPerMicrosecond) = (30_000.0, 600_000.0)
        var widths = Array(1...16) + [20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128]
        while let last = widths.last, last < maxRows { widths.append(last * 3 / 2) }
        let reading = Double(weightsBytes) / bytesPerMicrosecond
        let base = widths.map { rows in
            let computing = Double(parameters) * Double(rows) / multiplicationsPerMicrosecond
            // Both overlap, but never wholly.
            return max(reading, computing) + 0.15 * min(reading, computing) + 20
        }
        let perToken = Double(kvBytesPerToken) / bytesPerMicrosecond
        var costs = PassCosts(widths: widths, base: base, perContext: perToken * 0.5, perAttended: perToken)
        costs.measured = widths.map { _ in false }
        return costs
    }
}
