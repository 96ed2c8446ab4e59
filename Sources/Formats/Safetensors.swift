/// The tensors of one safetensors file. Format: an 8-byte header length, a JSON header, the data.
struct Safetensors {
    /// Names, types as the file writes them, shapes and places.
    struct Entry {
        let name: String
        let dtype: String
        let shape: [Int]
        let offset: Int
        let byteCount: Int
    }

    let file: FileSource
    let entries: [Entry]

    init(path: String) throws {
        file = try FileSource(path: path)
        guard file.size >= 10 else {
            throw Failure.corrupt("\(path) has \(file.size) bytes: too short to be a safetensors file")
        }
        let prefix = try file.read(count: 8, at: 0)
        let raw = (0..<8).reduce(UInt64(0)) { $0 | UInt64(prefix[$1]) << UInt64(8 * $1) }
        guard let length = Int(exactly: raw), length <= file.size - 8, length <= 1 << 28 else {
            throw Failure.corrupt("\(path): a header of \(raw) bytes does not fit into the file; it may be truncated")
        }
        let header: JSON
        do {
            header = try JSON(parsing: file.read(count: length, at: 8))
        } catch let failure as Failure {
            throw failure.prefixed("\(path), header")
        }
        guard let members = header.members else { throw Failure.corrupt("\(path): the header is not a JSON object") }
        let (data, size) = (8 + length, file.size - 8 - length)
        entries = try members.filter { $0.key != "__metadata__" }.map {
            try Self.entry($0.key, $0.value, path: path, data: data, size: size)
        }
        try checkPlaces()
    }

    /// The format gives every byte to one tensor at most.
    private func checkPlaces() throws {
        let places = entries.sorted { ($0.offset, $0.byteCount) < ($1.offset, $1.byteCount) }
        for (entry, next) in zip(places, places.dropFirst()) where entry.offset + entry.byteCount > next.offset {
            throw Failure.corrupt("\(file.path): the data of the tensors \(entry.name) and \(next.name) overlap")
        }
    }

    private static func entry(_ name: String, _ json: JSON, path: String, data: Int, size: Int) throws -> Entry {
        guard let dtype = json["dtype"]?.string, let shape = json["shape"]?.array,
            let offsets = json["data_offsets"]?.array, offsets.count == 2,
            let start = offsets[0].int, let end = offsets[1].int
        else { throw Failure.corrupt("\(path): the header entry of tensor \(name) is malformed") }
        guard start >= 0, start <= end, end <= size else {
            throw Failure.corrupt(
                "\(path): tensor \(name) (data bytes \(start) to \(end)) lies beyond the end of the file; it may be truncated"
            )
        }
        let sizes = shape.map(\.int)
        let dimensions = sizes.compactMap { $0 }
        guard dimensions.count == sizes.count, dimensions.allSatisfy({ $0 >= 0 }) else {
            throw Failure.corrupt("\(path): tensor \(name) has an impossible shape")
        }
        return Entry(name: name, dtype: dtype, shape: dimensions, offset: data + start, byteCount: end - start)
    }

    /// A tensor whose elements are needed: its type must be supported and its size agree.
    func tensor(_ entry: Entry, named name: String) throws -> TensorEntry {
        let types: [String: TensorType] = ["F32": .f32, "F16": .f16, "BF16": .bf16]
        guard let type = types[entry.dtype] else {
            throw Failure(
                .unsupportedQuantization,
                "\(file.path): unsupported quantization \(entry.dtype) in tensor \(entry.name); supported are F32, F16, BF16"
            )
        }
        guard !entry.shape.contains(0), TensorEntry.byteCount(type: type, shape: entry.shape) == entry.byteCount else {
            throw Failure.corrupt(
                "\(file.path): tensor \(entry.name) of shape \(entry.shape) and type \(entry.dtype) does not have \(entry.byteCount) bytes"
            )
        }
        return TensorEntry(
            name: name, type: type, shape: entry.shape, offset: entry.offset, byteCount: entry.byteCount, file: file)
    }
}
