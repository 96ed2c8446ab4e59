import Formats
import Speculation
import TestSupport
import Testing

/// Following texts through grammars.
@Suite struct GrammarStateTests {
    static let json = #"""
        root   ::= object
        value  ::= object | array | string | number | ("true" | "false" | "null") ws
        object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
        array  ::= "[" ws ( value ("," ws value)* )? "]" ws
        string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt/] | "u" [0-9a-fA-F]{4}) )* "\"" ws
        number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
        ws     ::= | " " | "\n" [ \t]{0,20}
        """#
    static let arithmetic = #"""
        root ::= expression
        expression ::= term ([-+] term)*
        term ::= factor ([*/] factor)*
        factor ::= [0-9]+ | "(" expression ")"
        """#

    @Test func arithmeticExpressions() throws {
        let grammar = try Grammar(gbnf: Self.arithmetic)
        for text in ["1", "1+2*3", "(1+2)*3-((4))/55"] { #expect(matches(grammar, text)) }
        for text in ["", "1+", "(1", "1)", "1++2", "()", "a"] { #expect(!matches(grammar, text)) }
        #expect(GrammarState(grammar).accepts("((((1".utf8))
    }

    @Test func jsonByItsOwnDefinition() throws {
        let grammar = try Grammar(gbnf: Self.json)
        let valid = [
            "{}", "{ }", #"{"a": 1, "b": [true, false, null, -1.5e+3, "x\n\u00e9\"é"]}"#, "{\"a\":{\n  \"b\": [\n[]]}}",
        ]
        for text in valid { #expect(matches(grammar, text), "\(text)") }
        let invalid = [
            "", "[]", "{", "{a:1}", #"{"a" 1}"#, #"{"a":1,}"#, #"{"a":01}"#, #"{"a":"\q"}"#, "{\"a\":\"\n\"}", "{}}",
            #"{"a":tru}"#, #"{"a":1.}"#,
        ]
        for text in invalid { #expect(!matches(grammar, text), "\(text)") }
    }

    @Test func listsOfAnyLength() throws {
        let grammar = try Grammar(gbnf: "root ::= item list\nlist ::= \",\" item list | \"\"\nitem ::= [a-z]+")
        var state = GrammarState(grammar)
        try state.advance("abc".utf8)
        for _ in 0..<5000 { try state.advance(",xyz".utf8) }
        #expect(state.canEnd)
        // Only the place counts, not the way there.
        var other = GrammarState(grammar)
        try other.advance("q,r".utf8)
        #expect(state == other)
    }

    @Test func nestingIsBounded() throws {
        let grammar = try Grammar(gbnf: "root ::= \"(\" root \")\" | \"x\"")
        var state = GrammarState(grammar)
        for _ in 0..<256 { try state.advance("(".utf8) }
        #expect(!state.accepts("(".utf8))
        try state.advance("x".utf8)
        for _ in 0..<256 { try state.advance(")".utf8) }
        #expect(state.canEnd && !state.accepts(")".utf8))
    }

    @Test func ambiguityIsBounded() throws {
        let grammar = try Grammar(
            gbnf: "root ::= a | b | \"z\"\na ::= \"x\" root \"a\"\nb ::= \"x\" root \"b\"")
        var state = GrammarState(grammar)
        var steps = 0
        let failure = failure {
            for _ in 0..<64 {
                try state.advance("x".utf8)
                steps += 1
            }
        }
        #expect(failure?.message.contains("in more than 1024 ways") == true)
        #expect((6..<12).contains(steps))
        try state.advance("z".utf8)
        #expect(state.accepts(String(repeating: "ab", count: steps / 2).utf8))
    }

    @Test func codePointsMayBeCutAnywhere() throws {
        let text = "é€😀ÿ한"
        for source in ["root ::= \"\(text)\"", "root ::= .*", "root ::= [^a-z]{5}", "root ::= [é€😀ÿ한]+"] {
            let grammar = try Grammar(gbnf: source)
            let bytes = Array(text.utf8)
            for first in 0...bytes.count {
                for second in first...bytes.count {
                    var state = GrammarState(grammar)
                    for part in [bytes[..<first], bytes[first..<second], bytes[second...]] {
                        #expect(state.accepts(part))
                        try state.advance(part)
                    }
                    #expect(state.canEnd)
                }
            }
            var state = GrammarState(grammar)
            try state.advance(bytes[..<1])
            #expect(!state.canEnd && !state.accepts("a".utf8))
        }
    }

    @Test func nothingButValidUTF8IsMatched() throws {
        let state = GrammarState(try Grammar(gbnf: "root ::= .*"))
        let bad: [[UInt8]] = [
            [0x80], [0xC0, 0x80], [0xC1], [0xE0, 0x80], [0xED, 0xA0], [0xF0, 0x80], [0xF4, 0x90], [0xF5], [0xFF],
        ]
        for bytes in bad { #expect(!state.accepts(bytes)) }
        var random = SplitMix64(seed: 7)
        for _ in 0..<20_000 {
            let bytes = random.bytes(random.int(1..<5))
            var next = state
            let accepted = state.accepts(bytes)
            if accepted { try next.advance(bytes) }
            #expect((accepted && next.canEnd) == (String(validating: bytes, as: UTF8.self) != nil))
        }
    }

    @Test func aFailedAdvanceChangesNothing() throws {
        var state = GrammarState(try Grammar(gbnf: "root ::= \"abc\" | \"abd\""))
        try state.advance("a".utf8)
        let before = state
        let failure = failure { try state.advance("bx".utf8) }
        #expect(failure?.code == .invalidArgument && failure?.message.contains("0x78") == true)
        #expect(state == before)
        try state.advance("bd".utf8)
        #expect(state.canEnd)
    }

    @Test func forcedBytes() throws {
        var state = GrammarState(try Grammar(gbnf: "root ::= \"begin \" [0-9]+ \" end\"?"))
        #expect(state.forcedBytes(limit: 100) == Array("begin ".utf8))
        #expect(state.forcedBytes(limit: 3) == Array("beg".utf8))
        try state.advance("begin 7".utf8)
        #expect(state.forcedBytes(limit: 100).isEmpty)
        try state.advance(" ".utf8)
        #expect(state.forcedBytes(limit: 100) == Array("end".utf8))
    }

    // MARK: Random grammars against a plain matcher

    /// Accepted texts are those that a matcher by definition finds, for all texts of up to five characters.
    @Test func randomGrammarsMatchWhatTheyDefine() throws {
        var random = SplitMix64(seed: 11)
        let alphabet = ["a", "b", "é"]
        var texts = [""]
        for start in 0..<6 {
            for text in texts where text.unicodeScalars.count == start && start < 5 {
                texts += alphabet.map { text + $0 }
            }
        }
        var (accepted, matching) = (0, 0)
        for _ in 0..<600 {
            let sample = RandomGrammar(&random)
            guard let grammar = sample.compiled else { continue }
            accepted += 1
            var prefixes: Set<String> = []
            for text in texts {
                let expected = sample.matches(text)
                #expect(matches(grammar, text) == expected, "\(sample.source)\n\(text)")
                guard expected else { continue }
                matching += 1
                for end in text.unicodeScalars.indices { prefixes.insert(String(text[..<end])) }
            }
            let state = GrammarState(grammar)
            for prefix in prefixes { #expect(state.accepts(prefix.utf8), "\(sample.source)\n\(prefix)") }
        }
        #expect(accepted > 200 && matching > 1000)
    }
}
