/// Reads the stages of `tokenizer.json` around the model. What is not known is an error that names it: leaving a
/// stage out would give a model other tokens than it was trained with.
struct TokenizerJSONStages {
    private let root: JSON

    init(_ root: JSON) { self.root = root }

    /// The stages of a section: none, one, or the parts of (nested) sequences.
    private func flattened(_ section: String, parts key: String) throws -> [JSON] {
        guard let value = root[section], !value.isNull else { return [] }
        return try flattened(value, section, key)
    }

    private func flattened(_ value: JSON, _ section: String, _ key: String) throws -> [JSON] {
        guard try type(value, section) == "Sequence" else { return [value] }
        guard let parts = value[key]?.array else { throw Failure.corrupt("\(section): a Sequence has no \(key)") }
        return try parts.flatMap { try flattened($0, section, key) }
    }

    private func type(_ value: JSON, _ section: String) throws -> String {
        guard let type = value["type"]?.string else { throw Failure.corrupt("\(section) has no type") }
        return type
    }

    private func unknown(_ section: String, _ type: String) -> Failure {
        Failure.unsupported("\(section) of the type \(type) is not supported")
    }

    private func flag(_ value: JSON, _ key: String, default fallback: Bool) throws -> Bool {
        guard let json = value[key], !json.isNull else { return fallback }
        guard let flag = json.bool else { throw Failure.corrupt("\(key) is not a boolean") }
        return flag
    }

    private func text(_ value: JSON, _ key: String) throws -> String {
        guard let text = value[key]?.string else { throw Failure.corrupt("\(key) is not a string") }
        return text
    }

    // MARK: Normalizer

    func normalizer() throws -> [Normalizer.Step] {
        try flattened("normalizer", parts: "normalizers").map { value in
            switch try type(value, "normalizer") {
            case "NFC": .nfc
            case "Lowercase": .lowercase
            case "Prepend": .prepend(try insertion(value, "prepend"))
            case "Replace":
                .replace(try fixedPattern(value, "normalizer"), with: try insertion(value, "content"))
            case "Strip":
                .strip(
                    left: try flag(value, "strip_left", default: true),
                    right: try flag(value, "strip_right", default: true))
            case let other: throw unknown("normalizer", other)
            }
        }
    }

    /// A text that a normalizer puts in: short, so that no single step can fill the memory.
    private func insertion(_ value: JSON, _ key: String) throws -> [UInt32] {
        let scalars = scalarValues(try text(value, key))
        guard scalars.count <= 64 else { throw Failure.unsupported("normalizer: \(key) has more than 64 characters") }
        return scalars
    }

    /// A pattern that is a fixed text.
    private func fixedPattern(_ value: JSON, _ section: String) throws -> [UInt32] {
        if let text = value["pattern"]?["String"]?.string { return try boundedScalars(text, section) }
        guard let regex = value["pattern"]?["Regex"]?.string else { throw Failure.corrupt("\(section) has no pattern") }
        guard case .literal(let text) = SplitPattern(regex: regex) else {
            throw Failure.unsupported("\(section): the regular expression \(regex) is not supported")
        }
        return text
    }

    /// Every place of a text may have to be compared with all of a pattern.
    private func boundedScalars(_ text: String, _ section: String) throws -> [UInt32] {
        let scalars = scalarValues(text)
        guard scalars.count <= AddedTokenMatcher.longestToken else {
            throw Failure.unsupported(
                "\(section): a pattern has more than \(AddedTokenMatcher.longestToken) characters")
        }
        return scalars
    }

    // MARK: Pre-tokenizer

    func preTokenizer() throws -> [PreTokenizer.Stage] {
        let stages = try preTokenizerStages()
        // Each of these can double a text; twice the same is nothing that a trained tokenizer has.
        let growing = stages.filter { if case .split = $0 { false } else { true } }
        guard growing.count <= 2, stages.count <= 64 else {
            throw Failure.unsupported("pre_tokenizer: more than 64 stages, or 2 of ByteLevel and Metaspace")
        }
        return stages
    }

    private func preTokenizerStages() throws -> [PreTokenizer.Stage] {
        try flattened("pre_tokenizer", parts: "pretokenizers").map { value in
            switch try type(value, "pre_tokenizer") {
            case "ByteLevel":
                .byteLevel(
                    addsPrefixSpace: try flag(value, "add_prefix_space", default: true),
                    splits: try flag(value, "use_regex", default: true))
            case "Split":
                .split(
                    try splitPattern(value), try behavior(value, default: nil),
                    inverted: try flag(value, "invert", default: false))
            case "Digits":
                .split(
                    .single(.number), try flag(value, "individual_digits", default: false) ? .isolated : .contiguous,
                    inverted: false)
            case "Punctuation":
                .split(
                    .single([.punctuation, .asciiSymbol, .grave]), try behavior(value, default: .isolated),
                    inverted: false)
            case "Metaspace": try metaspace(value)
            case let other: throw unknown("pre_tokenizer", other)
            }
        }
    }

