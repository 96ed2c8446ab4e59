package import Formats

/// Draft and target must mean the same text by the same id; padding at the end of either may differ.
package func checkSharedVocabulary(target: Tokenizer, draft: Tokenizer) throws {
    let shared = min(target.vocabularySize, draft.vocabularySize)
    for id in 0..<Int32(shared) {
        let (ours, theirs) = (target.storedText(id), draft.storedText(id))
        if ours != theirs, !(isPadding(ours) && isPadding(theirs)) {
            throw Failure(
                .vocabularyMismatch,
                "the draft model has another vocabulary: token \(id) is \(quoted(ours)) in the target, "
                    + "but \(quoted(theirs)) in the draft; use a draft that was made with the target's tokenizer")
        }
    }
    let longer = target.vocabularySize > shared ? target : draft
    for id in Int32(shared)..<Int32(longer.vocabularySize) where !isPadding(longer.storedText(id)) {
        throw Failure(
            .vocabularyMismatch,
            "the draft model has another vocabulary: the target has \(target.vocabularySize) tokens, the draft "
                + "\(draft.vocabularySize), and token \(id), \(quoted(longer.storedText(id))), is in one of them only")
    }
}

/// Texts that stand for no token: none at all, or the names that converters give to unused ids.
private func isPadding(_ text: [UInt8]) -> Bool {
    let name = String(decoding: text, as: UTF8.self).lowercased()
    return name.isEmpty
        || ["[pad", "<pad", "[unused", "<unused", "<dummy", "<|unused", "<|reserved"].contains { name.hasPrefix($0) }
}

private func quoted(_ text: [UInt8]) -> String { "\"\(String(decoding: text, as: UTF8.self))\"" }
