import Formats
import TestSupport
import Testing

/// The parser against RFC 8259.
@Suite struct JSONTests {
    private func parse(_ text: String) throws -> JSON { try JSON(parsing: Array(text.utf8)) }

    private func problem(_ bytes: [UInt8]) -> Failure? { failure { _ = try JSON(parsing: bytes) } }

    @Test(arguments: [
        "null", "true", "false", "0", "-0", "1.5e+10", "[]", "{}", " \t\r\n[ ]\n", "{\"\":0}", "[[[]]]", "\"\"",
        "[1,2 , 3]", "{\"a\":{\"a\":[null]}}", "0e0", "-1E-2", "\"\u{7F}\u{2028}😀\"", "1e400",
        "123456789012345678901234567890",
    ])
    func accepts(text: String) throws {
        _ = try parse(text)
    }

    @Test(arguments: [
        "", " ", "nul", "nulll", "True", "NaN", "Infinity", "-", "+1", "01", "-01", "1.", ".5", "1e", "1e+", "0x10",
        "1 2", "[1,]", "[,1]", "[,]", "[1 2]", "[", "]", "[1", "[1}", "{", "}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}",
        "{,}",
        "{a:1}", "{1:1}", "{\"a\" 1}", "{\"a\":1 \"b\":2}", "'a'", "\"", "\"a", "\"\\", "\"\\x\"", "\"\\u12\"",
        "\"\\u12G4\"",
        "\"\\u\"", "\"\t\"", "\"\n\"", "\"\0\"", "// x\n1", "/* x */ 1", "1 // x", "\u{FEFF}1", "\u{A0}1", "[1]]",
        "--1",
        "1.5.5", "\"a\"b", "{\"a\":1}}", "\"\\U0041\"", "-\"a\"", "1_000", "\u{B}1", "tru e",
    ])
    func rejects(text: String) {
        #expect(problem(Array(text.utf8))?.code == .corruptFile)
    }

    @Test(
        arguments: [
            [0x22, 0xFF, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], [0x22, 0xE2, 0x82, 0x22],
            [0x22, 0xF5, 0x80, 0x80, 0x80, 0x22], [0xFF], [0x22, 0x80, 0x22],
            [0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D],
            [0xFE, 0xFF, 0x00, 0x31], [0x31, 0x00],
        ] as [[UInt8]])
    func rejectsWhatIsNotUTF8(bytes: [UInt8]) {
        #expect(problem(bytes)?.code == .corruptFile)
    }

