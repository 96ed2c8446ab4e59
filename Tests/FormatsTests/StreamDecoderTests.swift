import Formats
import TestSupport
import Testing

@Suite struct StreamDecoderTests {
    static let fixtures = ["llama2", "mistral", "metaspace", "llama3", "qwen2", "falcon"]

    private func streamed(_ ids: [Int32], _ tokenizer: Tokenizer, skip: Bool) -> [String] {
        var stream = StreamDecoder(tokenizer, continuesText: false, skipsSpecial: skip)
        return ids.map { stream.push($0) } + [stream.finish()]
    }

    @Test(arguments: fixtures) func neverSplitsCodePoints(_ name: String) throws {
        let tokenizer = try Tokenizer(folder: fixture("tokenizer/" + name))
        for text in try TokenizerGoldenTests.golden.get().texts where !text.unicodeScalars.contains("\u{FFFD}") {
            let ids = try tokenizer.encode(text, addSpecial: false, parseSpecial: true)
            let parts = streamed(ids, tokenizer, skip: false)
            let whole = String(decoding: tokenizer.decode(ids, skipSpecial: false), as: UTF8.self)
            #expect(parts.joined().utf8.elementsEqual(whole.utf8))
            #expect(!parts.joined().unicodeScalars.contains("\u{FFFD}"))
        }
    }

    /// Any ids at all: what comes out is what the bytes of all of them give, repaired at once.
    @Test(arguments: fixtures) func randomTokens(_ name: String) throws {
        let tokenizer = try Tokenizer(folder: fixture("tokenizer/" + name))
        var generator = SplitMix64(seed: 17)
        for round in 0..<2000 {
            let limit = UInt64(round % 2 == 0 ? 300 : tokenizer.vocabularySize)
            let ids = (0..<generator.next() % 12).map { _ in Int32(generator.next() % limit) }
            for skip in [false, true] {
                let whole = String(decoding: tokenizer.decode(ids, skipSpecial: skip), as: UTF8.self)
                #expect(streamed(ids, tokenizer, skip: skip).joined().utf8.elementsEqual(whole.utf8))
            }
        }
    }

    @Test func holdsBackIncompleteCodePoints() throws {
        let tokenizer = try SmallVocabulary.sentencePiece().tokenizer()
        func id(_ byte: Int32) -> Int32 { SmallVocabulary.firstByte + byte }
        var stream = StreamDecoder(tokenizer, continuesText: true)
        #expect([0xF0, 0x9F, 0x99, 0x82].map { stream.push(id($0)) } == ["", "", "", "🙂"])
        #expect([0xE2, 0x41].map { stream.push(id($0)) } == ["", "\u{FFFD}A"])
        #expect([0xC3].map { stream.push(id($0)) } == [""] && stream.finish() == "\u{FFFD}")
        #expect(stream.finish().isEmpty && stream.push(id(0xFF)) == "\u{FFFD}")
        #expect([0xED, 0xA0].map { stream.push(id($0)) } == ["", "\u{FFFD}\u{FFFD}"])
    }

    @Test func leadingSpace() throws {
        let tokenizer = try SmallVocabulary.sentencePiece().tokenizer()
        let ids = try tokenizer.encode("ab a", addSpecial: true, parseSpecial: false)
        var fresh = StreamDecoder(tokenizer, continuesText: false)
        #expect(ids.map { fresh.push($0) }.joined() == "ab a")
        var continued = StreamDecoder(tokenizer, continuesText: true)
        #expect(ids.dropFirst().map { continued.push($0) }.joined() == " ab a")
    }
}
