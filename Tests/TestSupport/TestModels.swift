import Formats
package import Model

/// Models that tests run: the trained pair that is shipped, and small random ones, all with one tokenizer.
package enum TestModels {
    private static let folder = testFile("../bindings/python/foretoken/models/")
    package static let targetPath = folder + "foretoken-tiny-target-Q8_0.gguf"
    package static let draftPath = folder + "foretoken-tiny-draft-Q8_0.gguf"

    private static let loadedTarget = Result { try LanguageModel(path: targetPath, threads: 1) }
    private static let loadedDraft = Result { try LanguageModel(path: draftPath, threads: 1) }

    package static func target() throws -> LanguageModel { try loadedTarget.get() }
    package static func draft() throws -> LanguageModel { try loadedDraft.get() }

    package static func randomPath(_ name: String) -> String {
        testFile("ModelTests/Fixtures/models/\(name)/model.gguf")
    }

    package static func random(_ name: String) throws -> LanguageModel {
        try LanguageModel(path: randomPath(name), threads: 1)
    }

    /// Prompts for the shipped pair, Python sources like those that it was trained on.
    package static let builtInPrompts = [
        "def fibonacci(n):\n    if n < 2:\n        return n\n    return ",
        "import os\nimport sys\n\n\nclass Reader:\n    def __init__(self, path):\n        self.path = path\n",
        "for i in range(10):\n    print(i)\nfor i in range(10):\n    print(",
    ]

    /// `count` more prompts from the shared data, shortened; none where that is not installed.
    package static func sharedPrompts(_ count: Int) throws -> [String] {
        guard let path = sharedTestData("prompts/python.jsonl") else { return [] }
        return try contents(of: path).split(separator: UInt8(ascii: "\n")).prefix(count).compactMap { line in
            try JSON(parsing: Array(line))["prompt"]?.string.map { String($0.prefix(200)) }
        }
    }
}

/// A GGUF file with something changed in place.
package struct PatchedModel {
    private var bytes: [UInt8]
    private let file: GGUF

    package init(path: String) throws {
        bytes = try contents(of: path)
        file = try GGUF(path: path)
    }

    /// The only place where `pattern` stands.
    private func place(of pattern: [UInt8]) throws -> Int {
        let found = (0...bytes.count - pattern.count).filter {
            bytes[$0] == pattern[0] && bytes[$0..<$0 + pattern.count].elementsEqual(pattern)
        }
        guard found.count == 1 else { throw Failure(.notFound, "\(found.count) places have the pattern") }
        return found[0]
    }

    private func counted(_ text: String) -> [UInt8] {
        withUnsafeBytes(of: UInt64(text.utf8.count).littleEndian) { Array($0) } + Array(text.utf8)
    }

    /// Sets a 32-bit integer of the metadata.
    package mutating func set(_ key: String, to value: UInt32) throws {
        let at = try place(of: counted(key)) + 8 + key.utf8.count + 4
        withUnsafeBytes(of: value.littleEndian) { bytes.replaceSubrange(at..<at + 4, with: $0) }
    }

    /// Replaces a text of the metadata that occurs once by one of the same length.
    package mutating func replace(_ text: String, by other: String) throws {
        let at = try place(of: counted(text)) + 8
        bytes.replaceSubrange(at..<at + text.utf8.count, with: Array(other.utf8))
    }

    /// Makes the first element of an F32 tensor NaN.
    package mutating func poison(_ tensor: String) throws {
        guard let entry = file.tensors.first(where: { $0.name == tensor }), entry.type == .f32 else {
            throw Failure(.notFound, "there is no F32 tensor \(tensor)")
        }
        withUnsafeBytes(of: Float.nan.bitPattern.littleEndian) {
            bytes.replaceSubrange(entry.offset..<entry.offset + 4, with: $0)
        }
    }

    package func load() throws -> LanguageModel {
        let folder = try TemporaryFolder()
        defer { withExtendedLifetime(folder) {} }
        return try LanguageModel(path: folder.write(bytes, to: "model.gguf"), threads: 1)
    }
}
