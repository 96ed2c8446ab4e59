/// Drafter-invariant verification of one request: the target chooses its own token at every position, and a draft only
/// decides how many of those choices one pass yields. Source: Daliri, Musco, Suresh, arXiv 2408.07978.
package struct Verification: Sendable {
    package let draft: [Int32]
    /// What the target chose so far; at most one more than there are drafted tokens.
    package private(set) var tokens: [Int32] = []
    /// How many of them the draft had.
    package private(set) var accepted = 0
    /// Whether the next row of the pass counts: all drafted tokens before it were accepted.
    package private(set) var isOpen = true

    package init(draft: [Int32]) { self.draft = draft }

    /// Takes the target's choice in the next row (row i follows i drafted tokens).
    package mutating func take(_ token: Int32) {
        let row = tokens.count
        tokens.append(token)
        isOpen = row < draft.count && token == draft[row]
        if isOpen { accepted += 1 }
    }

    /// Ends the request here: later rows do not count.
    package mutating func close() { isOpen = false }
}
