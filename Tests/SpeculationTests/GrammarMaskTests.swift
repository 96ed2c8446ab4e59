import Formats
import Speculation
import TestSupport
import Testing

/// Which tokens grammars allow.
@Suite struct GrammarMaskTests {
    /// All bytes, an end token, and pieces of text: whole, cut within code points, several with the same bytes.
    static func vocabulary(_ random: inout SplitMix64, pieces: Int) -> [[UInt8]] {
        var tokens: [[UInt8]] = [[]]
        for byte in UInt8.min...UInt8.max { tokens.append([byte]) }
        let parts = [
            "{", "}", "[", "]", "\"", ":", ",", " ", "\n", "a", "b", "é", "😀", "true", "null", "1", "0", "\\", "-", ".",
        ]
        for _ in 0..<pieces {
            var bytes = (0..<random.int(1..<5)).flatMap { _ in Array(parts[random.int(0..<parts.count)].utf8) }
            if random.int(0..<4) == 0 { bytes = Array(bytes.dropFirst(random.int(0..<bytes.count))) }
            if random.int(0..<4) == 0 { bytes = Array(bytes.dropLast(random.int(0..<bytes.count))) }
            tokens.append(bytes)
        }
        // Plain text around the lengths that are treated alike.
        for length in [2, 3, 15, 16, 17, 18, 40] {
            for letter in ["a", "é", "😀"] { tokens.append(Array(String(repeating: letter, count: length).utf8)) }
        }
        return tokens
    }

    static func trie(_ tokens: [[UInt8]]) throws -> TokenTrie {
        try TokenTrie(vocabularySize: tokens.count) { tokens[Int($0)] }
    }

    /// The same by testing each token by itself.
    static func bruteForce(_ state: GrammarState, _ tokens: [[UInt8]], end: Int32) -> TokenSet {
        var set = TokenSet(capacity: tokens.count)
        for (token, bytes) in tokens.enumerated() where !bytes.isEmpty && state.accepts(bytes) {
            set.set(Int32(token), true)
        }
        set.set(end, state.canEnd)
        return set
    }

    @Test func masksEqualBruteForce() throws {
        var random = SplitMix64(seed: 5)
        let tokens = Self.vocabulary(&random, pieces: 400)
        let trie = try Self.trie(tokens)
        var grammars = [try Grammar(gbnf: GrammarStateTests.json), try Grammar(gbnf: GrammarStateTests.arithmetic)]
        for schema in [
            "{}", #"{"type":"string","maxLength":3}"#, #"{"minLength":2,"maxLength":17}"#, #"{"minLength":20}"#,
            #"{"pattern":"^[^b]{3,20}$"}"#, #"{"pattern":"^(.{4}|é*|[^a-z]+)$"}"#, #"{"enum":["aaa","aaaa",1]}"#,
            #"{"properties":{"a":{}},"additionalProperties":{"type":"string","maxLength":16}}"#,
        ] {
            grammars.append(try Grammar(jsonSchema: schema))
        }
        while grammars.count < 70 {
            if let grammar = RandomGrammar(&random).compiled { grammars.append(grammar) }
        }
        var states = 0
        for grammar in grammars {
            let mask = GrammarMask(grammar, trie, endTokens: [0])
            for _ in 0..<4 {
                var state = GrammarState(grammar)
                for _ in 0..<12 {
                    let expected = Self.bruteForce(state, tokens, end: 0)
                    guard !expected.isEmpty else { break }
                    #expect(try mask.allowed(in: state) == expected)
                    states += 1
                    let choices = tokens.indices.filter { $0 > 0 && expected.contains(Int32($0)) }
                    guard !choices.isEmpty else { break }
                    try state.advance(tokens[choices[random.int(0..<choices.count)]])
                }
            }
        }
        #expect(states > 500)
    }

