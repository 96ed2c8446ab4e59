/// A weight matrix in memory, [rows, columns] = [outputs, inputs].
package struct WeightMatrix: @unchecked Sendable {
    package enum Layout: Sendable {
        /// As in the file: a row is `bytes` contiguous bytes.
        case rows(bytes: Int)
        /// Groups of 16 rows of `bytes` each, interleaved for the product kernels; the last one is filled up with zeros.
        case groups(PackedFormat, bytes: Int)
    }

    package let data: UnsafeRawPointer
    package let format: BlockFormat
    package let rows: Int
    package let columns: Int
    package let layout: Layout

    package init(data: UnsafeRawPointer, format: BlockFormat, rows: Int, columns: Int, layout: Layout) {
        self.data = data
        self.format = format
        self.rows = rows
        self.columns = columns
        self.layout = layout
    }

    /// Expands row `row` into `target` [columns]; the same values in either layout.
    package func expandRow(_ row: Int, into target: UnsafeMutablePointer<Float>) {
        switch layout {
        case .rows(let bytes): dequantize(format, data + row * bytes, count: columns, into: target)
        case .groups(let packed, let bytes):
            packed.expand(data + row / 16 * bytes, lane: row % 16, columns: columns, into: target)
        }
    }

    /// Whether the product kernels read quantised weights from this matrix.
    var isQuantizedGroups: Bool {
        if case .groups(let format, _) = layout { format.quantizedIndex != nil } else { false }
    }

    /// Whether the weights are pairs of BF16.
    var isBFloatGroups: Bool {
        if case .groups(.bf16, _) = layout { true } else { false }
    }

    /// Expands 16 rows as floats in the layout of F32 groups: [columns rounded up to 8, 16]; what is missing is 0.
    func interleave(_ group: Int, into cell: UnsafeMutablePointer<Float>) {
        cell.update(repeating: 0, count: (columns + 7) / 8 * 128)
        guard case .rows(let bytes) = layout else { return }
        withUnsafeTemporaryAllocation(of: Float.self, capacity: 256) { block in
            guard let expanded = block.baseAddress else { return }
            for lane in 0..<min(16, rows - group * 16) {
                var source = data + (group * 16 + lane) * bytes
                let blocks = (columns + 255) / 256
                for index in 0..<blocks {
                    // 256 elements are whole blocks of every format; a last piece is, too, since rows are.
                    let count = min(256, columns - index * 256)
                    dequantize(format, source, count: count, into: expanded)
                    source += bytes * 256 / columns
                    let out = cell + index * 256 * 16 + lane
                    for k in 0..<count { out[k * 16] = expanded[k] }
                }
            }
        }
    }
}

/// The interleaved layouts; see the product kernels for where each byte lies.
package enum PackedFormat: Sendable {
    case q8_0, q4_0, q4_K, q5_K, q6_K, f32, f16, bf16

    /// nil for formats that stay as they are stored.
    package init?(_ format: BlockFormat) {
        switch format {
        case .q8_0: self = .q8_0
        case .q4_0: self = .q4_0
        case .q4_K: self = .q4_K
        case .q5_K: self = .q5_K
        case .q6_K: self = .q6_K
        case .f32: self = .f32
        case .f16: self = .f16
        case .bf16: self = .bf16
        default: return nil
        }
    }

    /// The number that `quantizedProduct` knows the layout by; nil for floats.
    var quantizedIndex: Int? {
        switch self {
        case .q8_0: 0
        case .q4_0: 1
        case .q4_K: 2
        case .q5_K: 3
        case .q6_K: 4
        case .f32, .f16, .bf16: nil
        }
    }

    /// The number that `denseProduct` knows the layout by.
    var denseIndex: Int { self == .f32 ? 0 : self == .f16 ? 1 : 2 }

    /// Bytes of 16 rows of `columns`; nil when that overflows.
    package func groupBytes(columns: Int) -> Int? {
        switch self {
        case .q8_0: checkedProduct(columns / 32, 544)
        case .q4_0: checkedProduct(columns / 32, 288)
        case .q4_K: checkedProduct(columns / 256, 2368)
        case .q5_K: checkedProduct(columns / 256, 2880)
        case .q6_K: checkedProduct(columns / 256, 3360)
        case .f32: checkedProduct((columns + 7) / 8, 512)
        case .f16, .bf16: checkedProduct((columns + 7) / 8, 256)
        }
    }

    // MARK: Packing

    /// Interleaves `count` <= 16 rows at `source`, `rowBytes` apart, into a zeroed group at `target`.
    package func pack(
        _ source: UnsafeRawPointer, count: Int, rowBytes: Int, columns: Int, into target: UnsafeMutableRawPointer
    ) {
        let out = target.assumingMemoryBound(to: UInt8.self)
        for lane in 0..<count {
            let row = (source + lane * rowBytes).assumingMemoryBound(to: UInt8.self)
            switch self {
            case .q8_0: packQ8_0(row, lane, columns / 32, out)
            case .q4_0: packQ4_0(row, lane, columns / 32, out)
            case .q4_K: packQ4K(row, lane, columns / 256, out)
            case .q5_K: packQ5K(row, lane, columns / 256, out)
            case .q6_K: packQ6K(row, lane, columns / 256, out)
            case .f32: packWords(row, lane, columns, 4, out)
            case .f16: packWords(row, lane, columns, 2, out)
            case .bf16: packPairs(row, lane, columns, out)
            }
        }
    }

    /// Expands one of the 16 rows of a group.
    func expand(_ group: UnsafeRawPointer, lane: Int, columns: Int, into target: UnsafeMutablePointer<Float>) {
        let bytes = group.assumingMemoryBound(to: UInt8.self)
        switch self {
        case .q8_0: expandPackedQ8_0(bytes, lane, columns / 32, target)
        case .q4_0: expandPackedQ4_0(bytes, lane, columns / 32, target)
        case .q4_K: expandPackedQ4K(bytes, lane, columns / 256, target)
        case .q5_K: expandPackedQ5K(bytes, lane, columns / 256, target)
        case .q6_K: expandPackedQ6K(bytes, lane, columns / 256, target)
        case .f32:
            for k in 0..<columns { target[k] = (group + (k * 16 + lane) * 4).loadUnaligned(as: Float.self) }
        case .f16:
            for k in 0..<columns { target[k] = half(bytes, (k * 16 + lane) * 2) }
        case .bf16:
            for k in 0..<columns {
                let at = (k / 2 * 16 + lane) * 4 + k % 2 * 2
                target[k] = floatFromBFloat((group + at).loadUnaligned(as: UInt16.self))
            }
        }
    }
}
