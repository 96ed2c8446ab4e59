import Formats
import Speculation
import TestSupport
import Testing

/// How the tokens of one vocabulary are said with those of another.
@Suite struct VocabularyMapTests {
    private typealias Side = VocabularyMap.Side

    private static func text(_ texts: String...) -> [TokenMeaning] {
        texts.map { TokenMeaning(.text, Array($0.utf8)) }
    }

    private static func one(_ kind: TokenMeaning.Kind, _ text: String) -> TokenMeaning {
        TokenMeaning(kind, Array(text.utf8))
    }

    private static func twins(_ map: VocabularyMap, _ count: Int32) -> [Int32] { (0..<count).map { map.twin($0) } }

    private static func spellings(_ map: VocabularyMap, _ count: Int32) -> [[Int32]] {
        (0..<count).map { Array(map.spelling($0)) }
    }

    @Test func equalVocabulariesMapToThemselves() throws {
        let side = Side(Self.text("a", "bc", " the") + [Self.one(.control, "<s>"), TokenMeaning(.byte, [0xE2])])
        let map = try VocabularyMap(target: side, draft: side)
        #expect(Self.twins(map, 5) == [0, 1, 2, 3, 4])
        #expect(Self.spellings(map, 5) == [[0], [1], [2], [3], [4]])
        #expect((map.comparedTokens, map.sharedTokens, map.share) == (2, 2, 1))
    }

    /// What the draft lacks is spelled with its longest tokens; what is beyond the vocabularies stands for nothing.
    @Test func missingTokensAreSpelled() throws {
        let target = Side(Self.text("nation", "international", "xyz", "tion"))
        let draft = Side(Self.text("inter", "in", "t", "nation", "tion", "na", "x", "z"))
        let map = try VocabularyMap(target: target, draft: draft)
        #expect(Self.twins(map, 5) == [3, -1, -1, 4, -1])
        #expect(map.twin(-1) == -1)
        // Neither "al" nor "y" can be said.
        #expect(Self.spellings(map, 5) == [[3], [0, 3], [6, 7], [4], []])
        #expect(Array(map.spelling(-1)) == [])
        #expect((map.comparedTokens, map.sharedTokens, map.share) == (4, 2, 0.5))
    }

    /// Of several tokens with one text the lowest id is drafted, and the lowest of the draft's stands for it.
    @Test func duplicatesCountOnce() throws {
        let map = try VocabularyMap(
            target: Side(Self.text("b", "aa", "aa", "c")), draft: Side(Self.text("c", "aa", "aa", "b", "b")))
        #expect(Self.twins(map, 4) == [3, 1, -1, 0])
        #expect(Self.spellings(map, 4) == [[3], [1], [1], [0]])
        var row = [Float](repeating: 9, count: 5)
        let logits: [Float] = [0, 1, 2, 3, 4]
        map.gather(logits.span, into: &row)
        #expect(row == [3, 1, -.infinity, 0, -.infinity])
    }

    /// A byte token is not the letter that has a token of its own, but stands in where there is none.
    @Test func byteTokens() throws {
        let bytes = [TokenMeaning(.byte, [0x61]), TokenMeaning(.byte, [0x0A]), TokenMeaning(.byte, [0xE2])]
        let withBytes = Side(bytes + Self.text("a"))
        let byteLevel = Side(Self.text("\n", "a") + [TokenMeaning(.text, [0xE2]), TokenMeaning(.text, [0xE2, 0x82])])
        let down = try VocabularyMap(target: withBytes, draft: byteLevel)
        #expect(Self.twins(down, 4) == [-1, 0, 2, 1])
        #expect(Self.spellings(down, 4) == [[1], [0], [2], [1]])
        let up = try VocabularyMap(target: byteLevel, draft: withBytes)
        #expect(Self.twins(up, 4) == [1, 3, 2, -1])
        #expect(Self.spellings(up, 4) == [[1], [3], [2], [2]])
        let same = try VocabularyMap(target: withBytes, draft: Side(Self.text("a") + bytes))
        #expect(Self.twins(same, 4) == [1, 2, 3, 0])
    }

