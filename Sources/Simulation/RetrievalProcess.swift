package import Scheduling

/// The truth about one source that retrieves drafts from what is there already: the output copies earlier text for a
/// while, then goes its own way. In a copied span the source finds a match that grows; elsewhere it finds one by
/// chance.
package struct RetrievalProcess: Sendable {
    package var source: DraftSource
    /// Share of the output that is copied, 0 to 1, and how long a copied span is on average, in tokens.
    package var copiedShare: Double
    package var spanLength: Double
    /// The probability that a proposed token is right, in a span and elsewhere.
    package var copiedAcceptance: Double
    package var chanceAcceptance: Double
    /// How often a match is found by chance outside a span.
    package var chanceMatches: Double
    /// Tokens that must have matched in a span before it is found.
    package var shortestMatch = 2
    /// The longest proposal.
    package var longest = 10

    package init(
        source: DraftSource = .lookup, copiedShare: Double = 0.3, spanLength: Double = 20,
        copiedAcceptance: Double = 0.95, chanceAcceptance: Double = 0.15, chanceMatches: Double = 0.3
    ) {
        self.source = source
        self.copiedShare = copiedShare
        self.spanLength = spanLength
        self.copiedAcceptance = copiedAcceptance
        self.chanceAcceptance = chanceAcceptance
        self.chanceMatches = chanceMatches
    }
}

/// What one source proposes for one request, position by position of its output.
struct RetrievalStream: Sendable {
    private let process: RetrievalProcess
    private var random: SimulationRandom
    private var upcoming: [Position] = []
    private var isCopied = false
    /// Right tokens of the span directly before the next position.
    private var matched = 0

    private struct Position: Sendable {
        let isCopied: Bool
        let isRight: Bool
        let isFoundByChance: Bool
        let share: Double
        let support: Int32
    }

    init(_ process: RetrievalProcess, request: Int, seed: UInt64) {
        self.process = process
        random = SimulationRandom(seed: seed, 2, UInt64(request), UInt64(process.source.rawValue))
        isCopied = random.unit() < process.copiedShare
    }

    /// What the source has at the next position, and how much of it is right; nil when it finds nothing.
    mutating func proposal() -> (draft: DraftView, right: Int)? {
        while upcoming.count < process.longest { extend() }
        let isFound = upcoming[0].isCopied ? matched >= process.shortestMatch : upcoming[0].isFoundByChance
        guard isFound else { return nil }
        let match = upcoming[0].isCopied ? matched : process.shortestMatch
        let positions = upcoming.prefix(process.longest)
        let features = positions.enumerated().map { offset, position in
            DraftFeature(
                probability: Float(position.share), matchLength: Int32(min(match + offset, 64)),
                support: position.support)
        }
        return (
            DraftView(source: process.source, features: features), positions.prefix(while: \.isRight).count
        )
    }

    /// The next `count` tokens of the output are there.
    mutating func pass(_ count: Int) {
        while upcoming.count < count { extend() }
        for position in upcoming.prefix(count) { matched = position.isCopied && position.isRight ? matched + 1 : 0 }
        upcoming.removeFirst(count)
    }

    private mutating func extend() {
        let turn = random.unit()
        let toLeave = 1 / max(1, process.spanLength)
        // As many spans begin as end: the share of copied text is as stated.
        let free = 1 - process.copiedShare
        let toBegin = free > 0 ? min(1, toLeave * process.copiedShare / free) : 1
        isCopied = isCopied ? (free <= 0 || turn >= toLeave) : turn < toBegin
        let s = isCopied ? process.copiedAcceptance : process.chanceAcceptance
        upcoming.append(
            Position(
                isCopied: isCopied, isRight: random.unit() < s, isFoundByChance: random.unit() < process.chanceMatches,
                share: min(max(s + 0.15 * random.normal(), 0.05), 1), support: Int32(1 + random.unit() * 4)))
    }
}
