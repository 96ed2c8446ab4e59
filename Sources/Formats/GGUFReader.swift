/// Reads little-endian scalars from a file in order, through a window, with every length checked
/// against what is left of the file before anything is allocated.
struct GGUFReader {
    let file: FileSource
    private(set) var position = 0
    private var window: [UInt8] = []
    private var windowStart = 0
    private static let windowBytes = 1 << 20

    init(file: FileSource) { self.file = file }

    var remaining: Int { file.size - position }

    private mutating func fill(_ count: Int) throws {
        guard count <= remaining else {
            throw Failure.corrupt(
                "\(file.path) is truncated: \(count) bytes wanted at offset \(position), \(remaining) left")
        }
        let offset = position - windowStart
        if offset >= 0, offset + count <= window.count { return }
        window = try file.read(count: min(max(count, Self.windowBytes), remaining), at: position)
        windowStart = position
    }

    mutating func integer<T: FixedWidthInteger>(_: T.Type = T.self) throws -> T {
        let size = T.bitWidth / 8
        try fill(size)
        var value: T = 0
        let start = position - windowStart
        for index in 0..<size { value |= T(truncatingIfNeeded: window[start + index]) << T(8 * index) }
        position += size
        return value
    }

    mutating func bytes(_ count: Int) throws -> [UInt8] {
        try fill(count)
        let start = position - windowStart
        position += count
        return Array(window[start..<start + count])
    }

    /// A 64-bit count that must leave room for `unit` bytes each in the rest of the file, and stay below a limit: what is
    /// read takes more memory than in the file, and files can be very large.
    mutating func count(unit: Int, of what: String, atMost limit: Int) throws -> Int {
        let raw = try integer(UInt64.self)
        guard let value = Int(exactly: raw), value <= remaining / unit else {
            throw Failure.corrupt(
                "\(file.path), offset \(position - 8): \(raw) \(what) cannot fit into the \(remaining) bytes left")
        }
        guard value <= limit else {
            throw Failure.corrupt("\(file.path), offset \(position - 8): \(raw) \(what); at most \(limit) are accepted")
        }
        return value
    }

    mutating func string() throws -> [UInt8] {
        let length = try count(unit: 1, of: "bytes of text", atMost: GGUF.Limits.stringBytes)
        return try bytes(length)
    }
}
