/// Translates text to the tokens of a model, and back. Made from the metadata of a GGUF file, or from the
/// `tokenizer.json` of a Hugging Face folder. Immutable: one instance may be used from many threads.
package final class Tokenizer: Sendable {
    /// A stretch of a text, and whether control tokens may be recognised in it. What a user wrote goes in with
    /// `parsesSpecial` false: it then never becomes a control token, whatever it spells.
    package struct Span: Sendable {
        package let text: String
        package let parsesSpecial: Bool

        package init(_ text: String, parsesSpecial: Bool) {
            self.text = text
            self.parsesSpecial = parsesSpecial
        }
    }

    let vocabulary: Vocabulary
    let decoding: DecodingRules
    private let model: MergeModel
    private let normalizer: Normalizer
    private let preTokenizer: PreTokenizer
    /// Added tokens that are looked for in the text as it is, and those looked for in the normalized text.
    private let rawTokens: AddedTokenMatcher
    private let normalizedTokens: AddedTokenMatcher
    private let special: SpecialTokens
    /// The chat template, in Jinja.
    package let chatTemplate: String?

    init(_ parts: TokenizerParts) throws {
        vocabulary = parts.model.vocabulary
        model = parts.model
        decoding = parts.decoding
        normalizer = parts.normalizer
        preTokenizer = parts.preTokenizer
        rawTokens = try AddedTokenMatcher(parts.rawTokens)
        normalizedTokens = try AddedTokenMatcher(parts.normalizedTokens)
        special = parts.special
        chatTemplate = parts.chatTemplate
    }

    // MARK: What the vocabulary holds

    /// Number of ids: the highest plus one.
    package var vocabularySize: Int { vocabulary.count }
    package var bos: Int32? { special.bos }
    package var eos: Int32? { special.eos }
    package var unknown: Int32? { special.unknown }
    package var pad: Int32? { special.pad }
    /// Tokens that end a generation: end of sequence, of turn and of message. Sorted.
    package var endOfGeneration: [Int32] { special.endOfGeneration }
    /// Whether `encode` with `addSpecial` puts tokens before the text (normally `bos`), or after it.
    package var addsBOS: Bool { !special.prefix.isEmpty }
    package var addsEOS: Bool { !special.suffix.isEmpty }
    /// The text of `bos`, which chat templates need; "" when there is none.
    package var bosText: String { text(of: special.bos) }
    package var eosText: String { text(of: special.eos) }

    private func text(of id: Int32?) -> String {
        id.map { String(decoding: vocabulary.text($0), as: UTF8.self) } ?? ""
    }

    // MARK: Encoding

    /// Far more than any model's context; it keeps positions within 32 bits whatever a normalizer adds.
    package static let maximumTextBytes = 16 << 20

    /// The tokens of a text. `addSpecial` adds BOS and EOS as the file says; `parseSpecial` lets control tokens
    /// be recognised in the text. A character that the vocabulary has nothing for, not even an unknown token, is
    /// left out (`EncodingWork.omissions` counts them). Throws for a text of more than 16 MiB.
    package func encode(_ text: String, addSpecial: Bool, parseSpecial: Bool) throws -> [Int32] {
        try encode(spans: [Span(text, parsesSpecial: parseSpecial)], addSpecial: addSpecial)
    }

    /// The tokens of one text made of spans. A control token is recognised only where it lies wholly in spans that
    /// allow it; borders of spans have no other effect.
    package func encode(spans: [Span], addSpecial: Bool) throws -> [Int32] {
        var work = EncodingWork()
        return try encode(spans: spans, addSpecial: addSpecial, work: &work)
    }

    /// The same; adds what it cost to `work`.
    package func encode(spans: [Span], addSpecial: Bool, work: inout EncodingWork) throws -> [Int32] {
        let size = spans.reduce(0) { $0 + $1.text.utf8.count }
        guard size <= Self.maximumTextBytes else {
            throw Failure.invalid("the text has \(size) bytes; at most \(Self.maximumTextBytes) are encoded at once")
        }
        var passage = Passage()
        for span in spans { passage.append(span.text, open: span.parsesSpecial) }
        var ids = addSpecial ? special.prefix : []
        var merger = Merger(model: model)
        for part in rawTokens.parts(of: passage) {
            switch part {
            case .token(let id): ids.append(id)
            case .text(let range):
                let text =
                    range.count == passage.count
                    ? passage : Passage(passage.scalars[range], open: passage.open[range])
                try encode(text, atStart: range.lowerBound == 0, with: &merger, into: &ids)
            }
        }
        if addSpecial { ids += special.suffix }
        work.add(merger.work)
        return ids
    }

    /// A text for the model to continue: the tokens that open a text, but none that would end it.
    package func encodePrompt(_ text: String) throws -> [Int32] {
        special.prefix + (try encode(text, addSpecial: false, parseSpecial: true))
    }

    /// Encodes what lies between added tokens of the raw text.
    private func encode(_ text: Passage, atStart: Bool, with merger: inout Merger, into ids: inout [Int32]) throws {
        let normalized = try normalizer.apply(to: text)
        for part in normalizedTokens.parts(of: normalized) {
            switch part {
            case .token(let id): ids.append(id)
            case .text(let range):
                let scalars = range.count == normalized.count ? normalized.scalars : Array(normalized.scalars[range])
                let pieces = preTokenizer.apply(to: scalars, atStart: atStart && range.lowerBound == 0)
                var start = 0
                for end in pieces.ends {
                    merger.encode(pieces.scalars, start, end, into: &ids)
                    start = end
                }
            }
        }
    }
}

/// The tokens with a role.
struct SpecialTokens: Sendable {
    var bos: Int32?
    var eos: Int32?
    var unknown: Int32?
    var pad: Int32?
    var endOfGeneration: [Int32] = []
    /// What `addSpecial` puts before and after a text.
    var prefix: [Int32] = []
    var suffix: [Int32] = []

    /// Names that control tokens have which end a turn, a message or a text, in the models of the field.
    private static let endNames = [
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "<|eom_id|>", "<|end_of_turn|>",
        "<end_of_turn>", "<|return|>", "<|call|>", "<EOT>", "[EOT]", "[EOS]", "</s>", "<end_of_utterance>",
        "<｜end▁of▁sentence｜>",
    ]

    /// Collects `endOfGeneration` from the named tokens, and from control tokens with well-known names.
    mutating func collectEnds(_ named: [Int32?], in vocabulary: Vocabulary) {
        var ends = Set(named.compactMap { $0 })
        if let eos { ends.insert(eos) }
        for name in Self.endNames {
            if let id = vocabulary.find(Array(name.utf8)), vocabulary.kind(id) == .control { ends.insert(id) }
        }
        endOfGeneration = ends.sorted()
    }
}

/// What a loader has read, ready to make a tokenizer of.
struct TokenizerParts {
    var model: MergeModel
    var normalizer = Normalizer(steps: [])
    var preTokenizer = PreTokenizer(stages: [])
    var rawTokens: [AddedToken] = []
    var normalizedTokens: [AddedToken] = []
    var decoding = DecodingRules()
    var special = SpecialTokens()
    var chatTemplate: String?
}
