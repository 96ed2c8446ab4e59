import Formats
import Speculation
import TestSupport
import Testing

/// The notation of grammars: what is understood, and what the failures say.
@Suite struct GrammarParserTests {
    private func message(_ source: String) -> String {
        let failure = failure { _ = try Grammar(gbnf: source) }
        return failure.map { $0.code == .invalidArgument ? $0.message : "\($0.code): \($0.message)" } ?? "accepted"
    }

    @Test(arguments: [
        ("", "line 1, column 1: there is no rule 'root'"),
        ("a ::= \"x\"\n", "line 2, column 1: there is no rule 'root'"),
        ("root := \"x\"", "line 1, column 6: expected '::='"),
        ("root ::= \"x\" other\n", "line 1, column 14: the rule 'other' is not defined"),
        ("root ::= a\n\n# note\na ::= b b\n", "line 4, column 7: the rule 'b' is not defined"),
        ("root ::= \"x\"\nroot ::= \"y\"", "line 2, column 1: the rule 'root' is defined twice"),
        ("root ::= \"abc", "line 1, column 10: the literal is not closed"),
        ("root ::= [a-z", "line 1, column 10: the class is not closed"),
        ("root ::= []", "line 1, column 10: the class is empty"),
        ("root ::= [^]", "line 1, column 10: the class is empty"),
        ("root ::= [z-a]", "line 1, column 11: the range ends before its start"),
        ("root ::= [^\\U00000000-\\U0010FFFF]", "line 1, column 10: the class matches nothing"),
        ("root ::= (\"a\" | \"b\"", "line 1, column 10: '(' is not closed"),
        ("root ::= \"a\")", "line 1, column 13: ')' closes no group"),
        ("root ::= * \"a\"", "line 1, column 10: '*' repeats nothing"),
        ("root ::= \"a\" | {2}", "line 1, column 16: '{' repeats nothing"),
        ("root ::= \"a\"{3,2}", "line 1, column 13: the repetition {3,2} ends below its start"),
        ("root ::= \"a\"{x}", "line 1, column 14: expected a number"),
        ("root ::= \"a\"{2;3}", "line 1, column 15: expected ',' or '}'"),
        ("root ::= \"a\"{99999999999999999999}", "line 1, column 14: more than 65536 repetitions"),
        ("root ::= \"a\"****", "line 1, column 16: a repetition of a repetition"),
        ("root ::= \"\\q\"", "line 1, column 11: unknown escape '\\q'"),
        ("root ::= \"\\x4\"", "line 1, column 11: expected 2 hexadecimal digits"),
        ("root ::= \"\\uD800\"", "line 1, column 11: the escape is no code point"),
        ("root ::= \"\\U00110000\"", "line 1, column 11: the escape is no code point"),
        ("root ::= \"a\" ; \"b\"", "line 1, column 14: expected an item"),
        ("root ::= <think> \"a\"", "line 1, column 10: tokens in grammars are not supported"),
        ("!root ::= \"a\"", "line 1, column 1: expected the name of a rule"),
        ("root ::= root \"a\" | \"b\"", "line 1, column 1: 'root' may begin with itself (root -> root)"),
        (
            "root ::= a\na ::= e b\nb ::= a \"x\" | \"y\"\ne ::= \"\"",
            "line 2, column 1: 'a' may begin with itself (a -> b -> a)"
        ),
        ("root ::= (\"x\"? root)? \"a\"", "line 1, column 1: 'root' may begin with itself"),
        ("root ::= \"a\"* root | \"b\"", "line 1, column 1: 'root' may begin with itself"),
        ("root ::= \"a\" b\n  b ::= \"x\" b", "line 2, column 3: 'b' never ends"),
    ])
    func errorsSayWhereAndWhat(_ source: String, _ expected: String) {
        #expect(message(source).hasPrefix("grammar, " + expected), "\(message(source))")
    }

    @Test func errorsSayWhatToDo() {
        #expect(message("root ::= a").contains("add \"a ::= ...\""))
        #expect(message("root ::= root \"a\" | \"b\"").contains("a ::= b (\"+\" b)*"))
    }

