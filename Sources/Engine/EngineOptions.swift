import Formats
package import Kernels
package import Model
package import Scheduling
package import Speculation

/// How an engine is set up; checked by `validate`.
package struct EngineOptions: Sendable {
    package enum DrafterKind: Int32, Sendable, CaseIterable {
        case auto = 0
        case lookup = 1
        case model = 2
        case suffix = 3
    }

    package var policy = PolicyKind.goodput
    package var drafter = DrafterKind.auto
    /// The length of drafts for `static`, the most for other policies; 0: what the policy is known with.
    package var draftTokens = 0
    /// Candidates for each position of a draft: 1 for chains, 2 for trees with the next best token beside the drafted one.
    /// 0: 2 for `goodput`, which takes those that are worth their rows, 1 for the others.
    package var treeWidth = 0
    package var draftModel: LanguageModel?
    /// How strongly a draft model follows its own distribution against the noise that it shares with the target; nil: as much
    /// as is learned to agree most often.
    package var coupling: CouplingStrength?
    /// nil: after the model.
    package var kvFormat: KVFormat?
    package var activations = Activations.Precision.q8
    package var runsInBackground = false
    /// 0: `defaultKVTokens` or one full context, whichever is more.
    package var kvBudgetBytes = 0
    /// 0: the model's own.
    package var contextTokens = 0
    /// 0: as many as the process may use.
    package var threads = 0
    package var maxRunningRequests = 16
    package var maxQueuedRequests = 1024
    package var maxStepTokens = 256
    /// Memory for the texts of requests that have ended, from which others are drafted for; 0: none is kept.
    package var draftPoolBytes = 64 << 20
    /// Keep a record of each step's decisions.
    package var traces = false
    /// Keep in it also what was drafted and what retrieval found.
    package var tracesDrafts = false
    /// Microseconds that passes are measured for when the engine is created; 0: the sizes of the models say what they cost.
    package var profileTime = 0
    /// Where measured profiles are kept; nil: nowhere.
    package var profileFolder: String?
    package var log = EngineLog()
    package var clock = EngineClock.monotonic

    package init() {}

    package static let defaultKVTokens = 16384
    /// Rows whose logits are computed at once.
    package static let logitRows = 64
    package static let longestProfileTime = 3_600_000_000

    package func validate() throws {
        func check(_ holds: Bool, _ message: @autoclosure () -> String) throws {
            if !holds { throw Failure.invalid(message()) }
        }
        let most = RequestOptions.mostDraftTokens
        try check((0...most).contains(draftTokens), "draft_tokens is \(draftTokens); it must be from 0 to \(most)")
        try check((0...2).contains(treeWidth), "tree_width is \(treeWidth); it must be from 0 to 2")
        try check(
            treeWidth < 2 || policy == .goodput || policy == .static,
            "tree_width is 2, but only the policies static and goodput verify trees, not \(policy.name)")
        try check(kvBudgetBytes >= 0, "kv_budget_bytes is too large")
        try check(draftPoolBytes >= 0, "draft_pool_bytes is too large")
        try check((0...512).contains(threads), "threads is \(threads); it must be from 0 (automatic) to 512")
        try check(
            (1...1024).contains(maxRunningRequests),
            "max_running_requests is \(maxRunningRequests); it must be from 1 to 1024")
        try check(
            (1...1_000_000).contains(maxQueuedRequests),
            "max_queued_requests is \(maxQueuedRequests); it must be from 1 to 1000000")
        try check(
            (32...8192).contains(maxStepTokens), "max_step_tokens is \(maxStepTokens); it must be from 32 to 8192")
        try check(
            maxRunningRequests <= maxStepTokens,
            "max_running_requests is \(maxRunningRequests), but a step of max_step_tokens = \(maxStepTokens) has no row "
                + "for each of them")
        try check(
            (0...Self.longestProfileTime).contains(profileTime),
            "profile_us is \(profileTime); it must be from 0 to \(Self.longestProfileTime)")
        try check(profileFolder != "", "profile_folder is empty; NULL keeps no profiles")
        try check(
            drafter != .model || draftModel != nil, "drafter is the draft model, but draft_model is not given")
    }

    var threadCount: Int { threads > 0 ? threads : availableProcessors() }
}

/// The log callback of an engine.
package struct EngineLog: Sendable {
    package enum Level: Int32, Sendable, Comparable {
        case error = 0
        case warning = 1
        case info = 2
        case debug = 3
        package static func < (a: Level, b: Level) -> Bool { a.rawValue < b.rawValue }
    }
    package var level = Level.warning
    package var sink: (@Sendable (Level, String) -> Void)?

    package init() {}

    func write(_ level: Level, _ message: @autoclosure () -> String) {
        if let sink, level <= self.level { sink(level, message()) }
    }
}
