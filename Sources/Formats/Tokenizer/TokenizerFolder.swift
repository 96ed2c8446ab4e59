// Tokenizers from the files of a Hugging Face model folder.

extension Tokenizer {
    /// Reads `tokenizer.json`, and what the folder has of `tokenizer_config.json`, `generation_config.json`,
    /// `config.json` and `chat_template.jinja`. Throws when a file is malformed or asks for something unsupported.
    package convenience init(folder: String) throws {
        try self.init(FolderTokenizerLoader(folder: folder).load())
    }
}

private struct FolderTokenizerLoader {
    let folder: String
    private static let jsonLimit = 256 << 20
    private static let templateLimit = 16 << 20

    private func path(_ name: String) -> String { folder + "/" + name }

    private func json(_ name: String) throws -> JSON {
        do {
            return try JSON(parsing: try FileSource.contents(of: path(name), limit: Self.jsonLimit))
        } catch let failure as Failure {
            throw failure.code == .io ? failure : failure.prefixed(path(name))
        }
    }

    private func optionalJSON(_ name: String) throws -> JSON? { fileExists(path(name)) ? try json(name) : nil }

    func load() throws -> TokenizerParts {
        let tokenizer = try json("tokenizer.json")
        let config = try optionalJSON("tokenizer_config.json")
        var parts = try located("tokenizer.json") { try TokenizerJSONLoader(tokenizer).load() }
        let vocabulary = parts.model.vocabulary
        let modelConfigs = [try optionalJSON("generation_config.json"), try optionalJSON("config.json")]
        try located("tokenizer_config.json") { try addRoles(config, modelConfigs, vocabulary, &parts.special) }
        try located("tokenizer_config.json") { parts.chatTemplate = try chatTemplate(config) }
        return parts
    }

    private func located<T>(_ name: String, _ body: () throws -> T) throws -> T {
        do {
            return try body()
        } catch let failure as Failure {
            throw failure.prefixed(path(name))
        }
    }

    // MARK: Roles

    private func addRoles(
        _ config: JSON?, _ modelConfigs: [JSON?], _ vocabulary: Vocabulary, _ special: inout SpecialTokens
    ) throws {
        let ends = try modelConfigs.compactMap { $0 }.map { try ids("eos_token_id", $0, vocabulary) }
        let starts = try modelConfigs.compactMap { $0 }.map { try ids("bos_token_id", $0, vocabulary) }
        special.bos = try named("bos_token", config, vocabulary) ?? starts.lazy.compactMap(\.first).first
        special.eos = try named("eos_token", config, vocabulary) ?? ends.lazy.compactMap(\.first).first
        special.unknown = try named("unk_token", config, vocabulary) ?? special.unknown
        special.pad = try named("pad_token", config, vocabulary)
        try applyFlags(config, &special)
        special.collectEnds(ends.joined().map { $0 }, in: vocabulary)
    }

    /// `add_bos_token` and `add_eos_token`, where present, overrule what the template of tokenizer.json adds.
    private func applyFlags(_ config: JSON?, _ special: inout SpecialTokens) throws {
        if let addsBOS = try flag("add_bos_token", config), addsBOS == special.prefix.isEmpty {
            special.prefix = addsBOS ? [special.bos].compactMap { $0 } : []
        }
        if let addsEOS = try flag("add_eos_token", config), addsEOS == special.suffix.isEmpty {
            special.suffix = addsEOS ? [special.eos].compactMap { $0 } : []
        }
    }

    private func flag(_ key: String, _ config: JSON?) throws -> Bool? {
        guard let value = config?[key], !value.isNull else { return nil }
        guard let flag = value.bool else { throw Failure.corrupt("\(key) is not a boolean") }
        return flag
    }

    /// The token that the configuration names for a role, as a string or as an object with `content`.
    private func named(_ key: String, _ config: JSON?, _ vocabulary: Vocabulary) throws -> Int32? {
        guard let value = config?[key], !value.isNull else { return nil }
        guard let text = value.string ?? value["content"]?.string else {
            throw Failure.corrupt("\(key) is not a token")
        }
        guard let id = vocabulary.find(Array(text.utf8)) else {
            throw Failure.corrupt("\(key) \"\(text)\" is not in the vocabulary")
        }
        return id
    }

    /// An id or a list of ids. Ids beyond the vocabulary belong to no token here, and are left out: model
    /// configurations count padded embeddings too.
    private func ids(_ key: String, _ config: JSON, _ vocabulary: Vocabulary) throws -> [Int32] {
        guard let value = config[key], !value.isNull else { return [] }
        return try (value.array ?? [value]).compactMap { element in
            guard let id = element.int else { throw Failure.corrupt("\(key) is not an integer or a list of integers") }
            return Int32(exactly: id).flatMap { vocabulary.contains($0) ? $0 : nil }
        }
    }

    // MARK: Chat template

    /// A file of its own has precedence, as with the folder's own tools.
    private func chatTemplate(_ config: JSON?) throws -> String? {
        let file = path("chat_template.jinja")
        if fileExists(file) {
            let bytes = try FileSource.contents(of: file, limit: Self.templateLimit)
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw Failure.corrupt("\(file) is not valid UTF-8")
            }
            return text
        }
        guard let value = config?["chat_template"], !value.isNull else { return nil }
        if let text = value.string { return text }
        guard let list = value.array else { throw Failure.corrupt("chat_template is neither a string nor a list") }
        let entry = list.first { $0["name"]?.string == "default" }
        guard let entry else { return nil }
        guard let text = entry["template"]?.string else { throw Failure.corrupt("chat_template has no text") }
        return text
    }
}
