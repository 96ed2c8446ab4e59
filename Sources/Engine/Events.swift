package import Formats

/// What an engine tells its host, in the order in which it happened.
package struct EngineEvent: Sendable {
    package enum Kind: Int32, Sendable {
        case tokens = 1
        case promptLogprobs = 2
        case finish = 3
    }

    package let kind: Kind
    package let requestID: UInt64
    /// Which of the request's samples it is about, from 0.
    package let sampleIndex: Int
    package let userData: UInt
    package var tokens: [Int32] = []
    /// UTF-8.
    package var text: [UInt8] = []
    package var logprobs: TokenLogprobs?
    package var finish: Finish?

    package init(kind: Kind, requestID: UInt64, sampleIndex: Int, userData: UInt) {
        self.kind = kind
        self.requestID = requestID
        self.sampleIndex = sampleIndex
        self.userData = userData
    }
}

package enum FinishReason: Int32, Sendable, CaseIterable {
    case length = 1
    case stop = 2
    case cancelled = 3
    case error = 4
    case deadline = 5

    package var name: String { String(describing: self) }
}

package struct Finish: Sendable {
    package let reason: FinishReason
    package let failure: Failure?
    package var statistics: RequestStatistics
}

/// Log-probabilities of consecutive tokens: of the tokens themselves, and of the likeliest ones at each place.
package struct TokenLogprobs: Sendable {
    package let topCount: Int
    package private(set) var ofTokens: [Float] = []
    /// [tokens, topCount], likeliest first; -1 pads.
    package private(set) var topTokens: [Int32] = []
    package private(set) var topLogprobs: [Float] = []

    package init(topCount: Int) { self.topCount = topCount }

    package mutating func append(_ logprob: Float, top: [(token: Int32, logprob: Float)]) {
        ofTokens.append(logprob)
        for index in 0..<topCount {
            topTokens.append(index < top.count ? top[index].token : -1)
            topLogprobs.append(index < top.count ? top[index].logprob : -.infinity)
        }
    }
}

/// Figures of one sample of a request. Times in microseconds; nil where there is no such moment.
package struct RequestStatistics: Sendable {
    package var promptTokens = 0
    package var completionTokens = 0
    /// Passes of the target that produced them.
    package var steps = 0
    package var draftTokens = 0
    package var acceptedTokens = 0
    /// Tokens of the prompt that the prefix cache or another sample of the request had when it first ran.
    package var cachedTokens = 0
    /// How often it had to give its blocks to others.
    package var preemptions = 0
    package var seed: UInt64 = 0
    package var queueTime: Int64?
    package var timeToFirstToken: Int64?
    package var timePerOutputToken: Int64?
    package var totalTime: Int64 = 0
    /// Whether the targets were kept; nil without one, or without enough tokens to tell.
    package var attainedTimeToFirstToken: Bool?
    package var attainedTimePerOutputToken: Bool?
    package var limitedBy = Limit.nothing
    /// By speculation while it decoded, against steps without drafts by the cost table; negative: lost.
    package var savedTime = 0.0

    /// Why a target was missed.
    package enum Limit: Int32, Sendable {
        case nothing = 0
        case queue = 1
        case memory = 2
        case compute = 3
    }

    package init() {}
}

/// Figures of an engine since it was made; the first block is the present state. Each sample counts as a request.
package struct EngineStatistics: Sendable {
    package var runningRequests = 0
    package var queuedRequests = 0
    package var threads = 0
    package var kvBlocksTotal = 0
    package var kvBlocksUsed = 0

    package var submittedRequests = 0
    package var finishedRequests = 0
    package var steps = 0
    package var targetPasses = 0
    package var draftPasses = 0
    package var prefillTokens = 0
    package var emittedTokens = 0
    package var drafts = 0
    package var draftTokens = 0
    package var acceptedTokens = 0
    /// Of `draftTokens` those beside a drafted chain, and of `acceptedTokens`.
    package var branchTokens = 0
    package var acceptedBranches = 0
    package var acceptedPerPosition = [Int](repeating: 0, count: RequestOptions.mostDraftTokens)
    /// Microseconds of all steps. Drafts take the first part, the target's passes and their tokens the second.
    package var stepTime: Int64 = 0
    package var draftTime: Int64 = 0
    package var verifyTime: Int64 = 0
    /// Microseconds in which policies decided and learned; what they decided is part of `draftTime`.
    package var controlTime = 0.0
    /// Microseconds of deciding who runs in a step with how many rows, and of laying these out; drafts and policies are not in
    /// it.
    package var schedulingTime = 0.0
    package var preemptions = 0
    /// Of the prefix cache.
    package var prefixQueriedTokens = 0
    package var prefixCachedTokens = 0
    package var kvBlocksCached = 0
    package var prefixEvictions = 0
    /// By the reason's number.
    package var finishedByReason = [Int](repeating: 0, count: FinishReason.allCases.count + 1)

    /// By speculation, against steps without drafts by the cost table; negative: lost. Microseconds.
    package var savedTime = 0.0
    /// Expected calibration error of the policy's probabilities, 0 to 1.
    package var calibrationError = 0.0
    package var histograms = EngineHistograms()

    mutating func finish(_ reason: FinishReason, _ figures: RequestStatistics) {
        finishedRequests += 1
        finishedByReason[Int(reason.rawValue)] += 1
        if let time = figures.timeToFirstToken { histograms.timeToFirstToken.add(Double(time) / 1e6) }
        if let time = figures.timePerOutputToken { histograms.timePerOutputToken.add(Double(time) / 1e6) }
    }
}
