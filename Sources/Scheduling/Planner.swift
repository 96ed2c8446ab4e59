/// What the planner knows of a running request.
package struct RequestSnapshot: Sendable {
    package let id: UInt64
    /// Tokens of prompt and output.
    package let committed: Int
    /// How many of them are in the target's KV cache; always fewer than committed.
    package let computed: Int
    /// The most drafted tokens that could still be of use.
    package let draftRoom: Int
    /// The request's own wish for the length of drafts; nil leaves it to the policy.
    package let requestedDraft: Int?

    package init(id: UInt64, committed: Int, computed: Int, draftRoom: Int, requestedDraft: Int?) {
        self.id = id
        self.committed = committed
        self.computed = computed
        self.draftRoom = draftRoom
        self.requestedDraft = requestedDraft
    }

    /// Only the latest token is missing in the cache.
    var decodes: Bool { committed - computed == 1 }
}

/// Decides the length of drafts. Pure: the same snapshot gives the same answer.
package protocol DraftPolicy: Sendable {
    func draftLength(for request: RequestSnapshot) -> Int
}

/// The policies `off` (0) and `static`.
package struct PlannedLength: DraftPolicy {
    package let length: Int
    package init(length: Int) { self.length = length }
    package func draftLength(for request: RequestSnapshot) -> Int { length }
}

/// Who takes part in a step, and with what.
package struct StepPlan: Sendable, Equatable {
    package struct Entry: Sendable, Equatable {
        package let id: UInt64
        /// Committed tokens that go through the target: positions computed ..< computed + rows.
        package let rows: Int
        /// Drafted tokens that may follow them.
        package let draftLimit: Int
        /// The last row is the latest token: its logits give the next one.
        package let samples: Bool

        /// The same with shorter drafts.
        package func limited(to draftLimit: Int) -> Entry {
            Entry(id: id, rows: rows, draftLimit: min(draftLimit, self.draftLimit), samples: samples)
        }
    }
    package var entries: [Entry] = []
}

/// One step: every decoding request gets its row, drafts and prompts share the rest of the budget. While a prompt waits,
/// drafts may take half of that rest. Requests come in order of urgency, and `maxRows` is at least their number.
package func planStep(requests: [RequestSnapshot], policy: any DraftPolicy, maxRows: Int) -> StepPlan {
    let decoding = requests.filter(\.decodes)
    let waiting = requests.filter { !$0.decodes }
    var rest = maxRows - decoding.count
    var draftRows = waiting.isEmpty ? rest : rest / 2
    var plan = StepPlan()
    for request in decoding {
        let wished = request.requestedDraft ?? policy.draftLength(for: request)
        let limit = max(0, min(wished, request.draftRoom, draftRows))
        draftRows -= limit
        rest -= limit
        plan.entries.append(StepPlan.Entry(id: request.id, rows: 1, draftLimit: limit, samples: true))
    }
    for request in waiting where rest > 0 {
        let missing = request.committed - request.computed
        let rows = min(missing, rest)
        rest -= rows
        plan.entries.append(StepPlan.Entry(id: request.id, rows: rows, draftLimit: 0, samples: rows == missing))
    }
    return plan
}
