/// Drafter-invariant verification of one request: the target chooses its own token at every position, and a draft only
/// decides how many of those choices one pass yields. In a tree the choices lead from node to node while there is one
/// with the token chosen. Source: Daliri, Musco, Suresh, arXiv 2408.07978.
package struct Verification: Sendable {
    package let draft: DraftTree
    /// What the target chose so far; at most one more than there are accepted tokens.
    package private(set) var tokens: [Int32] = []
    /// The nodes of the draft that have the first of these tokens, in the order of the text; ascending.
    package private(set) var path: [Int] = []
    /// The row of the pass that counts next, nil when none does: 0 is that of the latest committed token, node + 1 that of
    /// a node. It only grows.
    package private(set) var openRow: Int? = 0

    package init(draft: DraftTree) { self.draft = draft }

    /// A draft that does not branch.
    package init(draft: [Int32]) { self.init(draft: DraftTree(chain: draft)) }

    /// How many tokens the draft had right.
    package var accepted: Int { path.count }

    package var isOpen: Bool { openRow != nil }

    /// Takes the target's choice in the open row.
    package mutating func take(_ token: Int32) {
        guard let row = openRow else { preconditionFailure("no row counts any more") }
        tokens.append(token)
        let node = draft.child(of: row - 1, with: token)
        if let node { path.append(node) }
        openRow = node.map { $0 + 1 }
    }

    /// Ends the request here: later rows do not count.
    package mutating func close() { openRow = nil }
}
