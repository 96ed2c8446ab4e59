import Engine
import Model
import Scheduling
import Simulation

extension Arm {
    /// Arms that a real engine has no way to be.
    var isVirtual: Bool { name == "oracle" }

    /// `base` with what makes it this arm.
    func options(_ base: EngineOptions, draftTokens: Int?) -> EngineOptions {
        var options = base
        let kind = name.split(separator: ":").first.flatMap { PolicyKind(name: String($0)) }
        switch kind {
        case nil:  // unconfigured
            options.policy = .off
            options.draftModel = nil
            options.drafter = .auto
        case .off: options.policy = .goodput
        case .static:
            options.policy = .static
            options.draftTokens = longestDraft
        case .some(let kind):
            options.policy = kind
            options.draftTokens = draftTokens ?? 0
        }
        return options
    }

    /// What requests ask for: nil leaves drafts to the engine's policy, 0 wants none.
    var requestedDraft: Int? { name == Arm.off.name ? 0 : nil }
}
