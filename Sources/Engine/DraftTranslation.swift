import Kernels
package import Speculation

/// Requests as a draft model with another vocabulary sees them. Their texts have other lengths in its tokens, so that they have
/// blocks of their own in its cache, which is as large as the target's. Who comes first has them: a request that finds none
/// left is not drafted for, and nobody loses keys and values that are still of use.
package final class DraftTranslation {
    private let map: VocabularyMap
    /// What the draft's texts begin with.
    private let opening: Int32?
    private var texts: [UInt64: Text] = [:]
    private var free: [Int32]
    /// Logits in the target's ids.
    private var row: [Float]

    private struct Text {
        /// The request's first `translated` tokens, in the draft's.
        var tokens: [Int32] = []
        var translated = 0
        var blocks: [Int32] = []
        var lacksBlocks = false

        mutating func extend(to all: [Int32], _ map: VocabularyMap, _ opening: Int32?) {
            if translated == 0, let first = all.first, let opening, map.spelling(first).first != opening {
                tokens.append(opening)
            }
            for token in all.dropFirst(translated) { tokens += map.spelling(token) }
            translated = all.count
        }
    }

    /// `opening`: the draft's BOS, if its texts begin with it; `targetVocabulary`: how many logits the target has.
    package init(_ map: VocabularyMap, opening: Int32?, blocks: Int, targetVocabulary: Int) {
        self.map = map
        self.opening = opening
        free = (0..<Int32(blocks)).reversed()
        row = [Float](repeating: -.infinity, count: targetVocabulary)
    }

    /// The tokens of a request in the draft's. Tokens of a request are only ever added.
    func tokens(_ id: UInt64, _ tokens: [Int32]) -> [Int32] {
        texts[id, default: Text()].extend(to: tokens, map, opening)
        return texts[id]?.tokens ?? []
    }

    /// Blocks for the first `most` positions, or for as many as there is room for. Where there is none for the first `least`
    /// the request takes no more, so that others can have them.
    func blocks(_ id: UInt64, least: Int, most: Int) -> [Int32] {
        var text = texts.removeValue(forKey: id) ?? Text()
        if (text.blocks.count + free.count) * kvBlockTokens >= least {
            while text.blocks.count * kvBlockTokens < most, let block = free.popLast() { text.blocks.append(block) }
        }
        text.lacksBlocks = text.blocks.count * kvBlockTokens < most
        defer { texts[id] = text }
        return text.blocks
    }

    /// Whether there are blocks for so many positions of a request.
    func hasRoom(_ id: UInt64, _ positions: Int) -> Bool {
        let hasRoom = ((texts[id]?.blocks.count ?? 0) + free.count) * kvBlockTokens >= positions
        if !hasRoom { texts[id]?.lacksBlocks = true }
        return hasRoom
    }

    /// Whether a request could not be drafted for as far as was asked.
    func lacksBlocks(_ id: UInt64) -> Bool { texts[id]?.lacksBlocks ?? false }

    func forget(_ id: UInt64) {
        if let text = texts.removeValue(forKey: id) { free += text.blocks.reversed() }
    }

    /// A row of the draft's logits in the target's ids.
    func gather(_ logits: Span<Float>) -> [Float] {
        map.gather(logits, into: &row)
        return row
    }

    /// The draft's own token behind a drafted one.
    func own(_ token: Int32) -> Int32 { map.twin(token) }
}
