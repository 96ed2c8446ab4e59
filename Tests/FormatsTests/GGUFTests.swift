import Formats
import TestSupport
import Testing

@Suite struct GGUFTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func read(_ bytes: [UInt8]) throws -> GGUF { try GGUF(path: folder.write(bytes, to: "x.gguf")) }

    private func problem(_ bytes: [UInt8]) -> Failure? { failure { _ = try read(bytes) } }

    /// A file with one metadata entry.
    private func file(_ value: GGUFWriter.Value) -> GGUFWriter {
        var writer = GGUFWriter()
        writer.set("key", value)
        return writer
    }

    /// A small file with metadata of every type, and tensors.
    private static func sample(version: UInt32) -> GGUFWriter {
        var writer = GGUFWriter()
        writer.version = version
        writer.set("u8", .uint8(255))
        writer.set("i8", .int8(-128))
        writer.set("u16", .uint16(65535))
        writer.set("i16", .int16(-32768))
        writer.set("u32", .uint32(.max))
        writer.set("i32", .int32(.min))
        writer.set("u64", .uint64(1 << 40))
        writer.set("huge", .uint64(.max))
        writer.set("i64", .int64(.min))
        writer.set("f32", .float32(1.5))
        writer.set("f64", .float64(0.1))
        writer.set("true", .bool(1))
        writer.set("false", .bool(0))
        writer.set("text", .text("grüße\0"))
        writer.set("bytes", .string([0xFF, 0xC0, 0]))
        writer.set("texts", .array(type: 8, [.text("a"), .text(""), .string([0x80])]))
        writer.set("floats", .array(type: 6, [.float32(-1), .float32(.infinity)]))
        writer.set("doubles", .array(type: 12, [.float64(0.5), .float64(1e300)]))
        writer.set("bools", .array(type: 7, [.bool(1), .bool(0)]))
        writer.set("bytes8", .array(type: 0, [.uint8(1), .uint8(200)]))
        writer.set("shorts", .array(type: 3, [.int16(-1), .int16(7)]))
        writer.set("ints", .array(type: 5, [.int32(-5), .int32(.max)]))
        writer.set("longs", .array(type: 11, [.int64(.min)]))
        writer.set("empty", .array(type: 4, []))
        writer.set("nested", .array(type: 9, [.array(type: 4, [.uint32(1)]), .array(type: 8, [.text("x")])]))
        writer.add("a.weight", .f32, shape: [2, 3], littleEndian([1, 2, 3, 4, 5, 6]))
        writer.add("b", .q8_0, shape: [64], [UInt8](0..<68))
        writer.add("c", .q4_K, shape: [2, 1, 2, 256], [UInt8](repeating: 9, count: 4 * 144))
        return writer
    }

    @Test(arguments: [2, 3] as [UInt32])
    func everythingIsRead(version: UInt32) throws {
        let gguf = try read(Self.sample(version: version).bytes)
        #expect(gguf.version == version)
        #expect(gguf.metadata.count == 25)
        let limits = Int.min...Int.max
        let integers: [(String, Int)] = [
            ("u8", 255), ("i8", -128), ("u16", 65535), ("i16", -32768), ("u32", Int(UInt32.max)),
            ("i32", Int(Int32.min)), ("u64", 1 << 40), ("i64", .min),
        ]
        for (key, value) in integers { #expect(try gguf.int(key, in: limits) == value) }
        guard case .large(let huge) = gguf.metadata["huge"] else { throw Failure.corrupt("huge is no large number") }
        #expect(huge == .max)
        #expect(try gguf.float("f32") == 1.5)
        #expect(try gguf.float("f64") == 0.1)
        #expect(try gguf.float("u8") == 255)
        #expect(try gguf.bool("true") == true)
        #expect(try gguf.bool("false") == false)
        #expect(try gguf.string("text") == "grüße\0")
        #expect(try gguf.strings("texts") == [[0x61], [], [0x80]])
        #expect(try gguf.floats("floats") == [-1, .infinity])
        #expect(try gguf.floats("doubles") == [0.5, .infinity])
        #expect(try gguf.ints("bytes8") == [1, 200])
        #expect(try gguf.ints("shorts") == [-1, 7])
        #expect(try gguf.ints("ints") == [-5, Int64(Int32.max)])
        #expect(try gguf.ints("longs") == [.min])
        #expect(try gguf.ints("empty") == [])
        guard case .bools(let bools) = gguf.metadata["bools"], case .nested = gguf.metadata["nested"] else {
            throw Failure.corrupt("bools or nested have another type")
        }
        #expect(bools == [true, false])
    }

    @Test(arguments: [2, 3] as [UInt32])
    func tensorsLieWhereTheyWerePut(version: UInt32) throws {
        let sample = Self.sample(version: version)
        let gguf = try read(sample.bytes)
        #expect(gguf.tensors.map(\.name) == ["a.weight", "b", "c"])
        #expect(gguf.tensors.map(\.type) == [.f32, .q8_0, .q4_K])
        #expect(gguf.tensors.map(\.shape) == [[2, 3], [64], [2, 1, 2, 256]])
        for (entry, tensor) in zip(gguf.tensors, sample.tensors) {
            #expect(entry.byteCount == tensor.bytes.count)
            #expect(entry.offset % 32 == 0)
            #expect(try entry.file.read(count: entry.byteCount, at: entry.offset) == tensor.bytes)
        }
        #expect(try gguf.tensors[0].readFloats(limit: 6) == [1, 2, 3, 4, 5, 6])
        #expect(failure { _ = try gguf.tensors[0].readFloats(limit: 5) }?.code == .corruptFile)
        #expect(failure { _ = try gguf.tensors[1].readFloats(limit: 500) }?.code == .corruptFile)
    }

    @Test func typedAccessIsStrict() throws {
        let gguf = try read(Self.sample(version: 3).bytes)
        #expect(try gguf.int("absent") == nil)
        #expect(try gguf.strings("absent") == nil)
        for key in ["i8", "huge", "f32", "text", "ints", "u32"] {
            #expect(failure { _ = try gguf.int(key) }?.message.contains(key) == true)
        }
        for key in ["text", "bools", "huge"] { #expect(failure { _ = try gguf.float(key) }?.code == .corruptFile) }
        for key in ["u8", "text"] { #expect(failure { _ = try gguf.bool(key) }?.code == .corruptFile) }
        for key in ["bytes", "u8", "texts"] { #expect(failure { _ = try gguf.string(key) }?.code == .corruptFile) }
        for key in ["floats", "text"] { #expect(failure { _ = try gguf.strings(key) }?.code == .corruptFile) }
        for key in ["ints", "f32"] { #expect(failure { _ = try gguf.floats(key) }?.code == .corruptFile) }
        for key in ["floats", "u8"] { #expect(failure { _ = try gguf.ints(key) }?.code == .corruptFile) }
        let infinite = try read(file(.float32(.nan)).bytes)
        #expect(failure { _ = try infinite.float("key") }?.code == .corruptFile)
    }

    // MARK: Damage

    @Test(arguments: [2, 3] as [UInt32])
    func everyTruncationFails(version: UInt32) {
        let bytes = Self.sample(version: version).bytes
        // The last 32 bytes: the last tensor ends where the file does.
        for size in 0..<bytes.count {
            let problem = problem(Array(bytes[..<size]))
            #expect(problem?.code == .corruptFile, "cut to \(size) of \(bytes.count) bytes")
        }
        #expect(problem(bytes) == nil)
    }

    /// Flipped bits and overwritten bytes: a failure or a file that can be read, never a trap.
    @Test func mutationsNeverTrap() throws {
        var random = SplitMix64(seed: 1)
        let sources = [Self.sample(version: 2).bytes, Self.sample(version: 3).bytes]
        var (readable, refused) = (0, 0)
        for round in 0..<10_000 {
            var bytes = sources[round % 2]
            for _ in 0..<random.int(1..<4) {
                let place = random.int(0..<bytes.count)
                switch random.int(0..<3) {
                case 0: bytes[place] ^= 1 << UInt8(random.int(0..<8))
                case 1: bytes[place] = UInt8(truncatingIfNeeded: random.next())
                default: for at in place..<min(place + 8, bytes.count) { bytes[at] = 0xFF }
                }
            }
            do {
                let gguf = try read(bytes)
                for tensor in gguf.tensors { _ = try tensor.file.read(count: tensor.byteCount, at: tensor.offset) }
                readable += 1
            } catch let problem as Failure {
                #expect(!problem.message.isEmpty)
                refused += 1
            }
        }
        #expect(readable > 100 && refused > 100)
    }

    @Test func otherFilesAreRefused() {
        #expect(problem([])?.code == .corruptFile)
        #expect(problem([UInt8](repeating: 0, count: 1000))?.code == .corruptFile)
        #expect(problem(Array("GGML".utf8) + [UInt8](repeating: 0, count: 100))?.code == .corruptFile)
        for version in [0, 1, 4, 3 << 24, .max] as [UInt32] {
            #expect(problem(Self.sample(version: version).bytes)?.code == .unsupportedFormat)
        }
        #expect(failure { _ = try GGUF(path: folder.path) }?.code == .io)
        #expect(failure { _ = try GGUF(path: "/dev/null") }?.code == .io)
    }

    @Test func absurdCountsFailBeforeTheyAllocate() {
        let bytes = Self.sample(version: 3).bytes
        for place in [8, 16] {  // the numbers of tensors and of metadata entries
            for count in [.max, 1 << 63, 1 << 40, 1_000_000] as [UInt64] {
                var damaged = bytes
                for index in 0..<8 { damaged[place + index] = UInt8(truncatingIfNeeded: count >> UInt64(8 * index)) }
                #expect(problem(damaged)?.code == .corruptFile)
            }
        }
        // A text and an array that claim more than the file has: their lengths begin at bytes 39 and 43.
        for (value, place) in [(GGUFWriter.Value.text("abc"), 39), (.array(type: 0, [.uint8(1)]), 43)] {
            for count in [.max, 1 << 63, 1 << 40, 1000] as [UInt64] {
                var damaged = file(value).bytes
                for index in 0..<8 { damaged[place + index] = UInt8(truncatingIfNeeded: count >> UInt64(8 * index)) }
                #expect(problem(damaged)?.code == .corruptFile)
            }
        }
    }

    @Test func duplicatesAreRefused() {
        var keys = GGUFWriter()
        keys.metadata = [("a", .uint8(1)), ("b", .uint8(1)), ("a", .uint8(1))]
        #expect(problem(keys.bytes)?.message.contains("key a appears twice") == true)
        var tensors = GGUFWriter()
        for name in ["a", "b", "a"] { tensors.add(name, .f32, shape: [8], littleEndian([0, 0, 0, 0, 0, 0, 0, 0])) }
        #expect(problem(tensors.bytes)?.message.contains("tensor a appears twice") == true)
    }

    @Test func unknownTypesAndDeepNestingAreRefused() {
        func nested(_ depth: Int) -> GGUFWriter.Value {
            depth == 0 ? .array(type: 4, []) : .array(type: 9, [nested(depth - 1)])
        }
        #expect(problem(file(nested(7)).bytes) == nil)
        #expect(problem(file(nested(8)).bytes)?.code == .corruptFile)
        #expect(problem(file(nested(1000)).bytes)?.code == .corruptFile)
        #expect(problem(file(.array(type: 13, [])).bytes)?.code == .corruptFile)
        #expect(problem(file(.array(type: .max, [])).bytes)?.code == .corruptFile)
        #expect(problem(file(.array(type: 10, [.uint64(.max)])).bytes)?.code == .corruptFile)
        var unknown = file(.uint8(1)).bytes
        unknown[24 + 8 + 3] = 13
        #expect(problem(unknown)?.code == .corruptFile)
    }

    @Test func namesMustBeText() {
        var bytes = file(.uint8(1)).bytes
        bytes[24 + 8] = 0xFF
        #expect(problem(bytes)?.code == .corruptFile)
        var writer = GGUFWriter()
        writer.add("name", .f32, shape: [8], [UInt8](repeating: 0, count: 32))
        bytes = writer.bytes
        bytes[24 + 8] = 0xFF
        #expect(problem(bytes)?.code == .corruptFile)
    }

    @Test func alignmentIsFollowed() throws {
        for alignment in [1, 8, 64, 4096] {
            var writer = Self.sample(version: 3)
            writer.set("general.alignment", .uint32(UInt32(alignment)))
            writer.alignment = alignment
            let gguf = try read(writer.bytes)
            for (entry, tensor) in zip(gguf.tensors, writer.tensors) {
                #expect(entry.offset % alignment == 0)
                #expect(try entry.file.read(count: entry.byteCount, at: entry.offset) == tensor.bytes)
            }
        }
        for value in [.uint32(0), .uint32(3), .int32(-32), .uint32(1 << 21), .text("32")] as [GGUFWriter.Value] {
            #expect(problem(file(value, key: "general.alignment").bytes)?.code == .corruptFile)
        }
        var misaligned = Self.sample(version: 3)
        misaligned.tensors[1].offset = 31
        #expect(problem(misaligned.bytes)?.code == .corruptFile)
    }

    private func file(_ value: GGUFWriter.Value, key: String) -> GGUFWriter {
        var writer = GGUFWriter()
        writer.set(key, value)
        return writer
    }

    @Test func impossibleTensorsAreRefused() {
        let big = UInt64(1) << 62
        let shapes: [[UInt64]] = [
            [], [1, 1, 1, 1, 8], [0], [0, 8], [8, 0], [.max], [1 << 63], [big, 8], [big, big, big, big],
            [1 << 32, 1 << 32],
            [1 << 61, 4], [9], [1000],
        ]
        for shape in shapes {
            var writer = GGUFWriter()
            writer.add("x", .f32, shape: [8], [UInt8](repeating: 0, count: 32))
            writer.tensors[0].shape = shape
            #expect(problem(writer.bytes)?.code == .corruptFile, "\(shape)")
        }
        for shape in [[31], [33], [64, 16], [32, 1 << 59]] as [[UInt64]] {  // not whole blocks, or too many
            var writer = GGUFWriter()
            writer.add("x", .q4_0, shape: [32], [UInt8](repeating: 0, count: 18))
            writer.tensors[0].shape = shape
            #expect(problem(writer.bytes)?.code == .corruptFile, "\(shape)")
        }
        for offset in [32, 1 << 20, 1 << 63, .max, .max - 31] as [UInt64] {
            var writer = GGUFWriter()
            writer.add("x", .f32, shape: [8], [UInt8](repeating: 0, count: 32))
            writer.tensors[0].offset = offset
            #expect(problem(writer.bytes)?.code == .corruptFile, "\(offset)")
        }
        var unsupported = GGUFWriter()
        unsupported.add("x", .f32, shape: [8], [UInt8](repeating: 0, count: 32))
        unsupported.tensors[0].type = 16
        let problem = problem(unsupported.bytes)
        #expect(problem?.code == .unsupportedQuantization)
        #expect(problem?.message.contains("IQ2_XXS") == true)
    }
}
