/// A GGUF file (versions 2 and 3): its metadata and the places of its tensors.
/// Format: the public GGUF specification. All lengths and offsets are checked here, once.
package struct GGUF: Sendable {
    package enum Value: Sendable {
        case integer(Int64)
        /// A 64-bit unsigned value beyond `Int64.max`.
        case large(UInt64)
        case float(Double)
        case bool(Bool)
        /// Bytes as stored; not necessarily valid UTF-8.
        case string([UInt8])
        case integers([Int64])
        case floats([Float])
        case bools([Bool])
        case strings([[UInt8]])
        /// An array of arrays: read past, nothing here uses one.
        case nested
    }

    /// Bounds of what a header may hold, far above any real file.
    enum Limits {
        static let entries = 1 << 20
        static let arrayElements = 1 << 24
        static let stringBytes = 1 << 26
        static let headerBytes = 1 << 30
    }

    /// A metadata entry as it stands in the file: key, type and value.
    package struct Entry: Sendable {
        package let key: String
        let offset: Int
        let byteCount: Int
    }

    package let file: FileSource
    package let version: UInt32
    package let metadata: [String: Value]
    /// In the order of the file.
    package let entries: [Entry]
    package let tensors: [TensorEntry]

    /// With `metadataOnly` the tensors are not looked at: a tokenizer can be read from a file whose weights are of an
    /// unknown type, or cut off.
    package init(path: String, metadataOnly: Bool = false) throws {
        file = try FileSource(path: path)
        guard file.size >= 24 else {
            throw Failure.corrupt("\(path) has \(file.size) bytes: too short to be a GGUF file")
        }
        var reader = GGUFReader(file: file)
        let magic = try reader.bytes(4)
        guard magic == Array("GGUF".utf8) else {
            throw Failure.corrupt("\(path) is not a GGUF file: it does not start with \"GGUF\"")
        }
        version = try reader.integer()
        guard version == 2 || version == 3 else {
            let hint = version.byteSwapped == 3 ? " (a big-endian file)" : ""
            throw Failure.unsupported("\(path): GGUF version \(version)\(hint) is not supported; 2 and 3 are")
        }
        let tensorCount = try reader.count(unit: 24, of: "tensors", atMost: Limits.entries)
        let metadataCount = try reader.count(unit: 12, of: "metadata entries", atMost: Limits.entries)
        (metadata, entries) = try Self.readMetadata(&reader, count: metadataCount)
        tensors =
            metadataOnly
            ? [] : try Self.readTensors(&reader, count: tensorCount, alignment: Self.alignment(metadata, path: path))
    }

    // MARK: Metadata

    private static func readMetadata(
        _ reader: inout GGUFReader, count: Int
    ) throws -> (metadata: [String: Value], entries: [Entry]) {
        var result: [String: Value] = [:]
        var entries: [Entry] = []
        for _ in 0..<count {
            let start = reader.position
            let keyBytes = try reader.string()
            guard let key = String(validating: keyBytes, as: UTF8.self) else {
                throw Failure.corrupt("\(reader.file.path): a metadata key is not valid UTF-8")
            }
            guard reader.position <= Limits.headerBytes else {
                throw Failure.corrupt("\(reader.file.path): the metadata exceeds \(Limits.headerBytes) bytes")
            }
            let type = try reader.integer(UInt32.self)
            let value = try readValue(&reader, type: type, key: key, depth: 0)
            guard result.updateValue(value, forKey: key) == nil else {
                throw Failure.corrupt("\(reader.file.path): metadata key \(key) appears twice")
            }
            entries.append(Entry(key: key, offset: start, byteCount: reader.position - start))
        }
        return (result, entries)
    }

    private static func readValue(
        _ reader: inout GGUFReader, type: UInt32, key: String, depth: Int
    ) throws -> Value {
        switch type {
        case 0...5, 10, 11: try readInteger(&reader, type: type)
        case 6: .float(Double(Float(bitPattern: try reader.integer())))
        case 12: .float(Double(bitPattern: try reader.integer()))
        case 7: .bool(try reader.integer(UInt8.self) != 0)
        case 8: .string(try reader.string())
        case 9: try readArray(&reader, key: key, depth: depth)
        default: throw Failure.corrupt("\(reader.file.path): metadata \(key) has the unknown value type \(type)")
        }
    }

    private static func readInteger(_ reader: inout GGUFReader, type: UInt32) throws -> Value {
        switch type {
        case 0: return .integer(Int64(try reader.integer(UInt8.self)))
        case 1: return .integer(Int64(try reader.integer(Int8.self)))
        case 2: return .integer(Int64(try reader.integer(UInt16.self)))
        case 3: return .integer(Int64(try reader.integer(Int16.self)))
        case 4: return .integer(Int64(try reader.integer(UInt32.self)))
        case 5: return .integer(Int64(try reader.integer(Int32.self)))
        case 11: return .integer(try reader.integer(Int64.self))
        default:
            let raw = try reader.integer(UInt64.self)
            return Int64(exactly: raw).map { .integer($0) } ?? .large(raw)
        }
    }

    private static func readArray(_ reader: inout GGUFReader, key: String, depth: Int) throws -> Value {
        guard depth < 8 else { throw Failure.corrupt("\(reader.file.path): metadata \(key) is nested too deeply") }
        let type = try reader.integer(UInt32.self)
        let sizes: [UInt32: Int] = [
            0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 8: 8, 9: 12, 10: 8, 11: 8, 12: 8,
        ]
        guard let unit = sizes[type] else {
            throw Failure.corrupt("\(reader.file.path): metadata \(key) is an array of the unknown type \(type)")
        }
        let count = try reader.count(unit: unit, of: "elements of \(key)", atMost: Limits.arrayElements)
        switch type {
        case 6: return .floats(try (0..<count).map { _ in Float(bitPattern: try reader.integer()) })
        case 12: return .floats(try (0..<count).map { _ in Float(Double(bitPattern: try reader.integer())) })
        case 7: return .bools(try (0..<count).map { _ in try reader.integer(UInt8.self) != 0 })
        case 8: return .strings(try (0..<count).map { _ in try reader.string() })
        case 9:
            for _ in 0..<count { _ = try readArray(&reader, key: key, depth: depth + 1) }
            return .nested
        default:
            return .integers(
                try (0..<count).map { _ in
                    guard case .integer(let value) = try readInteger(&reader, type: type) else {
                        throw Failure.corrupt("\(reader.file.path): an element of \(key) is out of range")
                    }
                    return value
                })
        }
    }

    // MARK: Tensors

    /// What the places of tensors are multiples of.
    package var alignment: Int { get throws { try Self.alignment(metadata, path: file.path) } }

    private static func alignment(_ metadata: [String: Value], path: String) throws -> Int {
        guard let value = metadata["general.alignment"] else { return 32 }
        guard case .integer(let raw) = value, raw > 0, raw <= 1 << 20, raw & (raw - 1) == 0 else {
            throw Failure.corrupt("\(path): general.alignment must be a power of two up to 1048576")
        }
        return Int(raw)
    }

    private struct Header {
        let name: String
        let type: TensorType
        let shape: [Int]
        let offset: UInt64
    }

    private static func readTensors(_ reader: inout GGUFReader, count: Int, alignment: Int) throws -> [TensorEntry] {
        let headers = try (0..<count).map { _ in try readHeader(&reader) }
        let path = reader.file.path
        let dataStart = (reader.position + alignment - 1) / alignment * alignment
        var seen = Set<String>()
        let entries = try headers.map { header in
            guard seen.insert(header.name).inserted else {
                throw Failure.corrupt("\(path): tensor \(header.name) appears twice")
            }
            guard let byteCount = TensorEntry.byteCount(type: header.type, shape: header.shape) else {
                throw Failure.corrupt(
                    "\(path): tensor \(header.name) of type \(header.type.name) has the impossible shape \(header.shape)"
                )
            }
            guard header.offset % UInt64(alignment) == 0, let relative = Int(exactly: header.offset),
                dataStart <= reader.file.size, relative <= reader.file.size - dataStart,
                byteCount <= reader.file.size - dataStart - relative
            else {
                throw Failure.corrupt(
                    "\(path): tensor \(header.name) (\(byteCount) bytes at data offset \(header.offset)) lies beyond the "
                        + "end of the file or is misaligned; the file may be truncated")
            }
            return TensorEntry(
                name: header.name, type: header.type, shape: header.shape, offset: dataStart + relative,
                byteCount: byteCount, file: reader.file)
        }
        try checkDisjoint(entries, path: path)
        return entries
    }

    /// Tensors that share bytes would let a small file ask for any amount of memory.
    private static func checkDisjoint(_ entries: [TensorEntry], path: String) throws {
        let ordered = entries.sorted { ($0.offset, $0.byteCount) < ($1.offset, $1.byteCount) }
        for (first, second) in zip(ordered, ordered.dropFirst()) where first.offset + first.byteCount > second.offset {
            throw Failure.corrupt("\(path): tensors \(first.name) and \(second.name) overlap")
        }
    }

    private static func readHeader(_ reader: inout GGUFReader) throws -> Header {
        let path = reader.file.path
        guard let name = String(validating: try reader.string(), as: UTF8.self) else {
            throw Failure.corrupt("\(path): a tensor name is not valid UTF-8")
        }
        let dimensions = try reader.integer(UInt32.self)
        guard (1...4).contains(dimensions) else {
            throw Failure.corrupt("\(path): tensor \(name) has \(dimensions) dimensions; 1 to 4 are possible")
        }
        var shape: [Int] = []
        for _ in 0..<dimensions {
            let raw = try reader.integer(UInt64.self)
            guard raw > 0, let size = Int(exactly: raw) else {
                throw Failure.corrupt("\(path): tensor \(name) has a dimension of \(raw)")
            }
            shape.insert(size, at: 0)  // GGUF lists the innermost dimension first.
        }
        let rawType = try reader.integer(UInt32.self)
        guard let type = TensorType(rawValue: rawType) else {
            throw Failure(
                .unsupportedQuantization,
                "\(path): unsupported quantization \(TensorType.name(ofRawValue: rawType)) in tensor \(name); supported are "
                    + TensorType.allCases.map(\.name).joined(separator: ", "))
        }
        return Header(name: name, type: type, shape: shape, offset: try reader.integer(UInt64.self))
    }
}

