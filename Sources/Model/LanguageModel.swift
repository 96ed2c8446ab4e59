package import Formats
package import Kernels

/// A loaded model: configuration, tokenizer and weights. Immutable; engines share it.
package final class LanguageModel: Sendable {
    package let path: String
    package let name: String
    package let configuration: ModelConfiguration
    package let tokenizer: Tokenizer
    package let parameters: Int
    /// Memory that the weights occupy; of a draft made of a model's own weights without those that it shares with it.
    package let weightsBytes: Int
    /// The type of most weights, such as "Q8_0".
    package let quantization: String
    let weights: Weights

    /// Opens a GGUF file or a Hugging Face folder. `progress` is called on this thread.
    package init(path: String, threads: Int, progress: LoadProgress? = nil) throws {
        let checkpoint = try Checkpoint(path: path)
        tokenizer = try checkpoint.tokenizer()
        var loader = TensorLoader(checkpoint: checkpoint, allocates: true)
        guard let weights = try withDefaultFloatingPoint({ try Weights(&loader) }) else {
            throw Failure(.internalError, "\(path): the weights were not placed")
        }
        try loader.read(pool: ThreadPool(threads: threads), progress: progress)
        self.path = path
        self.weights = weights
        name = checkpoint.name
        configuration = checkpoint.configuration
        parameters = loader.parameters
        weightsBytes = loader.weightsBytes
        quantization = loader.dominantType.name
    }

    /// `model` with other weights.
    init(_ model: LanguageModel, weights: Weights, weightsBytes: Int, quantization: String) {
        path = model.path
        name = model.name
        configuration = model.configuration
        tokenizer = model.tokenizer
        parameters = model.parameters
        self.weights = weights
        self.weightsBytes = weightsBytes
        self.quantization = quantization
    }

    /// The KV type that `auto` means for this model.
    package var defaultKVFormat: KVFormat { quantization == TensorType.f32.name ? .f32 : .f16 }

    /// The matrices that every pass goes through, shared ones included. An embedding of its own is none of them: a pass looks
    /// up a row of it for each token. Norms and biases are too small to count.
    private var passMatrices: [WeightMatrix] {
        weights.layers.flatMap(\.matrices) + [weights.output]
    }

    /// Bytes of weights that a pass reads, however many rows it has.
    package var passBytes: Int { passMatrices.reduce(0) { $0 + $1.size.bytes } }

    /// Multiplications by weights for each row of a pass.
    package var rowMultiplications: Int { passMatrices.reduce(0) { $0 + $1.rows * $1.columns } }
}

extension TensorLoader {
    /// The type of most elements of matrices.
    var dominantType: TensorType {
        elementsByType.max { ($0.value, $0.key.rawValue) < ($1.value, $1.key.rawValue) }?.key ?? .f32
    }
}

/// What a model of some file would need, without loading it.
package struct ModelRequirements: Sendable {
    package let configuration: ModelConfiguration
    package let weightsBytes: Int
    package let parameters: Int
    package let quantization: String
    package let name: String
    package let defaultKVFormat: KVFormat
    private let matrixSizes: [String: MatrixSize]

    package init(path: String) throws {
        let checkpoint = try Checkpoint(path: path)
        var loader = TensorLoader(checkpoint: checkpoint, allocates: false)
        _ = try Weights(&loader)
        configuration = checkpoint.configuration
        weightsBytes = loader.weightsBytes
        parameters = loader.parameters
        quantization = loader.dominantType.name
        name = checkpoint.name
        defaultKVFormat = loader.dominantType == .f32 ? .f32 : .f16
        matrixSizes = loader.matrixSizes
    }

    /// What a draft model made of this one would take; fails where none is made.
    package func selfDraft() throws -> SelfDraftPlan {
        let outputName = configuration.tiesEmbeddings ? "token_embd.weight" : "output.weight"
        guard let output = matrixSizes[outputName] else {
            throw Failure(.internalError, "\(name): the output matrix was not counted")
        }
        return try SelfDraftPlan(
            layers: matrixSizes.filter { $0.key.hasPrefix("blk.") }.map(\.value), output: output, path: name)
    }
}
