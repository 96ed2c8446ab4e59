import Formats
import Scheduling
import Simulation
import Testing

@Suite struct AcceptanceParsingTests {
    private static func text(_ form: String, at time: Double = 0) throws -> AcceptanceProcess.Text {
        try AcceptanceProcess(parsing: form).text.value(at: Moment(time: time))
    }

    @Test func formsAreRead() throws {
        #expect(try Self.text("0.75") == .uniform(0.75))
        #expect(try Self.text("0.2-0.9") == .spread(low: 0.2, high: 0.9))
        #expect(
            try Self.text("0.9/0.3:20/5")
                == .stretches(easy: 0.9, hard: 0.3, easyLength: 20, hardLength: 5))
        #expect(try Self.text("summarization") == .uniform(0.65))
    }

    @Test func acceptanceMayChange() throws {
        let form = "0.9,0.4@10,0.1-0.2@20.5"
        #expect(try Self.text(form, at: 9.9e6) == .uniform(0.9))
        #expect(try Self.text(form, at: 10e6) == .uniform(0.4))
        #expect(try Self.text(form, at: 21e6) == .spread(low: 0.1, high: 0.2))
    }

    @Test(arguments: ["", "1.5", "-0.1", "0.9-0.2", "0.9/0.3", "0.9/0.3:0/5", "x", "0.9,0.4", "0.9,0.4@5,0.3@2", "nan"])
    func anythingElseIsRefused(form: String) throws {
        let failure = try #require(throws: Failure.self) { try AcceptanceProcess(parsing: form) }
        #expect(failure.message.contains("acceptance"))
    }

    @Test func recordingsAreRead() throws {
        let text = """
            {"accepted": [true, false], "margin": [1.5, 0.25], "probability": [0.5, 0.125]}
            {"accepted": [true], "margin": [2], "probability": [1]}

            """
        let recording = try AcceptanceProcess.recording(parsing: Array(text.utf8), name: "r.jsonl")
        #expect(recording.map(\.count) == [2, 1])
        #expect(recording[0].map(\.isAccepted) == [true, false])
        #expect(recording[0][1].feature == DraftFeature(margin: 0.25, probability: 0.125))
    }

    @Test(arguments: [
        ("", "r.jsonl holds no recorded request"),
        ("{}", "r.jsonl, line 1: field accepted is missing"),
        ("{\"accepted\": [1]}", "r.jsonl, line 1: field accepted holds more than true and false"),
        (
            "\n{\"accepted\": [true], \"margin\": [1, 2], \"probability\": [1]}",
            "r.jsonl, line 2: accepted, margin and probability must be equally long"
        ),
        ("{", "r.jsonl, line 1: JSON, byte"),
    ])
    func aBadRecordingIsNamed(text: String, message: String) throws {
        let failure = try #require(throws: Failure.self) {
            try AcceptanceProcess.recording(parsing: Array(text.utf8), name: "r.jsonl")
        }
        #expect(failure.message.hasPrefix(message), "\(failure.message)")
    }
}
