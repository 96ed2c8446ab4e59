import Speculation

/// What the definitions of retrieved drafts say, by searching through whole texts: without an index, slow and plain.
struct RetrievalTwin {
    /// In the order in which they were learned; the last may still grow.
    var texts: [(isolation: UInt64, tokens: [Int32])] = []

    /// The tokens that followed a gram, the earliest first.
    private func followers(of gram: ArraySlice<Int32>, isolation: UInt64) -> [Int32] {
        var result: [Int32] = []
        for text in texts where text.isolation == isolation && text.tokens.count > gram.count {
            for end in gram.count..<text.tokens.count
            where text.tokens[end - gram.count..<end].elementsEqual(gram) {
                result.append(text.tokens[end])
            }
        }
        return result
    }

    /// The longest suffix of the context that anything followed, and what followed it.
    private func match(
        _ context: [Int32], isolation: UInt64, longest: Int
    ) -> (length: Int, followers: [Int32])? {
        for length in stride(from: min(longest, context.count), to: 0, by: -1) {
            let followers = followers(of: context.suffix(length), isolation: isolation)
            if !followers.isEmpty { return (length, followers) }
        }
        return nil
    }

    /// The most frequent follower each time, the most recent among equals.
    func mostFrequent(
        _ context: [Int32], isolation: UInt64 = 0, limit: Int, source: RetrievalDraft.Source = .request
    ) -> RetrievalDraft {
        var draft = RetrievalDraft(source: source)
        while draft.tokens.count < limit,
            let match = match(context + draft.tokens, isolation: isolation, longest: SuffixAutomaton.longestMatch)
        {
            var counts: [Int32: Int] = [:]
            for token in match.followers { counts[token, default: 0] += 1 }
            let most = counts.values.max()
            guard let token = match.followers.last(where: { counts[$0] == most }) else { break }
            draft.append(token, features(match, token))
        }
        return draft
    }

    /// The features of given tokens after a context.
    func describe(_ tokens: [Int32], after context: [Int32], longest: Int) -> RetrievalDraft {
        var draft = RetrievalDraft(source: .request)
        for token in tokens {
            guard let match = match(context + draft.tokens, isolation: 0, longest: longest) else { break }
            draft.append(token, features(match, token))
        }
        return draft
    }

    private func features(_ match: (length: Int, followers: [Int32]), _ token: Int32) -> MatchFeatures {
        MatchFeatures(
            matchLength: match.length, support: match.followers.count,
            follows: match.followers.count { $0 == token })
    }
}
