import ArgumentParser
import Formats
import Scheduling
import Simulation

struct RecordingArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Take from this recording of ftk replay what is not stated: arrivals, costs, and what is accepted.",
            valueName: "file"))
    var recording: String?
    @Flag(
        help: """
            Simulate each run of the recording at the costs of its own steps and compare: throughput must be predicted within 5 %, \
            P95 TPOT within 10 %; otherwise the exit status is 1.
            """)
    var validate = false
}

/// What a simulation takes from a recording.
struct RecordedSource {
    private let path: String
    private let recording: Recording
    /// Of the first run's requests, by all runs that sent the same ones.
    private let texts: [RecordedText]

    init(_ arguments: RecordingArguments) throws {
        guard let path = arguments.recording else {
            throw Failure.invalid("--validate needs --recording, a file that ftk replay --record wrote")
        }
        self.path = path
        recording = try Recording(path: path)
        texts = recording.texts(of: recording.runs[0])
    }

    /// The recorded arrivals, unless others are stated.
    func arrivals(_ workload: WorkloadArguments, seed: UInt64) throws -> [Arrival] {
        workload.isUnstated ? recording.runs[0].arrivals : try workload.arrivals(seed: seed)
    }

    func text(seed: UInt64, hasDraft: Bool) -> TextModel {
        var text = TextModel(recorded: texts, seed: seed)
        if !hasDraft { text.model = nil }
        return text
    }

    /// The machine as its steps show it. Its memory is not known, and never fills.
    func machine() throws -> Hardware {
        Hardware(
            name: path, description: "\(recording.about["machine"]?.string ?? "a machine"), as it was recorded",
            costs: try recording.costs(), kvTokens: 1 << 40, maxRunning: recording.runs[0].maxRunning,
            maxRows: recording.runs[0].maxRows)
    }

    // MARK: Validation

    /// Reports how far predictions are off, and ends the command with status 1 where one is too far.
    func validate(json: Bool) throws {
        let results = try recording.runs.map { try Validation($0, texts: recording.texts(of: $0)) }
        let holds = results.allSatisfy(\.holds)
        if json { Output.line(self.json(results, holds).rendered) } else { show(results, holds) }
        if !holds { throw ExitCode.failure }
    }

    private func show(_ results: [Validation], _ holds: Bool) {
        for result in results {
            Output.line(
                "\(result.policy), time scale \(fixed(result.timeScale, 2)), seed \(result.seed); the fitted costs are "
                    + "\(percent(result.costError)) off on average, and passes took \(fixed(result.slowdown.lowerBound, 2)) to "
                    + "\(fixed(result.slowdown.upperBound, 2)) times as long in the course of the run"
                    + (result.knownShare.map { "; the draft model's tokens are known for \(percent($0)) of the output" }
                        ?? "")
            )
            for check in result.checks {
                Output.line(
                    "  \(check.holds ? "pass" : "FAIL")  \(check.name): measured \(fixed(check.measured, 2)), predicted "
                        + "\(fixed(check.predicted, 2)), off by \(percent(check.error)) of at most \(percent(check.limit))"
                )
            }
            for pace in result.slowest {
                Output.line(
                    "        request \(pace.request), \(pace.outputTokens) tokens: measured \(milliseconds(pace.measured)), "
                        + "predicted \(milliseconds(pace.predicted)) per token")
            }
            let outliers = result.outliers
            guard !outliers.places.isEmpty else { continue }
            Output.line(
                "        steps that took over \(fixed(OutlierSteps.limit, 1)) times what others like them did: "
                    + "\(outliers.places.count), \(milliseconds(outliers.lost / 1e3)) in all; P95 TPOT without that "
                    + milliseconds(outliers.paceWithout))
        }
        Output.line(holds ? "the simulation predicts the recorded runs" : "the simulation misses recorded runs")
    }

    private func milliseconds(_ time: Double?) -> String { time.map { "\(fixed($0, 2)) ms" } ?? "nothing" }

    private func percent(_ share: Double) -> String { fixed(share * 100, 1) + " %" }

    private func json(_ results: [Validation], _ holds: Bool) -> JSONText {
        .object([
            ("command", .string("validate")), ("recording", .string(path)), ("holds", .bool(holds)),
            (
                "runs",
                .array(
                    results.map { result in
                        .object([
                            ("policy", .string(result.policy)), ("time_scale", .number(result.timeScale)),
                            ("seed", .unsigned(result.seed)), ("cost_error", .number(result.costError)),
                            (
                                "slowdown",
                                .array([result.slowdown.lowerBound, result.slowdown.upperBound].map { .number($0) })
                            ),
                            ("known_share", result.knownShare.map { .number($0) } ?? .null),
                            ("holds", .bool(result.holds)),
                            ("checks", .array(result.checks.map(Self.row))),
                            ("slowest", .array(result.slowest.map(Self.row))),
                            ("outliers", Self.json(result.outliers)),
                        ])
                    })
            ),
        ])
    }

    /// `margin`: what is left of the limit, below 0 where it is exceeded.
    private static func row(_ check: Validation.Check) -> JSONText {
        .object([
            ("name", .string(check.name)), ("measured", .number(check.measured)),
            ("predicted", .number(check.predicted)), ("error", .number(check.error)), ("limit", .number(check.limit)),
            ("margin", .number(check.limit - abs(check.error))), ("holds", .bool(check.holds)),
        ])
    }

    private static func row(_ pace: Validation.Pace) -> JSONText {
        .object([
            ("request", .int(pace.request)), ("output_tokens", .int(pace.outputTokens)),
            ("measured_ms", pace.measured.map { .number($0) } ?? .null),
            ("predicted_ms", pace.predicted.map { .number($0) } ?? .null),
        ])
    }

    /// Steps count from 1, as in the recording.
    private static func json(_ outliers: OutlierSteps) -> JSONText {
        .object([
            ("steps", .array(outliers.places.map { .int($0 + 1) })), ("lost_ms", .number(outliers.lost / 1e3)),
            ("p95_tpot_without_ms", outliers.paceWithout.map { .number($0) } ?? .null),
        ])
    }
}
