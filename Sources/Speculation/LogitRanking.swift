import Formats

/// One look at a row of logits: the best token, and whether the row can be used at all.
package enum LogitScan {
    package struct Best: Sendable {
        package let token: Int32
        package let value: Float
    }

    /// The largest logit, the lowest id among equals. Fails when a logit is NaN or +infinity, or all are -infinity.
    package static func best(of logits: Span<Float>) throws -> Best {
        var (token, value) = (-1, -Float.infinity)
        var sound = true
        for index in logits.indices {
            let logit = logits[index]
            // False for NaN and +infinity alike.
            sound = sound && logit < .infinity
            if logit > value { (token, value) = (index, logit) }
        }
        guard sound else {
            throw Failure(
                .corruptFile,
                "the model gave logits that are not finite; its weights may be damaged, or the KV type too narrow")
        }
        guard token >= 0 else {
            throw Failure(.invalidArgument, "no token is left to choose from: every logit is -infinity")
        }
        return Best(token: Int32(token), value: value)
    }
}

/// The order of a row's tokens by falling logit, then rising id, as far as it is needed.
struct LogitRanking {
    let best: LogitScan.Best
    let temperature: Double

    init(logits: Span<Float>, best: LogitScan.Best, temperature: Float) {
        self.best = best
        self.temperature = Double(temperature)
    }

    private func value(_ logit: Float) -> Double { Double(logit) / temperature }

    /// A prefix of the order that satisfies `suffices`, or all of it. Looks at ever more tokens below the best, so
    /// that a peaked distribution needs no sort of the vocabulary.
    func prefix(_ logits: Span<Float>, until suffices: ([Sampler.Candidate]) -> Bool) -> [Sampler.Candidate] {
        for depth in [4.0, 12, 36, .infinity] {
            let ranked = atLeast(value(best.value) - depth, logits).sorted {
                $0.value != $1.value ? $0.value > $1.value : $0.token < $1.token
            }
            if suffices(ranked) || depth == .infinity { return ranked }
        }
        return []
    }

    /// All tokens whose value is at least `floor`, by ascending id.
    func atLeast(_ floor: Double, _ logits: Span<Float>) -> [Sampler.Candidate] {
        var result: [Sampler.Candidate] = []
        for index in logits.indices {
            let value = value(logits[index])
            if value >= floor { result.append(Sampler.Candidate(token: Int32(index), value: value)) }
        }
        return result
    }

    /// Σ e^(value - best) over the vocabulary by ascending id.
    func mass(_ logits: Span<Float>) -> Double {
        let top = value(best.value)
        var sum = 0.0
        for index in logits.indices { sum += realExponential(value(logits[index]) - top) }
        return sum
    }
}

/// Log-probabilities of a row as the model gives it, before any processing.
package struct RawLogProbabilities {
    private let normalizer: Double
    private let ranking: LogitRanking

    package init(_ logits: Span<Float>) throws {
        let best = try LogitScan.best(of: logits)
        ranking = LogitRanking(logits: logits, best: best, temperature: 1)
        normalizer = Double(best.value) + realLogarithm(ranking.mass(logits))
    }

    package func of(_ token: Int32, _ logits: Span<Float>) -> Float {
        Float(Double(logits[Int(token)]) - normalizer)
    }

    /// The `count` likeliest tokens, likeliest first.
    package func top(_ count: Int, _ logits: Span<Float>) -> [(token: Int32, logprob: Float)] {
        guard count > 0 else { return [] }
        return ranking.prefix(logits) { $0.count >= count }.prefix(count).map {
            ($0.token, Float($0.value - normalizer))
        }
    }
}
