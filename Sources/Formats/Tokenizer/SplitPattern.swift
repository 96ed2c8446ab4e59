/// The expressions that pre-tokenizers split by, each as a scanner written by hand: it does what the regular
/// expression in its comment does, in time linear in the text, without a regex engine.
enum SplitPattern: Sendable, Equatable {
    /// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
    case gpt2
    /// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|
    /// \s*[\r\n]+|\s+(?!\S)|\s+ — Llama 3 has 3 digits, Qwen 2 has 1. With `longS`, 's matches U+017F too, as a
    /// regex engine does that ignores case by Unicode's rules; the GGUF convention spells [sS] out and does not.
    case cased(digits: Int, longS: Bool)
    /// [!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
    case deepSeek3
    /// [set]{counts}, or \s?[set]{counts} with `lead`
    case run(ScalarClass, lead: Bool, counts: ClosedRange<Int>)
    /// A fixed text.
    case literal([UInt32])

    static func run(_ set: ScalarClass) -> SplitPattern { .run(set, lead: false, counts: 1...Int.max) }
    static func single(_ set: ScalarClass) -> SplitPattern { .run(set, lead: false, counts: 1...1) }

    /// The pattern of a `Split` pre-tokenizer's regular expression; nil for one that is not known.
    init?(regex: String) {
        guard let known = Self.known.first(where: { $0.0.utf8.elementsEqual(regex.utf8) }) else { return nil }
        self = known.1
    }

