// Tokenizers from the `tokenizer.ggml.*` metadata of GGUF files.

extension Tokenizer {
    /// Reads the tokenizer of a GGUF file; one that holds a vocabulary and no weights will do. Throws when the file
    /// has none, when its parts contradict each other, or when it is of a kind that is not supported.
    package convenience init(gguf: GGUF) throws {
        do {
            try self.init(GGUFTokenizerLoader(gguf).load())
        } catch let failure as Failure {
            throw failure.message.hasPrefix(gguf.file.path) ? failure : failure.prefixed(gguf.file.path)
        }
    }
}

private struct GGUFTokenizerLoader {
    let gguf: GGUF
    let texts: [[UInt8]]
    let vocabulary: Vocabulary
    /// "gpt2": byte-level BPE; "llama": SentencePiece.
    let isSentencePiece: Bool

    init(_ gguf: GGUF) throws {
        self.gguf = gguf
        guard let name = try gguf.string("tokenizer.ggml.model") else {
            throw Failure.unsupported("the file has no tokenizer (no tokenizer.ggml.model)")
        }
        guard name == "llama" || name == "gpt2" else {
            throw Failure.unsupported("unsupported tokenizer model \"\(name)\"; supported are gpt2 and llama")
        }
        isSentencePiece = name == "llama"
        guard let texts = try gguf.strings("tokenizer.ggml.tokens"), !texts.isEmpty else {
            throw Failure.corrupt("the tokenizer has no tokens (tokenizer.ggml.tokens)")
        }
        guard texts.count <= Vocabulary.maximumCount else {
            throw Failure.corrupt("the tokenizer has \(texts.count) tokens, more than \(Vocabulary.maximumCount)")
        }
        self.texts = texts
        vocabulary = Vocabulary(texts: texts, kinds: try Self.kinds(gguf, texts, isSentencePiece: isSentencePiece))
    }

    func load() throws -> TokenizerParts {
        var parts = TokenizerParts(model: isSentencePiece ? try sentencePieceModel() : try byteLevelModel())
        if isSentencePiece {
            let addsSpace = try gguf.bool("tokenizer.ggml.add_space_prefix") ?? true
            let mark = MergeModel.spaceMark
            let replace = Normalizer.Step.replace([0x20], with: [mark])
            parts.normalizer = Normalizer(steps: addsSpace ? [.prepend([mark]), replace] : [replace])
            parts.decoding = DecodingRules(spaceMark: true, stripsAtStart: addsSpace)
        } else {
            let words = try PreTokenizer(named: preTokenizerName())
            parts.preTokenizer = PreTokenizer(
                stages: words.stages + [.byteLevel(addsPrefixSpace: false, splits: false)])
            parts.decoding = DecodingRules(byteLevel: true)
        }
        parts.rawTokens = try addedTokens()
        if parts.decoding.stripsAtStart { parts.decoding.spacedTokens = Set(parts.rawTokens.map(\.id)) }
        parts.special = try specialTokens()
        parts.chatTemplate = try gguf.string("tokenizer.chat_template")
        return parts
    }

    /// Files from before the key existed have none; the field reads them as "default".
    private func preTokenizerName() throws -> String { try gguf.string("tokenizer.ggml.pre") ?? "default" }

    // MARK: Vocabulary

    private static func kinds(_ gguf: GGUF, _ texts: [[UInt8]], isSentencePiece: Bool) throws -> [Vocabulary.Kind] {
        guard let raw = try gguf.ints("tokenizer.ggml.token_type") else {
            return try kindsWithoutTypes(gguf, texts, isSentencePiece: isSentencePiece)
        }
        guard raw.count == texts.count else {
            throw Failure.corrupt(
                "the tokenizer has \(texts.count) tokens but \(raw.count) token types (tokenizer.ggml.token_type)")
        }
        return try raw.indices.map { id in
            guard let value = UInt8(exactly: raw[id]), value <= 6 else {
                throw Failure.corrupt("token \(id) has the unknown type \(raw[id])")
            }
            // 0 is "undefined"; writers use it for tokens without properties.
            let kind = Vocabulary.Kind(rawValue: value) ?? .normal
            if kind == .byte, Tokenizer.byteValue(texts[id][...]) == nil {
                throw Failure.corrupt("token \(id) is of type byte but spelled \(quoted(texts[id])), not <0xNN>")
            }
            return kind
        }
    }

    private static func kindsWithoutTypes(
        _ gguf: GGUF, _ texts: [[UInt8]], isSentencePiece: Bool
    ) throws -> [Vocabulary.Kind] {
        var kinds = texts.map { text -> Vocabulary.Kind in
            isSentencePiece && Tokenizer.byteValue(text[...]) != nil ? .byte : .normal
        }
        for (name, kind) in [("unknown", Vocabulary.Kind.unknown), ("bos", .control), ("eos", .control)] {
            if let id = try gguf.int("tokenizer.ggml.\(name)_token_id", in: 0...texts.count - 1) { kinds[id] = kind }
        }
        return kinds
    }

    // MARK: Models

    private func sentencePieceModel() throws -> MergeModel {
        guard let scores = try gguf.floats("tokenizer.ggml.scores") else {
            throw Failure.corrupt("the tokenizer has no scores (tokenizer.ggml.scores)")
        }
        guard scores.count == texts.count else {
            throw Failure.corrupt("the tokenizer has \(texts.count) tokens but \(scores.count) scores")
        }
        let keys = try scores.indices.map { id in
            guard scores[id].isFinite else { throw Failure.corrupt("token \(id) has the score \(scores[id])") }
            return Self.sortKey(scores[id])
        }
        return MergeModel(
            vocabulary: vocabulary, order: .scored(keys), byteIDs: byteIDs(), unknown: try role("unknown", default: 0))
    }

