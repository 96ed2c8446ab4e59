import Scheduling
import Speculation

/// A request that decodes in a step, as its drafts see it.
struct SpeculationAsk {
    /// Its limit is the most tokens that could be of use.
    let request: DraftRequest
    /// The request's own wish; nil leaves the length to the policy, 0 wants no drafts.
    let fixedLength: Int?
    /// Its distribution is bent by more than temperature and filters.
    let isPeculiar: Bool
    let neededTokens: Double
    /// Tokens that the request may still get.
    let remaining: Int
    let targetTPOT: Double?
    /// The host's own draft, if it has one.
    let offered: RetrievalDraft?
}

/// What was drafted for a request.
struct SpeculativeDraft {
    /// To be verified, one after the other.
    var tokens: [Int32] = []
    /// The positions among them whose next best token is verified too.
    var branches: [Int] = []
    var source: DraftSource?
    /// Of all that was drafted, also what is not verified.
    var features: [DraftFeature] = []
    var choices: [DraftChoice] = []
    /// The draft as it was drawn, for requests under a ratio test; nothing may shorten it that looks at what was drawn.
    var sampled: SampledDraft?
    /// The next best token of each feature's position; empty where drafts do not branch.
    var runnersUp: [Int32?] = []
    /// What retrieval found, whether it is used or not.
    var found: [(source: DraftSource, draft: RetrievalDraft)] = []
    /// Why it is not longer.
    var limit = DraftLimit.length
}
