/// What the planner knows of a running request.
package struct RequestSnapshot: Sendable {
    package let id: UInt64
    /// Tokens of prompt and output.
    package let committed: Int
    /// How many of them are in the target's KV cache; always fewer than committed.
    package let computed: Int

    package init(id: UInt64, committed: Int, computed: Int) {
        self.id = id
        self.committed = committed
        self.computed = computed
    }

    /// Only the latest token is missing in the cache.
    package var decodes: Bool { committed - computed == 1 }
}

/// Who takes part in a step, and with what. Drafts come on top: `draftRows` of them at most, for which prompts make room.
package struct StepPlan: Sendable, Equatable {
    package struct Entry: Sendable, Equatable {
        package let id: UInt64
        /// Committed tokens that go through the target: positions computed ..< computed + rows.
        package private(set) var rows: Int
        /// The last row is the latest token: its logits give the next one.
        package private(set) var samples: Bool
        /// The request has its prompt, or what it lost to others, to compute.
        package let isPrefill: Bool

        package init(id: UInt64, rows: Int, samples: Bool, isPrefill: Bool) {
            self.id = id
            self.rows = rows
            self.samples = samples
            self.isPrefill = isPrefill
        }

        /// The same with fewer rows.
        fileprivate func shortened(to rows: Int) -> Entry {
            Entry(id: id, rows: rows, samples: samples && rows == self.rows, isPrefill: isPrefill)
        }
    }
    package var entries: [Entry] = []
    /// The most rows of drafts, of all requests together.
    package var draftRows = 0
    private var maxRows = 0

    package init() {}

    fileprivate init(maxRows: Int) { self.maxRows = maxRows }

    package var rows: Int { entries.reduce(0) { $0 + $1.rows } }

    /// The plan with room for so many rows of drafts: the last prompts give up theirs.
    package func withRoom(forDrafts count: Int) -> StepPlan {
        var result = self
        var excess = rows + count - maxRows
        for index in entries.indices.reversed() where excess > 0 && entries[index].isPrefill {
            let given = min(excess, entries[index].rows)
            result.entries[index] = entries[index].shortened(to: entries[index].rows - given)
            excess -= given
        }
        result.entries.removeAll { $0.rows == 0 }
        return result
    }
}

/// One step: every decoding request gets its row, drafts and prompts share the rest of the budget. While a prompt waits,
/// drafts may take half of that rest. Requests come in order of urgency, and `maxRows` is at least their number.
/// `prefillRows` limits what prompts may take, for the sake of those that decode.
package func planStep(requests: [RequestSnapshot], maxRows: Int, prefillRows: Int = .max) -> StepPlan {
    let decoding = requests.filter(\.decodes)
    let waiting = requests.filter { !$0.decodes }
    let rest = maxRows - decoding.count
    var plan = StepPlan(maxRows: maxRows)
    plan.draftRows = waiting.isEmpty ? rest : rest / 2
    for request in decoding {
        plan.entries.append(StepPlan.Entry(id: request.id, rows: 1, samples: true, isPrefill: false))
    }
    var prefill = min(rest, prefillRows)
    for request in waiting where prefill > 0 {
        let missing = request.committed - request.computed
        let rows = min(missing, prefill)
        prefill -= rows
        plan.entries.append(StepPlan.Entry(id: request.id, rows: rows, samples: rows == missing, isPrefill: true))
    }
    return plan
}
