/// A hash that tells contents from each other: FNV-1a with 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv). No protection
/// against someone who wants two contents to look the same.
package struct Fingerprint: Sendable {
    package private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    package init() {}

    package mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { value = (value ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    }

    package mutating func add(_ number: Int) {
        for shift in stride(from: 0, to: 64, by: 8) { add(CollectionOfOne(UInt8(truncatingIfNeeded: number >> shift))) }
    }

    /// A text and its length, so that texts that follow each other do not run together.
    package mutating func add(_ text: String) {
        add(text.utf8.count)
        add(text.utf8)
    }

    /// 16 digits.
    package var hexadecimal: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

extension Checkpoint {
    private static let pageBytes = 4096
    /// Of each file.
    private static let sampledPages = 32

    /// Tells models from each other without reading them whole: the table of tensors, and pages all over their files.
    package func fingerprint() throws -> UInt64 {
        var hash = Fingerprint()
        var files: [String: FileSource] = [:]
        for tensor in tensors.values.sorted(by: { $0.name < $1.name }) {
            hash.add(tensor.name)
            hash.add(tensor.type.name)
            hash.add(tensor.offset)
            for size in tensor.shape { hash.add(size) }
            files[tensor.file.path] = tensor.file
        }
        for (_, file) in files.sorted(by: { $0.key < $1.key }) {
            hash.add(file.size)
            let last = max(0, file.size - Self.pageBytes)
            for page in 0..<Self.sampledPages {
                let offset = last / (Self.sampledPages - 1) * page
                hash.add(try file.read(count: min(Self.pageBytes, file.size), at: offset))
            }
        }
        return hash.value
    }
}
