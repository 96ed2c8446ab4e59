/// All substrings of the texts that were appended, each with the counts of what followed it: the smallest automaton that
/// knows them, grown token by token. Source: Blumer et al., "The smallest automaton recognizing the subwords of a
/// text" (1985), for several texts; its use for drafting: Hu et al., "SAM Decoding", arXiv 2411.10666, and
/// Oliaro et al., "SuffixDecoding", arXiv 2411.04975.
///
/// *Why an automaton and not a trie with counts.* A trie of depth 32 has up to 32 new nodes for each token; the
/// automaton at most two states and, on average, at most three transitions, and what a text has in common with the
/// beginning of an earlier one adds nothing. All texts of a state have the same occurrences, so counts can live on its transitions.
///
/// *How the counts stay exact.* A token's arrival gives each suffix of the text before it one more follower. These
/// suffixes are the states on the path of suffix links from the end; only those of at most `longestMatch`
/// tokens are visited, so that a token costs amortised O(1) for the structure and at most `longestMatch` counts, far
/// fewer in practice. A state that is split hands its counts to both halves, which had the same occurrences so
/// far. Each state also remembers its most frequent transition, the most recent among equals: the one that just
/// reached the highest count.
///
/// *Isolation.* Each isolation number has an initial state of its own. No transition or link leads from the states of one
/// to those of another.
package struct SuffixAutomaton: Sendable {
    /// Longest context that is matched and counted, in tokens.
    package static let longestMatch = 32
    private static let none = SuffixTransitions.none

    /// The texts of a state end at the same places.
    private struct State {
        /// The state of the longest suffix that ends at more places; none for an initial state.
        var link: Int32
        /// Tokens of its longest text.
        let length: Int32
        /// The latest of its transitions, which are chained.
        var first = SuffixTransitions.none
        /// Its most frequent transition; none before any was counted.
        var best = SuffixTransitions.none
        /// How often a token followed its texts.
        var followed: Int32 = 0
    }

    /// A text that occurs: the last `length` tokens of the state's texts.
    package struct Place: Sendable {
        fileprivate var state: Int32
        package fileprivate(set) var length: Int
    }

    private var states: [State] = []
    private var transitions: SuffixTransitions
    private var appended: Int32 = 0
    /// The initial state of the text that is being appended, and the state of the whole of it.
    private var initial = SuffixAutomaton.none
    private var last = SuffixAutomaton.none
    /// The last tokens of that text, at most `longestMatch`; nil before one was begun.
    package private(set) var end: Place?

    // MARK: Memory

    private let maximumCapacity: Int

    /// Memory for so many transitions: there are fewer states than that, about two thirds in ordinary text.
    private static func bytes(_ capacity: Int) -> Int {
        capacity * SuffixTransitions.bytesEach + stateCapacity(capacity) * MemoryLayout<State>.stride
    }
    private static func stateCapacity(_ capacity: Int) -> Int { capacity / 4 * 3 }
    private static let smallestCapacity = 64

    /// It never holds more than `maximumBytes`. Nobody can make up texts that collide in its hash table if
    /// `hashSeed` is random; no result depends on it.
    package init(maximumBytes: Int, hashSeed: UInt64 = 0) {
        transitions = SuffixTransitions(hashSeed: hashSeed)
        let affordable = max(0, maximumBytes) / Self.bytes(4) * 4
        maximumCapacity = min(affordable, Int(Int32.max))
    }

    /// Memory held.
    package var bytes: Int { Self.bytes(transitions.capacity) }
    package var stateCount: Int { states.count }
    package var transitionCount: Int { transitions.count }

    /// Whether so many more fit, once the memory has grown if it must. It doubles, so that growth is amortised O(1).
    private mutating func makeRoom(states newStates: Int, transitions newTransitions: Int) -> Bool {
        while states.count + newStates > Self.stateCapacity(transitions.capacity)
            || transitions.count + newTransitions > transitions.capacity
        {
            let capacity = min(max(2 * transitions.capacity, Self.smallestCapacity), maximumCapacity)
            guard capacity > transitions.capacity else { return false }
            transitions.grow(to: capacity)
            states.reserveCapacity(Self.stateCapacity(capacity))
        }
        return true
    }

    private mutating func addState(_ state: State) -> Int32 {
        states.append(state)
        return Int32(states.count - 1)
    }

    private mutating func addTransition(_ from: Int32, _ token: Int32, to: Int32, count: Int32 = 0) -> Int32 {
        let added = transitions.add(
            SuffixTransitions.Transition(
                from: from, token: token, to: to, count: count, next: states[Int(from)].first))
        states[Int(from)].first = added
        return added
    }

    private func link(_ state: Int32) -> Int32 { states[Int(state)].link }
    private func length(_ state: Int32) -> Int { Int(states[Int(state)].length) }

    // MARK: Isolation

    /// The two halves of an isolation number lead, like tokens, from the very first state to an initial state.
    private static func halves(_ isolation: UInt64) -> [Int32] {
        [Int32(truncatingIfNeeded: isolation >> 32), Int32(truncatingIfNeeded: isolation)]
    }

    private func initialState(_ isolation: UInt64) -> Int32? {
        var state: Int32 = 0
        for half in Self.halves(isolation) {
            let found = transitions.find(state, half)
            guard found != Self.none else { return nil }
            state = transitions[found].to
        }
        return state
    }

    /// A new text starts, of this isolation. False, and nothing is appended until the next call, when there is no room.
    package mutating func begin(isolation: UInt64) -> Bool {
        end = nil
        guard makeRoom(states: 3, transitions: 2) else { return false }
        if states.isEmpty { _ = addState(State(link: Self.none, length: 0)) }
        var state: Int32 = 0
        for half in Self.halves(isolation) {
            let found = transitions.find(state, half)
            if found != Self.none {
                state = transitions[found].to
            } else {
                let added = addState(State(link: Self.none, length: 0))
                _ = addTransition(state, half, to: added)
                state = added
            }
        }
        initial = state
        last = state
        end = Place(state: state, length: 0)
        return true
    }

    // MARK: Appending

    /// Appends a token to the text that was begun. False, and no change, when there is no room.
    package mutating func append(_ token: Int32) -> Bool {
        guard var place = end, appended < Int32.max, extend(by: token) else { return false }
        appended += 1
        // A split may have left only longer texts in the state.
        let shorter = link(place.state)
        if shorter != Self.none, place.length <= length(shorter) { place.state = shorter }
        count(token, after: place.state)
        end = advanced(place, along: transitions.find(place.state, token))
        return true
    }

    /// Adds the substrings that end with the new token.
    private mutating func extend(by token: Int32) -> Bool {
        // The suffixes of the text that this token never followed come first, the longest ahead.
        var (junction, missing) = (last, 0)
        var found = transitions.find(junction, token)
        while found == Self.none {
            missing += 1
            junction = link(junction)
            if junction == Self.none { break }
            found = transitions.find(junction, token)
        }
        let target = found == Self.none ? initial : transitions[found].to
        let splits = found != Self.none && length(target) != length(junction) + 1
        guard
            makeRoom(
                states: (missing > 0 ? 1 : 0) + (splits ? 1 : 0),
                transitions: missing + (splits ? degree(target) : 0))
        else { return false }
        let added = missing > 0 ? addEnd(token, missing) : Self.none
        let suffix = splits ? split(target, after: junction, token) : target
        if added != Self.none { states[Int(added)].link = suffix }
        last = added != Self.none ? added : suffix
        return true
    }

    /// The state of the whole text with the token, reached from the first `missing` suffixes.
    private mutating func addEnd(_ token: Int32, _ missing: Int) -> Int32 {
        let added = addState(State(link: Self.none, length: states[Int(last)].length + 1))
        var state = last
        for _ in 0..<missing {
            _ = addTransition(state, token, to: added)
            state = link(state)
        }
        return added
    }

    /// Gives those texts of a state a state of their own that are suffixes of `junction`'s longest with the token: they
    /// now end at one more place than its longer ones.
    private mutating func split(_ state: Int32, after junction: Int32, _ token: Int32) -> Int32 {
        let whole = states[Int(state)]
        let length = states[Int(junction)].length + 1
        let added = addState(State(link: whole.link, length: length, followed: whole.followed))
        var copied = whole.first
        while copied != Self.none {
            let transition = transitions[copied]
            let copy = addTransition(added, transition.token, to: transition.to, count: transition.count)
            if copied == whole.best { states[Int(added)].best = copy }
            copied = transition.next
        }
        states[Int(state)].link = added
        var from = junction
        while from != Self.none {
            let found = transitions.find(from, token)
            guard found != Self.none, transitions[found].to == state else { break }
            transitions.redirect(found, to: added)
            from = link(from)
        }
        return added
    }

    private func degree(_ state: Int32) -> Int {
        var (count, transition) = (0, states[Int(state)].first)
        while transition != Self.none {
            count += 1
            transition = transitions[transition].next
        }
        return count
    }

    /// One more follower for each suffix of the text before the token, of which the state has the longest that counts.
    private mutating func count(_ token: Int32, after longest: Int32) {
        var state = longest
        while link(state) != Self.none {
            let followed = transitions.find(state, token)
            let count = transitions.increment(followed)
            states[Int(state)].followed += 1
            let best = states[Int(state)].best
            if best == Self.none || count >= transitions[best].count { states[Int(state)].best = followed }
            state = link(state)
        }
    }

    // MARK: Matching

    /// The text with the transition's token, as far as it is counted.
    private func advanced(_ place: Place, along transition: Int32) -> Place {
        var next = Place(state: transitions[transition].to, length: place.length + 1)
        guard next.length > Self.longestMatch else { return next }
        next.length = Self.longestMatch
        let shorter = link(next.state)
        if length(shorter) >= Self.longestMatch { next.state = shorter }
        return next
    }

    /// The longest suffix of the tokens, at most `longestMatch`, that occurs in texts of this isolation.
    package func locate(_ tokens: [Int32], isolation: UInt64) -> Place? {
        guard !states.isEmpty, let initial = initialState(isolation) else { return nil }
        var place = Place(state: initial, length: 0)
        for token in tokens.suffix(Self.longestMatch) {
            var found = transitions.find(place.state, token)
            while found == Self.none, place.state != initial {
                place.state = link(place.state)
                place.length = length(place.state)
                found = transitions.find(place.state, token)
            }
            if found != Self.none { place = advanced(place, along: found) }
        }
        return place
    }

    /// Continues a text, token by token, each time with what most often followed the longest suffix that anything followed,
    /// the most recent among equals. Ends early when that suffix is empty.
    package func draft(from start: Place?, limit: Int, source: RetrievalDraft.Source) -> RetrievalDraft {
        var draft = RetrievalDraft(source: source)
        guard var place = start else { return draft }
        while draft.tokens.count < limit {
            while place.length > 0, states[Int(place.state)].followed == 0 {
                place.state = link(place.state)
                place.length = length(place.state)
            }
            guard place.length > 0 else { break }
            let state = states[Int(place.state)]
            let best = transitions[state.best]
            draft.append(
                best.token,
                MatchFeatures(matchLength: place.length, support: Int(state.followed), follows: Int(best.count)))
            place = advanced(place, along: state.best)
        }
        return draft
    }
}
