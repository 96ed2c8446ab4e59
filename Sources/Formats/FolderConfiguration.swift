extension ModelConfiguration {
    /// The configuration in the config.json of a Hugging Face folder.
    package init(folder: String) throws {
        let path = folder + "/config.json"
        let json: JSON
        do {
            json = try JSON(parsing: FileSource.contents(of: path, limit: 16 << 20))
        } catch let failure as Failure where failure.code == .corruptFile {
            throw failure.prefixed(path)
        }
        let keys = ConfigKeys(json: json, path: path)
        guard let type = try keys.string("model_type") else { throw Failure.corrupt("\(path): model_type is missing") }
        switch type {
        case "llama", "mistral": architecture = .llama
        case "qwen2": architecture = .qwen2
        case "qwen3": architecture = .qwen3
        default: throw Self.unsupportedArchitecture(type, path)
        }
        if let quantization = try keys.object("quantization_config") {
            throw Failure(
                .unsupportedQuantization,
                "\(path): unsupported quantization \(try quantization.string("quant_method") ?? "of unknown method"); "
                    + "folders with F32, F16 and BF16 weights are supported")
        }
        let activation = try keys.string("hidden_act") ?? "silu"
        guard activation == "silu" || activation == "swish" else {
            throw Failure(.unsupportedArchitecture, "\(path): unsupported activation \(activation); silu is supported")
        }
        layers = try keys.required("num_hidden_layers")
        embeddingLength = try keys.required("hidden_size")
        heads = try keys.required("num_attention_heads")
        kvHeads = try keys.int("num_key_value_heads") ?? heads
        feedForwardLength = try keys.required("intermediate_size")
        contextLength = try keys.int("max_position_embeddings") ?? 2048
        headDimension = try keys.int("head_dim") ?? (heads > 0 ? embeddingLength / heads : 0)
        normEpsilon = Float(try keys.number("rms_norm_eps") ?? 1e-6)
        vocabularySize = try keys.required("vocab_size")
        tiesEmbeddings = try keys.bool("tie_word_embeddings") ?? false
        rotatedDimension = headDimension
        rotatesAdjacentPairs = false
        guard layers <= 4096, headDimension <= 4096 else {
            throw Failure.corrupt(
                "\(path): \(layers) layers with heads of \(headDimension) dimensions are not possible")
        }
        windows = try Self.windows(keys, type: type, layers: layers)
        rotaryFrequencies = try Self.frequencies(keys, rotated: headDimension)
        self = try validated(path: path)
    }

    private static func windows(_ keys: ConfigKeys, type: String, layers: Int) throws -> [Int?] {
        let none = [Int?](repeating: nil, count: max(layers, 0))
        guard let window = try keys.int("sliding_window"), type != "llama" else { return none }
        guard window > 0 else { throw Failure.corrupt("\(keys.path): sliding_window is \(window)") }
        if type == "mistral" { return none.map { _ in window } }
        guard try keys.bool("use_sliding_window") ?? false else { return none }
        if let types = keys.json["layer_types"]?.array {
            guard types.count == layers else {
                throw Failure.corrupt("\(keys.path): layer_types has \(types.count) entries for \(layers) layers")
            }
            return types.map { $0.string == "sliding_attention" ? window : nil }
        }
        let full = try keys.int("max_window_layers") ?? layers
        return (0..<layers).map { $0 >= full ? window : nil }
    }

    private static func frequencies(_ keys: ConfigKeys, rotated: Int) throws -> [Double] {
        // Newer files hold everything in rope_parameters, older ones rope_theta beside rope_scaling.
        let parameters = try keys.object("rope_parameters")
        let scaling = try parameters ?? keys.object("rope_scaling")
        let base = try parameters?.number("rope_theta") ?? keys.number("rope_theta") ?? 10_000
        let kind = try scaling?.string("rope_type") ?? scaling?.string("type") ?? "default"
        return try rotaryScaling(kind, scaling, keys).frequencies(base: base, rotated: rotated)
    }

    private static func rotaryScaling(_ kind: String, _ scaling: ConfigKeys?, _ keys: ConfigKeys) throws
        -> RotaryScaling
    {
        func positive(_ key: String) throws -> Double {
            guard let value = try scaling?.number(key), value > 0 else {
                throw Failure.corrupt("\(keys.path): RoPE scaling \(kind) needs a positive \(key)")
            }
            return value
        }
        switch kind {
        case "default": return .none
        case "linear": return .linear(factor: try positive("factor"))
        case "llama3":
            let (low, high) = (try positive("low_freq_factor"), try positive("high_freq_factor"))
            guard high > low else {
                throw Failure.corrupt("\(keys.path): high_freq_factor must be above low_freq_factor")
            }
            return .llama3(
                factor: try positive("factor"), low: low, high: high,
                originalContext: try positive("original_max_position_embeddings"))
        default: throw Failure(.unsupportedArchitecture, "\(keys.path): unsupported RoPE scaling \(kind)")
        }
    }
}

/// Typed access to the members of a JSON object; null counts as absent.
struct ConfigKeys {
    let json: JSON
    let path: String

    private func value<T>(_ key: String, _ kind: String, _ convert: (JSON) -> T?) throws -> T? {
        guard let member = json[key], !member.isNull else { return nil }
        guard let value = convert(member) else { throw Failure.corrupt("\(path): \(key) is not \(kind)") }
        return value
    }

    func int(_ key: String) throws -> Int? {
        try value(key, "an integer from 0 to \(Int32.max)") {
            $0.int.flatMap { (0...Int(Int32.max)).contains($0) ? $0 : nil }
        }
    }
    func number(_ key: String) throws -> Double? {
        try value(key, "a finite number") { $0.number.flatMap { $0.isFinite ? $0 : nil } }
    }
    func string(_ key: String) throws -> String? { try value(key, "a string") { $0.string } }
    func bool(_ key: String) throws -> Bool? { try value(key, "true or false") { $0.bool } }
    func object(_ key: String) throws -> ConfigKeys? {
        try value(key, "an object") { $0.members == nil ? nil : ConfigKeys(json: $0, path: path) }
    }

    func required(_ key: String) throws -> Int {
        guard let value = try int(key) else { throw Failure.corrupt("\(path): \(key) is missing") }
        return value
    }
}