    @Test(arguments: [
        ("root::=\"a\"", ["a"], ["", "b", "aa"]),
        ("# first\nroot ::= # a note\n  \"a\" # more\n\n# last", ["a"], ["b"]),
        ("root ::= \"a\" |\n  \"b\"\n| \"c\"\r\nx ::= \"y\"\r\n", ["a", "b", "c"], ["y", "ab"]),
        ("root ::= (\n \"a\"\n \"b\" | # or\n\n \"c\"\n)\n", ["ab", "c"], ["a", "abc"]),
        ("root ::= \"a\"* \"b\"+ \"c\"?", ["b", "aabbc", "bc"], ["", "a", "ac", "bcc"]),
        ("root ::= \"ab\"{2}", ["abab"], ["ab", "ababab", "abb"]),
        ("root ::= [ab]{2,}", ["ab", "bbbb"], ["", "a"]),
        ("root ::= ( \"a\" | \"bc\" ){ 1 , 3 }", ["a", "bcabc"], ["", "aaaa", "b"]),
        ("root ::= \"a\"{0} \"b\"", ["b"], ["ab"]),
        ("root ::= \"a\"{0,2}", ["", "a", "aa"], ["aaa"]),
        ("root ::= \"a\"?? \"b\"+*", ["", "a", "abb"], ["aab"]),
        ("root ::= \"\\n\\r\\t\\\\\\\"\\x41\\u00e9\\U0001F600\"", ["\n\r\t\\\"A\u{E9}\u{1F600}"], ["\n"]),
        ("root ::= [\\x41-\\x43\\]\\[\\\\-]+", ["ABC", "-", "][\\"], ["D", "a"]),
        ("root ::= [a^-]", ["a", "^", "-"], ["b"]),
        ("root ::= [^a-c\\n]", ["d", "\u{E9}", "\u{1F600}", "\u{7FF}"], ["a", "\n", "dd"]),
        ("root ::= .", ["a", "\u{0}", "\n", "\u{10FFFF}", "\u{D7FF}", "\u{E000}", "\u{800}"], ["", "ab"]),
        ("root ::= |\"a\"", ["", "a"], ["b"]),
        ("root ::= rule_1 other-Rule\nrule_1 ::= \"1\"\nother-Rule ::= \"2\"", ["12"], ["1"]),
        ("root ::= (\"a\"?)* (\"b\" | )+ (()())", ["", "a", "aabb"], ["ba"]),
        ("root ::= \"\" x\nx ::= \"\" | \"a\"", ["", "a"], ["aa"]),
        ("root ::= [ぁ-ゟ]+", ["ひらがな", "ぁゟ"], ["カ", "a", "ひa"]),
        ("root ::= \"for\" | \"foo\" | \"f\" | \"foo\" | \"\"", ["for", "foo", "f", ""], ["fo", "fooo"]),
    ])
    func notation(_ source: String, _ matching: [String], _ others: [String]) throws {
        let grammar = try Grammar(gbnf: source)
        for text in matching { #expect(matches(grammar, text), "\(text)") }
        for text in others { #expect(!matches(grammar, text), "\(text)") }
    }

    @Test func limits() throws {
        let deep = String(repeating: "(", count: 64) + "\"a\"" + String(repeating: ")", count: 64)
        #expect(matches(try Grammar(gbnf: "root ::= " + deep), "a"))
        let repeated = String(repeating: "(", count: 64) + "\"a\"" + String(repeating: ")?*+", count: 64)
        #expect(matches(try Grammar(gbnf: "root ::= " + repeated), "aaaa"))
        #expect(message("root ::= (" + deep + ")").contains("nested deeper than 64 levels"))
        #expect(
            message("root ::= ((\"a\"{60000} | \"b\"{60000}){60000} [a-z]{60000} [A-Z]{60000}){2}").contains("states"))
        #expect(message(String(repeating: "#", count: 1 << 20) + "\n").contains("at most 1048576"))
        let names = (0...65536).map { "r\($0) ::= \"a\"\n" }.joined()
        #expect(message(names).contains("more than 65536 rules"))
        let members = (0...4096).map { "\\U\(String(String(0x1_0000 + 2 * $0, radix: 16).reversed()))" }
        #expect(message("root ::= [" + members.joined() + "]").contains("line 1, column"))
        // A repetition of a repetition is not their product.
        let grammar = try Grammar(gbnf: "root ::= (([a-c] \"x\"){1000}){1000}")
        var state = GrammarState(grammar)
        for _ in 0..<10_000 { try state.advance(Array("axbxcx".utf8)) }
        #expect(!state.canEnd && state.accepts(Array("a".utf8)))
    }

    @Test func aLongChainOfRulesIsNoTrouble() throws {
        let count = 10_000
        let chain = (0..<count).map { "r\($0) ::= r\($0 + 1) | \"\(String($0 % 10))\"\n" }.joined()
        let failure = failure { _ = try Grammar(gbnf: "root ::= r0\n" + chain + "r\(count) ::= \"end\"") }
        #expect(failure?.message.contains("in more than 1024 ways") == true)
        let looped = (0..<count).map { "r\($0) ::= r\($0 + 1)\n" }.joined()
        #expect(message("root ::= r0\n" + looped + "r\(count) ::= r0 | \"a\"").contains("may begin with itself"))
        #expect(matches(try Grammar(gbnf: "root ::= r0\n" + looped + "r\(count) ::= \"a\""), "a"))
    }
}

/// Whether the whole of `text` matches.
func matches(_ grammar: Grammar, _ text: String) -> Bool {
    var state = GrammarState(grammar)
    guard state.accepts(text.utf8) else { return false }
    do { try state.advance(text.utf8) } catch { return false }
    return state.canEnd
}
