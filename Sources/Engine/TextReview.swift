import Formats
import Kernels
package import Model
package import Scheduling
package import Speculation

/// Reads texts again that requests wrote, and tells for each position what the drafters of an engine have to say there and how
/// much of it is right.
///
/// A run shows that only where it drafted, and a policy drafts where it expects to be right: what a simulation of other steps
/// would meet elsewhere cannot be guessed from it. Where what is drafted depends on the text before it alone, it can be found out
/// when the run is over, and no step of the run takes longer for it. That is so for texts that are not drafted from each other,
/// without a grammar or a ratio test, whose draft model follows the noise of the target as strongly all the time. Others are
/// refused.
package final class TextReview {
    /// A request that an engine answered, and what it has got.
    package struct Text {
        package var request: RequestOptions
        package var output: [Int32]

        package init(request: RequestOptions, output: [Int32]) {
            self.request = request
            self.output = output
        }

        /// Takes up what an event of the request tells of the output. Log-probabilities of the prompt come with its tokens.
        package mutating func add(_ event: EngineEvent) {
            if event.kind == .tokens { output += event.tokens }
        }
    }

    /// What is drafted behind the tokens before one position of an output.
    package struct Position: Sendable {
        /// Of the draft model's token; nil: there is none.
        package var feature: DraftFeature?
        /// Whether that is the token of the text.
        package var isRight = false
        /// What retrieval found, and how much of it the text goes on with; judged as far as the text reaches.
        package var proposals: [DraftOutcome.Counterfactual] = []
    }

    private let target: LanguageModel
    private let options: EngineOptions
    private let sizing: EngineSizing
    private let model: DraftModelDrafter?
    private let retrieval: [(source: DraftSource, drafter: any RetrievalDrafter)]

    /// With drafters like those of an engine with these options.
    package convenience init(target: LanguageModel, options: EngineOptions) throws {
        let draft = options.usesDraftModel ? options.draftModel : nil
        let sizing = try EngineSizing(
            target: target.configuration, targetKV: target.defaultKVFormat, draft: draft?.configuration,
            options: options)
        let model = try options.makeModelDrafter(target, sizing, ThreadPool(threads: sizing.threads))
        self.init(
            target: target, options: options, sizing: sizing, model: model?.drafter, retrieval: options.makeRetrieval())
    }

    /// With other drafters; `target` gives tokenizer and sizes only.
    package init(
        target: LanguageModel, options: EngineOptions, sizing: EngineSizing, model: DraftModelDrafter?,
        retrieval: [(source: DraftSource, drafter: any RetrievalDrafter)]
    ) {
        self.target = target
        self.options = options
        self.sizing = sizing
        self.model = model
        self.retrieval = retrieval
    }

    /// What is drafted at each position of each output; nothing where drafts are of no use any more. `goesOn` is asked before
    /// each pass of the draft model; nil when it says no.
    package func read(_ texts: [Text], goesOn: () -> Bool = { true }) throws -> [[Position]]? {
        try refuseOthers(texts)
        var waiting = try texts.indices.map { try Reading(texts[$0], place: $0, target) }[...]
        var result = texts.map { $0.output.map { _ in Position() } }
        let slots = slots()
        var reading: [Reading?] = slots.map { _ in nil }
        defer { for case let text? in reading { forget(text.id) } }
        while true {
            for slot in slots.indices where reading[slot] == nil { reading[slot] = waiting.popFirst() }
            guard reading.contains(where: { $0 != nil }) else { return result }
            guard goesOn() else { return nil }
            try withDefaultFloatingPoint { try advance(&reading, slots, &result) }
        }
    }

    /// Fails where what a run drafted depended on more than the text before it.
    private func refuseOthers(_ texts: [Text]) throws {
        func check(_ holds: Bool, _ reason: String) throws {
            if !holds { throw Self.refusal(reason) }
        }
        for request in texts.map(\.request) {
            try check(request.samples == 1, "its request had several samples")
            try check(request.grammar == nil && request.jsonSchema == nil, "its request had a grammar")
            try check(request.verification == .coupled, "its drafts were verified by a ratio test")
            try check(
                model == nil || options.coupling != nil || request.sampling.isGreedy,
                "its request had a temperature, and drafts of those depend on what a run has learned by then")
        }
        let pools = options.draftPoolBytes > 0 && retrieval.contains { $0.source == .suffix }
        try check(
            !pools || Set(texts.map(\.request.cacheSalt)).count == texts.count,
            "its request was drafted for from texts of others")
    }

    fileprivate static func refusal(_ reason: String) -> Failure {
        Failure.invalid("a text cannot be read again: \(reason)")
    }

    /// Blocks of the draft model's cache for each text that is read at the same time.
    private func slots() -> [[Int32]] {
        let each = EngineSizing.blocks(forTokens: sizing.contextTokens)
        let count = max(1, min(options.maxRunningRequests, sizing.kvBlocks / each))
        return (0..<count).map { slot in
            (slot * each..<min((slot + 1) * each, sizing.kvBlocks)).map { Int32($0) }
        }
    }

    /// One pass of the draft model for all texts; those that it says a token for are a position further.
    private func advance(_ reading: inout [Reading?], _ slots: [[Int32]], _ result: inout [[Position]]) throws {
        var asked: [(slot: Int, request: DraftRequest, missing: Int)] = []
        for slot in reading.indices {
            guard let request = reading[slot]?.request(blocks: slots[slot]) else { continue }
            asked.append((slot, request, model?.backlog(request.id, request.tokens) ?? 0))
        }
        let choices = try model?.draft(asked.map(\.request)) { $0.map { _ in false } }
        let isFull = model?.latestPasses.first.map { $0.rows >= options.maxStepTokens } ?? false
        let movesOn = asked.indices.map { index in
            let left = model?.backlog(asked[index].request.id, asked[index].request.tokens) ?? 0
            return choices?[index].isEmpty == false || left < asked[index].missing
        }
        for (index, ask) in asked.enumerated() {
            guard var text = reading[ask.slot] else { continue }
            let choice = choices?[index].first
            // A long prompt takes some passes, and one that found no row left in a full pass waits for the next. What never goes
            // through the model is passed over; so is the first one of a full pass that moved nobody on: it had its rows, and
            // would have the same again.
            let waits = isFull && (index > 0 || movesOn.contains(true))
            if choice == nil, movesOn[index] || waits { continue }
            var position = Position()
            position.feature = choice?.view
            position.isRight = choice?.token == text.next
            position.proposals = try proposals(text)
            result[text.place][text.position] = position
            try text.append()
            reading[ask.slot] = text
        }
        for slot in reading.indices {
            guard let text = reading[slot], text.isDone else { continue }
            forget(text.id)
            reading[slot] = nil
        }
    }

    private func proposals(_ text: Reading) throws -> [DraftOutcome.Counterfactual] {
        try retrieval.compactMap { entry in
            guard let found = try entry.drafter.lookUp([text.request]).first, !found.tokens.isEmpty else { return nil }
            var trial = RetrievalTrial(found)
            trial.take(text.rest)
            return DraftOutcome.Counterfactual(
                draft: DraftView(source: entry.source, features: found.views), judged: trial.outcomes.count,
                accepted: trial.agreed)
        }
    }

    private func forget(_ id: UInt64) {
        model?.forget(id)
        for entry in retrieval { entry.drafter.forget(id) }
    }
}

