import Formats
package import Model

/// A GGUF file whose tokens have other ids, or are gone: what a model with another vocabulary is to a target.
package struct RearrangedModel {
    private let file: GGUF
    private let count: Int

    package init(path: String) throws {
        file = try GGUF(path: path)
        count = try file.strings("tokenizer.ggml.tokens")?.count ?? 0
    }

    /// A random order of all tokens.
    package func shuffled(seed: UInt64) -> [Int] {
        var random = SplitMix64(seed: seed)
        var places = Array(0..<count)
        for index in places.indices { places.swapAt(index, random.int(index..<count)) }
        return places
    }

    /// The file with token `id` at `places[id]`, and without the texts of `removed`. The model computes what it did.
    package func bytes(places: [Int], without removed: Set<Int32> = []) throws -> [UInt8] {
        var writer = GGUFWriter()
        writer.copy("", from: file)
        let texts = try file.strings("tokenizer.ggml.tokens") ?? []
        let kinds = try file.ints("tokenizer.ggml.token_type") ?? []
        let gone = Set(removed.map { texts[Int($0)] })
        var (movedTexts, movedKinds) = (texts, kinds)
        for (id, place) in places.enumerated() {
            let isGone = removed.contains(Int32(id))
            movedTexts[place] = isGone ? Array("[unused\(id)]".utf8) : texts[id]
            movedKinds[place] = isGone ? 5 : kinds[id]
        }
        writer.set("tokenizer.ggml.tokens", .array(type: 8, movedTexts.map { .string($0) }))
        writer.set(
            "tokenizer.ggml.token_type", .array(type: 5, movedKinds.map { .int32(Int32(truncatingIfNeeded: $0)) }))
        let merges = try (file.strings("tokenizer.ggml.merges") ?? []).filter { line in
            let parts = line.split(separator: UInt8(ascii: " ")).map { Array($0) }
            return !(parts + [parts.flatMap { $0 }]).contains { gone.contains($0) }
        }
        writer.set("tokenizer.ggml.merges", .array(type: 8, merges.map { .string($0) }))
        for role in ["bos", "eos", "unknown", "padding"] {
            let key = "tokenizer.ggml.\(role)_token_id"
            if let id = try file.int(key) { writer.set(key, .uint32(UInt32(places[id]))) }
        }
        for entry in file.tensors {
            let stored = try entry.file.read(count: entry.byteCount, at: entry.offset)
            let isOfTokens = ["token_embd.weight", "output.weight"].contains(entry.name)
            writer.add(entry.name, entry.type, shape: entry.shape, isOfTokens ? moved(stored, places) : stored)
        }
        return writer.bytes
    }

    /// The rows of a matrix in their new places.
    private func moved(_ rows: [UInt8], _ places: [Int]) -> [UInt8] {
        let size = rows.count / count
        var result = rows
        for (id, place) in places.enumerated() {
            result.replaceSubrange(place * size..<(place + 1) * size, with: rows[id * size..<(id + 1) * size])
        }
        return result
    }

    package func load(places: [Int], without removed: Set<Int32> = []) throws -> LanguageModel {
        let folder = try TemporaryFolder()
        defer { withExtendedLifetime(folder) {} }
        return try LanguageModel(
            path: folder.write(bytes(places: places, without: removed), to: "model.gguf"), threads: 1)
    }
}
