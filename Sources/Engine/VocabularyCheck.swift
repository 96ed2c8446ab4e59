import Formats
package import Model
package import Speculation

/// How a draft model's tokens stand to the target's: nil where the same ids mean the same texts (padding at the end of
/// either may differ). Fails where the two share too few tokens for drafts to be of use.
package func vocabularyMap(target: LanguageModel, draft: LanguageModel) throws -> VocabularyMap? {
    if sharesVocabulary(target.tokenizer, draft.tokenizer) { return nil }
    let map = try VocabularyMap(target: target.vocabularySide, draft: draft.vocabularySide)
    guard map.share >= VocabularyMap.leastShare else {
        throw Failure(
            .vocabularyMismatch,
            "the draft model has another vocabulary: \(map.summary), and at least "
                + "\(percentage(VocabularyMap.leastShare)) are needed; use a draft that was made with the target's tokenizer, "
                + "or with one for the same languages")
    }
    return map
}

/// Whether the same ids mean the same texts.
private func sharesVocabulary(_ target: Tokenizer, _ draft: Tokenizer) -> Bool {
    let shared = Int32(min(target.vocabularySize, draft.vocabularySize))
    let longer = target.vocabularySize > draft.vocabularySize ? target : draft
    return (0..<shared).allSatisfy {
        target.storedText($0) == draft.storedText($0) || target.isPadding($0) && draft.isPadding($0)
    } && (shared..<Int32(longer.vocabularySize)).allSatisfy { longer.isPadding($0) }
}

extension LanguageModel {
    /// What the model has embeddings for.
    fileprivate var vocabularySide: VocabularyMap.Side {
        let count = min(tokenizer.vocabularySize, configuration.vocabularySize)
        // A model whose texts do not begin with BOS does not know it.
        return VocabularyMap.Side(
            tokenizer.meanings(count: count), bos: tokenizer.addsBOS ? tokenizer.bos : nil, eos: tokenizer.eos)
    }
}

extension VocabularyMap {
    /// What is shared, for people.
    package var summary: String {
        "it shares \(sharedTokens) of the target's \(comparedTokens) tokens that are longer than a byte "
            + "(\(percentage(share)))"
    }
}

/// A share with one digit after the point.
private func percentage(_ share: Double) -> String {
    let tenths = Int((share * 1000).rounded())
    return "\(tenths / 10).\(tenths % 10)%"
}
