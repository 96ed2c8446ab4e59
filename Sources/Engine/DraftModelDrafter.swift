import Formats
import Kernels
import Model
package import Scheduling
package import Speculation

/// Drafts with a smaller model. Its keys and values use the same block numbers as the target's, in a cache of its own, unless
/// it has another vocabulary. It catches up lazily: tokens that it missed go through it when it drafts
/// again, one pass in each step until none is missing.
package final class DraftModelDrafter: Drafter {
    private let executor: any StepExecutor
    private let maxRows: Int
    private let contextTokens: Int
    /// Ids from here on are the draft's padding; the target knows nothing of them.
    private let targetVocabulary: Int
    /// nil where the models share their tokens.
    private let translation: DraftTranslation?
    private let clock: EngineClock
    private let sampler = Sampler()
    private var caches: [UInt64: Cache] = [:]
    private var batch = RowBatch()
    /// How strongly drafts follow the draft model against the noise that they share with the target.
    private var coupling = CouplingLearner()
    /// Whether drafts come with the model's own probability of each token.
    package var reportsProbability = false
    /// nil: it is learned.
    package var fixedStrength: CouplingStrength?
    package private(set) var passes = 0
    /// The passes of the latest call.
    package private(set) var latestPasses: [StepOutcome.DraftPass] = []
    /// The drafts of the latest call that were drawn from the model's distribution, by request.
    package private(set) var latestSamples: [UInt64: SampledDraft] = [:]

    package init(
        executor: any StepExecutor, maxRows: Int, contextTokens: Int, targetVocabulary: Int,
        translation: DraftTranslation? = nil, clock: EngineClock = .monotonic
    ) {
        self.executor = executor
        self.maxRows = maxRows
        self.contextTokens = contextTokens
        self.targetVocabulary = targetVocabulary
        self.translation = translation
        self.clock = clock
    }

    package func forget(_ id: UInt64) {
        caches[id] = nil
        translation?.forget(id)
    }

    /// The target's blocks of a request hold other keys and values now, or are other blocks.
    package func forgetCache(_ id: UInt64) {
        if translation == nil { caches[id] = nil }
    }

    /// Whether the cache has no room for drafts of a request.
    package func lacksBlocks(_ id: UInt64) -> Bool { translation?.lacksBlocks(id) ?? false }

    /// How many of a request's tokens would go through the model first; 0 where it cannot draft: it knows none of them, or
    /// they are more than its context or its cache has room for.
    package func backlog(_ id: UInt64, _ tokens: [Int32]) -> Int {
        let own = translation?.tokens(id, tokens) ?? tokens
        guard own.count <= contextTokens, translation?.hasRoom(id, own.count) ?? true else { return 0 }
        return own.count - (caches[id]?.valid(for: own) ?? 0)
    }

    package func clearPasses() { latestPasses = [] }

    /// The target chose `tokens` where `choices` were drafted, as far as all drafts before had been right.
    package func observe(_ choices: [DraftChoice], target tokens: ArraySlice<Int32>, temperature: Float) {
        for (choice, token) in zip(choices, tokens) {
            coupling.observe(choice, target: token, temperature: temperature)
            if choice.token != token { break }
        }
    }

    /// What the draft's cache holds for a request: the first `count` of its tokens when it was last drafted for, which
    /// were `committed` committed tokens and then the draft, all as the draft's own tokens.
    private struct Cache {
        let committed: Int
        let draft: [Int32]
        let count: Int

        /// How many of them still hold, up to the first that was drafted but not accepted. The latest token always goes
        /// through the model again: its logits are needed.
        func valid(for tokens: [Int32]) -> Int {
            let accepted = zip(draft, tokens.dropFirst(committed)).prefix { $0 == $1 }.count
            return max(0, min(count, committed + accepted, tokens.count - 1))
        }
    }

    /// A request while it is drafted for.
    private struct Progress {
        let request: DraftRequest
        /// The request's tokens as the draft's own.
        let tokens: [Int32]
        let blocks: [Int32]
        var limit: Int
        var history: TokenHistory
        var constraint: GrammarConstraint?
        var draft: [Int32] = []
        var choices: [DraftChoice] = []
        /// The same for requests under a ratio test.
        var sampled = SampledDraft()
        /// Tokens in the draft's cache, those of this draft included.
        var cached: Int
        var isDone: Bool { draft.count >= limit }
        var missing: Int { tokens.count + draft.count - cached }

        mutating func append(_ choice: DraftChoice) {
            draft.append(choice.token)
            choices.append(choice)
            if request.parameters.hasPenalties { history.append(choice.token) }
        }

        func token(_ position: Int, _ translation: DraftTranslation?) -> Int32 {
            if position < tokens.count { return tokens[position] }
            let drafted = draft[position - tokens.count]
            return translation?.own(drafted) ?? drafted
        }
    }

    package func propose(_ requests: [DraftRequest]) throws -> [[Int32]] {
        try draft(requests) { choices in choices.map { _ in true } }.map { $0.map(\.token) }
    }

    /// Drafts for each request up to its limit; requests of which the model missed more than a step's tokens take at most
    /// `catchUpRows` of the first pass. After every pass `goesOn` says, from what was drafted so far, which requests take
    /// part in the next; one that once does not is done.
    package func draft(
        _ requests: [DraftRequest], catchUpRows: Int = .max, goesOn: (_ drafts: [[DraftChoice]]) -> [Bool]
    ) throws -> [[DraftChoice]] {
        (latestPasses, latestSamples) = ([], [:])
        var progress = requests.map(begin)
        defer { keep(progress) }
        var isFirst = true
        while progress.contains(where: { !$0.isDone }) {
            try pass(&progress, catchUpRows)
            // One pass a step for what is missing: a long prompt must not keep the other requests waiting.
            if isFirst {
                for index in progress.indices where progress[index].draft.isEmpty { progress[index].limit = 0 }
            }
            isFirst = false
            guard progress.contains(where: { !$0.isDone }) else { break }
            for (index, wanted) in goesOn(progress.map(\.choices)).enumerated() where !wanted {
                progress[index].limit = progress[index].draft.count
            }
        }
        latestSamples = progress.reduce(into: [:]) { result, entry in
            if entry.request.coins != nil, !entry.draft.isEmpty { result[entry.request.id] = entry.sampled }
        }
        return progress.map(\.choices)
    }

    private func begin(_ request: DraftRequest) -> Progress {
        let tokens = translation?.tokens(request.id, request.tokens) ?? request.tokens
        // The last drafted token is not run through the draft model, so the context may end with it.
        var room = max(0, min(request.limit, contextTokens - tokens.count + 1))
        var blocks = request.blocks
        if let translation, room > 0 {
            blocks = translation.blocks(request.id, least: tokens.count, most: tokens.count + room - 1)
            room = max(0, min(room, blocks.count * kvBlockTokens - tokens.count + 1))
        }
        let cached = caches[request.id]?.valid(for: tokens) ?? 0
        // The target may have more tokens, all of them padding: the draft has no embedding for those.
        let known = !tokens.isEmpty && tokens[cached...].allSatisfy { Int($0) < executor.vocabularySize }
        return Progress(
            request: request, tokens: tokens, blocks: blocks, limit: known ? room : 0, history: request.history,
            constraint: request.constraint, cached: cached)
    }

    private func keep(_ progress: [Progress]) {
        for entry in progress {
            let draft = translation.map { other in entry.draft.map { other.own($0) } } ?? entry.draft
            caches[entry.request.id] = Cache(committed: entry.tokens.count, draft: draft, count: entry.cached)
        }
    }

    /// One forward pass: the next chunk of missing tokens of every request, and a token where none is missing any more.
    private func pass(_ progress: inout [Progress], _ catchUpRows: Int) throws {
        let start = clock.microseconds
        batch.removeAll()
        var sampled: [(entry: Int, row: Int)] = []
        var record = StepOutcome.DraftPass(requests: 0, rows: 0, context: 0, time: 0)
        let plan = planDraftPass(
            missing: progress.map { $0.isDone ? 0 : $0.missing }, maxRows: maxRows, catchUpRows: catchUpRows)
        for (index, rows) in plan.enumerated() where rows > 0 {
            let from = progress[index].cached
            let chunk = (from..<from + rows).map { progress[index].token($0, translation) }
            let first = batch.append(tokens: chunk, position: from, blocks: progress[index].blocks)
            progress[index].cached += rows
            record.requests += 1
            record.rows += rows
            record.context += from + rows
            if progress[index].missing == 0 { sampled.append((index, first + rows - 1)) }
        }
        try executor.forward(batch)
        passes += 1
        try executor.withLogits(rows: sampled.map(\.row)) { at, logits in
            if let row = translation?.gather(logits) {
                draw(&progress[sampled[at].entry], row.span)
            } else {
                draw(&progress[sampled[at].entry], logits.extracting(first: min(logits.count, targetVocabulary)))
            }
        }
        record.time = Double(clock.microseconds - start)
        latestPasses.append(record)
    }

    /// Adds the draft's own choice, under the noise that will decide the target's.
    private func draw(_ entry: inout Progress, _ logits: Span<Float>) {
        let request = entry.request
        do {
            let processors = request.processors + (entry.constraint.map { [$0] } ?? [])
            if let coins = request.coins { return try sample(&entry, logits, processors, coins) }
            let choice = try sampler.draft(
                logits: logits, parameters: request.parameters, processors: processors, history: entry.history,
                noise: request.noise, position: request.tokens.count + entry.draft.count,
                strength: fixedStrength ?? coupling.strength(temperature: request.parameters.temperature),
                reportsProbability: reportsProbability)
            try entry.constraint?.advance(choice.token)
            entry.append(choice)
        } catch {
            // Logits that cannot be used end the draft, not the request: the target does not depend on them.
            entry.limit = entry.draft.count
        }
    }

    /// Adds a token that is drawn from the draft's own distribution. What a scheduler gets to know of it is true of the
    /// distribution, whichever token it is.
    private func sample(
        _ entry: inout Progress, _ logits: Span<Float>, _ processors: [any LogitProcessor], _ coins: RatioCoins
    ) throws {
        let proposal = try sampler.distribution(
            logits: logits, parameters: entry.request.parameters, processors: processors, history: entry.history)
        let place = entry.draft.count
        entry.sampled.draw(from: proposal, coin: coins.coin(.draft, place))
        let token = entry.sampled.tokens[place]
        entry.append(
            DraftChoice(
                token: token, margin: min(Float(proposal.margin), DraftChoice.largestMargin),
                probability: Float(proposal.largest)))
        // Last of all: a token that is drawn is verified, even if nothing can follow it.
        try entry.constraint?.advance(token)
    }
}
