/// The strings of a vocabulary in one flat buffer, with a hash index over their bytes.
///
/// Not a `[String: Int32]`: vocabularies hold canonically equivalent strings as different tokens, which
/// `String` takes for equal. The hash is seeded per process, so that a crafted file cannot make loading quadratic.
struct Vocabulary: Sendable {
    /// What a token is; raw values are those of `tokenizer.ggml.token_type`.
    enum Kind: UInt8, Sendable {
        case normal = 1
        case unknown = 2
        case control = 3
        case userDefined = 4
        case unused = 5
        case byte = 6
    }

    private var bytes: [UInt8] = []
    /// [count + 1]: token `id` is `bytes[starts[id]..<starts[id + 1]]`.
    private var starts: [Int] = [0]
    private(set) var kinds: [Kind]
    /// Bytes of the longest token.
    let longest: Int
    /// Upper half: part of the hash; lower half: id. Linear probing, at most half full.
    private var slots: [UInt64]
    private let multiplier: UInt64
    private let seed: UInt64

    private static let empty = UInt64.max
    /// More ids than any real vocabulary: a larger id would only serve to exhaust memory.
    static let maximumCount = 1 << 24

    /// Where a text occurs twice, the lower id is found. Empty texts (holes between ids) are never found.
    init(texts: [[UInt8]], kinds: [Kind]) {
        precondition(texts.count == kinds.count && texts.count <= Self.maximumCount)
        var generator = SystemRandomNumberGenerator()
        multiplier = generator.next() | 1
        seed = generator.next()
        self.kinds = kinds
        longest = texts.reduce(0) { max($0, $1.count) }
        bytes.reserveCapacity(texts.reduce(0) { $0 + $1.count })
        starts.reserveCapacity(texts.count + 1)
        var capacity = 16
        while capacity < 2 * texts.count { capacity *= 2 }
        slots = [UInt64](repeating: Self.empty, count: capacity)
        for text in texts {
            bytes.append(contentsOf: text)
            starts.append(bytes.count)
        }
        for id in texts.indices where !texts[id].isEmpty { insert(id) }
    }

    var count: Int { kinds.count }

    /// The stored bytes of a token; empty for an id out of range.
    func text(_ id: Int32) -> ArraySlice<UInt8> {
        guard contains(id) else { return [] }
        return bytes[starts[Int(id)]..<starts[Int(id) + 1]]
    }

    func contains(_ id: Int32) -> Bool { id >= 0 && Int(id) < count }

    func kind(_ id: Int32) -> Kind { contains(id) ? kinds[Int(id)] : .unused }

    /// Whether ordinary text may become this token: control tokens come from the matcher of added tokens only.
    func isOrdinary(_ id: Int32) -> Bool {
        switch kinds[Int(id)] {
        case .normal, .userDefined, .unused: true
        case .unknown, .control, .byte: false
        }
    }

    /// The token whose text is `buffer[lower..<upper]`.
    func find(_ buffer: [UInt8], _ lower: Int, _ upper: Int) -> Int32? {
        guard upper - lower <= longest else { return nil }
        let hash = hash(buffer, lower, upper)
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] != Self.empty {
            if slots[slot] >> 32 == hash >> 33, matches(Int(slots[slot] & 0xFFFF_FFFF), buffer, lower, upper) {
                return Int32(slots[slot] & 0xFFFF_FFFF)
            }
            slot = (slot + 1) & mask
        }
        return nil
    }

    func find(_ text: [UInt8]) -> Int32? { find(text, 0, text.count) }

    private mutating func insert(_ id: Int) {
        let (lower, upper) = (starts[id], starts[id + 1])
        let hash = hash(bytes, lower, upper)
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] != Self.empty {
            let other = Int(slots[slot] & 0xFFFF_FFFF)
            if slots[slot] >> 32 == hash >> 33, matches(other, bytes, lower, upper) { return }
            slot = (slot + 1) & mask
        }
        // One bit less than the upper half, so that no entry can look empty.
        slots[slot] = (hash >> 33) << 32 | UInt64(id)
    }

    private func matches(_ id: Int, _ buffer: [UInt8], _ lower: Int, _ upper: Int) -> Bool {
        var index = starts[id]
        guard starts[id + 1] - index == upper - lower else { return false }
        for position in lower..<upper {
            guard bytes[index] == buffer[position] else { return false }
            index += 1
        }
        return true
    }

    private func hash(_ buffer: [UInt8], _ lower: Int, _ upper: Int) -> UInt64 {
        var state = seed ^ UInt64(upper - lower)
        var index = lower
        while index < upper {
            var word: UInt64 = 0
            let stop = min(index + 8, upper)
            while index < stop {
                word = word << 8 | UInt64(buffer[index])
                index += 1
            }
            let product = (state ^ word).multipliedFullWidth(by: multiplier)
            state = product.high ^ product.low
        }
        return state
    }
}

/// The bytes of a token as text, for messages.
func quoted(_ bytes: some Sequence<UInt8>) -> String { "\"" + String(decoding: Array(bytes), as: UTF8.self) + "\"" }