/// A text that is being read.
private struct Reading {
    let place: Int
    private let output: [Int32]
    private var sequence: ActiveSequence

    init(_ text: TextReview.Text, place: Int, _ target: LanguageModel) throws {
        guard let seed = text.request.seed else { throw TextReview.refusal("its request had no seed") }
        let prompt = try text.request.promptTokens(
            tokenizer: target.tokenizer, vocabularySize: target.configuration.vocabularySize)
        let limit = prompt.count + max(text.output.count, text.request.maxTokens ?? 0)
        self.place = place
        output = text.output
        sequence = ActiveSequence(
            submission: Submission(
                requestID: UInt64(place) + 1, sample: 0, options: text.request, promptTokens: prompt, seed: seed,
                time: 0, limit: limit, constraint: nil),
            tokenizer: target.tokenizer, limit: limit)
        // The end of the prompt gives the first token; nobody drafts for it.
        if !output.isEmpty { try append() }
    }

    var id: UInt64 { sequence.id }
    var position: Int { sequence.outputCount }
    /// Nothing comes that a draft could be of use for.
    var isDone: Bool { position >= output.count || sequence.draftRoom == 0 }
    var next: Int32 { output[position] }
    var rest: ArraySlice<Int32> { output[position...] }
    var request: DraftRequest { sequence.ask(neededTokens: 0).request }

    /// For one token of the draft model.
    func request(blocks: [Int32]) -> DraftRequest? {
        isDone ? nil : request.limited(to: 1, blocks: blocks)
    }

    mutating func append() throws { try sequence.append(output[position], at: 0) }
}
