/// A model that starts from single characters and merges neighbours, best pair first: byte-pair encoding
/// with ranked merges, or SentencePiece's variant where the score of the merged token decides.
struct MergeModel: Sendable {
    enum Order: Sendable {
        case ranked(MergeTable)
        /// [ids]: lower keys merge first.
        case scored([UInt32])
    }

    let vocabulary: Vocabulary
    let order: Order
    /// A word that is a token as a whole is not merged.
    let ignoresMerges: Bool
    /// Whether words are cut before each "▁" that follows another character: see `markStaysFirst`.
    let cutsAtSpaceMark: Bool
    /// [256], or empty where the vocabulary has no byte tokens.
    private let byteIDs: [Int32]
    private let unknown: Int32?
    /// Whether neighbouring unknown characters give one unknown token.
    private let fusesUnknown: Bool
    /// [scalars below 0x250]: the token of each; -1 where there is none.
    private let lowSymbols: [Int32]
    /// How a control token that merges lead to is taken apart again, so that ordinary text never gives one.
    private let controlParts: [Int32: (Int32, Int32)]

    static let spaceMark: UInt32 = 0x2581

    init(
        vocabulary: Vocabulary, order: Order, byteIDs: [Int32], unknown: Int32?, ignoresMerges: Bool = false,
        fusesUnknown: Bool = true
    ) {
        self.vocabulary = vocabulary
        self.order = order
        self.byteIDs = byteIDs
        self.unknown = unknown
        self.ignoresMerges = ignoresMerges
        self.fusesUnknown = fusesUnknown
        cutsAtSpaceMark = !ignoresMerges && Self.markStaysFirst(vocabulary, order)
        lowSymbols = (0..<0x250).map { scalar in
            let text = utf8Bytes(UInt32(scalar))
            return vocabulary.find(text).flatMap { vocabulary.isOrdinary($0) ? $0 : nil } ?? -1
        }
        var parts: [Int32: (Int32, Int32)] = [:]
        if case .ranked(let table) = order {
            for merge in table.merges where !vocabulary.isOrdinary(merge.result) {
                parts[merge.result] = (merge.left, merge.right)
            }
        }
        controlParts = parts
    }

    /// Whether no token has "▁" after another character. Then no merge can cross the place before such a
    /// mark, and a long text can be cut there without changing the result: each part merges in the cache.
    private static func markStaysFirst(_ vocabulary: Vocabulary, _ order: Order) -> Bool {
        let mark = utf8Bytes(spaceMark)
        for id in 0..<Int32(vocabulary.count) where vocabulary.kind(id) != .control {
            var rest = vocabulary.text(id)
            while rest.starts(with: mark) { rest = rest.dropFirst(mark.count) }
            while let place = rest.firstIndex(of: mark[0]) {
                rest = rest[place...]
                if rest.starts(with: mark) { return false }
                rest = rest.dropFirst()
            }
        }
        return true
    }

    /// The token of one character, if it has one. `word[lower..<upper]` is its UTF-8.
    func symbol(_ scalar: UInt32, _ word: [UInt8], _ lower: Int, _ upper: Int) -> Int32? {
        if scalar < 0x250 { return lowSymbols[Int(scalar)] < 0 ? nil : lowSymbols[Int(scalar)] }
        return vocabulary.find(word, lower, upper).flatMap { vocabulary.isOrdinary($0) ? $0 : nil }
    }

    /// What stands for a character without a token: its bytes, or the unknown token; nil for nothing. Published
    /// vocabularies lack a few bytes that their training text did not have; the field's tools leave those out.
    func substitute(_ word: [UInt8], _ lower: Int, _ upper: Int, after previous: Int32?) -> [Int32]? {
        if !byteIDs.isEmpty, word[lower..<upper].allSatisfy({ byteIDs[Int($0)] >= 0 }) {
            return word[lower..<upper].map { byteIDs[Int($0)] }
        }
        guard let unknown else { return nil }
        return fusesUnknown && previous == unknown ? [] : [unknown]
    }

    /// Appends a merged token; a control token is replaced by the ordinary ones it was merged from.
    func emit(_ id: Int32, into ids: inout [Int32]) {
        guard let first = controlParts[id] else { return ids.append(id) }
        var pending = [first.1, first.0]
        // Ends: a merge is longer than its parts (loading checks that), so parts never repeat on a path.
        while let next = pending.popLast() {
            if let (left, right) = controlParts[next] { pending += [right, left] } else { ids.append(next) }
        }
    }

    var hasControlParts: Bool { !controlParts.isEmpty }
}

/// How much work an encoding took, so that tests can bound it without a clock.
package struct EncodingWork: Sendable {
    /// Characters that merging began with.
    package var symbols = 0
    /// Entries put into and taken out of the merge queue.
    package var queueOperations = 0
    package var merges = 0
    /// Characters (bytes, for byte-level models) left out because the vocabulary has nothing for them.
    package var omissions = 0

    package init() {}

    mutating func add(_ other: EncodingWork) {
        symbols += other.symbols
        queueOperations += other.queueOperations
        merges += other.merges
        omissions += other.omissions
    }
}