// MARK: Typed access

extension GGUF {
    private func mistyped(_ key: String, _ wanted: String) -> Failure {
        Failure.corrupt("\(file.path): metadata \(key) is not \(wanted)")
    }

    /// nil when absent; an error when present with another type or outside `range`.
    package func int(_ key: String, in range: ClosedRange<Int> = 0...Int(Int32.max)) throws -> Int? {
        guard let value = metadata[key] else { return nil }
        guard case .integer(let raw) = value, let int = Int(exactly: raw), range.contains(int) else {
            throw mistyped(key, "an integer from \(range.lowerBound) to \(range.upperBound)")
        }
        return int
    }

    /// nil when absent; an error when present and not a finite number.
    package func float(_ key: String) throws -> Double? {
        switch metadata[key] {
        case nil: return nil
        case .float(let value) where value.isFinite: return value
        case .integer(let value): return Double(value)
        default: throw mistyped(key, "a finite number")
        }
    }

    package func bool(_ key: String) throws -> Bool? {
        guard let value = metadata[key] else { return nil }
        guard case .bool(let bool) = value else { throw mistyped(key, "a boolean") }
        return bool
    }

    /// Valid UTF-8 text.
    package func string(_ key: String) throws -> String? {
        guard let value = metadata[key] else { return nil }
        guard case .string(let bytes) = value, let text = String(validating: bytes, as: UTF8.self) else {
            throw mistyped(key, "a UTF-8 string")
        }
        return text
    }

    package func strings(_ key: String) throws -> [[UInt8]]? {
        guard let value = metadata[key] else { return nil }
        guard case .strings(let array) = value else { throw mistyped(key, "an array of strings") }
        return array
    }

    package func floats(_ key: String) throws -> [Float]? {
        guard let value = metadata[key] else { return nil }
        guard case .floats(let array) = value else { throw mistyped(key, "an array of floats") }
        return array
    }

    package func ints(_ key: String) throws -> [Int64]? {
        guard let value = metadata[key] else { return nil }
        guard case .integers(let array) = value else { throw mistyped(key, "an array of integers") }
        return array
    }
}
