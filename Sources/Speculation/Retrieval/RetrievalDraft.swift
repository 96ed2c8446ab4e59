/// How well a retrieved token was supported by the text that it was found in. The context of a drafted token is the
/// text before it, earlier drafted tokens included.
package struct MatchFeatures: Sendable, Equatable {
    /// Tokens at the end of the context that occurred before; at least 1, and at most what the drafter looks for.
    package let matchLength: Int
    /// How often they occurred with another token after them; at least 1.
    package let support: Int
    /// In how many of those occurrences the drafted token was the one after them; 0 to `support`.
    package let follows: Int

    package init(matchLength: Int, support: Int, follows: Int) {
        self.matchLength = matchLength
        self.support = support
        self.follows = follows
    }

    /// The empirical probability of the drafted token after its context, from 0 to 1.
    package var followProbability: Double { Double(follows) / Double(support) }
}

/// A draft copied from earlier text, with features for each of its tokens. It is as long as the limit allows while
/// there is something to copy: how much of it deserves verification is the scheduler's decision.
package struct RetrievalDraft: Sendable, Equatable {
    package enum Source: Sendable, Equatable {
        /// The request's own prompt and output.
        case request
        /// Texts of finished requests.
        case pool
        /// The caller.
        case host
    }
    package let source: Source
    package private(set) var tokens: [Int32] = []
    /// Of each token, in order.
    package private(set) var features: [MatchFeatures] = []

    package init(source: Source) { self.source = source }

    package mutating func append(_ token: Int32, _ features: MatchFeatures) {
        tokens.append(token)
        self.features.append(features)
    }

    /// The one of two drafts that promises more accepted tokens: the first token's longer match, then its higher follow
    /// probability, then this one. On replayed code the length alone forecast better than sums of survivals did.
    package func orBetter(_ other: RetrievalDraft) -> RetrievalDraft {
        guard let theirs = other.features.first else { return self }
        guard let own = features.first else { return other }
        guard theirs.matchLength == own.matchLength else { return theirs.matchLength > own.matchLength ? other : self }
        return theirs.followProbability > own.followProbability ? other : self
    }
}

/// The text of a request that ended.
package struct FinishedText: Sendable {
    package let id: UInt64
    /// Prompt and output.
    package let tokens: [Int32]
    /// Only requests with the same number may be drafted for from this text.
    package let isolation: UInt64

    package init(id: UInt64, tokens: [Int32], isolation: UInt64 = 0) {
        self.id = id
        self.tokens = tokens
        self.isolation = isolation
    }
}

/// A drafter that copies from earlier text and needs no model.
package protocol RetrievalDrafter: Drafter {
    /// A draft for each request, in their order; it is empty when nothing matches. Under one id the tokens of a
    /// request only ever grow, until it is forgotten.
    func lookUp(_ requests: [DraftRequest]) throws -> [RetrievalDraft]
    /// Offers the text of a request that ended. Whoever must not leave traces is not offered.
    func observe(_ finished: FinishedText)
    /// Memory held, for requests and beyond.
    var bytes: Int { get }
}

extension RetrievalDrafter {
    package func propose(_ requests: [DraftRequest]) throws -> [[Int32]] { try lookUp(requests).map(\.tokens) }
    package func observe(_ finished: FinishedText) {}
    package var passes: Int { 0 }
}
