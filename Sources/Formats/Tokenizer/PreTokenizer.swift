/// Splits a text into the words that the model encodes one by one.
package struct PreTokenizer: Sendable {
    /// What becomes of the matches of a pattern.
    enum Behavior: String, Sendable {
        case removed = "Removed"
        case isolated = "Isolated"
        case mergedWithPrevious = "MergedWithPrevious"
        case mergedWithNext = "MergedWithNext"
        case contiguous = "Contiguous"
    }

    /// When "▁" is put in front of a text.
    enum Prepend: String, Sendable {
        case always
        case first
        case never
    }

    enum Stage: Sendable {
        /// With `inverted`, what lies between matches counts as the match.
        case split(SplitPattern, Behavior, inverted: Bool)
        /// Replaces each character by the symbols of its bytes.
        case byteLevel(addsPrefixSpace: Bool, splits: Bool)
        case metaspace(mark: UInt32, prepend: Prepend, splits: Bool)
    }

    /// A text cut into pieces that follow each other without gaps.
    struct Pieces {
        var scalars: [UInt32]
        /// Where each piece ends.
        var ends: [Int]

        init(_ scalars: [UInt32]) {
            self.scalars = scalars
            ends = scalars.isEmpty ? [] : [scalars.count]
        }
    }

    let stages: [Stage]

    init(stages: [Stage]) { self.stages = stages }

    /// A pre-tokenizer by its `tokenizer.ggml.pre` name; throws for a name that is not known.
    package init(named name: String) throws {
        guard let patterns = Self.patterns(named: name) else {
            throw Failure.unsupported(
                "unknown pre-tokenizer \"\(name)\" (tokenizer.ggml.pre); known are "
                    + Self.names.joined(separator: ", "))
        }
        stages = patterns.map { .split($0, .isolated, inverted: false) }
    }

    /// The words of a text, in order; together they are the text where no stage changes it.
    package func split(_ text: String) -> [String] {
        let pieces = apply(to: scalarValues(text), atStart: true)
        var start = 0
        return pieces.ends.map { end in
            defer { start = end }
            return Formats.text(ofScalars: pieces.scalars[start..<end])
        }
    }

    // MARK: Names

    private static let gpt2Names = ["gpt-2", "phi-2", "mpt", "olmo"]
    static let llama3Names = ["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2"]
    private static let singleDigitNames = ["smollm", "starcoder", "refact", "command-r", "codeshell"]
    private static let qwen2Names = ["qwen2", "stablelm2", "deepseek-r1-qwen"]
    private static let casedNames = ["dbrx", "smaug-bpe"]
    package static let names =
        gpt2Names + llama3Names + casedNames + qwen2Names + singleDigitNames
        + ["deepseek-coder", "deepseek-v3", "falcon", "default"]

    private static func patterns(named name: String) -> [SplitPattern]? {
        let threeDigits = SplitPattern.run(.asciiDigit, lead: false, counts: 3...3)
        switch name {
        case _ where gpt2Names.contains(name): return [.gpt2]
        case _ where llama3Names.contains(name) || casedNames.contains(name): return [.cased(digits: 3, longS: false)]
        case _ where qwen2Names.contains(name): return [.cased(digits: 1, longS: false)]
        case _ where singleDigitNames.contains(name): return [.single(.number), .gpt2]
        case "deepseek-coder":
            return [
                .single(.newline), .run(.letter, lead: true, counts: 1...Int.max),
                .run(.punctuation, lead: true, counts: 1...Int.max), .run(.eastern), .single(.number),
            ]
        case "deepseek-v3":
            return [.run(.number, lead: false, counts: 1...3), .run(.hanOrKana), .deepSeek3]
        case "falcon":
            return [.run([.punctuation, .asciiSymbol, .grave]), .gpt2, threeDigits]
        case "default":
            return [.run([.punctuation, .asciiSymbol]), .gpt2, .run(.number), threeDigits]
        default: return nil
        }
    }

    // MARK: Stages

    /// `atStart`: the text begins where the whole text begins.
    func apply(to scalars: [UInt32], atStart: Bool) -> Pieces {
        var pieces = Pieces(scalars)
        for stage in stages {
            switch stage {
            case .split(let pattern, let behavior, let inverted):
                Self.split(&pieces, pattern, behavior, inverted: inverted)
            case .byteLevel(let addsPrefixSpace, let splits):
                if addsPrefixSpace { Self.prepend(0x20, to: &pieces) { _ in true } }
                if splits { Self.split(&pieces, .gpt2, .isolated, inverted: false) }
                Self.mapBytes(&pieces)
            case .metaspace(let mark, let prepend, let splits):
                for index in pieces.scalars.indices where pieces.scalars[index] == 0x20 { pieces.scalars[index] = mark }
                Self.prepend(mark, to: &pieces) { prepend == .always || (prepend == .first && atStart && $0 == 0) }
                if splits { Self.split(&pieces, .literal([mark]), .mergedWithNext, inverted: false) }
            }
        }
        return pieces
    }

    /// Puts `scalar` before each piece that does not begin with it and whose index `condition` accepts.
    private static func prepend(_ scalar: UInt32, to pieces: inout Pieces, where condition: (Int) -> Bool) {
        var result = Pieces([])
        var start = 0
        for (index, end) in pieces.ends.enumerated() {
            if pieces.scalars[start] != scalar, condition(index) { result.scalars.append(scalar) }
            result.scalars += pieces.scalars[start..<end]
            result.ends.append(result.scalars.count)
            start = end
        }
        pieces = result
    }

    private static func mapBytes(_ pieces: inout Pieces) {
        let symbols = ByteAlphabet.scalars
        var result = Pieces([])
        result.scalars.reserveCapacity(pieces.scalars.count)
        result.ends.reserveCapacity(pieces.ends.count)
        var start = 0
        var bytes: [UInt8] = []
        for end in pieces.ends {
            bytes.removeAll(keepingCapacity: true)
            for index in start..<end { appendUTF8(pieces.scalars[index], to: &bytes) }
            for byte in bytes { result.scalars.append(symbols[Int(byte)]) }
            result.ends.append(result.scalars.count)
            start = end
        }
        pieces = result
    }

    /// A stretch of a piece: a match, or what lies between matches.
    private struct Segment {
        let end: Int
        let matched: Bool
    }

    private static func split(
        _ pieces: inout Pieces, _ pattern: SplitPattern, _ behavior: Behavior, inverted: Bool
    ) {
        var scanner = PieceScanner(pieces.scalars)
        var segments: [Segment] = []
        var ends: [Int] = []
        var kept: [UInt32] = []
        var start = 0
        for end in pieces.ends {
            scanner.end = end
            segments.removeAll(keepingCapacity: true)
            scan(scanner, pattern, from: start, inverted: inverted, into: &segments)
            if behavior == .removed {
                for (index, segment) in segments.enumerated() where !segment.matched {
                    kept += pieces.scalars[(index > 0 ? segments[index - 1].end : start)..<segment.end]
                    ends.append(kept.count)
                }
            } else {
                arrange(segments, behavior, into: &ends)
            }
            start = end
        }
        if behavior == .removed { pieces.scalars = kept }
        pieces.ends = ends
    }

    private static func scan(
        _ scanner: PieceScanner, _ pattern: SplitPattern, from start: Int, inverted: Bool,
        into segments: inout [Segment]
    ) {
        var gap = start
        var index = start
        while index < scanner.end {
            guard let stop = scanner.match(pattern, at: index) else {
                index += 1
                continue
            }
            if index > gap { segments.append(Segment(end: index, matched: inverted)) }
            segments.append(Segment(end: stop, matched: !inverted))
            index = stop
            gap = stop
        }
        if scanner.end > gap { segments.append(Segment(end: scanner.end, matched: inverted)) }
    }

    /// Appends the ends of the pieces that the segments of one piece make.
    private static func arrange(_ segments: [Segment], _ behavior: Behavior, into ends: inout [Int]) {
        for (index, segment) in segments.enumerated() {
            guard index + 1 < segments.count else { return ends.append(segment.end) }
            let next = segments[index + 1]
            let joined =
                switch behavior {
                case .removed, .isolated: false
                case .mergedWithPrevious: next.matched && !segment.matched
                case .mergedWithNext: segment.matched && !next.matched
                case .contiguous: segment.matched == next.matched
                }
            if !joined { ends.append(segment.end) }
        }
    }
}
