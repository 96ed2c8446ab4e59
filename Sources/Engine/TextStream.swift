package import Formats

/// The text of an output as it grows: whole code points only, and nothing that may yet turn out to be a stop text.
package struct TextStream: Sendable {
    private var decoder: StreamDecoder
    private let stops: [[UInt8]]
    /// Decoded text that is not given out yet, because a stop text may begin in it.
    private var held: [UInt8] = []
    package private(set) var isStopped = false

    package init(decoder: StreamDecoder, stops: [String]) {
        self.decoder = decoder
        self.stops = stops.map { Array($0.utf8) }
    }

    /// The text that `token` lets out. Once a stop text has appeared, `isStopped` holds and the text ends before it.
    package mutating func push(_ token: Int32) -> [UInt8] { release(Array(decoder.push(token).utf8)) }

    /// What is left at the end.
    package mutating func finish() -> [UInt8] {
        if isStopped { return [] }
        let text = release(Array(decoder.finish().utf8))
        if isStopped { return text }
        defer { held = [] }
        return text + held
    }

    private mutating func release(_ text: [UInt8]) -> [UInt8] {
        if stops.isEmpty { return text }
        held += text
        if let start = stops.compactMap({ Self.firstIndex(of: $0, in: held) }).min() {
            isStopped = true
            defer { held = [] }
            return Array(held[..<start])
        }
        let keep = stops.map { Self.openTail($0, held) }.max() ?? 0
        let out = Array(held.dropLast(keep))
        held.removeFirst(out.count)
        return out
    }

    private static func firstIndex(of stop: [UInt8], in text: [UInt8]) -> Int? {
        guard stop.count <= text.count else { return nil }
        return (0...text.count - stop.count).first { text[$0..<$0 + stop.count].elementsEqual(stop) }
    }

    /// The length of the longest end of `text` that `stop` begins with.
    private static func openTail(_ stop: [UInt8], _ text: [UInt8]) -> Int {
        for length in stride(from: min(stop.count - 1, text.count), to: 0, by: -1)
        where text.suffix(length).elementsEqual(stop.prefix(length)) { return length }
        return 0
    }
}
