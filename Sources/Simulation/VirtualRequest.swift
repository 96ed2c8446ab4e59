import Scheduling

/// A request of a simulation: lengths instead of tokens.
package struct VirtualRequest: Sendable {
    package let id: UInt64
    package let promptTokens: Int
    /// nil: it never ends.
    package let outputTokens: Int?
    /// Output tokens so far.
    package private(set) var produced = 0
    /// Tokens of the prompt that went through the target.
    private(set) var computed: Int
    /// Tokens that this step has to give for the request to keep its target.
    var neededTokens = 0.0
    /// Microseconds; nil without such a target.
    var targetTPOT: Double?
    /// Tokens of prompt and output that the draft model has seen, of those that still hold.
    private(set) var draftSeen: Int
    private var acceptance: AcceptanceStream?
    private var retrieval: [RetrievalStream]
    private var recorded: RecordedProposals?

    /// `computed`: how much of the prompt went through the target before; nil: all but what the first step needs.
    package init(
        id: UInt64, promptTokens: Int, outputTokens: Int?, computed: Int? = nil, text: TextModel, seed: UInt64
    ) {
        self.id = id
        self.promptTokens = promptTokens
        self.outputTokens = outputTokens
        self.computed = computed ?? promptTokens
        draftSeen = text.draftStartsCold ? 0 : promptTokens - 1
        let number = Int(truncatingIfNeeded: id)
        acceptance = text.model.map { AcceptanceStream($0, number: number, seed: seed) }
        retrieval = text.retrieval.map { RetrievalStream($0, request: number, seed: seed) }
        recorded = text.recorded.isEmpty ? nil : RecordedProposals(text.recorded[number % text.recorded.count])
    }

    package var context: Int { promptTokens + produced }
    package var remaining: Int { outputTokens.map { $0 - produced } ?? .max }
    package var isDone: Bool { remaining <= 0 }
    var draftBacklog: Int { acceptance == nil ? 0 : context - draftSeen }

    /// Only the latest token is missing in the target's cache: the planner's own meaning of the word.
    var decodes: Bool { produced > 0 || promptTokens - computed <= 1 }

    /// A chunk of the prompt goes through the target; what has the last token gives the first one of the output.
    mutating func prefill(_ rows: Int, at moment: Moment) {
        computed += rows
        if computed >= promptTokens { commit(emitted: 1, drafted: 0, accepted: 0, at: moment) }
    }

    /// What a policy may know of it, and the retrieved drafts with their truth.
    mutating func view(longestDraft: Int) -> (view: DecodingView, found: [RetrievedDraft]) {
        let useful = max(0, min(longestDraft, remaining - 1))
        var view = DecodingView(id: id, context: context, room: useful)
        view.remaining = remaining
        var found: [RetrievedDraft] = []
        for index in retrieval.indices {
            guard let (draft, right) = retrieval[index].proposal() else { continue }
            found.append(RetrievedDraft(draft: draft, right: right))
        }
        found += recorded?.found() ?? []
        view.proposals = found.map(\.draft)
        view.draftBacklog = draftBacklog
        view.neededTokens = neededTokens
        view.targetTPOT = targetTPOT
        return (view, found)
    }

    /// The draft model's token at `offset` of the draft.
    mutating func modelDraft(_ offset: Int, at moment: Moment) -> (feature: DraftFeature, isRight: Bool)? {
        acceptance?.draft(offset, at: moment)
    }

    /// How many tokens of a draft of the model would be accepted.
    mutating func rightDrafts(most: Int, at moment: Moment) -> Int {
        for offset in 0..<most where acceptance?.draft(offset, at: moment).isRight != true { return offset }
        return most
    }

    /// Committed tokens go through the draft model.
    mutating func catchUp(_ tokens: Int) { draftSeen += tokens }

    /// The step ends: `emitted` tokens are there. Of a draft of the model, `drafted` tokens long, `accepted` hold; its
    /// last token never went through the model itself.
    mutating func commit(emitted: Int, drafted: Int, accepted: Int, at moment: Moment) {
        if drafted > 0 { draftSeen += min(accepted, drafted - 1) }
        produced += emitted
        acceptance?.pass(emitted, at: moment)
        for index in retrieval.indices { retrieval[index].pass(emitted) }
        recorded?.pass(emitted)
    }
}

/// What retrieval found, and how many of its tokens are right.
struct RetrievedDraft: Sendable {
    let draft: DraftView
    let right: Int
}

/// What kind of text the requests write, as far as drafters can tell.
package struct TextModel: Sendable {
    /// nil: there is no draft model.
    package var model: AcceptanceProcess?
    /// At most one for each source.
    package var retrieval: [RetrievalProcess]
    /// What retrieval found when the requests were recorded, taken in turn.
    var recorded: [RecordedText] = []
    /// The draft model has seen nothing of the prompt when decoding begins; it is then a catch-up like any other.
    package var draftStartsCold = false

    package init(model: AcceptanceProcess?, retrieval: [RetrievalProcess] = []) {
        self.model = model
        self.retrieval = retrieval
    }
}
