import Kernels

/// A line on standard error that says how far a replay is and how long it is going to take.
struct ReplayProgress {
    private let isShown: Bool
    private let runs: Int
    private let start = monotonicMicroseconds()
    private var run = 0
    private var runStart: Int64 = 0
    private var latest: Int64 = 0
    private var name = ""
    /// What a run is thought to take, in microseconds.
    private var expected: Double
    private var requests = 0

    /// Microseconds between two changes of the line.
    private static let interval: Int64 = 250_000

    init(runs: Int, expected: Double, isWanted: Bool) {
        isShown = isWanted || Output.errorIsTerminal
        (self.runs, self.expected) = (runs, expected)
    }

    mutating func begin(_ name: String, requests: Int) {
        let now = monotonicMicroseconds()
        // What the runs before took, with what comes before and after them, says most of the next.
        if run > 0 { expected = Double(now - start) / Double(run) }
        run += 1
        (self.name, self.requests, runStart, latest) = (name, requests, now, 0)
        show(0)
    }

    mutating func show(_ finished: Int) {
        let now = monotonicMicroseconds()
        guard isShown, now - latest >= Self.interval else { return }
        latest = now
        let own = max(0, expected - Double(now - runStart))
        let left = own + Double(runs - run) * expected
        Output.write(
            Array(
                "\r\u{1B}[Krun \(run) of \(runs), \(name): \(finished) of \(requests) requests, \(fixed(left / 1e6, 0)) s left"
                    .utf8), to: 2)
    }

    func end() {
        if isShown { Output.write(Array("\r\u{1B}[K".utf8), to: 2) }
    }
}