    /// Copies go their own ways; what they allow depends on the text alone, not on what the cache has seen.
    @Test func copiesAndReplaysAgree() throws {
        var random = SplitMix64(seed: 6)
        let tokens = Self.vocabulary(&random, pieces: 100)
        let trie = try Self.trie(tokens)
        let grammar = try Grammar(gbnf: GrammarStateTests.json)
        let warm = GrammarMask(grammar, trie, endTokens: [0])
        let small = GrammarMask(grammar, trie, endTokens: [0], cacheBytes: 1)
        var constraint = GrammarConstraint(warm)
        var output: [Int32] = []
        for _ in 0..<150 {
            let allowed = try constraint.allowed()
            let choices = tokens.indices.filter { allowed.contains(Int32($0)) && $0 > 0 }
            guard !choices.isEmpty else { break }
            // A drafting branch, thrown away.
            var branch = constraint
            try branch.advance(Int32(choices[random.int(0..<choices.count)]))
            _ = try branch.allowed()
            let token = Int32(choices[random.int(0..<choices.count)])
            #expect(constraint.allows(token))
            try constraint.advance(token)
            output.append(token)
            if random.int(0..<8) == 0 {
                var replay = GrammarConstraint(small)
                for token in output { try replay.advance(token) }
                #expect(replay.state == constraint.state)
                #expect(try replay.allowed() == constraint.allowed())
            }
        }
        #expect(output.count > 50)
    }

    @Test func endTokensFollowTheGrammar() throws {
        let tokens: [[UInt8]] = [Array("</s>".utf8), Array("a".utf8), Array("<end>".utf8)]
        let mask = GrammarMask(try Grammar(gbnf: "root ::= \"a\" .?"), try Self.trie(tokens), endTokens: [0, 2])
        var constraint = GrammarConstraint(mask)
        #expect(try constraint.allowed().only == 1 && mask.onlyAllowed(in: constraint.state) == 1)
        #expect(!constraint.allows(0) && failure { try constraint.advance(0) } != nil)
        try constraint.advance(1)
        #expect(try constraint.allowed().count == 3)
        // As text "<" would fit; but the token ends the generation.
        try constraint.advance(2)
        #expect(constraint.hasEnded && !constraint.allows(1) && constraint.allows(0))
        #expect(failure { try constraint.advance(1) } != nil)
        #expect(try constraint.allowed().count == 2)
    }

