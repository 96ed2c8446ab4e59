/// The shape of a model, whichever kind of file it came from. All values are within stated ranges, so that products of
/// a few of them cannot overflow.
package struct ModelConfiguration: Sendable {
    package enum Architecture: String, Sendable, CaseIterable {
        case llama, qwen2, qwen3
    }

    package var architecture: Architecture
    package var vocabularySize: Int
    package var layers: Int
    /// Width of the residual stream.
    package var embeddingLength: Int
    package var heads: Int
    package var kvHeads: Int
    package var headDimension: Int
    package var feedForwardLength: Int
    package var contextLength: Int
    package var normEpsilon: Float
    /// Elements of a head that are rotated.
    package var rotatedDimension: Int
    /// Pairs are (0, 1), (2, 3), … rather than halves.
    package var rotatesAdjacentPairs: Bool
    /// Radians per position of each rotated pair: [rotatedDimension / 2].
    package var rotaryFrequencies: [Double]
    /// Latest positions that a row of each layer sees; nil for all. [layers]
    package var windows: [Int?]
    /// The output matrix is the embedding.
    package var tiesEmbeddings: Bool
    /// Queries and keys are normalised per head (qwen3).
    package var normalizesHeads: Bool { architecture == .qwen3 }

    /// Largest accepted value of each dimension.
    static let limit = 1 << 24

    func validated(path: String) throws -> ModelConfiguration {
        func check(_ value: Int, _ name: String, upTo limit: Int = ModelConfiguration.limit) throws {
            guard value >= 1, value <= limit else {
                throw Failure.corrupt("\(path): \(name) is \(value); 1 to \(limit) are possible")
            }
        }
        try check(vocabularySize, "the vocabulary size")
        try check(layers, "the number of layers", upTo: 4096)
        try check(embeddingLength, "the embedding length")
        try check(heads, "the number of attention heads", upTo: 4096)
        try check(kvHeads, "the number of KV heads", upTo: 4096)
        try check(headDimension, "the head dimension", upTo: 4096)
        try check(feedForwardLength, "the feed-forward length")
        try check(contextLength, "the context length", upTo: 1 << 30)
        guard heads % kvHeads == 0 else {
            throw Failure.corrupt("\(path): \(heads) attention heads are not a multiple of \(kvHeads) KV heads")
        }
        guard rotatedDimension >= 2, rotatedDimension % 2 == 0, rotatedDimension <= headDimension else {
            throw Failure.corrupt(
                "\(path): \(rotatedDimension) rotated dimensions do not fit heads of \(headDimension) dimensions")
        }
        guard normEpsilon.isFinite, normEpsilon >= 0 else {
            throw Failure.corrupt("\(path): the norm epsilon \(normEpsilon) is not a small positive number")
        }
        guard rotaryFrequencies.count == rotatedDimension / 2, rotaryFrequencies.allSatisfy(\.isFinite) else {
            throw Failure.corrupt("\(path): the RoPE parameters do not give finite frequencies")
        }
        return self
    }
}

/// How the frequencies of rotary position embeddings are stretched for longer contexts.
package enum RotaryScaling: Sendable {
    case none
    /// All positions are divided by a factor (arXiv 2306.15595).
    case linear(factor: Double)
    /// Llama 3.1: low frequencies are divided by a factor, high ones kept, those between interpolated.
    case llama3(factor: Double, low: Double, high: Double, originalContext: Double)

    /// base^(-2i / rotated), stretched. [rotated / 2]
    package func frequencies(base: Double, rotated: Int) -> [Double] {
        (0..<max(rotated / 2, 0)).map { pair in
            let plain = 1 / power(base, Double(2 * pair) / Double(rotated))
            switch self {
            case .none: return plain
            case .linear(let factor): return plain / factor
            case .llama3(let factor, let low, let high, let original):
                let wavelength = 2 * Double.pi / plain
                if wavelength < original / high { return plain }
                if wavelength > original / low { return plain / factor }
                let blend = (original / wavelength - low) / (high - low)
                return (1 - blend) * plain / factor + blend * plain
            }
        }
    }
}
