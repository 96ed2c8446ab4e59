/// What defines the final distribution of a request. See `Sampler` for the order in which it is applied.
package struct SamplingParameters: Sendable {
    package struct Bias: Sendable {
        package let token: Int32
        package let bias: Float
        package init(token: Int32, bias: Float) {
            self.token = token
            self.bias = bias
        }
    }

    /// Below `greedyTemperature` the likeliest token is taken.
    package var temperature: Float = 1
    /// 0 keeps all.
    package var topK = 0
    package var topP: Float = 1
    package var minP: Float = 0
    package var repetitionPenalty: Float = 1
    package var presencePenalty: Float = 0
    package var frequencyPenalty: Float = 0
    package var logitBias: [Bias] = []

    package init() {}

    package static let greedyTemperature: Float = 1e-5
    package var isGreedy: Bool { temperature < Self.greedyTemperature }
    package var hasPenalties: Bool { repetitionPenalty != 1 || presencePenalty != 0 || frequencyPenalty != 0 }

    /// The processors that these parameters ask for, in the order of the definition.
    package var processors: [any LogitProcessor] {
        var result: [any LogitProcessor] = []
        if !logitBias.isEmpty { result.append(LogitBiasProcessor(biases: logitBias)) }
        if hasPenalties {
            result.append(
                PenaltyProcessor(
                    repetition: repetitionPenalty, presence: presencePenalty, frequency: frequencyPenalty))
        }
        return result
    }
}

/// Which tokens a sequence has seen, for penalties: prompt and output apart.
package struct TokenHistory: Sendable {
    package private(set) var prompt: Set<Int32>
    /// How often each token occurs in the output.
    package private(set) var output: [Int32: Int32] = [:]

    package init(prompt: some Sequence<Int32>) { self.prompt = Set(prompt) }

    package mutating func append(_ token: Int32) { output[token, default: 0] += 1 }

    /// Takes back one `append(token)`.
    package mutating func remove(_ token: Int32) {
        guard let count = output[token] else { return }
        output[token] = count > 1 ? count - 1 : nil
    }
}

/// Changes logits before temperature and filters.
package protocol LogitProcessor: Sendable {
    /// `logits` [vocabulary] of the token that follows `history`.
    func process(_ logits: inout [Float], history: TokenHistory)
}

struct LogitBiasProcessor: LogitProcessor {
    let biases: [SamplingParameters.Bias]

    func process(_ logits: inout [Float], history: TokenHistory) {
        for entry in biases where Int(entry.token) < logits.count { logits[Int(entry.token)] += entry.bias }
    }
}

/// Repetition penalty (arXiv 1909.05858) over prompt and output, presence and frequency penalties over the output.
struct PenaltyProcessor: LogitProcessor {
    let repetition: Float
    let presence: Float
    let frequency: Float

    func process(_ logits: inout [Float], history: TokenHistory) {
        if repetition != 1 {
            for token in history.prompt where history.output[token] == nil { repeatPenalty(&logits, token) }
            for token in history.output.keys { repeatPenalty(&logits, token) }
        }
        for (token, count) in history.output where Int(token) < logits.count {
            logits[Int(token)] -= presence + frequency * Float(count)
        }
    }

    private func repeatPenalty(_ logits: inout [Float], _ token: Int32) {
        guard Int(token) < logits.count else { return }
        let logit = logits[Int(token)]
        logits[Int(token)] = logit > 0 ? logit / repetition : logit * repetition
    }
}
