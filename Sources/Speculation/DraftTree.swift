/// Drafted tokens that follow the latest committed token, as a tree; a chain where nothing branches. One pass of the target
/// rates all nodes, each as if its siblings were absent.
/// Source: Miao et al., "SpecInfer", arXiv 2305.09781.
package struct DraftTree: Sendable, Equatable {
    /// The tokens of the nodes. A node comes after the one that it follows.
    package private(set) var tokens: [Int32] = []
    /// The node that each node follows; -1 for the latest committed token.
    package private(set) var parents: [Int32] = []

    /// No drafted tokens.
    package init() {}

    /// Tokens that follow each other.
    package init(chain: [Int32]) {
        tokens = chain
        parents = chain.indices.map { Int32($0) - 1 }
    }

    package var count: Int { tokens.count }

    /// Whether every node follows the one before it.
    package var isChain: Bool { parents.indices.allSatisfy { Int(parents[$0]) == $0 - 1 } }

    /// How many nodes from the first on follow each other. Their rows lie where their tokens will, if they are accepted.
    package var trunk: Int { parents.indices.prefix { Int(parents[$0]) == $0 - 1 }.count }

    /// Adds a token after `parent`, -1 being the latest committed token, and gives its node. Where that token is there
    /// already it is that node: two would be verified for one.
    @discardableResult
    package mutating func append(_ token: Int32, after parent: Int) -> Int {
        precondition(parent >= -1 && parent < count, "a node follows one before it")
        if let node = child(of: parent, with: token) { return node }
        tokens.append(token)
        parents.append(Int32(parent))
        return count - 1
    }

    /// The node that follows `parent` with this token.
    package func child(of parent: Int, with token: Int32) -> Int? {
        (parent + 1..<count).first { Int(parents[$0]) == parent && tokens[$0] == token }
    }
}
