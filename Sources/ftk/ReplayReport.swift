import Engine
import Formats
import Kernels
import Model
import Simulation

/// What a replay measured, as a table or as JSON.
///
/// The JSON is one object. `cells` are those of `ftk simulate --json`, with the same names and units, and what only a real
/// run has comes after them:
///
///     {
///       "command": "replay",
///       "machine": "…", "isa": "avx512-bf16", "threads": 2, "commit": "…",
///       "model": "…", "model_bytes": 1, "draft": "…", "self" or null, "draft_bytes": 0,
///       "options": {
///         the workload's members as in `ftk simulate`, then
///         "prompts": "…", "category": null, "drafter": "auto", "temperature": 0, "draft_tokens": null,
///         "max_running_requests": 16, "max_step_tokens": 256, "max_s": 120, "profile_s": 2
///       },
///       "lengths": {
///         "context": 512, "requests": 9, "shortened": 3,
///         "given_prompt_tokens": 1.5, "given_output_tokens": 1.5, "prompt_tokens": 1.5, "output_tokens": 1.5
///       },
///       "cells": [
///         {
///           all members of a cell of `ftk simulate`, "raw" always among them, then
///           "cut": null, "time" or "interrupt", "unfinished": 0, "saturated": false,
///           "drift_ms": {"mean": 0.1, "p50": 0.1, "p90": 0.1, "p95": 0.1, "p99": 0.1, "most": 0.1},
///           "draft_s": 1.5, "verify_s": 1.5, "control_s": 0.01
///         }
///       ]
///     }
///
/// `lengths` says how prompts and outputs were brought within the context, as means of all requests of the first seed. A cell
/// is `saturated` when it was busy for 98 % of its time; only then do its raw tokens per second mean something. An element
/// of `raw` has, besides what `ftk simulate` says of a request, `sent_s`: when it was submitted, beside `arrival_s`, when the
/// workload has it; `drift_ms` is the distribution of the difference.
struct ReplayReport {
    let command: ReplayCommand
    let target: LanguageModel
    let draft: LanguageModel?
    let base: EngineOptions
    let session: ReplaySession

    private var draftName: String? { draft.map { command.engine.selfDraft ? "self" : $0.path } }

    // MARK: Text

    func show() {
        Output.line(
            "\(machineName()), \(InstructionSet.native.name); \(target.path), draft model \(draftName ?? "none")")
        if let fit = session.lengths, fit.shortened > 0 {
            func means(_ arrivals: [Arrival]) -> String {
                "\(fixed(LengthFit.meanPrompt(arrivals), 1)) + \(fixed(LengthFit.meanOutput(arrivals), 1))"
            }
            Output.line(
                "\(fit.shortened) of \(fit.arrivals.count) requests were shortened to a context of \(fit.context) tokens: "
                    + "\(means(fit.given)) tokens of prompt and output on average became \(means(fit.arrivals))")
        }
        WorkloadCell.show(session.cells)
        for cell in session.cells {
            guard let real = cell.real else { continue }
            if let cut = real.cut {
                Output.line(
                    "\(cell.arm), seed \(cell.seed), was cut off (\(cut.rawValue)): \(real.unfinished) requests had not ended"
                )
            }
        }
        let drift = session.cells.compactMap(\.real?.drift?.most).max() ?? 0
        Output.line("requests were sent at most \(fixed(drift / 1000, 2)) ms after the workload's time")
        if !session.cells.contains(where: { $0.real?.isSaturated == true }) {
            Output.line("no arm was saturated: tokens per second are what arrived, tokens per busy second compare arms")
        }
    }

    // MARK: JSON

    var json: JSONText {
        .object([
            ("command", .string("replay")), ("machine", .string(machineName())),
            ("isa", .string(InstructionSet.native.name)),
            ("threads", .int(base.threads > 0 ? base.threads : availableProcessors())),
            ("commit", .string(commitName())), ("model", .string(target.path)),
            ("model_bytes", .int(target.weightsBytes)), ("draft", draftName.map { .string($0) } ?? .null),
            ("draft_bytes", .int(draft?.weightsBytes ?? 0)), ("options", options), ("lengths", lengths),
            ("cells", .array(session.cells.map { $0.json(raw: true) })),
        ])
    }

    private var options: JSONText {
        .object(
            command.workload.json + [
                ("prompts", .string(command.prompts)), ("category", command.category.map { .string($0) } ?? .null),
                ("drafter", .string(command.drafter?.rawValue ?? "auto")),
                ("temperature", .number(Double(command.temperature))),
                ("draft_tokens", command.draftTokens.map { .int($0) } ?? .null),
                ("max_running_requests", .int(base.maxRunningRequests)), ("max_step_tokens", .int(base.maxStepTokens)),
                ("max_s", .number(command.maxSeconds)), ("profile_s", .number(command.profileTime)),
            ])
    }

    private var lengths: JSONText {
        guard let fit = session.lengths else { return .null }
        return .object([
            ("context", .int(fit.context)), ("requests", .int(fit.arrivals.count)), ("shortened", .int(fit.shortened)),
            ("given_prompt_tokens", .number(LengthFit.meanPrompt(fit.given))),
            ("given_output_tokens", .number(LengthFit.meanOutput(fit.given))),
            ("prompt_tokens", .number(LengthFit.meanPrompt(fit.arrivals))),
            ("output_tokens", .number(LengthFit.meanOutput(fit.arrivals))),
        ])
    }
}

/// What only a run on a real engine has.
struct RealFigures {
    let cut: ReplaySender.Cut?
    let unfinished: Int
    let isSaturated: Bool
    /// From the workload's time to when a request was sent, in microseconds.
    let drift: (distribution: Distribution, most: Double)?
    /// Microseconds of drafts and what was decided about them, of the target with what follows it, and of policies.
    let draftTime: Double
    let targetTime: Double
    let controlTime: Double

    init(_ cut: ReplaySender.Cut?, _ result: OpenLoopResult) {
        self.cut = cut
        unfinished = result.requests.count { $0.end == nil }
        isSaturated = OpenLoopMetrics(result).utilisation >= 0.98
        let late = result.requests.compactMap { request in request.sent.map { $0 - request.arrival } }
        drift = Distribution(late).map { (distribution: $0, most: late.max() ?? 0) }
        (draftTime, targetTime, controlTime) = (result.draftTime, result.targetTime, result.controlTime)
    }

    var json: [(String, JSONText)] {
        func milliseconds(_ time: Double) -> JSONText { .number(time / 1e3) }
        return [
            ("cut", cut.map { .string($0.rawValue) } ?? .null), ("unfinished", .int(unfinished)),
            ("saturated", .bool(isSaturated)),
            (
                "drift_ms",
                drift.map { drift in
                    .object([
                        ("mean", milliseconds(drift.distribution.mean)), ("p50", milliseconds(drift.distribution.p50)),
                        ("p90", milliseconds(drift.distribution.p90)), ("p95", milliseconds(drift.distribution.p95)),
                        ("p99", milliseconds(drift.distribution.p99)), ("most", milliseconds(drift.most)),
                    ])
                } ?? .null
            ),
            ("draft_s", .number(draftTime / 1e6)), ("verify_s", .number(targetTime / 1e6)),
            ("control_s", .number(controlTime / 1e6)),
        ]
    }
}
