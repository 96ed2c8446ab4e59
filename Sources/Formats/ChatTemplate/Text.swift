/// The names of the template interpreter.
enum Jinja {}

extension Jinja {
    /// A string as templates see it: valid UTF-8, addressed by code point, where each byte knows whether
    /// the template wrote it (trusted) or the caller did.
    struct Text: Sendable {
        /// A stretch of equal provenance that ends before byte `end`.
        struct Run: Sendable {
            var end: Int
            var trusted: Bool
        }

        private(set) var bytes: [UInt8] = []
        /// Ascending, adjacent runs differ in provenance, the last ends at `bytes.count`.
        private(set) var runs: [Run] = []

        init() {}

        init(_ string: String, trusted: Bool = true) {
            self.init(bytes: Array(string.utf8), trusted: trusted)
        }

        init(bytes: [UInt8], trusted: Bool) {
            self.bytes = bytes
            if !bytes.isEmpty { runs = [Run(end: bytes.count, trusted: trusted)] }
        }

        var isEmpty: Bool { bytes.isEmpty }
        var isTrusted: Bool { runs.allSatisfy(\.trusted) }
        var string: String { String(decoding: bytes, as: UTF8.self) }

        mutating func append(_ other: Text) {
            let base = bytes.count
            bytes.append(contentsOf: other.bytes)
            for run in other.runs { extend(to: base + run.end, trusted: run.trusted) }
        }

        mutating func append(_ more: [UInt8], trusted: Bool) {
            guard !more.isEmpty else { return }
            bytes.append(contentsOf: more)
            extend(to: bytes.count, trusted: trusted)
        }

        mutating func append(_ scalar: Unicode.Scalar, trusted: Bool) {
            bytes.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            extend(to: bytes.count, trusted: trusted)
        }

        private mutating func extend(to end: Int, trusted: Bool) {
            if let last = runs.indices.last, runs[last].trusted == trusted {
                runs[last].end = end
            } else {
                runs.append(Run(end: end, trusted: trusted))
            }
        }

        /// The first run that ends after byte `offset`.
        private func runIndex(at offset: Int) -> Int {
            var low = 0
            var high = runs.count
            while low < high {
                let middle = (low + high) / 2
                if runs[middle].end > offset { high = middle } else { low = middle + 1 }
            }
            return low
        }

        func isTrusted(at offset: Int) -> Bool {
            let index = runIndex(at: offset)
            return index < runs.count && runs[index].trusted
        }

        /// The part between two byte offsets, which must lie on code point borders.
        func slice(_ range: Range<Int>) -> Text {
            guard !range.isEmpty else { return Text() }
            if range == 0..<bytes.count { return self }
            var result = Text()
            result.bytes = Array(bytes[range])
            for run in runs[runIndex(at: range.lowerBound)...] {
                result.extend(to: min(run.end, range.upperBound) - range.lowerBound, trusted: run.trusted)
                if run.end >= range.upperBound { break }
            }
            return result
        }

        static func == (left: Text, right: Text) -> Bool { left.bytes == right.bytes }
    }
}

// MARK: Code points

extension Jinja.Text {
    /// The code point at a byte offset and its length in bytes.
    func scalar(at offset: Int) -> (scalar: Unicode.Scalar, length: Int) {
        let first = bytes[offset]
        if first < 0x80 { return (Unicode.Scalar(first), 1) }
        let length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2
        var value = UInt32(first) & (length == 4 ? 0x07 : length == 3 ? 0x0F : 0x1F)
        for byte in bytes[(offset + 1)..<min(offset + length, bytes.count)] { value = value << 6 | UInt32(byte & 0x3F) }
        return (Unicode.Scalar(value) ?? "\u{FFFD}", min(length, bytes.count - offset))
    }

    /// The offset where the code point that ends at `offset` begins.
    func start(before offset: Int) -> Int {
        var start = offset - 1
        while start > 0, bytes[start] & 0xC0 == 0x80 { start -= 1 }
        return start
    }

    /// The byte offsets where code points begin, and the end.
    var borders: [Int] {
        var result = bytes.indices.filter { bytes[$0] & 0xC0 != 0x80 }
        result.append(bytes.count)
        return result
    }

    /// The number of code points.
    var count: Int { bytes.reduce(0) { $1 & 0xC0 == 0x80 ? $0 : $0 + 1 } }

    /// One text for each code point.
    var characters: [Jinja.Text] {
        let borders = self.borders
        return zip(borders, borders.dropFirst()).map { slice($0..<$1) }
    }

    var scalars: [Unicode.Scalar] {
        borders.dropLast().map { scalar(at: $0).scalar }
    }

    /// Replaces each code point; `transform` gets its index, and provenance follows it.
    func mapped(_ transform: (Int, Unicode.Scalar) -> String) -> Jinja.Text {
        var result = Jinja.Text()
        for (index, offset) in borders.dropLast().enumerated() {
            result.append(Array(transform(index, scalar(at: offset).scalar).utf8), trusted: isTrusted(at: offset))
        }
        return result
    }

