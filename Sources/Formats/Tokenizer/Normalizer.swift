/// The changes that a tokenizer makes to a text before it splits it.
struct Normalizer: Sendable {
    enum Step: Sendable {
        case nfc
        case lowercase
        /// Not before an empty text.
        case prepend([UInt32])
        case replace([UInt32], with: [UInt32])
        /// Removes white space at the ends.
        case strip(left: Bool, right: Bool)
    }

    let steps: [Step]

    /// Whether each text between added tokens gets something in front.
    var prepends: Bool { steps.contains { if case .prepend = $0 { true } else { false } } }

    /// Throws for a normalizer that makes a text more than 16 times longer: no real one does, while a crafted
    /// chain of replacements could fill the memory.
    func apply(to passage: Passage) throws -> Passage {
        let limit = 16 * passage.count + 1024
        var result = passage
        for step in steps {
            switch step {
            case .nfc: result = Self.composed(result)
            case .lowercase: result = Self.lowercased(result)
            case .prepend(let text): Self.prepend(text, to: &result)
            case .replace(let old, let new): result = try Self.replacing(old, with: new, in: result, limit: limit)
            case .strip(let left, let right): result = Self.stripped(result, left: left, right: right)
            }
            guard result.count <= limit else { throw Self.tooLong }
        }
        return result
    }

    private static let tooLong = Failure.unsupported(
        "the tokenizer's normalizer makes the text more than 16 times longer")

    private static func prepend(_ text: [UInt32], to passage: inout Passage) {
        guard let first = passage.open.first else { return }
        passage.scalars.insert(contentsOf: text, at: 0)
        passage.open.insert(contentsOf: text.map { _ in first }, at: 0)
    }

    private static func replacing(
        _ old: [UInt32], with new: [UInt32], in passage: Passage, limit: Int
    ) throws -> Passage {
        guard !old.isEmpty else { return passage }
        if old.count == 1, new.count == 1 {
            var result = passage
            for index in result.scalars.indices where result.scalars[index] == old[0] { result.scalars[index] = new[0] }
            return result
        }
        var result = Passage()
        var index = 0
        while index < passage.count {
            guard result.count <= limit else { throw Self.tooLong }
            let stop = index + old.count
            if stop <= passage.count, passage.scalars[index..<stop].elementsEqual(old) {
                let isOpen = passage.open[index..<stop].allSatisfy { $0 }
                for scalar in new { result.append(scalar, open: isOpen) }
                index = stop
            } else {
                result.append(passage.scalars[index], open: passage.open[index])
                index += 1
            }
        }
        return result
    }

    private static func lowercased(_ passage: Passage) -> Passage {
        var result = Passage()
        for index in passage.scalars.indices {
            guard let scalar = Unicode.Scalar(passage.scalars[index]) else { continue }
            result.append(scalar.properties.lowercaseMapping, open: passage.open[index])
        }
        return result
    }

    private static func stripped(_ passage: Passage, left: Bool, right: Bool) -> Passage {
        func isSpace(_ index: Int) -> Bool { ScalarClass(of: passage.scalars[index]).contains(.space) }
        var (start, end) = (0, passage.count)
        while left, start < end, isSpace(start) { start += 1 }
        while right, start < end, isSpace(end - 1) { end -= 1 }
        return Passage(passage.scalars[start..<end], open: passage.open[start..<end])
    }

    /// Normalization form C.
    ///
    /// Nothing below U+0300 composes with what precedes it, or changes by itself: a text can be cut before each
    /// such scalar, and only parts that hold others are looked at. That also keeps `open` exact around them.
    private static func composed(_ passage: Passage) -> Passage {
        guard passage.scalars.contains(where: { $0 >= 0x300 }) else { return passage }
        var result = Passage()
        var start = 0
        while start < passage.count {
            var end = start + 1
            while end < passage.count, passage.scalars[end] >= 0x300 { end += 1 }
            if end == start + 1, passage.scalars[start] < 0x300 {
                result.append(passage.scalars[start], open: passage.open[start])
            } else {
                compose(passage, start..<end, into: &result)
            }
            start = end
        }
        return result
    }

    private static func compose(_ passage: Passage, _ range: Range<Int>, into result: inout Passage) {
        // `_nfcCodeUnits` is the standard library's only form of this; it is declared public, and has been stable.
        let bytes = text(ofScalars: passage.scalars[range])._nfcCodeUnits
        let scalars = scalarValues(String(decoding: bytes, as: UTF8.self))
        if scalars.elementsEqual(passage.scalars[range]) {
            result.scalars += scalars
            result.open += passage.open[range]
        } else {
            let isOpen = passage.open[range].allSatisfy { $0 }
            for scalar in scalars { result.append(scalar, open: isOpen) }
        }
    }
}
