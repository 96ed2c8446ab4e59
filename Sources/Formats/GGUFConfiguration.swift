extension ModelConfiguration {
    /// The configuration in the metadata of a GGUF file.
    package init(gguf: GGUF) throws {
        let path = gguf.file.path
        guard let name = try gguf.string("general.architecture") else {
            throw Failure.corrupt("\(path): metadata general.architecture is missing")
        }
        guard let architecture = Architecture(rawValue: name) else { throw Self.unsupportedArchitecture(name, path) }
        let reader = GGUFKeys(gguf: gguf, prefix: name)
        if let experts = try reader.optional("expert_count"), experts > 0 {
            throw Self.unsupportedArchitecture("\(name) with \(experts) experts", path)
        }
        self.architecture = architecture
        layers = try reader.required("block_count")
        embeddingLength = try reader.required("embedding_length")
        heads = try reader.perLayer("attention.head_count", layers: layers)
        kvHeads = try reader.perLayer("attention.head_count_kv", layers: layers, default: heads)
        feedForwardLength = try reader.perLayer("feed_forward_length", layers: layers)
        contextLength = try reader.required("context_length")
        let perHead = heads > 0 ? embeddingLength / heads : 0
        headDimension = try reader.optional("attention.key_length") ?? perHead
        guard try reader.optional("attention.value_length") ?? headDimension == headDimension else {
            throw Self.unsupportedArchitecture("\(name) with keys and values of different lengths", path)
        }
        guard let epsilon = try gguf.float("\(name).attention.layer_norm_rms_epsilon") else {
            throw Failure.corrupt("\(path): metadata \(name).attention.layer_norm_rms_epsilon is missing")
        }
        normEpsilon = Float(epsilon)
        rotatedDimension = try reader.optional("rope.dimension_count") ?? headDimension
        rotatesAdjacentPairs = architecture == .llama
        vocabularySize = try Self.vocabularySize(gguf, reader)
        tiesEmbeddings = !gguf.tensors.contains { $0.name == "output.weight" }
        guard layers <= 4096 else { throw Failure.corrupt("\(path): the number of layers is \(layers)") }
        windows = Array(repeating: nil, count: layers)
        rotaryFrequencies = try Self.frequencies(gguf, name, rotated: rotatedDimension)
        self = try validated(path: path)
    }

    package static func unsupportedArchitecture(_ name: String, _ path: String) -> Failure {
        Failure(
            .unsupportedArchitecture,
            "\(path): unsupported architecture \(name); supported are "
                + Architecture.allCases.map(\.rawValue).joined(separator: ", "))
    }

    /// The embedding decides; the metadata must agree where it speaks.
    private static func vocabularySize(_ gguf: GGUF, _ reader: GGUFKeys) throws -> Int {
        let stated = try reader.optional("vocab_size")
        let tokens = try gguf.strings("tokenizer.ggml.tokens")?.count
        guard let embedding = gguf.tensors.first(where: { $0.name == "token_embd.weight" }) else {
            throw Failure.corrupt(
                "\(gguf.file.path): tensor token_embd.weight is missing: the file holds a vocabulary, but no model")
        }
        let rows = embedding.shape[0]
        for (count, what) in [(stated, "metadata \(reader.prefix).vocab_size"), (tokens, "the tokenizer")] {
            if let count, count != rows {
                throw Failure.corrupt(
                    "\(gguf.file.path): \(what) counts \(count) tokens, but token_embd.weight has \(rows) rows")
            }
        }
        return rows
    }

    private static func frequencies(_ gguf: GGUF, _ name: String, rotated: Int) throws -> [Double] {
        let base = try gguf.float("\(name).rope.freq_base") ?? 10_000
        var scaling = RotaryScaling.none
        switch try gguf.string("\(name).rope.scaling.type") {
        case nil:
            if let factor = try gguf.float("\(name).rope.scale_linear"), factor > 0 {
                scaling = .linear(factor: factor)
            }
        case "none": break
        case "linear":
            guard let factor = try gguf.float("\(name).rope.scaling.factor"), factor > 0 else {
                throw Failure.corrupt("\(gguf.file.path): \(name).rope.scaling.factor is missing or not positive")
            }
            scaling = .linear(factor: factor)
        case .some(let other):
            throw Failure(.unsupportedArchitecture, "\(gguf.file.path): unsupported RoPE scaling \(other)")
        }
        let plain = scaling.frequencies(base: base, rotated: min(rotated, limit))
        guard let tensor = gguf.tensors.first(where: { $0.name == "rope_freqs.weight" }) else { return plain }
        let divisors = try tensor.readFloats(limit: limit)
        guard divisors.count == plain.count else {
            throw Failure.corrupt(
                "\(gguf.file.path): rope_freqs.weight has \(divisors.count) elements, \(plain.count) are needed")
        }
        return zip(plain, divisors).map { $0 / Double($1) }
    }
}

/// Metadata under the prefix of an architecture.
struct GGUFKeys {
    let gguf: GGUF
    let prefix: String

    func optional(_ key: String) throws -> Int? { try gguf.int("\(prefix).\(key)") }

    func required(_ key: String) throws -> Int {
        guard let value = try optional(key) else {
            throw Failure.corrupt("\(gguf.file.path): metadata \(prefix).\(key) is missing")
        }
        return value
    }

    /// A number, or an array with the same number for every layer.
    func perLayer(_ key: String, layers: Int, default fallback: Int? = nil) throws -> Int {
        let full = "\(prefix).\(key)"
        guard case .integers(let values) = gguf.metadata[full] else {
            if let fallback { return try optional(key) ?? fallback }
            return try required(key)
        }
        guard let first = values.first.flatMap({ Int(exactly: $0) }), values.count == layers,
            values.allSatisfy({ $0 == values[0] })
        else {
            throw Failure(.unsupportedArchitecture, "\(gguf.file.path): \(full) differs between layers")
        }
        return first
    }
}

extension TensorEntry {
    /// The elements of a small F32 tensor.
    package func readFloats(limit: Int) throws -> [Float] {
        guard type == .f32, byteCount <= limit * 4 else {
            throw Failure.corrupt("\(file.path): tensor \(name) should be a short F32 vector")
        }
        let bytes = try file.read(count: byteCount, at: offset)
        return (0..<byteCount / 4).map { index in
            let bits = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[index * 4 + $1]) << UInt32(8 * $1) }
            return Float(bitPattern: bits)
        }
    }
}