    private func splitPattern(_ value: JSON) throws -> SplitPattern {
        if let text = value["pattern"]?["String"]?.string {
            return .literal(try boundedScalars(text, "pre_tokenizer"))
        }
        guard let regex = value["pattern"]?["Regex"]?.string else {
            throw Failure.corrupt("pre_tokenizer: a Split has no pattern")
        }
        guard let pattern = SplitPattern(regex: regex) else {
            throw Failure.unsupported("pre_tokenizer: the regular expression \(regex) is not supported")
        }
        return pattern
    }

    private func behavior(_ value: JSON, default fallback: PreTokenizer.Behavior?) throws -> PreTokenizer.Behavior {
        if let fallback, value["behavior"] == nil { return fallback }
        let name = try text(value, "behavior")
        guard let behavior = PreTokenizer.Behavior(rawValue: name) else {
            throw Failure.corrupt("pre_tokenizer: unknown behavior \(name)")
        }
        return behavior
    }

    private func metaspace(_ value: JSON) throws -> PreTokenizer.Stage {
        let mark = scalarValues(try text(value, "replacement"))
        guard mark.count == 1 else { throw Failure.corrupt("Metaspace: replacement is not one character") }
        return .metaspace(
            mark: mark[0], prepend: try prepend(value), splits: try flag(value, "split", default: true))
    }

    /// Before there was `prepend_scheme`, `add_prefix_space` told whether always or never.
    private func prepend(_ value: JSON) throws -> PreTokenizer.Prepend {
        guard let scheme = value["prepend_scheme"], !scheme.isNull else {
            return try flag(value, "add_prefix_space", default: true) ? .always : .never
        }
        guard let prepend = PreTokenizer.Prepend(rawValue: scheme.string ?? "") else {
            throw Failure.corrupt("Metaspace: unknown prepend_scheme")
        }
        return prepend
    }

    // MARK: Decoder

    func decoder() throws -> DecodingRules {
        var rules = DecodingRules()
        var isFused = false
        for value in try flattened("decoder", parts: "decoders") {
            switch try type(value, "decoder") {
            case "ByteLevel": rules.byteLevel = true
            case "ByteFallback": break
            case "Fuse": isFused = true
            case "Metaspace":
                try requireSpaceMark(scalarValues(try text(value, "replacement")))
                rules.spaceMark = true
                rules.stripsAtStart = try prepend(value) != .never
            case "Replace":
                try requireSpaceMark(try fixedPattern(value, "decoder"))
                guard try text(value, "content") == " " else {
                    throw Failure.unsupported("decoder: Replace by anything but a space is not supported")
                }
                rules.spaceMark = true
            case "Strip":
                guard isFused, value["start"]?.int == 1, value["stop"]?.int == 0, value["content"]?.string == " " else {
                    throw Failure.unsupported("decoder: Strip other than of one space before the whole text")
                }
                rules.stripsAtStart = true
            case let other: throw unknown("decoder", other)
            }
        }
        return rules
    }

    private func requireSpaceMark(_ text: [UInt32]) throws {
        guard text == [MergeModel.spaceMark] else {
            throw Failure.unsupported("decoder: a replacement of another character than U+2581 is not supported")
        }
    }

    // MARK: Post-processor

    /// The tokens that are added before and after a text.
    func template(_ vocabulary: Vocabulary) throws -> (prefix: [Int32], suffix: [Int32]) {
        var result: (prefix: [Int32], suffix: [Int32]) = ([], [])
        for value in try flattened("post_processor", parts: "processors") {
            switch try type(value, "post_processor") {
            case "ByteLevel": break  // Only trims offsets.
            case "TemplateProcessing":
                let (prefix, suffix) = try templateParts(value, vocabulary)
                result = (prefix + result.prefix, result.suffix + suffix)
            case let other: throw unknown("post_processor", other)
            }
        }
        return result
    }

    private func templateParts(_ value: JSON, _ vocabulary: Vocabulary) throws -> (prefix: [Int32], suffix: [Int32]) {
        guard let single = value["single"]?.array else {
            throw Failure.corrupt("post_processor: no template \"single\"")
        }
        var (prefix, suffix): ([Int32], [Int32]) = ([], [])
        var texts = 0
        for part in single {
            if part["Sequence"] != nil {
                texts += 1
            } else if let name = part["SpecialToken"]?["id"]?.string {
                let ids = try templateIDs(value, name, vocabulary)
                if texts == 0 { prefix += ids } else { suffix += ids }
            } else {
                throw Failure.corrupt("post_processor: a part of the template is neither text nor token")
            }
        }
        guard texts == 1 else { throw Failure.unsupported("post_processor: a template with \(texts) texts") }
        return (prefix, suffix)
    }

    private func templateIDs(_ value: JSON, _ name: String, _ vocabulary: Vocabulary) throws -> [Int32] {
        guard let list = value["special_tokens"]?[name]?["ids"]?.array else {
            throw Failure.corrupt("post_processor: the template's token \(name) is not defined")
        }
        return try list.map { element in
            guard let id = element.int.flatMap({ Int32(exactly: $0) }), vocabulary.contains(id) else {
                throw Failure.corrupt("post_processor: the template's token \(name) has an id out of range")
            }
            return id
        }
    }
}
