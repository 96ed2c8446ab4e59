/// What a retrieved draft would have gained, found out from the tokens that the request went on with, whoever drafted
/// them. The text does not depend on drafts, so the answer is exact, and it costs no model anything.
///
/// A step may commit fewer tokens than the draft has. What is not known then stays open, and the trial can take
/// the tokens of later steps too.
package struct RetrievalTrial: Sendable {
    /// One drafted token all of whose predecessors were right, so that its own outcome counts.
    package struct Outcome: Sendable, Equatable {
        package let features: MatchFeatures
        package let agreed: Bool
    }
    package let draft: RetrievalDraft
    /// Of the drafted tokens up to the first wrong one, as far as they are known.
    package private(set) var outcomes: [Outcome] = []
    /// Drafted tokens that were right. While the trial is not decided there may be more.
    package private(set) var agreed = 0

    package init(_ draft: RetrievalDraft) { self.draft = draft }

    /// The draft was wrong somewhere, or right to its end.
    package var isDecided: Bool { agreed < outcomes.count || agreed == draft.tokens.count }

    /// Takes tokens that the request committed after those that the draft was made from, in order.
    package mutating func take(_ committed: some Sequence<Int32>) {
        for token in committed {
            guard !isDecided else { return }
            let isRight = token == draft.tokens[agreed]
            outcomes.append(Outcome(features: draft.features[agreed], agreed: isRight))
            if isRight { agreed += 1 }
        }
    }
}
