import Formats
import Kernels
import Model
import TestSupport
import Testing

/// Trees of drafts in one pass: every row has the bits that it has when the way to it is computed as a plain sequence, and
/// so has everything after the accepted rows have moved to their positions.
@Suite struct TreeTests {
    enum Kind: CaseIterable { case fewHeads, normedHeads, wideHeads, window }

    private static func load(_ kind: Kind) throws -> LanguageModel {
        switch kind {
        case .fewHeads: return try TestModels.random("llama3")
        case .normedHeads: return try TestModels.random("qwen3")
        case .wideHeads:
            let folder = try TemporaryFolder()
            defer { withExtendedLifetime(folder) {} }
            return try LanguageModel(path: folder.write(TinyLlama(.q8_0).file.bytes, to: "model.gguf"), threads: 1)
        case .window:
            return try windowed(headDimension: 32, window: 21)
        }
    }
    private static let models = Result {
        Dictionary(uniqueKeysWithValues: try Kind.allCases.map { ($0, try load($0)) })
    }

    /// Random weights for the fixture with a sliding window, with other heads.
    private static func windowed(headDimension: Int, window: Int) throws -> LanguageModel {
        let source = GoldenModel.folder + "/mistral-window/hf"
        let folder = try TemporaryFolder()
        try folder.copy(filesOf: source)
        let config = String(decoding: try contents(of: source + "/config.json"), as: UTF8.self)
        try folder.write(
            Array(
                config.replacing("\"head_dim\": 8", with: "\"head_dim\": \(headDimension)")
                    .replacing("\"sliding_window\": 8", with: "\"sliding_window\": \(window)").utf8),
            to: "config.json")
        var file = try SafetensorsFile(contents(of: source + "/model.safetensors"))
        var random = SplitMix64(seed: 3)
        file.data = []
        for index in file.entries.indices {
            var entry = file.entries[index]
            let heads = entry.name.contains("q_proj") || entry.name.contains("o_proj") ? 4 : 2
            if entry.name.contains("o_proj") {
                entry.shape[1] = heads * headDimension
            } else if entry.name.contains("self_attn") {
                entry.shape[0] = heads * headDimension
            }
            entry.start = file.data.count
            file.data += littleEndian(random.floats(entry.shape.reduce(1, *), bound: 0.5))
            entry.end = file.data.count
            file.entries[index] = entry
        }
        try folder.write(file.bytes, to: "model.safetensors")
        defer { withExtendedLifetime(folder) {} }
        return try LanguageModel(path: folder.path, threads: 1)
    }

    @Test(arguments: Kind.allCases, InstructionSet.available)
    func treesEqualPlainSequences(_ kind: Kind, set: InstructionSet) throws {
        let model = try #require(try Self.models.get()[kind])
        var branched = 0
        for kv in KVFormat.allCases where kv.bytes(of: model.configuration.headDimension) != nil {
            for threads in 1...4 {
                let seed = UInt64(threads) << 8 | UInt64(kv.rawValue) << 4
                var world = try TreeWorld(
                    model, kv: kv, threads: threads, set: set, precision: threads % 2 == 0 ? .q8 : .f32, seed: seed)
                for round in 0..<4 {
                    let wrong = world.round(all: round > 0)
                    #expect(wrong.isEmpty, "\(kv), \(threads) threads, round \(round)")
                }
                branched += world.branched
            }
        }
        #expect(branched > 50)
    }

    /// A tree that does not branch is laid out as the rows of a sequence, with nothing else to do in the pass.
    @Test func chainsAreSequences() {
        var (chain, plain, tree) = (RowBatch(), RowBatch(), RowBatch())
        plain.append(tokens: [1, 2, 3, 4, 5], position: 30, blocks: [4, 2])
        chain.append(tokens: [1, 2, 3, 4, 5], position: 30, blocks: [4, 2], parents: [-1, 0, 1])
        tree.append(tokens: [1, 2, 3, 4, 5], position: 30, blocks: [4, 2], parents: [-1, 0, 0])
        func layout(_ batch: RowBatch) -> [[Int32]] {
            batch.rows.map { [$0.token, $0.position, $0.place, $0.tableStart, $0.path] }
        }
        #expect(layout(chain) == layout(plain))
        #expect(plain.rows.allSatisfy { $0.path == -1 && $0.place == $0.position })
        #expect(layout(tree)[..<4] == layout(plain)[..<4])
        #expect(tree.rows[4].position == 33 && tree.rows[4].place == 34)
        #expect((0...33).map { tree.place(of: $0, row: 4) } == Array(0...32) + [34])
        #expect((0...33).map { tree.place(of: $0, row: 3) } == Array(0...33))
    }

    /// What a row is does not depend on where its siblings stand, or whether there are any.
    @Test func orderOfNodesDoesNotMatter() throws {
        let machine = try Machine(TestModels.random("llama2"), kv: .f16)
        func logits(_ tokens: [Int32], _ parents: [Int32]) -> [[UInt32]] {
            var batch = RowBatch()
            batch.append(tokens: [4] + tokens, position: 30, blocks: machine.tables[0], parents: parents)
            return machine.run(batch).bits
        }
        _ = machine.run((0..<30).map { 5 + $0 })
        // 7 then 8 and 9; 6 then 8 then 5
        let depthFirst = logits([7, 8, 9, 6, 8, 5], [-1, 0, 0, -1, 3, 4])
        let byLevel = logits([6, 7, 8, 9, 8, 5], [-1, -1, 1, 1, 0, 4])
        #expect([0, 4, 1, 2, 3, 5, 6].map { depthFirst[$0] } == byLevel)
        #expect(Set(depthFirst).count == 7)
    }
}

