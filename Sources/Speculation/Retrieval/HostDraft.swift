/// Tokens that the caller expects in the output of a request. As long as the output agrees, those that come next are a
/// draft; with the first token that differs the rest is worth nothing and is dropped.
package struct HostDraft: Sendable, Equatable {
    /// Output tokens before the first of them. The output may be shorter, and longer too.
    private let position: Int
    private var tokens: [Int32]
    /// How many of them the output has, all alike.
    private var agreed = 0

    package init(position: Int, tokens: [Int32]) {
        self.position = position
        self.tokens = tokens
    }

    /// Nothing is left to draft from.
    package var isSpent: Bool { agreed == tokens.count }

    /// Compares with `output`, all of it so far; what was compared before is not looked at again.
    package mutating func follow(_ output: ArraySlice<Int32>) {
        while agreed < tokens.count, position + agreed < output.count {
            guard output[output.startIndex + position + agreed] == tokens[agreed] else {
                (tokens, agreed) = ([], 0)
                return
            }
            agreed += 1
        }
    }

    /// At most `limit` tokens to come after `count` output tokens, which it has followed; none where it begins later.
    ///
    /// A caller gives no probabilities. The more tokens were right the likelier is the next one: after n of them
    /// (n + 2) / (n + 3), the rule of succession when two were right and one was wrong before.
    package func draft(after count: Int, limit: Int) -> RetrievalDraft {
        var draft = RetrievalDraft(source: .host)
        guard position + agreed == count else { return draft }
        for token in tokens[agreed...].prefix(limit) {
            let right = agreed + draft.tokens.count
            draft.append(token, MatchFeatures(matchLength: max(1, right), support: right + 3, follows: right + 2))
        }
        return draft
    }
}
