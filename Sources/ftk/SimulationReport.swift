import Formats
import Simulation

/// What a simulation found, as a table or as JSON.
struct SimulationReport {
    let command: SimulateCommand
    let machine: Hardware
    let cells: [WorkloadCell]

    // MARK: Text

    func show() {
        let requests = cells.first?.result.requests.count ?? 0
        Output.line("\(machine.name): \(machine.description); acceptance \(acceptance), \(requests) requests")
        WorkloadCell.show(cells)
        let rejected = cells.map(\.result.rejected).max() ?? 0
        if rejected > 0 { Output.line("\(rejected) requests are longer than the KV cache and were refused") }
    }

    private var acceptance: String {
        command.recorded.recording.map { "recorded:\($0)" } ?? command.acceptance ?? SimulateCommand.defaultAcceptance
    }

    /// A recording has its own.
    private var retrieval: JSONText {
        command.recorded.recording == nil ? .number(command.retrieval ?? 0) : .null
    }

    // MARK: JSON

    var json: JSONText {
        .object([
            (
                "hardware",
                .object([
                    ("name", .string(machine.name)), ("description", .string(machine.description)),
                    ("kv_tokens", .int(command.kvTokens ?? machine.kvTokens)),
                ])
            ),
            (
                "options",
                .object(
                    command.workload.json + [
                        ("acceptance", .string(acceptance)), ("retrieval", retrieval),
                        ("noise", .number(command.noise)), ("cost_error", .number(command.costError)),
                        ("learn_costs", .bool(command.learnCosts)),
                        ("draft_tokens", command.draftTokens.map { .int($0) } ?? .null),
                        ("max_running_requests", .int(command.maxRunning ?? machine.maxRunning)),
                        ("max_step_tokens", .int(command.maxStepTokens ?? machine.maxRows)),
                        ("context", command.context.map { .int($0) } ?? .null),
                    ])
            ),
            ("cells", .array(cells.map { $0.json(raw: command.raw) })),
        ])
    }
}
