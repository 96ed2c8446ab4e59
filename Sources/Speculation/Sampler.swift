import Formats

/// The final distribution, in its one definition, and the choice from it.
///
/// Logit bias, penalties, temperature, top-k, top-p, min-p are applied in this order. top-p counts probabilities among
/// what top-k left. Sums run over token ids in ascending order, whatever found the candidates; ties go to the lower id.
/// The token is argmax of log p + G with the request's noise G (zero when greedy).
package final class Sampler {
    /// A token that is left, with its logit over temperature.
    package struct Candidate: Sendable, Equatable {
        package let token: Int32
        package let value: Double
    }

    private(set) var adjusted: [Float] = []
    private(set) var candidates: [Candidate] = []

    package init() {}

    /// The token that follows `history` at absolute position `position`. `logits`: [vocabulary].
    package func choose(
        logits: Span<Float>, parameters: SamplingParameters, processors: [any LogitProcessor],
        history: TokenHistory, noise: GumbelNoise, position: Int
    ) throws -> Int32 {
        if processors.isEmpty {
            return try choose(processed: logits, parameters, noise, position)
        }
        try adjust(logits, processors, history)
        let adjusted = self.adjusted
        return try choose(processed: adjusted.span, parameters, noise, position)
    }

    /// What is left of the distribution and its log-probabilities: every token that can be drawn, by ascending id.
    package func finalDistribution(
        logits: Span<Float>, parameters: SamplingParameters, processors: [any LogitProcessor], history: TokenHistory
    ) throws -> [Candidate] {
        let top = try leave(logits, parameters, processors, history)
        let normalizer = top + realLogarithm(candidates.reduce(0.0) { $0 + realExponential($1.value - top) })
        return candidates.map { Candidate(token: $0.token, value: $0.value - normalizer) }
    }

    /// The same as probabilities.
    package func distribution(
        logits: Span<Float>, parameters: SamplingParameters, processors: [any LogitProcessor], history: TokenHistory
    ) throws -> TokenDistribution {
        let top = try leave(logits, parameters, processors, history)
        return TokenDistribution(
            weights: candidates.map {
                TokenDistribution.Entry(token: $0.token, probability: realExponential($0.value - top))
            })
    }

    /// Leaves in `candidates` what can be drawn; the largest value.
    private func leave(
        _ logits: Span<Float>, _ parameters: SamplingParameters, _ processors: [any LogitProcessor],
        _ history: TokenHistory
    ) throws -> Double {
        try adjust(logits, processors, history)
        let adjusted = self.adjusted
        let best = try LogitScan.best(of: adjusted.span)
        if parameters.isGreedy {
            candidates = [Candidate(token: best.token, value: 0)]
            return 0
        }
        if !filter(adjusted.span, parameters, best) {
            candidates = adjusted.indices.map { at in
                Candidate(token: Int32(at), value: Double(adjusted[at]) / Double(parameters.temperature))
            }
        }
        candidates.removeAll { $0.value == -.infinity }
        return Double(best.value) / Double(parameters.temperature)
    }

    /// Leaves in `adjusted` the logits as bias, penalties and grammar make them.
    func adjust(_ logits: Span<Float>, _ processors: [any LogitProcessor], _ history: TokenHistory) throws {
        _ = try LogitScan.best(of: logits)  // so that what fails below is not the model's fault
        adjusted.removeAll(keepingCapacity: true)
        adjusted.reserveCapacity(logits.count)
        for index in logits.indices { adjusted.append(logits[index]) }
        for processor in processors { processor.process(&adjusted, history: history) }
        guard adjusted.allSatisfy({ $0 < .infinity }) else {
            throw Failure.invalid(
                "repetition_penalty, presence_penalty, frequency_penalty or logit_bias is so extreme that "
                    + "logits are no longer finite")
        }
    }

    private func choose(
        processed logits: Span<Float>, _ parameters: SamplingParameters, _ noise: GumbelNoise, _ position: Int
    ) throws -> Int32 {
        let best = try LogitScan.best(of: logits)
        if parameters.isGreedy { return best.token }
        if filter(logits, parameters, best) { return Self.draw(candidates, noise, position) }
        return Self.draw(logits, parameters.temperature, best, noise, position)
    }

    // MARK: Filters

    /// Leaves in `candidates`, by ascending id, what the filters keep; false when there is no filter.
    func filter(_ logits: Span<Float>, _ parameters: SamplingParameters, _ best: LogitScan.Best) -> Bool {
        let limitsCount = parameters.topK > 0 && parameters.topK < logits.count
        guard limitsCount || parameters.topP < 1 || parameters.minP > 0 else { return false }
        let ranking = LogitRanking(logits: logits, best: best, temperature: parameters.temperature)
        let top = Double(best.value) / Double(parameters.temperature)
        if limitsCount {
            candidates = ranking.prefix(logits) { $0.count >= parameters.topK }
            candidates.removeLast(max(0, candidates.count - parameters.topK))
        }
        if parameters.topP < 1 {
            let total = limitsCount ? Self.mass(candidates, top) : ranking.mass(logits)
            let wanted = Double(parameters.topP) * total
            if limitsCount {
                candidates = Self.nucleus(candidates, top, wanted) ?? candidates
            } else {
                candidates = ranking.prefix(logits) { Self.nucleus($0, top, wanted) != nil }
                candidates = Self.nucleus(candidates, top, wanted) ?? candidates
            }
        }
        if parameters.minP > 0 {
            let floor = top + realLogarithm(Double(parameters.minP))
            if limitsCount || parameters.topP < 1 {
                candidates.removeAll { $0.value < floor }
            } else {
                candidates = ranking.atLeast(floor, logits)
            }
        }
        candidates.sort { $0.token < $1.token }
        return true
    }

    /// Σ e^(value - top) by ascending id.
    static func mass(_ candidates: [Candidate], _ top: Double) -> Double {
        candidates.sorted { $0.token < $1.token }.reduce(0.0) { $0 + realExponential($1.value - top) }
    }

    /// The shortest prefix of the ranking whose mass reaches `wanted`; nil when all of it does not.
    private static func nucleus(_ ranked: [Candidate], _ top: Double, _ wanted: Double) -> [Candidate]? {
        var sum = 0.0
        for (index, candidate) in ranked.enumerated() {
            sum += realExponential(candidate.value - top)
            if sum >= wanted { return Array(ranked[...index]) }
        }
        return nil
    }

    // MARK: The draw

    /// argmax of value + G; candidates come by ascending id, so a tie goes to the lower one.
    private static func draw(_ candidates: [Candidate], _ noise: GumbelNoise, _ position: Int) -> Int32 {
        var (token, score) = (candidates[0].token, -Double.infinity)
        for candidate in candidates where candidate.value > -.infinity {
            let gumbel = noise.gumbel(position: position, token: candidate.token, above: score - candidate.value)
            if let gumbel, candidate.value + gumbel > score {
                (token, score) = (candidate.token, candidate.value + gumbel)
            }
        }
        return token
    }

    private static func draw(
        _ logits: Span<Float>, _ temperature: Float, _ best: LogitScan.Best, _ noise: GumbelNoise, _ position: Int
    ) -> Int32 {
        // The likeliest token first gives a threshold that settles most others early; then a tie must still go to the
        // lower id, hence >= below it.
        let scale = Double(temperature)
        var token = best.token
        var score = Double(best.value) / scale + noise.gumbel(position: position, token: best.token)
        for index in logits.indices where logits[index] > -.infinity {
            let value = Double(logits[index]) / scale
            guard let gumbel = noise.gumbel(position: position, token: Int32(index), above: (score - value).nextDown)
            else { continue }
            let sum = value + gumbel
            if sum > score || (sum == score && Int32(index) < token) { (token, score) = (Int32(index), sum) }
        }
        return token
    }
}
