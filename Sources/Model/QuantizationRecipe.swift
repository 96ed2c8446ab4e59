package import Formats

/// Which type each tensor of a quantised file gets. The names and choices are those that GGUF files are known by.
package enum QuantizationRecipe: String, CaseIterable, Sendable {
    case q8_0 = "Q8_0"
    case q4_0 = "Q4_0"
    case q4_K_M = "Q4_K_M"
    case q5_K_M = "Q5_K_M"
    case q6_K = "Q6_K"
    case f16 = "F16"

    /// `name` in any case.
    package init?(name: String) {
        guard let match = Self.allCases.first(where: { $0.rawValue.lowercased() == name.lowercased() }) else {
            return nil
        }
        self = match
    }

    /// The value of general.file_type.
    package var fileType: UInt32 {
        switch self {
        case .f16: 1
        case .q4_0: 2
        case .q8_0: 7
        case .q4_K_M: 15
        case .q5_K_M: 17
        case .q6_K: 18
        }
    }

    /// The type of a tensor: matrices of weights are quantised, everything else stays.
    package func type(
        of name: String, stored type: TensorType, shape: [Int], in configuration: ModelConfiguration
    ) -> TensorType {
        guard shape.count == 2, name.hasSuffix(".weight"), !name.hasSuffix("norm.weight") else { return type }
        return wanted(name, configuration).fitting(columns: shape[1])
    }

    private func wanted(_ name: String, _ configuration: ModelConfiguration) -> TensorType {
        let isOutput = name == (configuration.tiesEmbeddings ? "token_embd.weight" : "output.weight")
        switch self {
        case .f16: return .f16
        case .q8_0: return .q8_0
        case .q6_K: return .q6_K
        // Errors of the output matrix reach the logits directly.
        case .q4_0: return isOutput ? .q6_K : .q4_0
        case .q4_K_M, .q5_K_M:
            if isOutput || Self.isSensitive(name, layers: configuration.layers) { return .q6_K }
            return self == .q4_K_M ? .q4_K : .q5_K
        }
    }

    /// Values and the last product of the feed-forward part suffer most from few bits; they keep more in the first and
    /// last eighth of the layers and in every third one between.
    private static func isSensitive(_ name: String, layers: Int) -> Bool {
        let parts = name.split(separator: ".")
        guard parts.count == 4, parts[0] == "blk", let layer = Int(parts[1]), (0..<layers).contains(layer),
            parts[2] == "attn_v" || parts[2] == "ffn_down"
        else { return false }
        let eighth = layers / 8
        return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
    }
}

extension TensorType {
    /// This type, or the nearest one whose blocks fill a row of so many elements. Q5_1, which would be nearest to Q5_K,
    /// cannot be written: Q8_0 takes its place, which costs bytes but no precision.
    fileprivate func fitting(columns: Int) -> TensorType {
        if columns % blockElements == 0 { return self }
        return columns % 32 == 0 ? (self == .q4_K ? .q5_0 : .q8_0) : .f16
    }
}
