import Formats
package import Scheduling

/// A policy under a name, made anew for each run.
package struct Arm: Sendable {
    package let name: String
    /// The most tokens of a draft.
    package let longestDraft: Int
    package let policy: @Sendable (StepCosts) -> any SpeculationPolicy

    package init(name: String, longestDraft: Int, policy: @escaping @Sendable (StepCosts) -> any SpeculationPolicy) {
        self.name = name
        self.longestDraft = longestDraft
        self.policy = policy
    }

    package static let off = fixed(0)
    /// An engine that knows of no drafts: on virtual time the same as `off`.
    package static let unconfigured = Arm(name: "unconfigured", longestDraft: 0) { _ in FixedLengthPolicy(length: 0) }

    package static func fixed(_ length: Int) -> Arm {
        Arm(name: length == 0 ? "off" : "static:\(length)", longestDraft: length) { _ in
            FixedLengthPolicy(length: length)
        }
    }

    /// How arms are written on a command line.
    package static let forms =
        "unconfigured, off, static:K with K from 1 to \(mostDraft), smartspec, turbospec, adaspec, goodput, "
        + "oracle, which knows what will be accepted"
    package static let mostDraft = 16

    /// One arm; `longestDraft` is for those that choose, nil leaves it to the policy.
    package init(parsing text: String, longestDraft: Int? = nil) throws {
        if text == Self.unconfigured.name {
            self = .unconfigured
            return
        }
        if text == "oracle" {
            self.init(name: text, longestDraft: longestDraft ?? Self.mostDraft) { OraclePolicy(costs: $0) }
            return
        }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard let kind = parts.first.flatMap({ PolicyKind(name: $0) }), parts.count == (kind == .static ? 2 : 1) else {
            throw Failure.invalid("no policy is called \"\(text)\"; known are \(Self.forms)")
        }
        let published = min(longestDraft ?? .max, AdaSpecPolicy.maximumLength)
        switch kind {
        case .off: self = .off
        case .static:
            guard let length = Int(parts[1]), (1...Self.mostDraft).contains(length) else {
                throw Failure.invalid("policy \(text): a fixed length is from 1 to \(Self.mostDraft)")
            }
            self = .fixed(length)
        case .smartspec: self.init(name: text, longestDraft: published) { SmartSpecPolicy(profile: $0) }
        case .turbospec: self.init(name: text, longestDraft: published) { TurboSpecPolicy(profile: $0) }
        case .adaspec: self.init(name: text, longestDraft: published) { _ in AdaSpecPolicy() }
        case .goodput:
            let most = longestDraft ?? Self.mostDraft
            self.init(name: text, longestDraft: most) { GoodputPolicy(costs: $0, maxDraft: most) }
        }
    }
}
