/// The states that read one code point of a set, byte by byte.
struct UTF8Ranges {
    /// What one byte of an encoding may be.
    typealias Bytes = ClosedRange<UInt8>

    private let next: Int32
    /// States by what is left to read: encodings that end alike share them.
    private var states: [[[Bytes]]: Int32] = [:]

    init(next: Int32) { self.next = next }

    mutating func state(for set: CodePointSet, in compiler: inout GrammarCompiler) throws -> Int32 {
        try state(for: set.ranges.flatMap { Self.encodings(of: $0) }, in: &compiler)
    }

    /// `rests`: sorted; the first bytes of two of them are the same range or do not overlap. At most four deep.
    private mutating func state(for rests: [[Bytes]], in compiler: inout GrammarCompiler) throws -> Int32 {
        if rests[0].isEmpty { return next }
        if let known = states[rests] { return known }
        var edges: [GrammarNetwork.Edge] = []
        var start = 0
        while start < rests.count {
            let bytes = rests[start][0]
            var end = start + 1
            while end < rests.count, rests[end][0] == bytes { end += 1 }
            let target = try state(for: rests[start..<end].map { Array($0.dropFirst()) }, in: &compiler)
            edges.append(GrammarNetwork.Edge(low: bytes.lowerBound, high: bytes.upperBound, target: target))
            start = end
        }
        let state = try compiler.addRead(edges)
        states[rests] = state
        return state
    }

    /// A range of code points as sequences of byte ranges, each a product.
    static func encodings(of range: ClosedRange<UInt32>) -> [[Bytes]] {
        let lengths: [ClosedRange<UInt32>] = [0...0x7F, 0x80...0x7FF, 0x800...0xFFFF, 0x10000...0x10FFFF]
        return lengths.enumerated().flatMap { length, limits -> [[Bytes]] in
            guard limits.overlaps(range) else { return [] }
            let part = range.clamped(to: limits)
            return split(encoded(part.lowerBound, length)[...], encoded(part.upperBound, length)[...])
        }
    }

    /// `more`: how many bytes follow the first.
    private static func encoded(_ value: UInt32, _ more: Int) -> [UInt8] {
        let leads: [UInt8] = [0, 0xC0, 0xE0, 0xF0]
        return (0...more).map { index in
            let bits = UInt8(truncatingIfNeeded: value >> UInt32(6 * (more - index)))
            return index == 0 ? leads[more] | bits : 0x80 | bits & 0x3F
        }
    }

    private static func split(_ low: ArraySlice<UInt8>, _ high: ArraySlice<UInt8>) -> [[Bytes]] {
        guard let lowest = low.first, let highest = high.first else { return [[]] }
        let (lowRest, highRest) = (low.dropFirst(), high.dropFirst())
        if lowest == highest { return split(lowRest, highRest).map { [lowest...lowest] + $0 } }
        let zeros = ArraySlice([UInt8](repeating: 0x80, count: lowRest.count))
        let ones = ArraySlice([UInt8](repeating: 0xBF, count: lowRest.count))
        var (first, last) = (lowest, highest)
        var (before, after): ([[Bytes]], [[Bytes]]) = ([], [])
        if lowRest != zeros {
            before = split(lowRest, ones).map { [first...first] + $0 }
            first += 1
        }
        if highRest != ones {
            after = split(zeros, highRest).map { [last...last] + $0 }
            last -= 1
        }
        let middle = first <= last ? [[first...last] + [Bytes](repeating: 0x80...0xBF, count: lowRest.count)] : []
        return before + middle + after
    }
}
