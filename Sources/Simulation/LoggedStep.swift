package import Scheduling

/// What one step of a run did, on virtual time or in an engine. Requests go by their places in the workload; times are in
/// microseconds, from the run's start.
package struct LoggedStep: Sendable, Equatable {
    package var start = 0.0
    /// Drafts and what was decided about them; the target with sampling and commit; everything.
    package var draftTime = 0.0
    package var targetTime = 0.0
    package var stepTime = 0.0
    /// Of the draft time, what policies took; 0 on virtual time.
    package var controlTime = 0.0
    /// Requests that wait to run.
    package var waiting = 0
    package var prompts: [Prompt] = []
    package var decoding: [Decoding] = []
    package var draftPasses: [StepOutcome.DraftPass] = []

    package init() {}

    /// Rows of a request's prompt.
    package struct Prompt: Sendable, Equatable {
        package var request: Int
        package var rows: Int
        /// Tokens that went through the target before.
        package var computed: Int
        /// 1 with the end of the prompt, which gives the first token.
        package var emitted: Int

        package init(request: Int, rows: Int, computed: Int, emitted: Int) {
            self.request = request
            self.rows = rows
            self.computed = computed
            self.emitted = emitted
        }
    }

    /// A request that decodes.
    package struct Decoding: Sendable, Equatable {
        package var request: Int
        /// Its tokens before the step.
        package var context: Int
        /// nil: nothing was drafted.
        package var source: DraftSource?
        package var drafted = 0
        package var verified = 0
        package var accepted = 0
        package var emitted = 0
        /// What was drafted, and what retrieval found; empty where it was not kept.
        package var features: [DraftFeature] = []
        package var proposals: [Proposal] = []
        /// Whether anybody looked for drafts, and it was kept.
        package var looked = false

        package init(request: Int, context: Int) {
            self.request = request
            self.context = context
        }

        package init(request: Int, context: Int, _ outcome: DraftOutcome) {
            self.init(request: request, context: context)
            source = outcome.source
            drafted = outcome.features.count
            verified = outcome.verified
            accepted = outcome.accepted
            emitted = outcome.emitted
            looked = true
            features = outcome.features
            proposals = outcome.counterfactuals.map {
                Proposal(source: $0.draft.source, features: $0.draft.features, judged: $0.judged, accepted: $0.accepted)
            }
        }
    }

    /// What retrieval found, used or not, and how far the step tells whether it was right.
    package struct Proposal: Sendable, Equatable {
        package var source: DraftSource
        package var features: [DraftFeature]
        package var judged: Int
        package var accepted: Int

        package init(source: DraftSource, features: [DraftFeature], judged: Int, accepted: Int) {
            self.source = source
            self.features = features
            self.judged = judged
            self.accepted = accepted
        }
    }

    package var end: Double { start + stepTime }
    package var verified: Int { decoding.reduce(0) { $0 + $1.verified } }
    package var prefillRows: Int { prompts.reduce(0) { $0 + $1.rows } }
    package var emitted: Int {
        decoding.reduce(0) { $0 + $1.emitted } + prompts.reduce(0) { $0 + $1.emitted }
    }

    /// Requests decoded, and nothing was drafted for any of them.
    package var isOff: Bool { !decoding.isEmpty && draftPasses.isEmpty && verified == 0 }

    /// Rows of the target's pass, the tokens of the requests in it, and the sum of what its rows attend to: what a cost table
    /// goes by.
    package var targetShape: (rows: Int, context: Int, attended: Int) {
        var shape = (rows: decoding.count, context: 0, attended: 0)
        for request in decoding {
            let drafted = request.verified
            shape.rows += drafted
            shape.context += request.context
            shape.attended += (drafted + 1) * request.context + drafted * (drafted + 1) / 2
        }
        for prompt in prompts {
            shape.rows += prompt.rows
            shape.context += prompt.computed + prompt.rows
            shape.attended += prompt.rows * prompt.computed + prompt.rows * (prompt.rows + 1) / 2
        }
        return shape
    }
}
