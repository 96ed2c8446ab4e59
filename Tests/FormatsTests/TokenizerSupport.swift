import Formats
import Glibc
import TestSupport

/// A file or folder of Fixtures/.
func fixture(_ relative: String) -> String {
    let here = #filePath
    return here.prefix(through: here.lastIndex(of: "/") ?? here.startIndex) + "Fixtures/" + relative
}

func fileBytes(_ path: String) throws -> [UInt8] { try FileSource.contents(of: path, limit: 1 << 28) }

func haveShared(_ relative: String) -> Bool { sharedTestData(relative) != nil }

func shared(_ relative: String) throws -> String {
    guard let path = sharedTestData(relative) else { throw Failure(.notFound, "\(relative) is not in FTK_TEST_DATA") }
    return path
}

/// Texts, and what PyPI's `tokenizers` makes of them: see Tests/Golden/make_tokenizer_golden.py.
struct TokenizerGolden: Sendable {
    struct Encodings: Sendable {
        let ids: [[Int32]]
        /// By index of the text: without control tokens being recognised, where that differs.
        let plain: [Int: [Int32]]
        /// "Hello, world!" with the tokens that the post-processor adds.
        let framed: [Int32]
        /// By index: what decoding gives, where that is not the text.
        let decoded: [Int: String]
    }

    let texts: [String]
    let sets: [String: Encodings]
    /// By name: Unicode scalars of each word of each text.
    let splits: [String: [[Int]]]
    /// FNV-1a of the ids of each prompt of prompts/python.jsonl, in the vocabulary of the tiny pair.
    let prompts: [String]
    /// The same for large texts in the vocabulary of SmolLM2.
    let large: [String]

    static func load() throws -> TokenizerGolden {
        let root = try JSON(parsing: try fileBytes(fixture("tokenizer/golden.json")))
        func list(_ json: JSON?) -> [Int32] { (json?.array ?? []).compactMap { $0.int.map { Int32($0) } } }
        var sets: [String: Encodings] = [:]
        for set in root["sets"]?.members ?? [] {
            var plain: [Int: [Int32]] = [:]
            for entry in set.value["plain"]?.members ?? [] { plain[Int(entry.key) ?? -1] = list(entry.value) }
            var decoded: [Int: String] = [:]
            for entry in set.value["decoded"]?.members ?? [] { decoded[Int(entry.key) ?? -1] = entry.value.string }
            sets[set.key] = Encodings(
                ids: (set.value["ids"]?.array ?? []).map(list), plain: plain, framed: list(set.value["framed"]),
                decoded: decoded)
        }
        var splits: [String: [[Int]]] = [:]
        for entry in root["splits"]?.members ?? [] {
            splits[entry.key] = (entry.value.array ?? []).map { list($0).map { Int($0) } }
        }
        return TokenizerGolden(
            texts: (root["texts"]?.array ?? []).compactMap(\.string), sets: sets, splits: splits,
            prompts: (root["prompts"]?.array ?? []).compactMap(\.string),
            large: (root["large"]?.array ?? []).compactMap(\.string))
    }
}

/// Splitmix64: the same numbers on every run.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    /// Random scalars of all planes, many of them from small ranges so that they interact.
    mutating func text(scalars count: Int) -> String {
        var text = String.UnicodeScalarView()
        while text.count < count {
            let limit: UInt32 = [0x80, 0x80, 0x250, 0x3100, 0x110000][Int(next() % 5)]
            if let scalar = Unicode.Scalar(UInt32(next() % UInt64(limit))) { text.append(scalar) }
        }
        return String(text)
    }
}

/// A file that is removed with the object.
final class TemporaryFile {
    let path: String

    init(_ bytes: [UInt8], name: String = "file") throws {
        path = try TemporaryFile.folder() + "/" + name
        try write(bytes, to: path)
    }

    deinit {
        unlink(path)
        rmdir(String(path.prefix(upTo: path.lastIndex(of: "/") ?? path.startIndex)))
    }

    static func folder() throws -> String {
        var template = Array("/tmp/ftk-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure(.io, "mkdtemp failed") }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

func write(_ bytes: [UInt8], to path: String) throws {
    guard let file = fopen(path, "wb") else { throw Failure(.io, "cannot create \(path)") }
    defer { fclose(file) }
    guard fwrite(bytes, 1, bytes.count, file) == bytes.count else { throw Failure(.io, "cannot write \(path)") }
}

/// Writes the metadata of a GGUF file without tensors.
struct GGUFWriter {
    private var body: [UInt8] = []
    private var count: UInt64 = 0

    private static func bytes(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    private static func string(_ text: String) -> [UInt8] { bytes(UInt64(text.utf8.count)) + Array(text.utf8) }

    private mutating func add(_ key: String, _ type: UInt32, _ value: [UInt8]) {
        body += Self.string(key) + Self.bytes(type) + value
        count += 1
    }

    private mutating func add(_ key: String, array type: UInt32, _ elements: [[UInt8]]) {
        add(key, 9, Self.bytes(type) + Self.bytes(UInt64(elements.count)) + elements.joined())
    }

    mutating func add(_ key: String, _ value: String) { add(key, 8, Self.string(value)) }
    mutating func add(_ key: String, _ value: Bool) { add(key, 7, [value ? 1 : 0]) }
    mutating func add(_ key: String, _ value: UInt32) { add(key, 4, Self.bytes(value)) }
    mutating func add(_ key: String, strings value: [String]) { add(key, array: 8, value.map(Self.string)) }
    mutating func add(_ key: String, floats value: [Float]) {
        add(key, array: 6, value.map { Self.bytes($0.bitPattern) })
    }
    mutating func add(_ key: String, integers value: [Int32]) { add(key, array: 5, value.map { Self.bytes($0) }) }

    /// The whole file.
    var bytes: [UInt8] {
        Array("GGUF".utf8) + Self.bytes(UInt32(3)) + Self.bytes(UInt64(0)) + Self.bytes(count) + body
    }

    func tokenizer() throws -> Tokenizer {
        let file = try TemporaryFile(bytes)
        return try Tokenizer(gguf: try GGUF(path: file.path))
    }
}
