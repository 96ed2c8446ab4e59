/// A storage type of tensor elements, with the geometry of its blocks.
/// Raw values are the numbers that GGUF files use.
package enum TensorType: UInt32, Sendable, CaseIterable {
    case f32 = 0
    case f16 = 1
    case q4_0 = 2
    case q4_1 = 3
    case q5_0 = 6
    case q5_1 = 7
    case q8_0 = 8
    case q2_K = 10
    case q3_K = 11
    case q4_K = 12
    case q5_K = 13
    case q6_K = 14
    case iq4_NL = 20
    case iq4_XS = 23
    case bf16 = 30

    package var name: String { Self.names[rawValue] ?? "type \(rawValue)" }

    /// Elements per block.
    package var blockElements: Int {
        switch self {
        case .f32, .f16, .bf16: 1
        case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .iq4_NL: 32
        case .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .iq4_XS: 256
        }
    }

    /// Bytes per block.
    package var blockBytes: Int {
        switch self {
        case .f32: 4
        case .f16, .bf16: 2
        case .q4_0, .iq4_NL: 18
        case .q4_1: 20
        case .q5_0: 22
        case .q5_1: 24
        case .q8_0: 34
        case .q2_K: 84
        case .q3_K: 110
        case .q4_K: 144
        case .q5_K: 176
        case .q6_K: 210
        case .iq4_XS: 136
        }
    }

    /// What the field calls the type with this number, also where it is not supported here.
    package static func name(ofRawValue raw: UInt32) -> String { names[raw] ?? "type \(raw)" }

    private static let names: [UInt32: String] = [
        0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K",
        12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
        20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
        29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
    ]
}

/// Where a tensor lies: its type, its shape (outermost dimension first) and its bytes.
package struct TensorEntry: Sendable {
    package let name: String
    package let type: TensorType
    /// Outermost first: a matrix is [rows, columns], a row being contiguous.
    package let shape: [Int]
    package let offset: Int
    package let byteCount: Int
    /// Which file of a sharded checkpoint holds it.
    package let file: FileSource

    /// The bytes of a tensor; nil when the product overflows or a row is not whole blocks.
    package static func byteCount(type: TensorType, shape: [Int]) -> Int? {
        guard let columns = shape.last else { return type.blockElements == 1 ? type.blockBytes : nil }
        guard columns % type.blockElements == 0 else { return nil }
        var total = columns / type.blockElements
        for factor in shape.dropLast() + [type.blockBytes] {
            let (product, overflow) = total.multipliedReportingOverflow(by: factor)
            guard !overflow, product >= 0 else { return nil }
            total = product
        }
        return total
    }
}
