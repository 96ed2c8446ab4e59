/// Prompt lookup: what followed the longest recurring suffix at its latest earlier occurrence in the same sequence.
/// Source: Saxena, "Prompt lookup decoding" (2023); Yang et al., "Inference with reference", arXiv 2304.04487.
///
/// The features of a drafted token count over all occurrences of the longest recurring suffix before it, while the token
/// itself comes from the latest: another one may have followed more often.
package final class PromptLookup: RetrievalDrafter {
    /// Longest suffix that is looked up, in tokens; the shortest is 1.
    package static let longestMatch = 3

    private var indices: [UInt64: GramIndex] = [:]

    package init() {}

    package var bytes: Int { indices.values.reduce(0) { $0 + $1.bytes } }

    package func lookUp(_ requests: [DraftRequest]) -> [RetrievalDraft] {
        requests.map { request in
            indices[request.id, default: GramIndex()].extend(request.tokens)
            return indices[request.id, default: GramIndex()].draft(request.tokens, limit: request.limit)
        }
    }

    package func forget(_ id: UInt64) { indices[id] = nil }
}

/// The last tokens of a text, at most four.
private struct Gram: Hashable {
    static let longest = 4
    private(set) var length = 0
    /// The latest token first; zero from `length` on.
    private var tokens = SIMD4<Int32>()

    func appending(_ token: Int32) -> Gram {
        var result = self
        for lane in stride(from: Self.longest - 1, to: 0, by: -1) { result.tokens[lane] = tokens[lane - 1] }
        result.tokens[0] = token
        result.length = min(length + 1, Self.longest)
        return result
    }

    /// Its last `count` tokens, or all.
    func suffix(_ count: Int) -> Gram {
        guard count < length else { return self }
        var result = self
        result.length = count
        for lane in count..<Self.longest { result.tokens[lane] = 0 }
        return result
    }
}

/// Where each gram of a text last ended and how often it occurred, for every position but the last: a gram that ends at
/// the very end would find itself. Grams are counted that are one longer than what is looked up: a match and the
/// token after it.
private struct GramIndex {
    private struct Occurrences {
        /// The position after the latest.
        var following = 0
        var count = 0
    }
    private var occurrences: [Gram: Occurrences] = [:]
    private var indexed = 0
    /// Ends at the last position that is indexed.
    private var latest = Gram()

    var bytes: Int { occurrences.capacity * (MemoryLayout<Gram>.stride + MemoryLayout<Occurrences>.stride) }

    mutating func extend(_ tokens: [Int32]) {
        while indexed < tokens.count - 1 {
            latest = latest.appending(tokens[indexed])
            indexed += 1
            for length in 1...latest.length { count(latest.suffix(length)) }
        }
    }

    private mutating func count(_ gram: Gram) {
        let before = occurrences[gram]?.count ?? 0
        occurrences[gram] = Occurrences(following: indexed, count: before + 1)
    }

    func draft(_ tokens: [Int32], limit: Int) -> RetrievalDraft {
        var draft = RetrievalDraft(source: .request)
        guard let last = tokens.last else { return draft }
        let end = latest.appending(last)
        var context = end
        guard let start = match(context)?.occurrences.following else { return draft }
        for position in start..<start + limit {
            // The gram that was found goes on matching, also where the draft runs on into itself.
            guard let match = match(context) else { return draft }
            // A match near the end runs on into the draft itself, which continues a repetition.
            let token = position < tokens.count ? tokens[position] : draft.tokens[position - tokens.count]
            let pair = context.suffix(match.length).appending(token)
            // The end is not indexed, but what ends there has its follower.
            let follows = (occurrences[pair]?.count ?? 0) + (pair == end.suffix(pair.length) ? 1 : 0)
            draft.append(
                token,
                MatchFeatures(matchLength: match.length, support: match.occurrences.count, follows: follows))
            context = context.appending(token)
        }
        return draft
    }

    /// The longest indexed suffix of the context.
    private func match(_ context: Gram) -> (length: Int, occurrences: Occurrences)? {
        for length in stride(from: min(PromptLookup.longestMatch, context.length), to: 0, by: -1) {
            if let found = occurrences[context.suffix(length)] { return (length, found) }
        }
        return nil
    }
}
