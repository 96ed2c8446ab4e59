package import Formats

/// Writes GGUF files, malformed ones too: nothing is checked.
package struct GGUFWriter: Sendable {
    package indirect enum Value: Sendable {
        case uint8(UInt8), int8(Int8), uint16(UInt16), int16(Int16), uint32(UInt32), int32(Int32)
        case uint64(UInt64), int64(Int64), float32(Float), float64(Double), bool(UInt8)
        case string([UInt8])
        /// All elements are of `type`, one of the numbers of the format.
        case array(type: UInt32, [Value])

        package static func text(_ text: String) -> Value { .string(Array(text.utf8)) }
    }

    package struct Tensor: Sendable {
        package var name: String
        package var type: UInt32
        /// Outermost first.
        package var shape: [UInt64]
        package var bytes: [UInt8]
        /// Instead of the true place in the data.
        package var offset: UInt64?
    }

    package var version: UInt32 = 3
    package var alignment = 32
    package var metadata: [(key: String, value: Value)] = []
    package var tensors: [Tensor] = []

    package init() {}

    package mutating func add(_ name: String, _ type: TensorType, shape: [Int], _ bytes: [UInt8]) {
        tensors.append(Tensor(name: name, type: type.rawValue, shape: shape.map { UInt64($0) }, bytes: bytes))
    }

    package mutating func set(_ key: String, _ value: Value) {
        metadata.removeAll { $0.key == key }
        metadata.append((key, value))
    }

    /// Takes over the metadata whose keys begin with `prefix`, in order of the keys.
    package mutating func copy(_ prefix: String, from gguf: GGUF) {
        for (key, value) in gguf.metadata.sorted(by: { $0.key < $1.key }) where key.hasPrefix(prefix) {
            metadata.append((key, Value(value)))
        }
    }

    package var bytes: [UInt8] {
        var out = Array("GGUF".utf8)
        append(version, to: &out)
        append(UInt64(tensors.count), to: &out)
        append(UInt64(metadata.count), to: &out)
        for (key, value) in metadata {
            append(Array(key.utf8), to: &out)
            append(value.type, to: &out)
            append(value, to: &out)
        }
        var place: UInt64 = 0
        for tensor in tensors {
            append(Array(tensor.name.utf8), to: &out)
            append(UInt32(tensor.shape.count), to: &out)
            for size in tensor.shape.reversed() { append(size, to: &out) }
            append(tensor.type, to: &out)
            append(tensor.offset ?? place, to: &out)
            place += UInt64(padded(tensor.bytes.count))
        }
        out += [UInt8](repeating: 0, count: padded(out.count) - out.count)
        for tensor in tensors {
            out += tensor.bytes
            out += [UInt8](repeating: 0, count: padded(tensor.bytes.count) - tensor.bytes.count)
        }
        return out
    }

    private func padded(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }

    private func append(_ value: some FixedWidthInteger, to out: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { out += $0 }
    }

    private func append(_ text: [UInt8], to out: inout [UInt8]) {
        append(UInt64(text.count), to: &out)
        out += text
    }

    private func append(_ value: Value, to out: inout [UInt8]) {
        switch value {
        case .uint8(let value), .bool(let value): append(value, to: &out)
        case .int8(let value): append(value, to: &out)
        case .uint16(let value): append(value, to: &out)
        case .int16(let value): append(value, to: &out)
        case .uint32(let value): append(value, to: &out)
        case .int32(let value): append(value, to: &out)
        case .uint64(let value): append(value, to: &out)
        case .int64(let value): append(value, to: &out)
        case .float32(let value): append(value.bitPattern, to: &out)
        case .float64(let value): append(value.bitPattern, to: &out)
        case .string(let text): append(text, to: &out)
        case .array(let type, let elements):
            append(type, to: &out)
            append(UInt64(elements.count), to: &out)
            for element in elements { append(element, to: &out) }
        }
    }
}

extension GGUFWriter.Value {
    /// The number of the type in the format.
    package var type: UInt32 {
        switch self {
        case .uint8: 0
        case .int8: 1
        case .uint16: 2
        case .int16: 3
        case .uint32: 4
        case .int32: 5
        case .float32: 6
        case .bool: 7
        case .string: 8
        case .array: 9
        case .uint64: 10
        case .int64: 11
        case .float64: 12
        }
    }

    /// A value that was read, in the narrowest type that files use for such values.
    init(_ value: GGUF.Value) {
        self =
            switch value {
            case .integer(let value): Int32(exactly: value).map { .int32($0) } ?? .int64(value)
            case .large(let value): .uint64(value)
            case .float(let value): .float64(value)
            case .bool(let value): .bool(value ? 1 : 0)
            case .string(let text): .string(text)
            case .integers(let values): .array(type: 11, values.map { .int64($0) })
            case .floats(let values): .array(type: 6, values.map { .float32($0) })
            case .bools(let values): .array(type: 7, values.map { .bool($0 ? 1 : 0) })
            case .strings(let values): .array(type: 8, values.map { .string($0) })
            case .nested: .array(type: 4, [])
            }
    }
}
