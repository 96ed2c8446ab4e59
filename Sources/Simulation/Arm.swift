import Formats
package import Scheduling

/// A policy under a name, made anew for each run.
package struct Arm: Sendable {
    package let name: String
    /// The most tokens of a draft; a step that carries prompts keeps rows free for so many.
    package let longestDraft: Int
    package let policy: @Sendable (StepCosts) -> any SpeculationPolicy

    package init(name: String, longestDraft: Int, policy: @escaping @Sendable (StepCosts) -> any SpeculationPolicy) {
        self.name = name
        self.longestDraft = longestDraft
        self.policy = policy
    }

    package static let off = fixed(0)

    package static func fixed(_ length: Int) -> Arm {
        Arm(name: length == 0 ? "off" : "static:\(length)", longestDraft: length) { _ in
            FixedLengthPolicy(length: length)
        }
    }

    /// How an arm is written on a command line.
    package static let forms = "off, static:K with K from 1 to \(mostDraft), goodput"
    private static let mostDraft = 16

    /// One arm; `longestDraft` is for those that choose.
    package init(parsing text: String, longestDraft: Int) throws {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        switch (parts.first, parts.count) {
        case ("off", 1): self = .off
        case ("goodput", 1):
            self = Arm(name: text, longestDraft: longestDraft) {
                GoodputPolicy(costs: $0, maxDraft: longestDraft)
            }
        case ("static", 2):
            guard let length = Int(parts[1]), (1...Self.mostDraft).contains(length) else {
                throw Failure.invalid("policy \(text): a fixed length is from 1 to \(Self.mostDraft)")
            }
            self = .fixed(length)
        default: throw Failure.invalid("no policy is called \"\(text)\"; known are \(Self.forms)")
        }
    }
}
