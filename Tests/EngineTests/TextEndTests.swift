import Engine
import Formats
import Speculation
import TestSupport
import Testing

/// How outputs end, and what text leaves when. The target says what the test wants, drafted and not.
@Suite struct TextEndTests {
    private static let prompt: [Int32] = [40, 41, 42]

    private struct Spoken {
        let outcome: Outcome
        let statistics: RequestStatistics
        /// The text of each event.
        let pieces: [String]
    }

    /// Lets the target say `tokens`, with and without right drafts; both must give the same.
    private static func speak(_ tokens: [Int32], _ change: (inout RequestOptions) -> Void) throws -> Spoken {
        var spoken: [Spoken] = []
        for draftTokens in [0, 1, 3, 16] {
            let scripted = try ScriptedEngine(draftTokens: draftTokens) { request in
                Array(tokens.dropFirst(request.tokens.count - prompt.count))
            }
            scripted.say(tokens, after: prompt.count)
            var request = tokenRequest(prompt, nil)
            change(&request)
            let id = try scripted.engine.submit(request)
            var log = EventLog()
            var pieces: [String] = []
            while try scripted.engine.step() {
                let events = scripted.engine.poll(timeout: 0)
                pieces += events.filter { $0.kind == .tokens }.map { String(decoding: $0.text, as: UTF8.self) }
                log.add(events)
            }
            #expect((log.problems + scripted.executor.problems).isEmpty)
            let statistics = try #require(log.finishes[id]?.statistics)
            spoken.append(
                Spoken(outcome: try #require(log.outcomes[id]), statistics: statistics, pieces: pieces))
            #expect(spoken[0].outcome == spoken[spoken.count - 1].outcome)
        }
        return spoken[0]
    }

    private static func encode(_ text: String) throws -> [Int32] {
        try ScriptedEngine.tokenizer.encode(text, addSpecial: false, parseSpecial: false)
    }

    /// One token per byte, so that texts, code points too, lie across many tokens.
    private static func bytes(_ text: String) throws -> [Int32] {
        let tokenizer = try ScriptedEngine.tokenizer
        let ids = (0..<Int32(tokenizer.vocabularySize)).reduce(into: [UInt8: Int32]()) { known, id in
            let piece = tokenizer.piece(id)
            if piece.count == 1, !tokenizer.isControl(id), known[piece[0]] == nil { known[piece[0]] = id }
        }
        return try text.utf8.map { try #require(ids[$0]) }
    }

    @Test func stopTextAcrossTokens() throws {
        let tokens = try Self.bytes("one two STOP three")
        let spoken = try Self.speak(tokens) { $0.stopTexts = ["STOP"] }
        #expect(spoken.outcome.string == "one two ")
        #expect(spoken.outcome.reason == .stop)
        #expect(spoken.outcome.tokens == Array(tokens.prefix(12)))
        #expect(spoken.statistics.completionTokens == 12)
        // Nothing of the stop text was ever given out, and nothing was held back without need.
        #expect(spoken.pieces == ["o", "n", "e", " ", "t", "w", "o", " ", "", "", "", ""])
    }

    @Test func stopTextThatDoesNotComeTrue() throws {
        let tokens = try Self.bytes("a STO STST.")
        let spoken = try Self.speak(tokens) {
            $0.stopTexts = ["STOP", "STX"]
            $0.maxTokens = tokens.count
        }
        #expect(spoken.outcome.string == "a STO STST.")
        #expect(spoken.outcome.reason == .length)
        #expect(spoken.pieces == ["a", " ", "", "", "", "STO ", "", "", "ST", "", "ST."])
    }

    @Test func heldTextComesOutAtTheEnd() throws {
        let tokens = try Self.bytes("abSTO")
        let spoken = try Self.speak(tokens) {
            $0.stopTexts = ["STOP"]
            $0.maxTokens = 5
        }
        #expect(spoken.outcome.string == "abSTO")
        #expect(spoken.outcome.reason == .length)
        let stopped = try Self.speak(tokens + [300]) {
            $0.stopTexts = ["STOP"]
            $0.stopTokens = [300]
        }
        #expect(stopped.outcome.string == "abSTO")
        #expect(stopped.outcome.reason == .stop)
        #expect(stopped.outcome.tokens == tokens)
    }

    @Test(arguments: [
        ("xxabcdyy", ["cd", "bcd"], "xxa"), ("aaab", ["aab"], "a"), ("abab", ["ab"], ""), ("hello", ["o", "ell"], "h"),
        ("né€😀!", ["😀"], "né€"), ("né€😀!", ["€😀"], "né"), ("né€", ["x", "yy"], "né€"),
    ])
    func firstStopTextEndsTheText(_ text: String, _ stops: [String], _ expected: String) throws {
        for tokens in [try Self.bytes(text), try Self.encode(text)] {
            let spoken = try Self.speak(tokens) {
                $0.stopTexts = stops
                $0.maxTokens = tokens.count
            }
            #expect(spoken.outcome.string == expected)
            #expect(spoken.outcome.reason == (expected == text ? .length : .stop))
        }
    }

    @Test func codePointsAreNotSplit() throws {
        let text = "é€😀 \u{10FFFF}ß"
        let tokens = try Self.bytes(text)
        let spoken = try Self.speak(tokens) { $0.maxTokens = tokens.count }
        #expect(spoken.outcome.string == text)
        #expect(spoken.pieces.filter { !$0.isEmpty } == text.unicodeScalars.map { String($0) })
        for count in 1..<tokens.count {
            let cut = try Self.speak(tokens) { $0.maxTokens = count }
            var decoder = StreamDecoder(try ScriptedEngine.tokenizer, continuesText: true)
            let expected = tokens.prefix(count).map { decoder.push($0) }.joined() + decoder.finish()
            #expect(cut.outcome.string == expected)
            #expect(cut.outcome.tokens == Array(tokens.prefix(count)))
        }
    }

    @Test func stopTokensAreNotPartOfTheOutput() throws {
        let tokens = try Self.bytes("abcdef")
        let spoken = try Self.speak(tokens) { $0.stopTokens = [tokens[3], 250] }
        #expect(spoken.outcome.string == "abc")
        #expect(spoken.outcome.tokens == Array(tokens.prefix(3)))
        #expect(spoken.outcome.reason == .stop)
        #expect(spoken.statistics.completionTokens == 3)
        let atOnce = try Self.speak(tokens) { $0.stopTokens = [tokens[0]] }
        #expect(atOnce.outcome.tokens.isEmpty && atOnce.outcome.reason == .stop)
        #expect(atOnce.statistics.timeToFirstToken == nil)
    }

    @Test func endOfGeneration() throws {
        let end = try #require(try ScriptedEngine.tokenizer.endOfGeneration.first)
        let tokens = try Self.bytes("ab") + [end] + Self.bytes("cd")
        let ended = try Self.speak(tokens) { _ in }
        #expect(ended.outcome.string == "ab" && ended.outcome.reason == .stop)
        #expect(ended.outcome.tokens.count == 2)
        let ignored = try Self.speak(tokens) {
            $0.ignoresEndOfGeneration = true
            $0.maxTokens = 5
        }
        #expect(ignored.outcome.tokens == tokens)
        #expect(ignored.outcome.string == "abcd")
        #expect(ignored.outcome.reason == .length)
        let both = try Self.speak(tokens) {
            $0.ignoresEndOfGeneration = true
            $0.stopTokens = [end]
        }
        #expect(both.outcome.tokens.count == 2 && both.outcome.reason == .stop)
    }

    @Test func lengths() throws {
        let tokens = try Self.bytes("abcdefghijklmnopqrstuvwxyz")
        for count in [1, 2, 7, 26] {
            let spoken = try Self.speak(tokens) { $0.maxTokens = count }
            #expect(spoken.outcome.tokens == Array(tokens.prefix(count)))
            #expect(spoken.outcome.reason == .length)
        }
        let none = try Self.speak(tokens) {
            $0.maxTokens = 0
            $0.promptLogprobs = 1
        }
        #expect(none.outcome.tokens.isEmpty && none.outcome.text.isEmpty && none.outcome.reason == .length)
        #expect(none.outcome.promptTokens == Self.prompt)
        #expect(none.outcome.promptLogprobs.count == 3 && none.outcome.promptTopTokens.count == 3)
        #expect(Float(bitPattern: none.outcome.promptLogprobs[2]).isNaN)
        #expect(none.outcome.promptTopTokens[2] == tokens[0])
    }

    @Test func fullContext() throws {
        let spoken = try Self.speak([]) { $0.ignoresEndOfGeneration = true }
        #expect(spoken.outcome.tokens.count == 125)
        #expect(spoken.outcome.reason == .length)
        let more = try Self.speak([]) {
            $0.ignoresEndOfGeneration = true
            $0.maxTokens = Int(Int32.max)
        }
        #expect(more.outcome == spoken.outcome)
    }

    @Test func cancellingLetsHeldTextOut() throws {
        let scripted = try ScriptedEngine()
        let tokens = try Self.bytes("abSTO")
        scripted.say(tokens, after: Self.prompt.count)
        var request = tokenRequest(Self.prompt, 50)
        request.stopTexts = ["STOP"]
        let id = try scripted.engine.submit(request)
        for _ in 0..<4 { #expect(try scripted.engine.step()) }
        try scripted.engine.cancel(id)
        #expect(try scripted.engine.step())
        var log = EventLog()
        log.add(scripted.engine.poll(timeout: 0))
        #expect(log.problems.isEmpty)
        #expect(log.outcomes[id]?.string == "abST")
        #expect(log.outcomes[id]?.reason == .cancelled)
    }

    /// Log-probabilities are of the logits that the target gave, raw and processed, and stand in step with the tokens.
    @Test func logprobs() throws {
        let script: [Int32] = [50, 60, 70]
        for kind in [RequestOptions.LogprobsKind.raw, .processed] {
            let spoken = try Self.speak(script) {
                $0.maxTokens = 3
                $0.logprobs = 2
                $0.logprobsKind = kind
                $0.sampling.temperature = 1
                $0.sampling.topK = 1
            }
            #expect(spoken.outcome.tokens == script)
            let ofTokens = spoken.outcome.logprobs.map { Float(bitPattern: $0) }
            let top = spoken.outcome.topTokens
            #expect(ofTokens.count == 3 && top.count == 6)
            #expect([top[0], top[2], top[4]] == script)
            #expect(ofTokens == [0, 0, 0])
            // Only one token was left to choose from; the raw distribution has them all.
            #expect((top[1] == -1) == (kind == .processed))
            #expect(Float(bitPattern: spoken.outcome.topLogprobs[1]) < -50)
        }
    }
}
