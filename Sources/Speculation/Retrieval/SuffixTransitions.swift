/// The transitions of a suffix automaton in compact arrays: a list of them for each state, and one hash table over all.
struct SuffixTransitions: Sendable {
    static let none: Int32 = -1

    struct Transition: Sendable {
        let from: Int32
        let token: Int32
        var to: Int32
        /// How often the token followed the state's texts.
        var count: Int32
        /// Another of the same state.
        let next: Int32
    }

    private var entries: [Transition] = []
    /// Open addressing with linear probing: numbers of entries.
    private var slots: [Int32] = []
    private let hashSeed: UInt64
    private(set) var capacity = 0

    /// What one transition takes: a table of 3/2 slots for each keeps the probes short.
    static let bytesEach = MemoryLayout<Transition>.stride + 6

    init(hashSeed: UInt64) { self.hashSeed = hashSeed }

    var count: Int { entries.count }

    subscript(_ number: Int32) -> Transition { entries[Int(number)] }

    /// The transition from a state by a token, or `none`.
    func find(_ from: Int32, _ token: Int32) -> Int32 {
        guard !slots.isEmpty else { return Self.none }
        var slot = home(from, token)
        while slots[slot] != Self.none {
            let entry = entries[Int(slots[slot])]
            if entry.from == from, entry.token == token { return slots[slot] }
            slot = slot + 1 == slots.count ? 0 : slot + 1
        }
        return Self.none
    }

    /// Adds a transition that is not there yet, within the capacity.
    mutating func add(_ transition: Transition) -> Int32 {
        let number = Int32(entries.count)
        entries.append(transition)
        enter(number)
        return number
    }

    mutating func redirect(_ number: Int32, to state: Int32) { entries[Int(number)].to = state }

    /// One more occurrence; answers how many there are.
    mutating func increment(_ number: Int32) -> Int32 {
        entries[Int(number)].count += 1
        return entries[Int(number)].count
    }

    mutating func grow(to capacity: Int) {
        self.capacity = capacity
        entries.reserveCapacity(capacity)
        slots = Array(repeating: Self.none, count: capacity + capacity / 2)
        for number in entries.indices { enter(Int32(number)) }
    }

    private mutating func enter(_ number: Int32) {
        let entry = entries[Int(number)]
        var slot = home(entry.from, entry.token)
        while slots[slot] != Self.none { slot = slot + 1 == slots.count ? 0 : slot + 1 }
        slots[slot] = number
    }

    private func home(_ from: Int32, _ token: Int32) -> Int {
        let key = UInt64(UInt32(bitPattern: from)) << 32 | UInt64(UInt32(bitPattern: token))
        let mixed = (key ^ hashSeed ^ 0xA3B1_95A5_4B4D_1F35).multipliedFullWidth(by: 0x9E6C_63D0_876A_3F6B)
        let hash = (mixed.high ^ mixed.low) &* 0xD1B5_4A32_D192_ED03
        return Int(hash.multipliedFullWidth(by: UInt64(slots.count)).high)
    }
}
