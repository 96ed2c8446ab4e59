package import Formats
import Scheduling

// The file of a recording: JSON objects, one on a line. The first has `recording`, the version of the form, and says of
// what it is. For each run then
// - one line `run`: its policy, limits and targets, and in `costs` what the engine believed when it began;
// - one `request` for each request in order of arrival: its times, and what is known of its text, position by position.
//   `accepted`, `margin` and `probability` are of the draft model's token; `looks` are the positions where retrieval was
//   looked for, `proposals` what it found there and how much of that is `right`;
// - one `step` for each step: its times and passes, and each request's part in it.
// Times are in microseconds from the run's start; what was not reached, or is not known, is null.
//
// `costs` has the passes of the `target` and of the `draft` model, null without one, and `overhead_us`, what a step takes
// besides. A pass takes `base_us` by its rows, at the `widths` that are given and in a straight line between them, and
// `per_context_us` and `per_attended_us` for each token of its requests, and for each that a row attends to. `measured` says
// which entries of the table were measured and not guessed; without elements all.

extension RecordedRun {
    package static let version = 2

    /// The first line of a file; `about` says what was recorded.
    package static func header(_ about: [(String, JSONText)]) -> JSONText {
        .object([("recording", .int(version))] + about)
    }

    /// The lines of the run.
    package var lines: [JSONText] {
        [runLine] + requests.indices.map { requestLine($0) } + steps.indices.map { Self.stepLine($0 + 1, steps[$0]) }
    }

    private var runLine: JSONText {
        .object([
            ("run", .string(policy)), ("draft_tokens", draftTokens.map { .int($0) } ?? .null),
            ("seed", .unsigned(seed)), ("time_scale", .number(timeScale)),
            ("max_running_requests", .int(maxRunning)), ("max_step_tokens", .int(maxRows)),
            ("target_ttft_us", Self.time(targets.firstToken)), ("target_tpot_us", Self.time(targets.perOutputToken)),
            ("cut_us", Self.time(end)), ("costs", costs.map { $0.json } ?? .null),
        ])
    }

    private func requestLine(_ place: Int) -> JSONText {
        let (request, text) = (requests[place], texts[place])
        return .object([
            ("request", .int(place)), ("arrival_us", .number(request.arrival)), ("sent_us", Self.time(request.sent)),
            ("prompt_tokens", .int(request.promptTokens)), ("output_tokens", .int(request.outputTokens)),
            ("admitted_us", Self.time(request.admitted)), ("first_token_us", Self.time(request.firstToken)),
            ("end_us", Self.time(request.end)),
            ("accepted", .array(text.accepted.map { $0.map { .bool($0) } ?? .null })),
            ("margin", .array(text.features.map { $0.map { .number(Double($0.margin)) } ?? .null })),
            ("probability", .array(text.features.map { $0.map { .number(Double($0.probability)) } ?? .null })),
            ("looks", .array(text.looks.map { .int($0) })), ("proposals", .array(text.proposals.map(\.json))),
        ])
    }

    private static func stepLine(_ number: Int, _ step: LoggedStep) -> JSONText {
        .object([
            ("step", .int(number)), ("start_us", .number(step.start)), ("draft_us", .number(step.draftTime)),
            ("target_us", .number(step.targetTime)), ("time_us", .number(step.stepTime)),
            ("control_us", .number(step.controlTime)), ("waiting", .int(step.waiting)),
            (
                "draft_passes",
                .array(
                    step.draftPasses.map {
                        .object([
                            ("requests", .int($0.requests)), ("rows", .int($0.rows)), ("context", .int($0.context)),
                            ("us", .number($0.time)),
                        ])
                    })
            ),
            (
                "prompts",
                .array(
                    step.prompts.map {
                        .object([
                            ("request", .int($0.request)), ("rows", .int($0.rows)), ("computed", .int($0.computed)),
                            ("emitted", .int($0.emitted)),
                        ])
                    })
            ),
            ("decoding", .array(step.decoding.map(\.json))),
        ])
    }

    private static func time(_ time: Double?) -> JSONText { time.map { .number($0) } ?? .null }
}

extension LoggedStep.Decoding {
    fileprivate var json: JSONText {
        .object([
            ("request", .int(request)), ("context", .int(context)),
            ("drafter", source.map { .string($0.name) } ?? .null), ("drafted", .int(drafted)),
            ("verified", .int(verified)), ("accepted", .int(accepted)), ("emitted", .int(emitted)),
        ])
    }
}

extension RecordedProposal {
    fileprivate var json: JSONText {
        .object([
            ("position", .int(position)), ("drafter", .string(source.name)), ("right", .int(right)),
            ("probability", .array(features.map { .number(Double($0.probability)) })),
            ("match", .array(features.map { .int(Int($0.matchLength)) })),
            ("support", .array(features.map { .int(Int($0.support)) })),
        ])
    }
}

extension StepCosts {
    fileprivate var json: JSONText {
        .object([
            ("target", target.json), ("draft", draft.map { $0.json } ?? .null), ("overhead_us", .number(overhead)),
        ])
    }
}

extension PassCosts {
    fileprivate var json: JSONText {
        .object([
            ("widths", .array(widths.map { .int($0) })), ("base_us", .array(base.map { .number($0) })),
            ("per_context_us", .number(perContext)), ("per_attended_us", .number(perAttended)),
            ("measured", .array(measured.map { .bool($0) })),
        ])
    }
}
