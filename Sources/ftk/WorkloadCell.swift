import Formats
import Scheduling
import Simulation

/// One arm under one workload, on virtual time or in an engine.
struct WorkloadCell {
    let arm: String
    let scale: Double
    let seed: UInt64
    /// As it was asked for, such as 0.8x; nil without one.
    let targetTPOT: String?
    let result: OpenLoopResult
    let metrics: OpenLoopMetrics
    let speedUp: SpeedUp?
    /// nil on virtual time.
    var real: RealFigures?
}

// MARK: Text

extension WorkloadCell {
    /// The cells as a table.
    static func show(_ cells: [WorkloadCell]) {
        let hasTargets = cells.contains { $0.metrics.attainment != nil }
        Output.columns(
            [
                "policy", "scale", "seed", "busy tok/s", "tok/s", "busy", "mean s", "P95 TTFT s", "P95 TPOT ms",
                "accepted", "off", "speed-up",
            ]
                + (hasTargets ? ["TPOT target", "attained"] : []))
        for cell in cells {
            let metrics = cell.metrics
            Output.columns(
                [
                    cell.arm, fixed(cell.scale, 2), "\(cell.seed)", fixed(metrics.tokensPerBusySecond, 1),
                    fixed(metrics.tokensPerSecond, 1), percent(metrics.utilisation), seconds(metrics.latency?.mean),
                    seconds(metrics.timeToFirstToken?.p95), milliseconds(metrics.timePerOutputToken?.p95),
                    fixed(metrics.meanAccepted, 2), percent(metrics.offShare),
                    cell.speedUp.map { fixed($0.mean, 2) } ?? "-",
                ] + (hasTargets ? [cell.targetTPOT ?? "-", metrics.attainment.map(percent) ?? ""] : []))
        }
    }
}

private func percent(_ share: Double) -> String { fixed(share * 100, 1) + "%" }
private func seconds(_ time: Double?) -> String { time.map { fixed($0 / 1e6, 2) } ?? "-" }
private func milliseconds(_ time: Double?) -> String { time.map { fixed($0 / 1e3, 2) } ?? "-" }

// MARK: JSON

extension WorkloadCell {
    /// `raw`: with every request's times.
    func json(raw: Bool) -> JSONText {
        var members: [(String, JSONText)] = [
            ("policy", .string(arm)), ("time_scale", .number(scale)), ("seed", .unsigned(seed)),
            ("target_tpot", targetTPOT.map { .string($0) } ?? .null),
            ("requests_per_s", .number(metrics.requestsPerSecond)),
            ("requests", .int(result.requests.count)), ("finished", .int(metrics.finished)),
            ("rejected", .int(result.rejected)), ("steps", .int(result.steps)), ("output_tokens", .int(result.tokens)),
            ("prefill_rows", .int(result.prefillRows)), ("busy_s", .number(result.busyTime / 1e6)),
            ("tokens_per_s", .number(metrics.tokensPerSecond)),
            ("tokens_per_busy_s", .number(metrics.tokensPerBusySecond)), ("utilisation", .number(metrics.utilisation)),
            ("latency_s", json(metrics.latency, 1e-6)), ("ttft_ms", json(metrics.timeToFirstToken, 1e-3)),
            ("tpot_ms", json(metrics.timePerOutputToken, 1e-3)),
            ("target_ttft_ms", json(result.targets.firstToken, 1e-3)),
            ("target_tpot_ms", json(result.targets.perOutputToken, 1e-3)), ("attainment", json(metrics.attainment)),
            ("attained_tokens_per_s", json(metrics.attainedTokensPerSecond)),
            ("mean_accepted", .number(metrics.meanAccepted)), ("rows_per_token", .number(metrics.rowsPerToken)),
            ("draft_time_share", .number(metrics.draftShare)), ("off_share", .number(metrics.offShare)),
            ("switches", .int(result.switches)), ("speed_up", json(speedUp)),
            ("calibration", json(result.calibration)), ("timeline", json(result.timeline)),
        ]
        if raw { members.append(("raw", self.raw(result.requests))) }
        members += real?.json ?? []
        return .object(members)
    }

    private func json(_ value: Double?, _ unit: Double = 1) -> JSONText { value.map { .number($0 * unit) } ?? .null }

    private func json(_ distribution: Distribution?, _ unit: Double) -> JSONText {
        guard let distribution else { return .null }
        return .object([
            ("mean", .number(distribution.mean * unit)), ("p50", .number(distribution.p50 * unit)),
            ("p90", .number(distribution.p90 * unit)), ("p95", .number(distribution.p95 * unit)),
            ("p99", .number(distribution.p99 * unit)),
        ])
    }

    private func json(_ speedUp: SpeedUp?) -> JSONText {
        guard let speedUp else { return .null }
        return .object([
            ("mean", .number(speedUp.mean)), ("minimum", .number(speedUp.minimum)),
            ("slower_share", .number(speedUp.slowerShare)), ("fairness", .number(speedUp.fairness)),
            ("percentiles", .array(speedUp.percentiles.map { .number($0) })),
        ])
    }

    private func json(_ calibration: Calibration?) -> JSONText {
        guard let calibration else { return .null }
        return .object([
            ("expected_error", .number(calibration.expectedError)),
            (
                "bins",
                .array(
                    calibration.bins.map {
                        .object([
                            ("predicted", .number($0.predicted)), ("accepted", .number($0.accepted)),
                            ("count", .int($0.count)),
                        ])
                    })
            ),
        ])
    }

    /// A list for each figure, with an element for each part of the time.
    private func json(_ timeline: Timeline) -> JSONText {
        func list(_ figure: (Timeline.Part) -> Int) -> JSONText { .array(timeline.parts.map { .int(figure($0)) }) }
        return .object([
            ("part_s", .number(timeline.partLength / 1e6)), ("arrivals", list(\.arrivals)), ("steps", list(\.steps)),
            ("busy_s", .array(timeline.parts.map { .number($0.busyTime / 1e6) })), ("tokens", list(\.tokens)),
            ("decoding", list(\.decoding)), ("verified", list(\.verified)), ("waiting", list(\.waiting)),
        ])
    }

    /// Seconds from the start of the workload.
    private func raw(_ requests: [RequestRecord]) -> JSONText {
        .array(
            requests.map { request in
                var members = [("arrival_s", json(request.arrival, 1e-6))]
                if real != nil { members.append(("sent_s", json(request.sent, 1e-6))) }
                members += [
                    ("prompt_tokens", .int(request.promptTokens)), ("output_tokens", .int(request.outputTokens)),
                    ("admitted_s", json(request.admitted, 1e-6)), ("first_token_s", json(request.firstToken, 1e-6)),
                    ("end_s", json(request.end, 1e-6)), ("verified", .int(request.verified)),
                    ("accepted", .int(request.accepted)),
                ]
                return .object(members)
            })
    }
}
