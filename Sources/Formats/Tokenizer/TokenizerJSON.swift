/// Reads `tokenizer.json`: the vocabulary, the merges and the added tokens. The stages around the model are read
/// in TokenizerJSONStages.swift.
struct TokenizerJSONLoader {
    private let root: JSON
    private let model: JSON

    init(_ root: JSON) throws {
        self.root = root
        guard let model = root["model"], model.members != nil else { throw Failure.corrupt("there is no model") }
        self.model = model
    }

    func load() throws -> TokenizerParts {
        try checkModel()
        let stages = TokenizerJSONStages(root)
        let added = try addedEntries()
        let vocabulary = try vocabulary(added)
        var parts = TokenizerParts(model: try mergeModel(vocabulary))
        parts.normalizer = Normalizer(steps: try stages.normalizer())
        parts.preTokenizer = PreTokenizer(stages: try stages.preTokenizer())
        parts.decoding = try stages.decoder()
        for entry in added where !entry.content.isEmpty {
            if let token = try entry.token(normalizer: entry.isNormalized ? parts.normalizer : nil) {
                if entry.isNormalized { parts.normalizedTokens.append(token) } else { parts.rawTokens.append(token) }
            }
        }
        // Those found in normalized text come after the normalizer has put its space in front.
        if parts.decoding.stripsAtStart, parts.normalizer.prepends {
            parts.decoding.spacedTokens = Set(parts.rawTokens.map(\.id))
        }
        parts.special.unknown = try unknown(vocabulary)
        (parts.special.prefix, parts.special.suffix) = try stages.template(vocabulary)
        return parts
    }

    // MARK: Model