/// Several sequences that decode with random trees, and the same ones computed in line, on a machine of its own.
private struct TreeWorld {
    private struct Member {
        var tokens: [Int32]
        var computed = 0
        /// Nodes of this round: what they say and which they follow.
        var draft: [Int32] = []
        var parents: [Int32] = []
        /// Logits of the tokens from `computed` on, then of the nodes.
        var logits: [[Float]] = []

        var root: Int { tokens.count }

        /// The nodes on the way to one, itself included.
        func way(to node: Int) -> [Int] {
            var way: [Int] = []
            var at = node
            while at >= 0 {
                way.append(at)
                at = Int(parents[at])
            }
            return way.reversed()
        }
    }
    private let trees: Machine
    private let plain: Machine
    private var members: [Member] = []
    private var random: SplitMix64
    /// Rows so far that did not lie at their positions.
    private(set) var branched = 0

    init(
        _ model: LanguageModel, kv: KVFormat, threads: Int, set: InstructionSet, precision: Activations.Precision,
        seed: UInt64
    ) throws {
        random = SplitMix64(seed: seed)
        let lengths = [random.int(1..<70), random.int(28..<34), random.int(60..<66)]
        trees = try Machine(
            model, threads: threads, kv: kv, sequences: lengths.count, maxRows: 256, seed: seed, precision: precision,
            instructionSet: set)
        plain = try Machine(
            model, kv: kv, sequences: lengths.count, seed: seed + 1, precision: precision, instructionSet: set)
        for length in lengths { members.append(Member(tokens: (0..<length).map { _ in token() })) }
    }

    private mutating func token() -> Int32 { Int32(random.int(0..<plain.model.configuration.vocabularySize)) }

    /// Every sequence adds its tokens and a tree, is compared with plain ones and goes on along a random way.
    mutating func round(all: Bool) -> [String] {
        for index in members.indices { draft(index, most: all ? 16 : random.int(0..<17)) }
        run()
        return members.indices.flatMap { index in
            let wrong = compare(index)
            accept(index)
            return wrong
        }
    }

    /// Chains and trees of up to three branches a node.
    private mutating func draft(_ index: Int, most: Int) {
        (members[index].draft, members[index].parents) = ([], [])
        let branches = random.int(1..<4)
        var children: [Int: Int] = [:]
        while members[index].draft.count < most {
            // Mostly after the latest node, so that there are deep trees.
            let parent = random.int(0..<2) == 0 ? most : random.int(-1..<most)
            let node = min(parent, members[index].draft.count - 1)
            guard children[node, default: 0] < branches else { continue }
            children[node, default: 0] += 1
            members[index].parents.append(Int32(node))
            members[index].draft.append(token())
        }
    }

    /// One pass for all, or a second one for the rest of the nodes.
    private mutating func run() {
        let inTwo = random.int(0..<3) == 0
        let order = members.indices.shuffled(using: &random)
        let cuts = members.map { inTwo ? random.int(0..<$0.draft.count + 1) : $0.draft.count }
        var batch = RowBatch()
        var rows: [Int: Int] = [:]
        for index in order {
            let member = members[index]
            rows[index] = batch.append(
                tokens: member.tokens[member.computed...] + member.draft[..<cuts[index]], position: member.computed,
                blocks: trees.tables[index], parents: Array(member.parents[..<cuts[index]]))
        }
        branched += batch.rows.count { $0.position != $0.place }
        let logits = trees.run(batch)
        for (index, row) in rows {
            let count = members[index].root - members[index].computed + cuts[index]
            members[index].logits = Array(logits[row..<row + count])
        }
        if inTwo { runRest(after: cuts) }
    }

    private mutating func runRest(after cuts: [Int]) {
        var batch = RowBatch()
        for index in members.indices where cuts[index] < members[index].draft.count {
            let member = members[index]
            batch.append(
                tokens: member.draft[cuts[index]...], position: member.root + cuts[index],
                blocks: trees.tables[index], parents: member.parents)
        }
        var rest = trees.run(batch)[...]
        for index in members.indices {
            let count = members[index].draft.count - cuts[index]
            members[index].logits += rest.prefix(count)
            rest = rest.dropFirst(count)
        }
    }

    /// Every way through the tree as a plain sequence.
    private func compare(_ index: Int) -> [String] {
        let member = members[index]
        let leaves = member.draft.indices.filter { !member.parents.contains(Int32($0)) }
        return (leaves.isEmpty ? [-1] : leaves).flatMap { leaf -> [String] in
            let way = member.way(to: leaf)
            let logits = runPlain(index, way)
            let own = member.root - member.computed
            let rows = Array(0..<own) + way.map { own + $0 }
            return zip(rows, logits).filter { $1.map(\.bitPattern) != member.logits[$0].map(\.bitPattern) }.map {
                "sequence \(index) at \(member.computed): row \($0.0) of tree \(member.parents)"
            }
        }
    }

    private func runPlain(_ index: Int, _ way: [Int]) -> [[Float]] {
        let member = members[index]
        var batch = RowBatch()
        batch.append(
            tokens: member.tokens[member.computed...] + way.map { member.draft[$0] }, position: member.computed,
            blocks: plain.tables[index])
        return plain.run(batch)
    }

    /// The rows on the way to a random node stay; a token of the target's comes after them.
    private mutating func accept(_ index: Int) {
        let member = members[index]
        let way = member.way(to: random.int(-1..<member.draft.count))
        trees.transformer.cache.moveRows(
            from: way.map { member.root + $0 }, to: member.root, blocks: trees.tables[index])
        _ = runPlain(index, way)
        members[index].tokens += way.map { member.draft[$0] } + [token()]
        members[index].computed = member.root + way.count
    }
}
