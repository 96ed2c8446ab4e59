/// Where the drafted tokens of a request come from.
package enum DraftSource: Int, Sendable, CaseIterable, Hashable {
    /// Prompt lookup.
    case lookup = 0
    /// The suffix automaton.
    case suffix = 1
    /// A draft model.
    case model = 2
    /// The caller.
    case host = 3

    /// Drafts that cost nothing but a look at what is there already.
    package var isRetrieval: Bool { self != .model }

    package var name: String { String(describing: self) }
}

/// What is known of one drafted token before the target has seen it.
package struct DraftFeature: Sendable, Equatable {
    /// Of a model's draft: how far the token led before the next best, in the score that chose it. Retrieval: 0.
    package var margin: Float
    /// The draft model's own probability of the token; retrieval: the share of earlier occurrences that went on like this;
    /// the caller: what it is worth before anything was learned.
    package var probability: Float
    /// Retrieval: tokens that matched before it, and how often they occurred; the caller: tokens that it was right about.
    /// A model's draft: 0.
    package var matchLength: Int32
    package var support: Int32
    /// There is a next best token for this position, which may be verified as well.
    package var hasRunnerUp = false

    package init(margin: Float = 0, probability: Float, matchLength: Int32 = 0, support: Int32 = 0) {
        self.margin = margin
        self.probability = probability
        self.matchLength = matchLength
        self.support = support
    }
}

/// A draft as far as it goes: tokens are the engine's business, the scheduler sees their features.
package struct DraftView: Sendable, Equatable {
    package var source: DraftSource
    package var features: [DraftFeature]

    package init(source: DraftSource, features: [DraftFeature]) {
        self.source = source
        self.features = features
    }
}

/// One request that decodes in a step.
package struct DecodingView: Sendable {
    package var id: UInt64
    /// Its committed tokens, which each of its rows attends to.
    package var context: Int
    /// The most drafted tokens that could be of use, that there is memory for, and that the request allows.
    package var room: Int
    /// Tokens that the request may still get; what is paid once has to pay within these.
    package var remaining: Int
    /// What retrieval found, at most one for each source.
    package var proposals: [DraftView] = []
    /// Committed tokens that the draft model has not seen; the latest one is always among them. 0: no draft model.
    package var draftBacklog = 0
    /// The tokens that this step has to give for the request to keep its target; 0 without one.
    package var neededTokens = 0.0
    /// Penalties or a grammar bend its distribution: what is learned from it holds for it alone.
    package var isPeculiar = false
    /// A draft model draws its drafts from its own distribution, and what it drafted is verified whole: `select` has no say.
    package var drawsDrafts = false
    /// The time that a token may take, in microseconds; nil without such a target.
    package var targetTPOT: Double?

    package init(id: UInt64, context: Int, room: Int) {
        self.id = id
        self.context = context
        self.room = room
        remaining = max(room, room &+ 1)
    }
}

/// What a policy sees of a step before it drafts.
package struct StepView: Sendable {
    package var requests: [DecodingView] = []
    /// Rows of prompts that the step carries besides, the sum of what they attend to, and the tokens of their requests.
    package var prefillRows = 0
    package var prefillAttended = 0
    package var prefillContext = 0
    /// The most drafted rows of all requests together.
    package var rowBudget = 0
    /// The most rows that the draft model may take to read what it missed, for the sake of targets.
    package var catchUpRows = Int.max
    /// Tokens that the KV cache still has room for.
    package var freeTokens = Int.max
    /// A uniform number in [0, 1), for probes.
    package var coin = 0.5

    package init() {}

    /// Committed tokens of all requests that decode.
    package var decodingContext: Int { requests.reduce(0) { $0 + $1.context } }
}

/// Why a draft is not longer.
package enum DraftLimit: Int, Sendable, CaseIterable {
    /// Another token would cost more than it is worth.
    case gain = 0
    /// The rows of the step are used up.
    case budget = 1
    /// A latency target needs the time.
    case target = 2
    /// The KV cache is full.
    case memory = 3
    /// Speculation was measured to lose, that of all requests or of this one.
    case `guard` = 4
    /// The request ends there, or wants no more.
    case end = 5
    /// The drafter has no more.
    case drafter = 6
    /// The policy's fixed length, or the most that it drafts.
    case length = 7

    package var name: String { String(describing: self) }
}

/// What a policy wants drafted for one request.
package struct DraftWish: Sendable, Equatable {
    /// nil: no draft.
    package var source: DraftSource?
    /// The most tokens; for retrieval the draft is there already, and this many of it count.
    package var length: Int
    package var limit: DraftLimit

    package init(source: DraftSource?, length: Int, limit: DraftLimit) {
        self.source = length > 0 ? source : nil
        self.length = source == nil ? 0 : length
        self.limit = limit
    }

    package static func none(_ limit: DraftLimit) -> DraftWish { DraftWish(source: nil, length: 0, limit: limit) }
}

/// What came of one request's draft.
package struct DraftOutcome: Sendable {
    package var id: UInt64
    /// nil: there was no draft.
    package var source: DraftSource?
    /// Of all tokens that were drafted, also those that were not verified.
    package var features: [DraftFeature] = []
    /// How many of them went through the target, and were right one after the other.
    package var verified = 0
    package var accepted = 0
    /// How many runners-up went through the target besides, and whether one of them was right.
    package var branches = 0
    package var tookBranch = false
    /// What came of the runner-up where the draft was first wrong; nil where there is none or nothing is known of it.
    package var runnerUp: RunnerUp?
    /// Tokens that the request got in this step.
    package var emitted = 0
    /// The request ended within the draft: the first position that was not accepted says nothing.
    package var wasCut = false
    /// What each retrieval source proposed and how much of it would have been accepted, also where it was not used.
    package var counterfactuals: [Counterfactual] = []
    package var isPeculiar = false

    /// The next best token of a position, judged by what the target said there: it need not have been verified.
    package struct RunnerUp: Sendable, Equatable {
        package var position: Int
        package var wasRight: Bool

        package init(position: Int, wasRight: Bool) {
            self.position = position
            self.wasRight = wasRight
        }
    }

    /// A proposal that was compared with what the target said.
    package struct Counterfactual: Sendable {
        package var draft: DraftView
        /// Positions of it that the target's tokens reach; the last one may be the first that differs.
        package var judged: Int
        package var accepted: Int

        package init(draft: DraftView, judged: Int, accepted: Int) {
            self.draft = draft
            self.judged = judged
            self.accepted = accepted
        }
    }

    package init(id: UInt64) { self.id = id }

    /// The rows of the target that went into it.
    package var rows: Int { verified + branches }

    /// Whether the position after the accepted ones was verified and refused.
    package var wasRefused: Bool { accepted < verified && !wasCut }
}

/// What a step took and gave.
package struct StepOutcome: Sendable {
    package var requests: [DraftOutcome] = []
    /// Microseconds of the draft model, of the target with sampling and commit, and of the whole step.
    package var draftTime = 0.0
    package var targetTime = 0.0
    package var stepTime = 0.0
    package var draftPasses: [DraftPass] = []

    /// A pass of the draft model.
    package struct DraftPass: Sendable, Equatable {
        package var requests: Int
        package var rows: Int
        /// The tokens of its requests.
        package var context: Int
        package var time: Double

        package init(requests: Int, rows: Int, context: Int, time: Double) {
            self.requests = requests
            self.rows = rows
            self.context = context
            self.time = time
        }
    }

    package init() {}

    package var emitted: Int { requests.reduce(0) { $0 + $1.emitted } }
}
