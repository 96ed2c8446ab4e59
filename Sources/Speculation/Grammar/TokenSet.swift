/// A set of token ids as bits.
package struct TokenSet: Sendable, Equatable {
    /// How many ids there are, in the set or not.
    package let capacity: Int
    package internal(set) var words: [UInt64]

    package init(capacity: Int) {
        self.capacity = max(0, capacity)
        words = [UInt64](repeating: 0, count: (self.capacity + 63) / 64)
    }

    package func contains(_ token: Int32) -> Bool {
        token >= 0 && Int(token) < capacity && words[Int(token) >> 6] & (1 << UInt64(token & 63)) != 0
    }

    /// Ids out of range are left out.
    package mutating func set(_ token: Int32, _ isMember: Bool) {
        guard token >= 0, Int(token) < capacity else { return }
        let bit: UInt64 = 1 << UInt64(token & 63)
        if isMember { words[Int(token) >> 6] |= bit } else { words[Int(token) >> 6] &= ~bit }
    }

    package var isEmpty: Bool { words.allSatisfy { $0 == 0 } }
    package var count: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

    /// The member, if there is but one.
    package var only: Int32? {
        var found: Int32?
        for (index, word) in words.enumerated() where word != 0 {
            guard found == nil, word & (word - 1) == 0 else { return nil }
            found = Int32(index * 64 + word.trailingZeroBitCount)
        }
        return found
    }

    /// -infinity for every logit whose token is no member.
    package func apply(to logits: inout [Float]) {
        let count = logits.count
        var span = logits.mutableSpan
        var index = 0
        while index < words.count, index * 64 < count {
            let (start, word) = (index * 64, words[index])
            index += 1
            if word == 0 {
                // Most words are, and mostly beside each other.
                while index < words.count, words[index] == 0 { index += 1 }
                Self.ruleOut(start, min(index * 64, count), &span)
            } else if word != .max {
                for offset in 0..<min(64, count - start) where word & (1 << UInt64(offset)) == 0 {
                    span[start + offset] = -.infinity
                }
            }
        }
        Self.ruleOut(min(words.count * 64, count), count, &span)
    }

    private static func ruleOut(_ start: Int, _ end: Int, _ logits: inout MutableSpan<Float>) {
        // Checked once, so that the loop becomes vectors.
        guard start >= 0, end <= logits.count else { return }
        var index = start
        while index < end {
            logits[index] = -.infinity
            index += 1
        }
    }
}
