import Formats
import Kernels
package import Model
package import Scheduling
import Speculation

/// Reads texts again that requests wrote, and tells for each position what the drafters of an engine have to say there and how
/// much of it is right.
///
/// A run shows that only where it drafted, and a policy drafts where it expects to be right: what a simulation of other steps
/// would meet elsewhere cannot be guessed from it. What is drafted depends on the text before it alone, so it can be found out
/// when the run is over, and no step of the run takes longer for it.
package final class TextReview {
    /// A request that an engine answered, and what it has got.
    package struct Text {
        package var request: RequestOptions
        package var output: [Int32]

        package init(request: RequestOptions, output: [Int32]) {
            self.request = request
            self.output = output
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
    package init(target: LanguageModel, options: EngineOptions) throws {
        let draft = options.usesDraftModel ? options.draftModel : nil
        sizing = try EngineSizing(
            target: target.configuration, targetKV: target.defaultKVFormat, draft: draft?.configuration,
            options: options)
        self.options = options
        self.target = target
        model = try options.makeModelDrafter(target, sizing, ThreadPool(threads: sizing.threads))?.drafter
        retrieval = options.makeRetrieval()
    }

    /// What is drafted at each position of each output; nothing where drafts are of no use any more. Requests need a seed.
    package func read(_ texts: [Text]) throws -> [[Position]] {
        var waiting = try texts.indices.map { try Reading(texts[$0], place: $0, target) }[...]
        var result = texts.map { $0.output.map { _ in Position() } }
        let slots = slots()
        var reading: [Reading?] = slots.map { _ in nil }
        while true {
            for slot in slots.indices where reading[slot] == nil { reading[slot] = waiting.popFirst() }
            guard reading.contains(where: { $0 != nil }) else { return result }
            try withDefaultFloatingPoint { try advance(&reading, slots, &result) }
        }
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
        for (index, ask) in asked.enumerated() {
            guard var text = reading[ask.slot] else { continue }
            let choice = choices?[index].first
            // A long prompt takes some passes; what never goes through the model is passed over.
            let left = model?.backlog(ask.request.id, ask.request.tokens) ?? 0
            if choice == nil, isFull || left < ask.missing { continue }
            var position = Position()
            position.feature = choice?.view
            position.isRight = choice?.token == text.next
            if let choice {
                model?.observe([choice], target: [text.next], temperature: text.temperature)
            }
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
        guard let seed = text.request.seed else {
            throw Failure.invalid("a text can be read again only if its request had a seed")
        }
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
    var temperature: Float { sequence.options.sampling.temperature }
    var request: DraftRequest { sequence.ask(neededTokens: 0).request }

    /// For one token of the draft model.
    func request(blocks: [Int32]) -> DraftRequest? {
        isDone ? nil : request.limited(to: 1, blocks: blocks)
    }

    mutating func append() throws { try sequence.append(output[position], at: 0) }
}
