/// The plan of a GGUF file (version 3) that is to be written: what stands before the data, and how the data is padded.
package struct GGUFLayout: Sendable {
    package struct Tensor: Sendable {
        package let name: String
        package let type: TensorType
        /// Outermost first.
        package let shape: [Int]

        package init(name: String, type: TensorType, shape: [Int]) {
            self.name = name
            self.type = type
            self.shape = shape
        }
    }

    package let tensors: [Tensor]
    /// Everything before the first tensor, padded.
    package let header: [UInt8]
    package let alignment: Int
    /// Bytes of each tensor, without what pads them.
    package let byteCounts: [Int]
    /// Bytes of the whole file.
    package let fileBytes: Int

    /// `metadata` holds entries as they stand in a file. Tensors lie one after another, in this order.
    package init(metadata: [[UInt8]], tensors: [Tensor], alignment: Int) throws {
        var header = Array("GGUF".utf8)
        header.appendInteger(UInt32(3))
        header.appendInteger(UInt64(tensors.count))
        header.appendInteger(UInt64(metadata.count))
        for entry in metadata { header += entry }
        var sizes: [Int] = []
        var end = 0
        for tensor in tensors {
            guard let size = TensorEntry.byteCount(type: tensor.type, shape: tensor.shape),
                let next = Self.padded(size, alignment).flatMap({ Self.sum(end, $0) })
            else {
                throw Failure.invalid(
                    "tensor \(tensor.name) of the shape \(tensor.shape) cannot be stored as \(tensor.type.name)")
            }
            header.appendTensor(tensor, offset: end)
            sizes.append(size)
            end = next
        }
        header += [UInt8](repeating: 0, count: Self.padding(header.count, alignment))
        guard let total = Self.sum(header.count, end) else { throw Failure.invalid("the file would be too large") }
        self.tensors = tensors
        self.header = header
        self.alignment = alignment
        byteCounts = sizes
        fileBytes = total
    }

    /// The bytes of zero that follow `count` bytes of data.
    package func padding(after count: Int) -> [UInt8] {
        [UInt8](repeating: 0, count: Self.padding(count, alignment))
    }

    private static func padding(_ count: Int, _ alignment: Int) -> Int {
        let rest = count % alignment
        return rest == 0 ? 0 : alignment - rest
    }

    private static func padded(_ count: Int, _ alignment: Int) -> Int? { sum(count, padding(count, alignment)) }

    private static func sum(_ first: Int, _ second: Int) -> Int? {
        let (sum, overflow) = first.addingReportingOverflow(second)
        return overflow ? nil : sum
    }
}

extension GGUF {
    /// The metadata byte for byte, but with these 32-bit numbers; those that the file lacks come last.
    package func metadataEntries(setting numbers: [(key: String, value: UInt32)]) throws -> [[UInt8]] {
        let kept = try entries.map { entry in
            try numbers.first { $0.key == entry.key }.map(Self.entry)
                ?? file.read(count: entry.byteCount, at: entry.offset)
        }
        return kept + numbers.filter { metadata[$0.key] == nil }.map(Self.entry)
    }

    private static func entry(_ key: String, _ value: UInt32) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendText(key)
        bytes.appendInteger(UInt32(4))  // the type uint32
        bytes.appendInteger(value)
        return bytes
    }
}

extension [UInt8] {
    fileprivate mutating func appendInteger(_ value: some FixedWidthInteger & UnsignedInteger) {
        for shift in stride(from: 0, to: value.bitWidth, by: 8) { append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    fileprivate mutating func appendText(_ text: String) {
        appendInteger(UInt64(text.utf8.count))
        self += text.utf8
    }

    fileprivate mutating func appendTensor(_ tensor: GGUFLayout.Tensor, offset: Int) {
        appendText(tensor.name)
        appendInteger(UInt32(tensor.shape.count))
        for size in tensor.shape.reversed() { appendInteger(UInt64(size)) }
        appendInteger(tensor.type.rawValue)
        appendInteger(UInt64(offset))
    }
}
