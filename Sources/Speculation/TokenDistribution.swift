/// The tokens that can come next, by ascending id, with their probabilities, which add up to 1.
package struct TokenDistribution: Sendable, Equatable {
    package struct Entry: Sendable, Equatable {
        package let token: Int32
        package let probability: Double
        package init(token: Int32, probability: Double) {
            self.token = token
            self.probability = probability
        }
    }

    package let entries: [Entry]

    /// In proportion to weights that come by ascending token, at least one of them positive.
    package init(weights: [Entry]) {
        let total = weights.reduce(0.0) { $0 + $1.probability }
        entries = weights.map { Entry(token: $0.token, probability: $0.probability / total) }
    }

    /// From log-probabilities, as `Sampler.finalDistribution` gives them.
    package init(_ candidates: [Sampler.Candidate]) {
        self.init(weights: candidates.map { Entry(token: $0.token, probability: realExponential($0.value)) })
    }

    /// All of the mass on one token.
    package init(certain token: Int32) { entries = [Entry(token: token, probability: 1)] }

    package func probability(of token: Int32) -> Double {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].token < token { low = middle + 1 } else { high = middle }
        }
        return low < entries.count && entries[low].token == token ? entries[low].probability : 0
    }

    /// The token whose share of [0, 1), shares lying in the order of ids, holds `coin`.
    package func token(at coin: Double) -> Int32 {
        var (sum, latest) = (0.0, entries[0].token)
        for entry in entries where entry.probability > 0 {
            (sum, latest) = (sum + entry.probability, entry.token)
            if coin < sum { break }
        }
        return latest
    }

    /// The positive part of weight·self - other, normalised, and its mass before that; nil where nothing is left.
    func excess(weight: Double, over other: TokenDistribution) -> (distribution: TokenDistribution, mass: Double)? {
        var left: [Entry] = []
        var mass = 0.0
        var at = 0
        for entry in entries {
            while at < other.entries.count && other.entries[at].token < entry.token { at += 1 }
            let isShared = at < other.entries.count && other.entries[at].token == entry.token
            let rest = weight * entry.probability - (isShared ? other.entries[at].probability : 0)
            guard rest > 0 else { continue }
            left.append(Entry(token: entry.token, probability: rest))
            mass += rest
        }
        return mass > 0 ? (TokenDistribution(weights: left), mass) : nil
    }
}

extension TokenDistribution {
    // What a rule that cuts a sampled draft may go by: none of it depends on the token that is drawn.

    /// The largest probability.
    package var largest: Double { entries.reduce(0.0) { max($0, $1.probability) } }

    /// log of the largest probability over the second-largest; infinite where only one token is possible.
    package var margin: Double {
        var (first, second) = (0.0, 0.0)
        for entry in entries {
            if entry.probability > first {
                (first, second) = (entry.probability, first)
            } else {
                second = max(second, entry.probability)
            }
        }
        return second > 0 ? realLogarithm(first / second) : .infinity
    }
}
