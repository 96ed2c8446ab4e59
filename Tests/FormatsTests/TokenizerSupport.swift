import Formats
import TestSupport

/// A file or folder of Fixtures/.
func fixture(_ relative: String) -> String {
    testFile("FormatsTests/Fixtures/" + relative)
}

func fileBytes(_ path: String) throws -> [UInt8] { try contents(of: path) }

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

extension SplitMix64 {
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

extension GGUFWriter {
    mutating func add(_ key: String, _ value: String) { set(key, .text(value)) }
    mutating func add(_ key: String, _ value: Bool) { set(key, .bool(value ? 1 : 0)) }
    mutating func add(_ key: String, _ value: UInt32) { set(key, .uint32(value)) }
    mutating func add(_ key: String, strings value: [String]) { set(key, .array(type: 8, value.map { .text($0) })) }
    mutating func add(_ key: String, floats value: [Float]) { set(key, .array(type: 6, value.map { .float32($0) })) }
    mutating func add(_ key: String, integers value: [Int32]) { set(key, .array(type: 5, value.map { .int32($0) })) }

    func tokenizer() throws -> Tokenizer {
        let folder = try TemporaryFolder()
        return try Tokenizer(gguf: try GGUF(path: folder.write(bytes, to: "vocabulary.gguf")))
    }
}