    /// Control tokens are matched by name among themselves, never with text; added texts with either.
    @Test func specialTokens() throws {
        let target = Side(
            Self.text("<s>", "  ") + [
                Self.one(.control, "<s>"), Self.one(.control, "<tool>"), Self.one(.added, "<tool>"),
                Self.one(.control, "<only>"), TokenMeaning(.nothing, []), Self.one(.added, "\t\t"),
            ])
        let draft = Side(
            [
                Self.one(.control, "<s>"), Self.one(.added, "<tool>"), Self.one(.added, "  "),
                TokenMeaning(.nothing, []),
            ] + Self.text("<", "s>", "\t", "<only>"))
        let map = try VocabularyMap(target: target, draft: draft)
        #expect(Self.twins(map, 8) == [-1, 2, 0, -1, 1, -1, -1, -1])
        #expect(Self.spellings(map, 8) == [[4, 5], [2], [0], [1], [1], [], [], [6, 6]])
    }

    /// The ends of texts have different names. The beginning is never drafted.
    @Test func endsAreMatchedByRole() throws {
        let words = Self.text("one", "two")
        let target = Side([Self.one(.control, "<bos>"), Self.one(.control, "<eos>")] + words, bos: 0, eos: 1)
        let draft = Side(words + [Self.one(.control, "<|endoftext|>")], bos: 2, eos: 2)
        let map = try VocabularyMap(target: target, draft: draft)
        #expect(Self.twins(map, 4) == [-1, 2, 0, 1])
        #expect(Self.spellings(map, 4) == [[2], [2], [0], [1]])
        // A name that both have goes before the role.
        let named = Side(words + [Self.one(.control, "<eos>"), Self.one(.control, "</s>")], eos: 3)
        #expect(Self.twins(try VocabularyMap(target: target, draft: named), 4) == [-1, 2, 0, 1])
        let outside = Side(words + [Self.one(.control, "</s>")], bos: -1, eos: 3)
        #expect(Self.twins(try VocabularyMap(target: target, draft: outside), 4) == [-1, -1, 0, 1])
    }

    /// A text whose beginnings go on for long in the other vocabulary, and never match: linear time, or no end.
    @Test func longTokens() throws {
        let text = [UInt8](repeating: 0x61, count: 200_000)
        let target = Side([TokenMeaning(.text, text + [0x63]), TokenMeaning(.text, text)])
        let draft = Side([TokenMeaning(.text, text + [0x62]), TokenMeaning(.text, text)] + Self.text("a"))
        let map = try VocabularyMap(target: target, draft: draft)
        #expect(map.twin(0) == -1 && map.twin(1) == 1)
        #expect(Array(map.spelling(0)) == [Int32](repeating: 2, count: 200_000))
    }

    @Test func vocabulariesWithNothingInCommon() throws {
        let map = try VocabularyMap(target: Side(Self.text("ab", "cd")), draft: Side(Self.text("ef")))
        #expect(map.share == 0 && Self.twins(map, 2) == [-1, -1] && Self.spellings(map, 2) == [[], []])
        let empty = try VocabularyMap(target: Side([]), draft: Side([]))
        var row: [Float] = [1]
        let none: [Float] = []
        empty.gather(none.span, into: &row)
        #expect(row == [-.infinity])
    }