    private static let known: [(String, SplitPattern)] = {
        let contractions = "'s|'t|'re|'ve|'m|'ll|'d"
        let spelled = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
        let words = contractions + #"| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"#
        let head = #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"#
        let tail = #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
        let deepSeek =
            ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##
            + #"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
        return [
            (words, .gpt2), (words + #"|\s+"#, .gpt2),
            ("(?i:\(contractions))" + head + "{1,3}" + tail, .cased(digits: 3, longS: true)),
            ("(?i:\(contractions))" + head + tail, .cased(digits: 1, longS: true)),
            (spelled + head + "{1,3}" + tail, .cased(digits: 3, longS: false)),
            (spelled + head + tail, .cased(digits: 1, longS: false)),
            (deepSeek, .deepSeek3),
            (#"\p{N}{1,3}"#, .run(.number, lead: false, counts: 1...3)),
            (#"\d{1,3}"#, .run(.decimal, lead: false, counts: 1...3)),
            (#"\p{N}"#, .single(.number)), (#"\d"#, .single(.decimal)),
            (#"\p{N}+"#, .run(.number)), (#"\d+"#, .run(.decimal)),
            ("[0-9][0-9][0-9]", .run(.asciiDigit, lead: false, counts: 3...3)),
            ("[0-9]", .single(.asciiDigit)),
            ("[\r\n]", .single(.newline)), (#"[\r\n]"#, .single(.newline)),
            (#"\s?\p{L}+"#, .run(.letter, lead: true, counts: 1...Int.max)),
            (#"\s?\p{P}+"#, .run(.punctuation, lead: true, counts: 1...Int.max)),
            ("[一-龥ࠀ-一가-퟿]+", .run(.eastern)), ("[一-龥぀-ゟ゠-ヿ]+", .run(.hanOrKana)),
            (#"\s+"#, .run(.space)), (#"\s"#, .single(.space)), (" ", .literal([0x20])),
        ]
    }()
}

/// Matches patterns at positions of one piece of a text.
struct PieceScanner {
    let scalars: [UInt32]
    /// [scalars.count]
    let classes: [ScalarClass]
    /// Where the piece ends; patterns see nothing beyond.
    var end: Int

    init(_ scalars: [UInt32]) {
        self.scalars = scalars
        classes = scalars.map { ScalarClass(of: $0) }
        end = scalars.count
    }

    /// The end of the match that begins exactly at `start`; nil where there is none. A match is never empty.
    func match(_ pattern: SplitPattern, at start: Int) -> Int? {
        switch pattern {
        case .gpt2: matchGPT2(at: start)
        case .cased(let digits, let longS): matchCased(at: start, digits: digits, longS: longS)
        case .deepSeek3: matchDeepSeek3(at: start)
        case .run(let set, let lead, let counts): matchRun(set, lead: lead, counts: counts, at: start)
        case .literal(let text): matchLiteral(text, at: start)
        }
    }

    // MARK: Whole patterns

    private func matchGPT2(at start: Int) -> Int? {
        if let stop = contraction(at: start) { return stop }
        let body = scalars[start] == 0x20 && start + 1 < end ? start + 1 : start
        let kind = classes[body]
        if kind.contains(.letter) { return skip(.letter, from: body) }
        if kind.contains(.number) { return skip(.number, from: body) }
        if kind.isDisjoint(with: Self.spaceOrWord) { return skipOther(from: body) }
        return spaces(at: start)
    }

    private func matchCased(at start: Int, digits: Int, longS: Bool) -> Int? {
        if let stop = foldedContraction(at: start, longS: longS) { return stop }
        let kind = classes[start]
        if kind.contains(.letter) { return skip(.letter, from: start) }
        if kind.isDisjoint(with: [.newline, .number]), start + 1 < end, classes[start + 1].contains(.letter) {
            return skip(.letter, from: start + 1)
        }
        if kind.contains(.number) { return skip(.number, from: start, atMost: digits) }
        let body = scalars[start] == 0x20 && start + 1 < end ? start + 1 : start
        if classes[body].isDisjoint(with: Self.spaceOrWord) { return skip(.newline, from: skipOther(from: body)) }
        return spacesWithNewline(at: start) ?? spaces(at: start)
    }

    private func matchDeepSeek3(at start: Int) -> Int? {
        let kind = classes[start]
        if !kind.isDisjoint(with: [.punctuation, .asciiSymbol, .grave]), scalars[start] < 0x80, start + 1 < end,
            classes[start + 1].contains(.asciiLetter)
        {
            return skip(.asciiLetter, from: start + 1)
        }
        if kind.isDisjoint(with: [.newline, .letter, .punctuation, .symbol]), start + 1 < end,
            !classes[start + 1].isDisjoint(with: Self.letterOrMark)
        {
            return skip(Self.letterOrMark, from: start + 1)
        }
        if !kind.isDisjoint(with: Self.letterOrMark) { return skip(Self.letterOrMark, from: start) }
        let body = scalars[start] == 0x20 && start + 1 < end ? start + 1 : start
        if !classes[body].isDisjoint(with: [.punctuation, .symbol]) {
            return skip(.newline, from: skip([.punctuation, .symbol], from: body))
        }
        return spacesWithNewline(at: start) ?? spaces(at: start)
    }

    private func matchRun(_ set: ScalarClass, lead: Bool, counts: ClosedRange<Int>, at start: Int) -> Int? {
        let body = lead && classes[start].contains(.space) ? start + 1 : start
        let stop = skip(set, from: body, atMost: counts.upperBound)
        return stop - body >= counts.lowerBound ? stop : nil
    }

    private func matchLiteral(_ text: [UInt32], at start: Int) -> Int? {
        guard !text.isEmpty, text.count <= end - start else { return nil }
        for offset in text.indices where scalars[start + offset] != text[offset] { return nil }
        return start + text.count
    }

    // MARK: Parts of patterns

    private static let spaceOrWord: ScalarClass = [.space, .letter, .number]
    private static let letterOrMark: ScalarClass = [.letter, .mark]

    private func skip(_ set: ScalarClass, from start: Int, atMost count: Int = Int.max) -> Int {
        let limit = count < end - start ? start + count : end
        var index = start
        while index < limit, !classes[index].isDisjoint(with: set) { index += 1 }
        return index
    }

    private func skipOther(from start: Int) -> Int {
        var index = start
        while index < end, classes[index].isDisjoint(with: Self.spaceOrWord) { index += 1 }
        return index
    }

    /// \s+(?!\S)|\s+
    private func spaces(at start: Int) -> Int? {
        let stop = skip(.space, from: start)
        guard stop > start else { return nil }
        // Before a non-space, the last space is left to the next match; a lone one is a match by itself.
        return stop == end || stop == start + 1 ? stop : stop - 1
    }

    /// \s*[\r\n]+
    private func spacesWithNewline(at start: Int) -> Int? {
        var stop = skip(.space, from: start)
        while stop > start, !classes[stop - 1].contains(.newline) { stop -= 1 }
        return stop > start ? stop : nil
    }

    /// 's|'t|'re|'ve|'m|'ll|'d
    private func contraction(at start: Int) -> Int? {
        guard scalars[start] == 0x27, start + 1 < end else { return nil }
        let second = start + 2 < end ? scalars[start + 2] : 0
        return Self.contractionLength(scalars[start + 1], second).map { start + $0 }
    }

    private func foldedContraction(at start: Int, longS: Bool) -> Int? {
        guard scalars[start] == 0x27, start + 1 < end else { return nil }
        if longS, scalars[start + 1] == 0x17F { return start + 2 }
        let second = start + 2 < end ? scalars[start + 2] : 0
        return Self.contractionLength(Self.lowered(scalars[start + 1]), Self.lowered(second)).map { start + $0 }
    }

    private static func lowered(_ scalar: UInt32) -> UInt32 {
        (0x41...0x5A).contains(scalar) ? scalar + 0x20 : scalar
    }

    private static func contractionLength(_ first: UInt32, _ second: UInt32) -> Int? {
        switch (first, second) {
        case (0x73, _), (0x74, _), (0x6D, _), (0x64, _): 2  // s t m d
        case (0x72, 0x65), (0x76, 0x65), (0x6C, 0x6C): 3  // re ve ll
        default: nil
        }
    }
}
