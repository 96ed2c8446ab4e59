import Engine
import Formats
import Scheduling

/// What was decided in each step of a request and what came of it, for people and for programs.
struct Explanation {
    private let records: [DecisionRecord]

    init(_ records: [DecisionRecord]) { self.records = records }

    /// The records of one sample.
    func json(sample: Int) -> JSONText { .array(own(sample).map(\.json)) }

    private func own(_ sample: Int) -> [DecisionRecord] {
        records.compactMap { record in
            var own = record
            own.requests = record.requests.filter { $0.sample == sample }
            return own.requests.isEmpty ? nil : own
        }
    }

    // MARK: The table

    private static let widths = [5, 9, 8, 9, 9, 7, 9, 9, 10, 9, 10]

    /// A line for each step of a sample, and one for all.
    func table(sample: Int) -> String {
        let own = own(sample)
        let head = [
            "step", "drafter", "drafted", "verified", "accepted", "tokens", "expected", "limit", "predicted", "actual",
            "saved",
        ]
        let units = ["", "", "", "", "", "", "tokens", "", "ms", "ms", "ms"]
        var lines = [Self.line(head), Self.line(units)]
        if let first = own.first?.step, first > 1, records.first?.step == first {
            lines.append("(\(first - 1) earlier steps are not kept)")
        }
        for record in own {
            for request in record.requests { lines.append(Self.line(Self.cells(record, request))) }
        }
        return (lines + [Self.total(own)]).joined(separator: "\n")
    }

    private static func line(_ cells: [String]) -> String {
        zip(cells, widths).map { String(repeating: " ", count: max(0, $1 - $0.count)) + $0 }.joined()
    }

    private static func cells(_ record: DecisionRecord, _ request: DecisionRecord.Request) -> [String] {
        func milliseconds(_ time: Double?) -> String { time.map { fixed($0 / 1000, 2) } ?? "-" }
        // Next best tokens beside those of the draft: 4+2.
        func parts(_ all: Int, _ branches: Int) -> String {
            branches > 0 ? "\(all - branches)+\(branches)" : "\(all)"
        }
        return [
            "\(record.step)", request.source?.name ?? "-", parts(request.drafted, request.branches),
            parts(request.verified, request.branches), parts(request.accepted, request.acceptedBranches),
            "\(request.emitted)", request.expectedTokens.map { fixed($0, 2) } ?? "-",
            request.limit?.name ?? "prompt", milliseconds(record.predictedTime), milliseconds(record.time),
            request.isPrefill ? "-" : milliseconds(request.savedTime),
        ]
    }

    private static func total(_ records: [DecisionRecord]) -> String {
        let requests = records.flatMap(\.requests)
        func sum(_ value: (DecisionRecord.Request) -> Int) -> Int { requests.reduce(0) { $0 + value($1) } }
        // The rows of a prompt give a token only with its end.
        let passes = requests.count { !$0.isPrefill || $0.emitted > 0 }
        let tokens = sum(\.emitted)
        let saved = requests.reduce(0) { $0 + $1.savedTime } / 1000
        return
            "total: \(tokens) tokens in \(passes) passes (\(fixed(Double(tokens) / Double(max(1, passes)), 2)) per pass), "
            + "\(sum(\.accepted)) of \(sum(\.verified)) verified tokens accepted, "
            + "\(fixed(abs(saved), 1)) ms \(saved < 0 ? "lost" : "saved")"
    }
}
