/// The tokens that a request is expected to get from a draft of `length` tokens, each of which is accepted with
/// probability `acceptance` if those before it were: l(alpha, k) = 1 + alpha + … + alpha^k, with the token that the
/// target always gives. The sum is the closed form (1 - alpha^(k+1)) / (1 - alpha) without its gap at alpha = 1.
package func acceptedLength(acceptance: Double, length: Int) -> Double {
    var sum = 1.0
    for _ in 0..<length { sum = 1 + acceptance * sum }
    return sum
}

/// The moving average of smartspec and turbospec: accepted / (accepted + refusals seen). Divided by all that was drafted
/// instead, it would lie below the probability for any draft of more than one token, and depend on the length that it
/// is to decide.
package struct AcceptanceAverage: Sendable, Equatable {
    package static let start = 0.7
    private static let weight = 0.15
    package private(set) var value: Double

    package init(_ value: Double = Self.start) { self.value = value }

    /// A step that judged no draft changes nothing.
    package mutating func learn(accepted: Int, refused: Int) {
        guard accepted + refused > 0 else { return }
        let seen = Double(accepted) / Double(accepted + refused)
        value = (1 - Self.weight) * value + Self.weight * seen
    }
}

extension DraftOutcome {
    /// 1 if a refusal was seen: what comes after it says nothing.
    package var refused: Int { wasRefused ? 1 : 0 }
}

extension AcceptanceAverage {
    /// All drafts of a step count together, whatever their source.
    package mutating func learn(_ outcome: StepOutcome) {
        learn(
            accepted: outcome.requests.reduce(0) { $0 + $1.accepted },
            refused: outcome.requests.reduce(0) { $0 + $1.refused })
    }
}
