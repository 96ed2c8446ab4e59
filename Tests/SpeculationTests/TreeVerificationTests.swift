import Formats
import Speculation
import TestSupport
import Testing

/// Trees of drafts, verified with the toy models of `VerificationTests`.
@Suite struct TreeVerificationTests {
    private static let vocabulary = Int32(VerificationTests.vocabulary)

    /// Up to 16 nodes with up to three branches each. So often in ten cases there is the token among them that the target
    /// will choose.
    private static func tree(
        after tokens: [Int32], right: Int, _ parameters: SamplingParameters, _ noise: GumbelNoise,
        _ random: inout SplitMix64
    ) throws -> DraftTree {
        var tree = DraftTree()
        var ways: [[Int32]] = [[]]  // of the root and the nodes
        let most = random.int(0..<17)
        for _ in 0..<most {
            let parent = random.int(-1..<tree.count)
            guard tree.parents.count(where: { Int($0) == parent }) < 3 else { continue }
            let way = ways[parent + 1]
            var token = Int32(random.int(0..<Int(vocabulary)))
            if random.int(0..<10) < right {
                token = try VerificationTests.choose(after: tokens + way, model: 1, parameters, noise)
            }
            if tree.append(token, after: parent) == ways.count - 1 { ways.append(way + [token]) }
        }
        return tree
    }

    /// A pass over a tree: the target's choices in the rows that count, which come in their order.
    private static func verify(
        _ tree: DraftTree, after tokens: [Int32], _ parameters: SamplingParameters, _ noise: GumbelNoise
    ) throws -> Verification {
        var verification = Verification(draft: tree)
        for row in 0...tree.count where verification.openRow == row {
            let before = tokens + verification.path.map { tree.tokens[$0] }
            #expect(before == tokens + verification.tokens)
            verification.take(try VerificationTests.choose(after: before, model: 1, parameters, noise))
        }
        return verification
    }

    @Test(arguments: [Float(0), 0.8, 1.5], [0, 3, 10])
    func textDoesNotDependOnTrees(_ temperature: Float, right: Int) throws {
        var parameters = SamplingParameters()
        parameters.temperature = temperature
        var random = SplitMix64(seed: UInt64(right) + 1)
        var (accepted, elsewhere) = (0, 0)
        for seed in UInt64(1)...6 {
            let noise = GumbelNoise(seed: seed)
            var plain: [Int32] = [1, 4]
            while plain.count < 80 {
                plain.append(try VerificationTests.choose(after: plain, model: 1, parameters, noise))
            }
            var tokens: [Int32] = [1, 4]
            while tokens.count < 80 {
                let tree = try Self.tree(after: tokens, right: right, parameters, noise, &random)
                let verification = try Self.verify(tree, after: tokens, parameters, noise)
                check(verification, tree)
                tokens += verification.tokens
                accepted += verification.accepted
                if verification.path != Array(0..<verification.accepted) { elsewhere += 1 }
            }
            #expect(Array(tokens.prefix(80)) == plain)
        }
        #expect(accepted > 60)
        // With a right token at every node the first branch is the right one.
        #expect(right == 10 ? accepted > 200 : elsewhere > 10)
    }

    /// The path is one of the tree, says what was chosen, and ends where nothing follows.
    private func check(_ verification: Verification, _ tree: DraftTree) {
        let path = verification.path
        #expect(!verification.isOpen)
        #expect(verification.tokens.count == path.count + 1)
        #expect(path.map { tree.tokens[$0] } == Array(verification.tokens.dropLast()))
        #expect(path.map { Int(tree.parents[$0]) } == Array(([-1] + path).dropLast()))
        #expect(verification.tokens.last.map { tree.child(of: path.last ?? -1, with: $0) } == .some(nil))
    }

    @Test func choicesLeadFromNodeToNode() {
        var tree = DraftTree()
        let first = tree.append(7, after: -1)
        let second = tree.append(8, after: -1)
        let under = tree.append(9, after: second)
        #expect([first, second, under] == [0, 1, 2])
        #expect(tree.append(8, after: -1) == second && tree.count == 3)
        #expect(tree.append(9, after: first) == 3)
        #expect(tree.append(8, after: under) == 4)
        #expect(tree.tokens == [7, 8, 9, 9, 8] && tree.parents == [-1, -1, 1, 0, 2])
        #expect(!tree.isChain)
        var verification = Verification(draft: tree)
        #expect(verification.openRow == 0)
        verification.take(8)
        #expect(verification.openRow == 2 && verification.path == [1])
        verification.take(9)
        #expect(verification.openRow == 3 && verification.accepted == 2)
        var closed = verification
        closed.close()
        #expect(!closed.isOpen && closed.path == [1, 2] && closed.tokens == [8, 9])
        verification.take(7)
        #expect(!verification.isOpen && verification.path == [1, 2] && verification.tokens == [8, 9, 7])
    }

    @Test func chainsAreTrees() {
        var tree = DraftTree()
        for token in [5, 6, 5] as [Int32] { tree.append(token, after: tree.count - 1) }
        #expect(tree == DraftTree(chain: [5, 6, 5]))
        #expect(tree.isChain && DraftTree().isChain && DraftTree().count == 0)
        tree.append(7, after: 0)
        #expect(!tree.isChain)
    }
}