    /// Finite numbers as integers in the opposite order: the highest score has the lowest key.
    private static func sortKey(_ score: Float) -> UInt32 {
        let bits = (score + 0).bitPattern  // + 0 makes -0 equal to 0.
        return bits >> 31 == 1 ? bits : ~bits & 0x7FFF_FFFF
    }

    private func byteIDs() -> [Int32] {
        var ids = [Int32](repeating: -1, count: 256)
        var found = false
        for id in texts.indices where vocabulary.kinds[id] == .byte {
            guard let value = Tokenizer.byteValue(texts[id][...]), ids[Int(value)] < 0 else { continue }
            ids[Int(value)] = Int32(id)
            found = true
        }
        return found ? ids : []
    }

    private func byteLevelModel() throws -> MergeModel {
        guard let lines = try gguf.strings("tokenizer.ggml.merges") else {
            throw Failure.corrupt("the tokenizer has no merges (tokenizer.ggml.merges)")
        }
        let merges = try MergeReader(vocabulary).merges(lines)
        return MergeModel(
            vocabulary: vocabulary, order: .ranked(MergeTable(merges, lastWins: false)), byteIDs: [],
            unknown: try role("unknown", default: nil), ignoresMerges: try isLlama3())
    }

    /// Of this family it is known that whole words are looked up first, and that texts begin with BOS.
    private func isLlama3() throws -> Bool {
        try !isSentencePiece && PreTokenizer.llama3Names.contains(preTokenizerName())
    }

    // MARK: Special tokens

    private func addedTokens() throws -> [AddedToken] {
        let stripping = try phi3Stripping()
        return texts.indices.compactMap { id in
            let kind = vocabulary.kinds[id]
            guard kind == .control || kind == .unknown || kind == .userDefined, !texts[id].isEmpty,
                let text = String(validating: texts[id], as: UTF8.self)
            else { return nil }
            return AddedToken(
                id: Int32(id), content: scalarValues(text), isControl: kind != .userDefined,
                stripsRight: stripping && !["<s>", "<unk>", "<|endoftext|>"].contains(text))
        }
    }

    /// Phi-3's added tokens take the white space after them along. GGUF has no field for that; the field's
    /// tools know these files by their name.
    private func phi3Stripping() throws -> Bool {
        let name = try gguf.string("general.name")?.lowercased() ?? ""
        return isSentencePiece && (name.contains("phi-3") || name.contains("phi3"))
    }

    /// The id that the file gives for a role; where it gives none, `fallback` if that is no ordinary token.
    private func role(_ name: String, default fallback: Int32?) throws -> Int32? {
        if let id = try gguf.int("tokenizer.ggml.\(name)_token_id", in: 0...texts.count - 1) { return Int32(id) }
        guard let fallback, vocabulary.contains(fallback), !vocabulary.isOrdinary(fallback) else { return nil }
        return fallback
    }

    private func specialTokens() throws -> SpecialTokens {
        var special = SpecialTokens()
        special.bos = try role("bos", default: isSentencePiece ? 1 : nil)
        special.eos = try role("eos", default: isSentencePiece ? 2 : nil)
        special.unknown = try role("unknown", default: isSentencePiece ? 0 : nil)
        special.pad = try role("padding", default: nil)
        let isLlama3 = try isLlama3()
        let addsBOS = try gguf.bool("tokenizer.ggml.add_bos_token") ?? (isSentencePiece || isLlama3)
        let addsEOS = try gguf.bool("tokenizer.ggml.add_eos_token") ?? false
        if addsBOS, let bos = special.bos { special.prefix = [bos] }
        if addsEOS, let eos = special.eos { special.suffix = [eos] }
        special.collectEnds([try role("eot", default: nil), try role("eom", default: nil)], in: vocabulary)
        return special
    }
}

/// Reads the merges of byte-pair encoding: pairs of tokens whose concatenation is a token.
struct MergeReader {
    private let vocabulary: Vocabulary
    private var buffer: [UInt8] = []

    init(_ vocabulary: Vocabulary) { self.vocabulary = vocabulary }

    /// Merges written as "left right". Throws for one that names a piece outside the vocabulary: ranks of later
    /// merges would still hold, but such a file was cut or mixed up, and would tokenize differently elsewhere.
    func merges(_ lines: [[UInt8]]) throws -> [MergeTable.Merge] {
        var reader = self
        return try lines.enumerated().map { rank, line in
            // A piece may begin with a space where the vocabulary is not byte-level.
            guard let space = line.dropFirst().firstIndex(of: 0x20), space + 1 < line.count else {
                throw Failure.corrupt("merge \(rank), \(quoted(line)), is not two pieces with a space between")
            }
            return try reader.merge(rank, line, 0..<space, space + 1..<line.count)
        }
    }

    /// The merge of two stretches of `line`.
    mutating func merge(
        _ rank: Int, _ line: [UInt8], _ left: Range<Int>, _ right: Range<Int>
    ) throws -> MergeTable.Merge {
        func id(_ what: String, _ bytes: [UInt8], _ lower: Int, _ upper: Int) throws -> Int32 {
            guard let id = vocabulary.find(bytes, lower, upper) else {
                throw Failure.corrupt(
                    "merge \(rank), \(quoted(line)): \(what) \(quoted(bytes[lower..<upper])) is not in the vocabulary")
            }
            return id
        }
        buffer.removeAll(keepingCapacity: true)
        buffer += line[left]
        buffer += line[right]
        return MergeTable.Merge(
            left: try id("the piece", line, left.lowerBound, left.upperBound),
            right: try id("the piece", line, right.lowerBound, right.upperBound),
            result: try id("its result", buffer, 0, buffer.count))
    }
}
