import Formats
import Simulation
import TestSupport
import Testing

@Suite struct TraceTests {
    private static func trace(_ text: String) throws -> Trace { try Trace(parsing: Array(text.utf8), name: "t.csv") }

    private static let seconds = "arrival_s,prompt_tokens,output_tokens\n"
    private static let dates = "TIMESTAMP,ContextTokens,GeneratedTokens\n"

    @Test func secondsAreReadAsTheyAre() throws {
        let trace = try Self.trace(Self.seconds + "0.5,10,3\n2.015625,7,1")
        #expect(
            trace.arrivals == [
                Arrival(time: 500_000, promptTokens: 10, outputTokens: 3),
                Arrival(time: 2_015_625, promptTokens: 7, outputTokens: 1),
            ])
    }

    @Test func datesCountFromTheFirst() throws {
        let trace = try Self.trace(
            Self.dates + "2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,109\r\n"
                + "2023-11-17 00:00:00,1,1\n2024-02-29T12:00:00Z,1,1\n2024-03-01 12:00:00.5+00:00,1,1\n")
        #expect(trace.arrivals[0] == Arrival(time: 0, promptTokens: 374, outputTokens: 44))
        #expect(abs(trace.arrivals[1].time - 4_314_579) < 0.5)
        #expect(abs(trace.arrivals[2].time - 20_653_319_410) < 0.5)
        // A leap day later to the second, and a half.
        #expect(abs(trace.arrivals[4].time - trace.arrivals[3].time - 86_400.5e6) < 0.5)
    }

    private static let badTraces: [(text: String, message: String)] = [
        ("", "t.csv is empty"),
        ("a,b,c\n1,2,3\n", "t.csv, line 1: the columns are \"a,b,c\""),
        (seconds, "t.csv has no requests"),
        (seconds + "1,2\n", "t.csv, line 2: 2 fields"),
        (seconds + "1,2,3\n\n4,5,6\n", "t.csv, line 3: 1 fields"),
        (seconds + "1,2,3\n-1,2,3\n", "t.csv, line 3: field arrival_s: -1 is negative"),
        (seconds + "x,2,3\n", "t.csv, line 2: field arrival_s: \"x\" is not"),
        (seconds + "nan,2,3\n", "t.csv, line 2: field arrival_s"),
        (seconds + "inf,2,3\n", "t.csv, line 2: field arrival_s"),
        (seconds + "5,2,3\n4,2,3\n", "t.csv, line 3: field arrival_s: the time is before"),
        (seconds + "1,0,3\n", "t.csv, line 2: field prompt_tokens: 0 is below 1"),
        (seconds + "1,2,-3\n", "t.csv, line 2: field output_tokens: -3 is below 1"),
        (seconds + "1,2,3.5\n", "t.csv, line 2: field output_tokens: \"3.5\" is not"),
        (seconds + "1,99999999999999999999,3\n", "t.csv, line 2: field prompt_tokens"),
        (dates + "2023-11-16,1,1\n", "t.csv, line 2: field TIMESTAMP: \"2023-11-16\" is not a date and time"),
        (dates + "2023-13-16 18:15:46,1,1\n", "t.csv, line 2: field TIMESTAMP"),
        (dates + "2023-11-16 24:15:46,1,1\n", "t.csv, line 2: field TIMESTAMP"),
        (dates + "2023-11-16 18:15:46.,1,1\n", "t.csv, line 2: field TIMESTAMP"),
        (dates + "2023-11-16 18:15:46+02:00,1,1\n", "t.csv, line 2: field TIMESTAMP"),
        (dates + "2023-11-16 18:15:46,0,1\n", "t.csv, line 2: field ContextTokens: 0 is below 1"),
    ]

    @Test(arguments: badTraces)
    func aBadLineIsNamed(text: String, message: String) throws {
        let failure = try #require(throws: Failure.self) { try Self.trace(text) }
        #expect(failure.message.hasPrefix(message), "\(failure.message)")
    }

    @Test func aMissingFileIsNamed() throws {
        let failure = try #require(throws: Failure.self) { try Trace(path: "/nowhere/t.csv") }
        #expect(failure.message.contains("/nowhere/t.csv"))
    }

    @Test func aWindowIsAWorkloadOfItsOwn() throws {
        let trace = try Self.trace(Self.seconds + "0,1,1\n10,2,1\n19.9,3,1\n20,4,1\n")
        let window = try trace.window(from: 10, to: 20)
        #expect(window.arrivals.map(\.promptTokens) == [2, 3])
        #expect(window.arrivals.map(\.time) == [0, 9.9e6])
        let failure = try #require(throws: Failure.self) { try trace.window(from: 30, to: 40) }
        #expect(failure.message.contains("its last one comes after 20.0 s"))
    }

    @Test func publishedTracesAreRead() throws {
        guard let conversation = sharedTestData("traces/azure2023-conv.csv"),
            let synthetic = sharedTestData("traces/mooncake-synthetic.csv")
        else { return print("skipped: FTK_TEST_DATA does not lead to traces") }
        let first = try Trace(path: conversation)
        #expect(first.arrivals.count == 19_366)
        let last = try #require(first.arrivals.last)
        #expect(last.time > 57 * 60e6 && last.time < 60 * 60e6)
        #expect(first.arrivals.reduce(0) { $0 + $1.outputTokens } == 4_088_665)
        let second = try Trace(path: synthetic)
        #expect(second.arrivals.count == 3993)
        #expect(second.arrivals.map(\.promptTokens).max() == 191_378)
    }
}
