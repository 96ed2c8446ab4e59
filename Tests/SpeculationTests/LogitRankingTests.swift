import Formats
import Glibc
import Speculation
import TestSupport
import Testing

@Suite struct LogitRankingTests {
    @Test func bestIsTheFirstOfTheLargest() throws {
        let logits: [Float] = [-.infinity, 1, 3, -2, 3, 0]
        let best = try LogitScan.best(of: logits.span)
        #expect(best.token == 2 && best.value == 3)
        let lowest = [-Float.greatestFiniteMagnitude]
        #expect(try LogitScan.best(of: lowest.span).token == 0)
    }

    @Test func unusableRowsAreErrors() {
        for place in 0..<4 {
            for bad in [Float.nan, -.nan, .signalingNaN, .infinity] {
                var logits: [Float] = [1, 2, -.infinity, 0]
                logits[place] = bad
                let problem = failure { _ = try LogitScan.best(of: logits.span) }
                #expect(problem?.code == .corruptFile)
                #expect(failure { _ = try RawLogProbabilities(logits.span) }?.code == .corruptFile)
            }
        }
        let nothing = [Float](repeating: -.infinity, count: 5)
        #expect(failure { _ = try LogitScan.best(of: nothing.span) }?.code == .invalidArgument)
        let empty: [Float] = []
        #expect(failure { _ = try LogitScan.best(of: empty.span) }?.code == .invalidArgument)
    }

    @Test(arguments: [Float(0.01), 1, 10, 100])
    func rawLogProbabilities(_ spread: Float) throws {
        var random = SplitMix64(seed: 8)
        for count in [1, 2, 50, 3000] {
            var logits = (0..<count).map { _ in Float.random(in: -spread...spread, using: &random) }
            if count > 2 { logits[1] = logits[0] }
            let largest = try #require(logits.max())
            let total = logits.reduce(0.0) { $0 + exp(Double($1) - Double(largest)) }
            let normalizer = Double(largest) + log(total)
            let raw = try RawLogProbabilities(logits.span)
            for token in logits.indices {
                let expected = Double(logits[token]) - normalizer
                #expect(abs(Double(raw.of(Int32(token), logits.span)) - expected) <= 1e-6 * max(1, abs(expected)))
            }
            let order = logits.indices.sorted { logits[$0] != logits[$1] ? logits[$0] > logits[$1] : $0 < $1 }
            for wanted in [0, 1, 5, count, count + 3] {
                let top = raw.top(wanted, logits.span)
                #expect(top.map { Int($0.token) } == Array(order.prefix(wanted)))
                #expect(top.allSatisfy { $0.logprob == raw.of($0.token, logits.span) })
            }
        }
    }
}
