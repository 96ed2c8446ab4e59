/// The policies that an engine offers, in the order of the C interface.
package enum PolicyKind: Int32, Sendable, CaseIterable {
    case off = 0
    case `static` = 1
    case smartspec = 2
    case turbospec = 3
    case adaspec = 4
    case goodput = 5

    package var name: String {
        switch self {
        case .off: "off"
        case .static: "static"
        case .smartspec: "smartspec"
        case .turbospec: "turbospec"
        case .adaspec: "adaspec"
        case .goodput: "goodput"
        }
    }

    /// nil for a name that no policy has.
    package init?(name: String) {
        guard let kind = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = kind
    }
}

extension PolicyKind {
    /// The most tokens of any draft.
    package static let mostDraftTokens = 16
    /// The length of `static` where none was chosen.
    package static let staticDraftTokens = 4

    /// The most tokens of a draft; 0 asks for what the policy is known with.
    package func longestDraft(_ draftTokens: Int) -> Int {
        if draftTokens > 0 { return draftTokens }
        switch self {
        case .off, .static: return Self.staticDraftTokens
        case .smartspec, .turbospec, .adaspec: return AdaSpecPolicy.maximumLength
        case .goodput: return Self.mostDraftTokens
        }
    }

    /// `branches`: `static` drafts trees.
    package func makePolicy(
        _ costs: StepCosts, draftTokens: Int, branches: Bool = false
    ) -> any SpeculationPolicy {
        switch self {
        case .off: FixedLengthPolicy(length: 0)
        case .static: FixedLengthPolicy(length: longestDraft(draftTokens), branches: branches)
        case .smartspec: SmartSpecPolicy(profile: costs)
        case .turbospec: TurboSpecPolicy(profile: costs)
        case .adaspec: AdaSpecPolicy()
        case .goodput: GoodputPolicy(costs: costs, maxDraft: longestDraft(draftTokens))
        }
    }
}