    @Test func nothingAllowedIsAFailure() throws {
        let tokens: [[UInt8]] = [[], Array("a".utf8)]
        let trie = try Self.trie(tokens)
        let stuck = GrammarMask(try Grammar(gbnf: "root ::= \"b\""), trie, endTokens: [0])
        let message = failure { _ = try stuck.allowed(in: GrammarState(stuck.grammar)) }?.message
        #expect(message?.contains("no token of the vocabulary") == true)
        var logits: [Float] = [1, 2]
        GrammarConstraint(stuck).process(&logits, history: TokenHistory(prompt: []))
        #expect(logits == [-.infinity, -.infinity])
        let endless = GrammarMask(try Grammar(gbnf: "root ::= \"\""), trie, endTokens: [])
        #expect(
            failure { _ = try endless.allowed(in: GrammarState(endless.grammar)) }?.message.contains("may only end")
                == true)
    }

    @Test func maskedLogits() throws {
        let tokens = (0..<130).map { [UInt8($0)] }
        let mask = GrammarMask(try Grammar(gbnf: "root ::= [\\x01a-c]"), try Self.trie(tokens), endTokens: [0])
        var logits = [Float](repeating: 2, count: 140)
        logits[Int(UInt8(ascii: "b"))] = -3
        GrammarConstraint(mask).process(&logits, history: TokenHistory(prompt: [5]))
        for (token, logit) in logits.enumerated() {
            switch token {
            case 1, 97, 99: #expect(logit == 2)
            case 98: #expect(logit == -3)
            default: #expect(logit == -.infinity)
            }
        }
        // Shorter rows than the vocabulary do not trap either.
        var short = [Float](repeating: 1, count: 3)
        GrammarConstraint(mask).process(&short, history: TokenHistory(prompt: []))
        #expect(short == [-.infinity, 1, -.infinity])
        var none: [Float] = []
        GrammarConstraint(mask).process(&none, history: TokenHistory(prompt: []))
    }

    @Test func sampledTokensKeepTheGrammar() throws {
        let tokens = (0..<128).map { $0 == 0 ? [] : [UInt8($0)] }
        let mask = GrammarMask(
            try Grammar(gbnf: "root ::= \"ab\" [0-9]{3}"), try Self.trie(tokens), endTokens: [0])
        var constraint = GrammarConstraint(mask)
        var parameters = SamplingParameters()
        parameters.logitBias = [SamplingParameters.Bias(token: 65, bias: 100)]
        var text: [UInt8] = []
        var random = SplitMix64(seed: 1)
        while !constraint.hasEnded {
            let logits = random.floats(128)
            let token = try Sampler().choose(
                logits: logits.span, parameters: parameters, processors: parameters.processors + [constraint],
                history: TokenHistory(prompt: []), noise: GumbelNoise(seed: 3), position: text.count)
            try constraint.advance(token)
            text += tokens[Int(token)]
        }
        #expect(text.count == 5 && text.starts(with: "ab".utf8))
    }

    @Test func forcedTextIsDrafted() throws {
        let words = ["", "{\"", "{", "\"", "name", "na", "\":", " \"", "x", " "]
        let tokens = words.map { Array($0.utf8) }
        let grammar = try Grammar(gbnf: "root ::= \"{\\\"name\\\": \\\"\" [a-z]+ \"\\\"\"")
        let mask = GrammarMask(grammar, try Self.trie(tokens), endTokens: [0])
        var constraint = GrammarConstraint(mask)
        #expect(constraint.forcedTokens(limit: 8) == [1, 4, 6, 7])
        #expect(constraint.forcedTokens(limit: 2) == [1, 4])
        #expect(constraint.forcedTokens(limit: 0).isEmpty && constraint.forcedTokens(limit: -1).isEmpty)
        for token in constraint.forcedTokens(limit: 8) { try constraint.advance(token) }
        #expect(constraint.forcedTokens(limit: 8).isEmpty)
        #expect(mask.onlyAllowed(in: constraint.state) == nil)
    }

    @Test func manyThreadsShareAMask() async throws {
        var random = SplitMix64(seed: 9)
        let tokens = Self.vocabulary(&random, pieces: 200)
        let grammar = try Grammar(gbnf: GrammarStateTests.json)
        let mask = GrammarMask(grammar, try Self.trie(tokens), endTokens: [0], cacheBytes: 200)
        let text = Array(#"{"a": [1, {"b": "é\n"}], "c": null}"#.utf8)
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    var state = GrammarState(grammar)
                    do {
                        for byte in text {
                            guard try mask.allowed(in: state) == Self.bruteForce(state, tokens, end: 0) else {
                                return false
                            }
                            try state.advance([byte])
                        }
                    } catch {
                        return false
                    }
                    return state.canEnd
                }
            }
            for await same in group { #expect(same) }
        }
    }

    @Test func vocabularies() throws {
        let empty = try TokenTrie(vocabularySize: 0) { _ in [] }
        let grammar = try Grammar(gbnf: "root ::= \"a\"")
        #expect(
            failure { _ = try GrammarMask(grammar, empty, endTokens: [7]).allowed(in: GrammarState(grammar)) } != nil)
        let long = [UInt8](repeating: UInt8(ascii: "a"), count: 100_000)
        let trie = try TokenTrie(vocabularySize: 3) { $0 == 1 ? long : $0 == 2 ? Array("aa".utf8) : [] }
        let many = try Grammar(gbnf: "root ::= \"a\"{60000} \"a\"{40000}")
        #expect(try GrammarMask(many, trie, endTokens: [0]).allowed(in: GrammarState(many)).count == 2)
        #expect(trie.longestMatch(Array("aaab".utf8)[...]) == 2 && trie.longestMatch(Array("b".utf8)[...]) == nil)
        #expect(trie.bytes(of: -1).isEmpty && trie.bytes(of: 3).isEmpty && trie.bytes(of: 2).count == 2)
    }
}
