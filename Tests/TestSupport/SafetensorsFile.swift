import Formats

/// A safetensors file, to be taken apart, changed and written again; malformed ones too.
package struct SafetensorsFile: Sendable {
    package struct Entry: Sendable {
        package var name: String
        package var type: String
        package var shape: [Int]
        package var start: Int
        package var end: Int
    }

    package var entries: [Entry]
    package var data: [UInt8]
    /// Instead of the true length of the header.
    package var headerLength: UInt64?

    package init(_ bytes: [UInt8]) throws {
        let length = (0..<8).reduce(0) { $0 | Int(bytes[$1]) << (8 * $1) }
        data = Array(bytes[(8 + length)...])
        entries = try (JSON(parsing: Array(bytes[8..<8 + length])).members ?? []).compactMap { member in
            guard member.key != "__metadata__" else { return nil }
            guard let type = member.value["dtype"]?.string, let shape = member.value["shape"]?.array,
                let offsets = member.value["data_offsets"]?.array?.compactMap(\.int), offsets.count == 2
            else { throw Failure.corrupt("the fixture is malformed") }
            return Entry(
                name: member.key, type: type, shape: shape.compactMap(\.int), start: offsets[0], end: offsets[1])
        }
    }

    package var header: String {
        let members = entries.map {
            "\"\($0.name)\":{\"dtype\":\"\($0.type)\",\"shape\":\($0.shape),\"data_offsets\":[\($0.start),\($0.end)]}"
        }
        return "{" + members.joined(separator: ",") + "}"
    }

    package var bytes: [UInt8] { Self.bytes(header: header, length: headerLength, data: data) }

    package static func bytes(header: String, length: UInt64? = nil, data: [UInt8]) -> [UInt8] {
        let text = Array(header.utf8)
        let size = length ?? UInt64(text.count)
        return (0..<8).map { UInt8(truncatingIfNeeded: size >> UInt64(8 * $0)) } + text + data
    }

    package mutating func change(_ name: String, _ body: (inout Entry) -> Void) {
        for index in entries.indices where entries[index].name == name { body(&entries[index]) }
    }
}