    /// By the definition, on random vocabularies: twins mean the same, each draft token is used once, and spellings give the
    /// bytes back where the draft has all single ones.
    @Test(arguments: UInt64(1)...40) func randomVocabularies(_ seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        func vocabulary() -> [TokenMeaning] {
            let singles = (0..<4).map { TokenMeaning(.text, [UInt8($0)]) }
            let others = (0..<random.int(1..<60)).map { _ in
                TokenMeaning(.text, (0..<random.int(0..<5)).map { _ in UInt8(random.int(0..<4)) })
            }
            var all = singles + others
            for index in all.indices { all.swapAt(index, random.int(index..<all.count)) }
            return all
        }
        let (target, draft) = (vocabulary(), vocabulary())
        let map = try VocabularyMap(target: Side(target), draft: Side(draft))
        let logits = draft.indices.map { Float($0) }
        var row = [Float](repeating: 0, count: target.count)
        map.gather(logits.span, into: &row)
        var used = Set<Int32>()
        for (id, token) in target.enumerated() {
            let twin = map.twin(Int32(id))
            let expected = token.kind == .nothing ? nil : draft.firstIndex(of: token)
            let isFirst = target.firstIndex(of: token) == id
            #expect(twin == (isFirst ? expected.map { Int32($0) } ?? -1 : -1))
            #expect(row[id] == (twin < 0 ? -.infinity : Float(twin)))
            if twin >= 0 { #expect(used.insert(twin).inserted) }
            #expect(map.spelling(Int32(id)).flatMap { draft[Int($0)].bytes } == token.bytes)
            if let expected { #expect(Array(map.spelling(Int32(id))) == [Int32(expected)]) }
        }
    }

    /// Counted from the files by another program: tokens longer than a byte that the draft has, and all such tokens.
    @Test(
        .enabled(if: sharedTestData("tokenizers") != nil, "FTK_TEST_DATA is not set"),
        arguments: [
            ("gpt-2", "llama-bpe", 42953, 50000), ("gpt-2", "llama-spm", 17951, 50000),
            ("llama-bpe", "gpt-2", 42953, 127744), ("llama-bpe", "llama-spm", 26343, 127744),
            ("llama-bpe", "qwen2", 109310, 127744), ("llama-spm", "gpt-2", 17951, 31645),
            ("llama-spm", "llama-bpe", 26343, 31645), ("qwen2", "llama-spm", 26086, 151387),
        ])
    func realVocabularies(_ target: String, _ draft: String, _ shared: Int, _ all: Int) throws {
        func tokenizer(_ name: String) throws -> Tokenizer {
            let path = try #require(sharedTestData("tokenizers/ggml-vocab-\(name).gguf"))
            return try Tokenizer(gguf: try GGUF(path: path))
        }
        let (ours, theirs) = (try tokenizer(target), try tokenizer(draft))
        let map = try VocabularyMap(
            target: Side(ours.meanings(count: ours.vocabularySize), eos: ours.eos),
            draft: Side(theirs.meanings(count: theirs.vocabularySize), eos: theirs.eos))
        #expect((map.sharedTokens, map.comparedTokens) == (shared, all))
        #expect(map.share > VocabularyMap.leastShare)
        if let eos = ours.eos { #expect(map.twin(eos) == theirs.eos) }
        for id in 0..<Int32(ours.vocabularySize) where !ours.isControl(id) && !ours.isPadding(id) {
            let spelled = map.spelling(id).flatMap { theirs.piece($0) }
            // GPT-2's and Qwen's texts are bytes, and so are those of the others' byte tokens: everything can be said.
            #expect(spelled == ours.piece(id), "token \(id)")
        }
    }

    /// A prompt of the target comes to the draft whole, in its own tokens.
    @Test(.enabled(if: sharedTestData("tokenizers") != nil, "FTK_TEST_DATA is not set"))
    func textsKeepTheirBytes() throws {
        let paths = try ["qwen2", "llama-bpe"].map {
            try #require(sharedTestData("tokenizers/ggml-vocab-\($0).gguf"))
        }
        let (ours, theirs) = (try Tokenizer(gguf: GGUF(path: paths[0])), try Tokenizer(gguf: GGUF(path: paths[1])))
        let map = try VocabularyMap(
            target: Side(ours.meanings(count: ours.vocabularySize)),
            draft: Side(theirs.meanings(count: theirs.vocabularySize)))
        let text = "def naïve(x):\n    return \"東京 😀 Straße\" + 1234567\n"
        let tokens = try ours.encode(text, addSpecial: false, parseSpecial: false).flatMap { map.spelling($0) }
        #expect(String(decoding: theirs.decode(tokens, skipSpecial: false), as: UTF8.self) == text)
    }
}