    /// Old files do not say their model's type; merges then tell.
    private func checkModel() throws {
        let type = model["type"]?.string ?? (model["merges"] != nil ? "BPE" : "without a type")
        guard type == "BPE" else { throw Failure.unsupported("unsupported model \(type); supported is BPE") }
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            guard let value = model[key], !value.isNull, value.string != "" else { continue }
            throw Failure.unsupported("model.\(key) is not supported")
        }
        if let dropout = model["dropout"], !dropout.isNull, dropout.number != 0 {
            throw Failure.unsupported("model.dropout is not supported: encoding would be random")
        }
    }

    private func flag(_ key: String) throws -> Bool {
        guard let value = model[key], !value.isNull else { return false }
        guard let flag = value.bool else { throw Failure.corrupt("model.\(key) is not a boolean") }
        return flag
    }

    private func unknown(_ vocabulary: Vocabulary) throws -> Int32? {
        guard let value = model["unk_token"], !value.isNull else { return nil }
        guard let text = value.string, let id = vocabulary.find(Array(text.utf8)) else {
            throw Failure.corrupt("model.unk_token is not a token of the vocabulary")
        }
        return id
    }

    private func mergeModel(_ vocabulary: Vocabulary) throws -> MergeModel {
        let table = MergeTable(try merges(vocabulary), lastWins: true)
        return MergeModel(
            vocabulary: vocabulary, order: .ranked(table),
            byteIDs: try flag("byte_fallback") ? byteIDs(vocabulary) : [], unknown: try unknown(vocabulary),
            ignoresMerges: try flag("ignore_merges"), fusesUnknown: try flag("fuse_unk"))
    }

    private func byteIDs(_ vocabulary: Vocabulary) -> [Int32] {
        let digits = Array("0123456789ABCDEF".utf8)
        return (0..<256).map { byte in
            vocabulary.find(Array("<0x".utf8) + [digits[byte >> 4], digits[byte & 15], UInt8(ascii: ">")]) ?? -1
        }
    }

    /// Merges are written "left right", or as lists of two strings where pieces may hold spaces.
    private func merges(_ vocabulary: Vocabulary) throws -> [MergeTable.Merge] {
        guard let list = model["merges"]?.array else { throw Failure.corrupt("model.merges is not a list") }
        var reader = MergeReader(vocabulary)
        return try list.enumerated().map { rank, entry in
            if let text = entry.string {
                let line = Array(text.utf8)
                guard let space = line.firstIndex(of: 0x20), space > 0, space + 1 < line.count,
                    !line[(space + 1)...].contains(0x20)
                else {
                    throw Failure.corrupt("merge \(rank), \"\(text)\", is not two pieces with a space between")
                }
                return try reader.merge(rank, line, 0..<space, space + 1..<line.count)
            }
            guard let pair = entry.array, pair.count == 2, let left = pair[0].string, let right = pair[1].string,
                !left.isEmpty, !right.isEmpty
            else { throw Failure.corrupt("merge \(rank) is not a pair of pieces") }
            let line = Array((left + right).utf8)
            return try reader.merge(rank, line, 0..<left.utf8.count, left.utf8.count..<line.count)
        }
    }

    // MARK: Vocabulary

    private func vocabulary(_ added: [AddedEntry]) throws -> Vocabulary {
        guard let members = model["vocab"]?.members else { throw Failure.corrupt("model.vocab is not an object") }
        var highest = -1
        let pairs = try members.map { member -> (Int, [UInt8]) in
            guard let id = member.value.int, id >= 0, id < Vocabulary.maximumCount else {
                throw Failure.corrupt(
                    "token \"\(member.key)\" has no id from 0 to \(Vocabulary.maximumCount - 1) in model.vocab")
            }
            highest = max(highest, id)
            return (id, Array(member.key.utf8))
        }
        for entry in added { highest = max(highest, Int(entry.id)) }
        // Ids that no token has stay empty texts.
        var texts = [[UInt8]](repeating: [], count: highest + 1)
        var kinds = [Vocabulary.Kind](repeating: .unused, count: highest + 1)
        let hasBytes = try flag("byte_fallback")
        for (id, text) in pairs {
            guard texts[id].isEmpty else { throw Failure.corrupt("two tokens of model.vocab have the id \(id)") }
            texts[id] = text
            kinds[id] = hasBytes && Tokenizer.byteValue(text[...]) != nil ? .byte : .normal
        }
        try place(added, &texts, &kinds)
        let vocabulary = Vocabulary(texts: texts, kinds: kinds)
        for entry in added {
            // Of two ids with one text, the lower is found.
            guard let id = vocabulary.find(Array(entry.content.utf8)), id != entry.id else { continue }
            throw Failure.corrupt("added token \"\(entry.content)\" has the ids \(id) and \(entry.id)")
        }
        return vocabulary
    }

    private func place(_ added: [AddedEntry], _ texts: inout [[UInt8]], _ kinds: inout [Vocabulary.Kind]) throws {
        for entry in added {
            let id = Int(entry.id)
            let content = Array(entry.content.utf8)
            guard texts[id].isEmpty || texts[id] == content else {
                throw Failure.corrupt(
                    "added token \"\(entry.content)\" has the id \(id), which is that of \(quoted(texts[id]))")
            }
            // A token that the model has too keeps the model's spelling: in the byte alphabet, perhaps.
            if entry.isSpecial { kinds[id] = .control } else if texts[id].isEmpty { kinds[id] = .userDefined }
            texts[id] = content
        }
    }

    // MARK: Added tokens

    private struct AddedEntry {
        let id: Int32
        let content: String
        let isSpecial: Bool
        let isNormalized: Bool
        let stripsLeft: Bool
        let stripsRight: Bool
        let isSingleWord: Bool

        /// How the token is looked for: in normalized text, its normalized content is.
        func token(normalizer: Normalizer?) throws -> AddedToken? {
            var passage = Passage()
            passage.append(content, open: true)
            if let normalizer { passage = try normalizer.apply(to: passage) }
            guard passage.count > 0 else { return nil }
            return AddedToken(
                id: id, content: passage.scalars, isControl: isSpecial, stripsLeft: stripsLeft,
                stripsRight: stripsRight, isSingleWord: isSingleWord)
        }
    }

    private func addedEntries() throws -> [AddedEntry] {
        guard let value = root["added_tokens"], !value.isNull else { return [] }
        guard let list = value.array else { throw Failure.corrupt("added_tokens is not a list") }
        return try list.enumerated().map { index, entry in
            guard let content = entry["content"]?.string, let id = entry["id"]?.int, id >= 0,
                id < Vocabulary.maximumCount
            else { throw Failure.corrupt("added_tokens[\(index)] has no content or no valid id") }
            func flag(_ key: String, default value: Bool) throws -> Bool {
                guard let json = entry[key] else { return value }
                if let flag = json.bool { return flag }
                throw Failure.corrupt("added_tokens[\(index)].\(key) is not a boolean")
            }
            let isSpecial = try flag("special", default: false)
            return AddedEntry(
                id: Int32(id), content: content, isSpecial: isSpecial,
                isNormalized: try flag("normalized", default: !isSpecial),
                stripsLeft: try flag("lstrip", default: false), stripsRight: try flag("rstrip", default: false),
                isSingleWord: try flag("single_word", default: false))
        }
    }
}