    /// The lower case of the code point at `index`; a capital sigma at the end of a word has its own.
    static func lowercase(_ scalars: [Unicode.Scalar], at index: Int) -> String {
        let scalar = scalars[index]
        guard scalar == "\u{3A3}" else { return scalar.properties.lowercaseMapping }
        let before = scalars[..<index].last { !$0.properties.isCaseIgnorable }
        let after = scalars[(index + 1)...].first { !$0.properties.isCaseIgnorable }
        let isFinal = before?.properties.isCased ?? false && !(after?.properties.isCased ?? false)
        return isFinal ? "\u{3C2}" : "\u{3C3}"
    }

    /// What Python's `str.isspace` accepts.
    static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
        default: false
        }
    }

    /// What Python's `str.splitlines` ends a line at.
    static func isLineEnd(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
        default: false
        }
    }
}

// MARK: Searching and cutting

extension Jinja.Text {
    /// The text without the code points of `set` (white space when nil) at its ends.
    func stripped(_ set: Jinja.Text? = nil, left: Bool = true, right: Bool = true) -> Jinja.Text {
        let listed = set.map { Set($0.scalars) }
        func drops(_ scalar: Unicode.Scalar) -> Bool { listed?.contains(scalar) ?? Self.isSpace(scalar) }
        var low = 0
        var high = bytes.count
        while left, low < high {
            let next = scalar(at: low)
            guard drops(next.scalar) else { break }
            low += next.length
        }
        while right, high > low {
            let previous = start(before: high)
            guard drops(scalar(at: previous).scalar) else { break }
            high = previous
        }
        return slice(low..<high)
    }

    /// Where `needle` occurs, without overlaps, in time linear in both (Knuth, Morris, Pratt).
    func occurrences(of needle: Jinja.Text, limit: Int = .max) -> [Int] {
        let pattern = needle.bytes
        guard !pattern.isEmpty, pattern.count <= bytes.count, limit > 0 else { return [] }
        let table = Self.prefixTable(pattern)
        var found: [Int] = []
        var matched = 0
        for (index, byte) in bytes.enumerated() {
            while matched > 0, pattern[matched] != byte { matched = table[matched - 1] }
            if pattern[matched] == byte { matched += 1 }
            guard matched == pattern.count else { continue }
            found.append(index + 1 - matched)
            matched = 0
            if found.count == limit { break }
        }
        return found
    }

    private static func prefixTable(_ pattern: [UInt8]) -> [Int] {
        var table = [Int](repeating: 0, count: pattern.count)
        var length = 0
        for index in pattern.indices.dropFirst() {
            while length > 0, pattern[length] != pattern[index] { length = table[length - 1] }
            if pattern[length] == pattern[index] { length += 1 }
            table[index] = length
        }
        return table
    }

    func contains(_ needle: Jinja.Text) -> Bool {
        needle.isEmpty || !occurrences(of: needle, limit: 1).isEmpty
    }

    /// The texts between occurrences of a non-empty separator.
    func split(by separator: Jinja.Text, limit: Int = .max) -> [Jinja.Text] {
        var parts: [Jinja.Text] = []
        var start = 0
        for place in occurrences(of: separator, limit: limit) {
            parts.append(slice(start..<place))
            start = place + separator.bytes.count
        }
        parts.append(slice(start..<bytes.count))
        return parts
    }

    /// As `split`, counting `limit` from the end.
    func splitFromEnd(by separator: Jinja.Text, limit: Int) -> [Jinja.Text] {
        let mirror = Jinja.Text(bytes: bytes.reversed(), trusted: true)
        let pattern = Jinja.Text(bytes: separator.bytes.reversed(), trusted: true)
        var parts: [Jinja.Text] = []
        var end = bytes.count
        for place in mirror.occurrences(of: pattern, limit: limit) {
            let start = bytes.count - place
            parts.append(slice(start..<end))
            end = start - separator.bytes.count
        }
        parts.append(slice(0..<end))
        return parts.reversed()
    }

    /// The words between white space; what follows the `limit`-th gap stays whole.
    func words(limit: Int = .max) -> [Jinja.Text] {
        var parts: [Jinja.Text] = []
        var start: Int?
        var offset = 0
        while offset < bytes.count {
            let next = scalar(at: offset)
            if Self.isSpace(next.scalar) {
                if let begin = start { parts.append(slice(begin..<offset)) }
                start = nil
            } else if start == nil {
                if parts.count == limit { break }
                start = offset
            }
            offset += next.length
        }
        if let begin = start ?? (offset < bytes.count ? offset : nil) { parts.append(slice(begin..<bytes.count)) }
        return parts
    }

    func lines() -> [Jinja.Text] {
        var parts: [Jinja.Text] = []
        var start = 0
        var offset = 0
        while offset < bytes.count {
            let next = scalar(at: offset)
            let end = offset
            offset += next.length
            guard Self.isLineEnd(next.scalar) else { continue }
            if next.scalar == "\r", offset < bytes.count, bytes[offset] == 0x0A { offset += 1 }
            parts.append(slice(start..<end))
            start = offset
        }
        if start < bytes.count { parts.append(slice(start..<bytes.count)) }
        return parts
    }
}