    @Test func numbers() throws {
        let cases: [(String, Double)] = [
            ("0", 0), ("-0", 0), ("10", 10), ("-1.25", -1.25), ("1e3", 1000), ("1E+3", 1000), ("25e-2", 0.25),
            ("0.1", 0.1), ("1e400", .infinity), ("1e-400", 0), ("9007199254740993", 9_007_199_254_740_992),
            ("2.2250738585072011e-308", Double.leastNormalMagnitude.nextDown),
        ]
        for (text, value) in cases { #expect(try parse(text).number == value, "\(text)") }
        #expect(try parse("-0").number?.sign == .minus)
        #expect(try parse("42").int == 42)
        #expect(try parse("42.0").int == 42)
        #expect(try parse("42.5").int == nil)
        #expect(try parse("1e300").int == nil)
        #expect(try parse("1e400").int == nil)
        #expect(try parse("\"42\"").int == nil)
    }

    @Test func stringsAndEscapes() throws {
        let cases: [(String, String)] = [
            (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"), (#""\u0041\u00e9\u4E2D""#, "Aé中"), (#""\u0000""#, "\0"),
            (#""\ud83d\uDE00""#, "😀"), (#""\uD800\uDC00\uDBFF\uDFFF""#, "\u{10000}\u{10FFFF}"),
            (#""\uFFFF""#, "\u{FFFF}"),
            ("\"a\u{301}\"", "a\u{301}"), (#""\\u0041""#, "\\u0041"),
        ]
        for (text, value) in cases {
            let string = try #require(try parse(text).string)
            #expect(Array(string.unicodeScalars) == Array(value.unicodeScalars), "\(text)")
        }
    }

    @Test(arguments: [
        #""\ud800""#, #""\udc00""#, #""\ud800x""#, #""\ud800\n""#, #""\ud800\u0041""#, #""\ud800\ud800""#,
        #""\udc00\ud800""#,
        #""\ud800\"#, #""\ud800\u"#, #""\ud800\udc"#, #""\uD83D\U0000""#,
    ])
    func rejectsSingleSurrogates(text: String) {
        #expect(problem(Array(text.utf8))?.code == .corruptFile)
    }

    /// Canonically equivalent spellings are one `String` for Swift, and two keys here.
    @Test func equivalentKeysAreKeptApart() throws {
        let json = try parse("{\"e\u{301}\":1,\"\u{E9}\":2,\"K\":3,\"\u{212A}\":4}")
        #expect("e\u{301}" == "\u{E9}")
        #expect(json["e\u{301}"]?.int == 1)
        #expect(json["\u{E9}"]?.int == 2)
        #expect(json["K"]?.int == 3)
        #expect(json["\u{212A}"]?.int == 4)
        #expect(json.members?.count == 4)
    }

    @Test func membersKeepTheirOrder() throws {
        let json = try parse(#"{"b":1,"a":2,"b":3,"":4}"#)
        #expect(json.members?.map(\.key) == ["b", "a", "b", ""])
        #expect(json["b"]?.int == 1)
        #expect(json[""]?.int == 4)
        #expect(json["c"] == nil)
        #expect(try parse("[1]")["a"] == nil)
    }

    @Test func accessorsAreStrict() throws {
        let values = try parse(#"[null, true, 0, "x", [], {}]"#).array ?? []
        #expect(values.map(\.isNull) == [true, false, false, false, false, false])
        #expect(values.map { $0.bool != nil } == [false, true, false, false, false, false])
        #expect(values.map { $0.number != nil } == [false, false, true, false, false, false])
        #expect(values.map { $0.string != nil } == [false, false, false, true, false, false])
        #expect(values.map { $0.array != nil } == [false, false, false, false, true, false])
        #expect(values.map { $0.members != nil } == [false, false, false, false, false, true])
    }

    @Test func depthIsBounded() throws {
        func nested(_ depth: Int, _ open: String, _ close: String) -> String {
            String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)
        }
        let most = JSON.maximumDepth
        _ = try parse(nested(most - 1, "[", "]"))
        _ = try parse(nested(most - 1, "{\"a\":", "}"))
        for depth in [most, most + 1, 100_000] {
            #expect(problem(Array(nested(depth, "[", "]").utf8))?.message.contains("deeper") == true)
            #expect(problem(Array(nested(depth, "{\"a\":", "}").utf8))?.message.contains("deeper") == true)
            #expect(problem(Array(String(repeating: "[", count: depth).utf8))?.code == .corruptFile)
        }
    }

    /// Random damage gives a value or a failure, never a trap.
    @Test func mutationsNeverTrap() {
        var random = SplitMix64(seed: 4)
        let source = Array(
            #"{"a":[1,-2.5e3,"x\ud83d\ude00\n",{"b":null}],"c\u00e9":[true,false,[[]],{}],"d":"é😀"}"#.utf8)
        let alphabet = Array("{}[]\",:\\u0dD8eE+-.tfn \u{0}".utf8) + [0xFF, 0xC3, 0x80]
        var (parsed, refused) = (0, 0)
        for _ in 0..<20_000 {
            var bytes = source
            for _ in 0..<random.int(1..<4) {
                let place = random.int(0..<bytes.count)
                switch random.int(0..<3) {
                case 0: bytes[place] = alphabet[random.int(0..<alphabet.count)]
                case 1: bytes.remove(at: place)
                default: bytes.insert(alphabet[random.int(0..<alphabet.count)], at: place)
                }
            }
            if problem(bytes) == nil { parsed += 1 } else { refused += 1 }
        }
        #expect(parsed > 100 && refused > 100)
        for end in source.indices { #expect(problem(Array(source[..<end]))?.code == .corruptFile) }
    }
}
