/// A token that is recognised as a whole in a text, before anything else looks at it.
struct AddedToken: Sendable {
    let id: Int32
    /// Never empty.
    let content: [UInt32]
    /// Recognised only where the caller allows it.
    let isControl: Bool
    /// Takes the white space before or after it along.
    var stripsLeft = false
    var stripsRight = false
    /// Only where no word character is next to it.
    var isSingleWord = false
}

/// Finds added tokens in a text: from left to right, at each place the longest.
struct AddedTokenMatcher: Sendable {
    enum Part {
        case text(Range<Int>)
        case token(Int32)
    }

    /// Sorted by content: those with a common beginning are neighbours, which makes the list its own prefix tree.
    private let tokens: [AddedToken]
    /// [256]: whether a content begins with a scalar that has these low bits.
    private var starts = [Bool](repeating: false, count: 256)

    init(_ tokens: [AddedToken]) throws {
        if let long = tokens.first(where: { $0.content.count > Self.longestToken }) {
            throw Failure.unsupported(
                "the added token \(long.id) has \(long.content.count) characters; at most \(Self.longestToken) are supported"
            )
        }
        self.tokens = tokens.sorted { $0.content.lexicographicallyPrecedes($1.content) }
        for token in tokens { starts[Int(token.content[0] & 0xFF)] = true }
    }

    var isEmpty: Bool { tokens.isEmpty }

    /// The passage as text and tokens in turn; texts are never empty.
    func parts(of passage: Passage) -> [Part] {
        guard !tokens.isEmpty else { return passage.count == 0 ? [] : [.text(0..<passage.count)] }
        var parts: [Part] = []
        var textStart = 0
        var index = 0
        while index < passage.count {
            guard starts[Int(passage.scalars[index] & 0xFF)], let token = longest(in: passage, at: index) else {
                index += 1
                continue
            }
            var (start, end) = (index, index + token.content.count)
            while token.stripsLeft, start > textStart, Self.isSpace(passage.scalars[start - 1]) { start -= 1 }
            while token.stripsRight, end < passage.count, Self.isSpace(passage.scalars[end]) { end += 1 }
            if start > textStart { parts.append(.text(textStart..<start)) }
            parts.append(.token(token.id))
            textStart = end
            index = end
        }
        if textStart < passage.count { parts.append(.text(textStart..<passage.count)) }
        return parts
    }

    /// The most scalars of an added token. Every place of a text may have to be compared with that many.
    static let longestToken = 256

    private func longest(in passage: Passage, at start: Int) -> AddedToken? {
        var range = tokens.indices
        var depth = 0
        var isOpen = true
        var best: AddedToken?
        while start + depth < passage.count {
            range = narrowed(range, depth, passage.scalars[start + depth])
            guard let first = range.first else { break }
            isOpen = isOpen && passage.open[start + depth]
            depth += 1
            let token = tokens[first]
            if token.content.count == depth, isOpen || !token.isControl,
                !token.isSingleWord || Self.isWord(passage, start, start + depth)
            {
                best = token
            }
        }
        return best
    }

    /// The tokens of `range` (equal up to `depth`) that continue with `scalar`.
    private func narrowed(_ range: Range<Int>, _ depth: Int, _ scalar: UInt32) -> Range<Int> {
        func lowerBound(_ value: UInt64) -> Int {
            var (low, high) = (range.lowerBound, range.upperBound)
            while low < high {
                let middle = (low + high) / 2
                let content = tokens[middle].content
                // One that ends here comes before all that go on.
                let current = depth < content.count ? UInt64(content[depth]) + 1 : 0
                if current < value { low = middle + 1 } else { high = middle }
            }
            return low
        }
        return lowerBound(UInt64(scalar) + 1)..<lowerBound(UInt64(scalar) + 2)
    }

    private static func isSpace(_ scalar: UInt32) -> Bool { ScalarClass(of: scalar).contains(.space) }

    private static func isWord(_ passage: Passage, _ start: Int, _ end: Int) -> Bool {
        let before = start > 0 && isWordCharacter(passage.scalars[start - 1])
        let after = end < passage.count && isWordCharacter(passage.scalars[end])
        return !before && !after
    }

    /// \w: alphabetic, marks, decimal digits, connector punctuation, join controls.
    private static func isWordCharacter(_ value: UInt32) -> Bool {
        guard let scalar = Unicode.Scalar(value) else { return false }
        let properties = scalar.properties
        return properties.isAlphabetic || properties.isJoinControl
            || properties.generalCategory == .connectorPunctuation
            || !ScalarClass(of: value).isDisjoint(with: [.mark, .decimal])
    }
}
