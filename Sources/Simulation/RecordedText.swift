package import Scheduling

/// What is known of the text of one request, from the steps of a run or by reading it again: whether drafts of it are right is
/// a property of the text, which is the same whoever drafts how much.
package struct RecordedText: Sendable, Equatable {
    /// For each position of the output whether the draft model's token is the target's, and what the model says of it; nil
    /// where nobody knows.
    package var accepted: [Bool?]
    package var features: [DraftFeature?]
    /// Positions where retrieval was looked for, ascending, and what was found there.
    package var looks: [Int] = []
    package var proposals: [RecordedProposal] = []

    package init(length: Int) {
        accepted = Array(repeating: nil, count: length)
        features = Array(repeating: nil, count: length)
    }
}

/// What one source of retrieval found at a position of an output, and how many tokens of it are right.
package struct RecordedProposal: Sendable, Equatable {
    package var position: Int
    package var source: DraftSource
    package var features: [DraftFeature]
    package var right: Int

    package init(position: Int, source: DraftSource, features: [DraftFeature], right: Int) {
        self.position = position
        self.source = source
        self.features = features
        self.right = right
    }
}

extension RecordedText {
    /// The texts of requests from the steps of their run.
    static func texts(of requests: [RequestRecord], _ steps: [LoggedStep]) -> [RecordedText] {
        var texts = requests.map { RecordedText(length: $0.outputTokens) }
        for step in steps {
            for part in step.decoding where part.looked {
                texts[part.request].add(part, at: part.context - requests[part.request].promptTokens)
            }
        }
        for index in texts.indices { texts[index].chain() }
        return texts
    }

    private mutating func add(_ part: LoggedStep.Decoding, at position: Int) {
        looks.append(position)
        for found in part.proposals {
            // What ran out of text is right so far.
            proposals.append(
                RecordedProposal(
                    position: position, source: found.source, features: found.features, right: found.accepted))
        }
        guard part.source == .model else { return }
        // What was drafted behind a wrong token says nothing of the text.
        let judged = min(part.verified, part.accepted + 1, part.features.count)
        for offset in 0..<judged where accepted.indices.contains(position + offset) {
            accepted[position + offset] = offset < part.accepted
            features[position + offset] = part.features[offset]
        }
    }

    /// A proposal that reaches beyond the tokens of its step is right as far as the next look says.
    private mutating func chain() {
        for index in proposals.indices.reversed() {
            let own = proposals[index]
            guard let next = looks.first(where: { $0 > own.position }), own.position + own.right == next,
                let later = proposals[index...].first(where: { $0.position == next && $0.source == own.source })
            else { continue }
            proposals[index].right = min(own.features.count, own.right + later.right)
        }
    }

    /// The same with what `other`, a recording of the same text, knows besides.
    package func merged(with other: RecordedText) -> RecordedText {
        var result = self
        for index in accepted.indices.prefix(other.accepted.count) where accepted[index] == nil {
            result.accepted[index] = other.accepted[index]
            result.features[index] = other.features[index]
        }
        // Who found nothing anywhere may not have had any retrieval.
        if other.proposals.isEmpty { return result }
        if proposals.isEmpty {
            (result.looks, result.proposals) = (other.looks, other.proposals)
            return result
        }
        let fresh = Set(other.looks).subtracting(looks)
        result.looks = (looks + fresh).sorted()
        result.proposals = (proposals + other.proposals.filter { fresh.contains($0.position) })
            .sorted { ($0.position, $0.source.rawValue) < ($1.position, $1.source.rawValue) }
        return result
    }
}

// MARK: As a model of text

extension TextModel {
    /// The text of recorded requests. Positions that nobody saw are right as often as those behind a like one, by coins
    /// from `seed`.
    package init(recorded texts: [RecordedText], seed: UInt64) {
        let gaps = RecordedGaps(texts)
        let sequences = texts.indices.map { gaps.filled(texts[$0], request: $0, seed: seed) }
        self.init(model: gaps.isEmpty ? nil : AcceptanceProcess(.recorded(sequences)))
        recorded = texts.map { text in
            var sorted = text
            sorted.proposals.sort { ($0.position, $0.source.rawValue) < ($1.position, $1.source.rawValue) }
            return sorted
        }
    }
}

/// What is likely where a recording has a gap.
private struct RecordedGaps {
    /// Right tokens and all, behind one that is unknown, wrong, right.
    private var right = [0.0, 0.0, 0.0]
    private var all = [0.0, 0.0, 0.0]
    /// Of the first wrong and the first right token, for those that have none before them.
    private var features: [DraftFeature?] = [nil, nil]

    var isEmpty: Bool { all.reduce(0, +) == 0 }

    init(_ texts: [RecordedText]) {
        for text in texts {
            var before: Bool?
            for (accepted, feature) in zip(text.accepted, text.features) {
                if let accepted {
                    all[Self.place(before)] += 1
                    if accepted { right[Self.place(before)] += 1 }
                    features[accepted ? 1 : 0] = features[accepted ? 1 : 0] ?? feature
                }
                before = accepted
            }
        }
    }

    private static func place(_ before: Bool?) -> Int { before.map { $0 ? 2 : 1 } ?? 0 }

    private func rate(_ before: Bool?) -> Double {
        let overall = right.reduce(0, +) / max(1, all.reduce(0, +))
        // A few tokens of the overall rate keep rare cases from saying never or always.
        return (right[Self.place(before)] + 4 * overall) / (all[Self.place(before)] + 4)
    }

    func filled(_ text: RecordedText, request: Int, seed: UInt64) -> [AcceptanceProcess.RecordedToken] {
        var random = SimulationRandom(seed: seed, 7, UInt64(request))
        var latest = features
        var before: Bool?
        return zip(text.accepted, text.features).map { known, feature in
            let coin = random.unit()
            let accepted = known ?? (coin < rate(before))
            let own = feature ?? latest[accepted ? 1 : 0] ?? DraftFeature(margin: accepted ? 2 : 0.5, probability: 0.5)
            latest[accepted ? 1 : 0] = own
            before = accepted
            return AcceptanceProcess.RecordedToken(isAccepted: accepted, feature: own)
        }
    }
}

/// What retrieval found for one request when it was recorded, position by position.
struct RecordedProposals: Sendable {
    private let text: RecordedText
    private var position = 0
    /// Looks at or before the position, and proposals before the last of them.
    private var looked = 0
    private var passed = 0

    /// The text's proposals in order of their positions.
    init(_ text: RecordedText) {
        self.text = text
        pass(0)
    }

    /// What was found here, or what is left of what was found before, as long as that was right.
    func found() -> [RetrievedDraft] {
        guard looked > 0 else { return [] }
        let look = text.looks[looked - 1]
        let gone = position - look
        return text.proposals[passed...].prefix { $0.position == look }.filter {
            $0.right >= gone && $0.features.count > gone
        }.map {
            RetrievedDraft(
                draft: DraftView(source: $0.source, features: Array($0.features.dropFirst(gone))),
                right: $0.right - gone)
        }
    }

    mutating func pass(_ count: Int) {
        position += count
        while looked < text.looks.count, text.looks[looked] <= position { looked += 1 }
        guard looked > 0 else { return }
        while passed < text.proposals.count, text.proposals[passed].position < text.looks[looked - 1] { passed += 1 }
    }
}
