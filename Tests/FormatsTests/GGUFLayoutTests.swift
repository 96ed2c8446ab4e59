import Formats
import TestSupport
import Testing

/// Headers that are written: what a reader finds in them.
@Suite struct GGUFLayoutTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// A file with metadata of several types in no sorted order.
    private static func source(alignment: UInt32? = nil) -> GGUFWriter {
        var writer = GGUFWriter()
        writer.set("z.last", .text("grüße\0"))
        if let alignment {
            writer.set("general.alignment", .uint32(alignment))
            writer.alignment = Int(alignment)
        }
        writer.set("general.file_type", .uint32(1))
        writer.set("texts", .array(type: 8, [.text("a"), .text(""), .string([0x80, 0xFF])]))
        writer.set("nested", .array(type: 9, [.array(type: 4, [.uint32(1)]), .array(type: 8, [.text("x")])]))
        writer.set("huge", .uint64(.max))
        writer.set("odd.bool", .bool(7))
        writer.set("nan", .float64(.nan))
        return writer
    }

    private func read(_ writer: GGUFWriter) throws -> GGUF { try GGUF(path: folder.write(writer.bytes, to: "in.gguf")) }

    @Test func metadataIsKeptByteForByte() throws {
        let source = Self.source()
        let file = try read(source)
        let entries = try file.metadataEntries(setting: [])
        #expect(file.entries.map(\.key) == source.metadata.map(\.key))
        // The writer's bytes: 24 of counts, the entries, and padding.
        #expect(Array(source.bytes[24..<24 + entries.joined().count]) == Array(entries.joined()))
    }

    @Test func numbersAreReplacedInPlaceOrAdded() throws {
        var source = Self.source()
        let file = try read(source)
        let entries = try file.metadataEntries(setting: [("general.file_type", 7), ("general.quantization_version", 2)])
        source.metadata[source.metadata.firstIndex { $0.key == "general.file_type" } ?? 0].value = .uint32(7)
        source.metadata.append(("general.quantization_version", .uint32(2)))
        #expect(entries.count == source.metadata.count)
        #expect(Array(source.bytes[24..<24 + entries.joined().count]) == Array(entries.joined()))
    }

    @Test(arguments: [nil, 1, 32, 64, 4096] as [UInt32?])
    func tensorsAreAligned(alignment: UInt32?) throws {
        let file = try read(Self.source(alignment: alignment))
        #expect(try file.alignment == Int(alignment ?? 32))
        let tensors = [
            GGUFLayout.Tensor(name: "a.weight", type: .q8_0, shape: [3, 32]),
            GGUFLayout.Tensor(name: "b", type: .f32, shape: [5]),
            GGUFLayout.Tensor(name: "ü", type: .q4_K, shape: [1, 2, 2, 512]),
            GGUFLayout.Tensor(name: "c", type: .f16, shape: [1, 1]),
        ]
        let layout = try GGUFLayout(
            metadata: try file.metadataEntries(setting: []), tensors: tensors, alignment: try file.alignment)
        #expect(layout.byteCounts == [102, 20, 8 * 144, 2])
        var bytes = layout.header
        for (index, count) in layout.byteCounts.enumerated() {
            #expect(bytes.count % layout.alignment == 0)
            bytes += [UInt8](repeating: UInt8(index + 1), count: count) + layout.padding(after: count)
        }
        #expect(bytes.count == layout.fileBytes)
        let result = try GGUF(path: folder.write(bytes, to: "out.gguf"))
        #expect(result.version == 3)
        #expect(result.entries.map(\.key) == file.entries.map(\.key))
        #expect(result.tensors.map(\.name) == tensors.map(\.name))
        #expect(result.tensors.map(\.type) == tensors.map(\.type))
        #expect(result.tensors.map(\.shape) == tensors.map(\.shape))
        for (index, entry) in result.tensors.enumerated() {
            let data = try entry.file.read(count: entry.byteCount, at: entry.offset)
            #expect(data.allSatisfy { $0 == UInt8(index + 1) } && data.count == layout.byteCounts[index])
        }
    }

    @Test func impossibleTensorsAreRefused() {
        for (type, shape) in [(TensorType.q8_0, [2, 33]), (.f32, [.max, 4]), (.f16, [1 << 40, 1 << 40])] {
            let tensor = GGUFLayout.Tensor(name: "w", type: type, shape: shape)
            let problem = failure { _ = try GGUFLayout(metadata: [], tensors: [tensor], alignment: 32) }
            #expect(problem?.code == .invalidArgument)
        }
        // Each fits alone.
        let half = GGUFLayout.Tensor(name: "w", type: .f32, shape: [1 << 60])
        let problem = failure { _ = try GGUFLayout(metadata: [], tensors: [half, half], alignment: 32) }
        #expect(problem?.message.contains("w") == true)
    }
}
