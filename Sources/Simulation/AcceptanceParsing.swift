import Formats
import Scheduling

extension AcceptanceProcess {
    /// How acceptance is written on a command line.
    package static let forms =
        "ALPHA, LOW-HIGH (each token its own), EASY/HARD:LENGTH/LENGTH (stretches of so many tokens), "
        + "\(published.map(\.name).joined(separator: ", ")), recorded:FILE; "
        + "more after commas, each with @SECONDS when it begins"

    /// Rates that were published, by kind of text.
    package static let published = [
        (
            name: "translation", alpha: 0.75,
            source: "arXiv 2211.17192, table 2: WMT EnDe, T5-small for T5-XXL, greedy"
        ),
        (
            name: "summarization", alpha: 0.65,
            source: "arXiv 2211.17192, table 2: CNN/DM, T5-small for T5-XXL, greedy"
        ),
    ]

    package init(parsing text: String, signal: DraftSignal = DraftSignal()) throws {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        var changes: [(start: Schedule<Text>.Start, value: Text)] = []
        var latest = 0.0
        for part in parts.dropFirst() {
            let halves = part.split(separator: "@", omittingEmptySubsequences: false)
            guard halves.count == 2, let seconds = Double(halves[1]), seconds.isFinite, seconds >= latest else {
                throw Failure.invalid(
                    "acceptance \"\(part)\": what comes after a comma says when it begins, ALPHA@SECONDS, "
                        + "in order of time"
                )
            }
            latest = seconds
            changes.append((.time(seconds * 1e6), try Self.text(String(halves[0]))))
        }
        self.init(Schedule(try Self.text(parts[0]), changes: changes), signal: signal)
    }

    private static func text(_ text: String) throws -> Text {
        if let known = published.first(where: { $0.name == text }) { return .uniform(known.alpha) }
        if text.hasPrefix("recorded:") { return .recorded(try recording(path: String(text.dropFirst(9)))) }
        func share(_ text: Substring) -> Double? { Double(text).flatMap { (0...1).contains($0) ? $0 : nil } }
        func pair(_ text: Substring, _ separator: Character) -> (Substring, Substring)? {
            let parts = text.split(separator: separator, omittingEmptySubsequences: false)
            return parts.count == 2 ? (parts[0], parts[1]) : nil
        }
        if let alpha = share(text[...]) { return .uniform(alpha) }
        if let (first, second) = pair(text[...], "-"), let low = share(first), let high = share(second), low <= high {
            return .spread(low: low, high: high)
        }
        if let (levels, lengths) = pair(text[...], ":"), let level = pair(levels, "/"), let length = pair(lengths, "/"),
            let easy = share(level.0), let hard = share(level.1), let easyLength = Double(length.0),
            let hardLength = Double(length.1), (1...1e6).contains(easyLength), (1...1e6).contains(hardLength)
        {
            return .stretches(easy: easy, hard: hard, easyLength: easyLength, hardLength: hardLength)
        }
        throw Failure.invalid("acceptance \"\(text)\" is none of: \(forms)")
    }

    // MARK: Recordings

    /// A recording: on each line one request as a JSON object with lists of equal length, an element for each position
    /// of the output: `accepted` (whether the draft was the target's token), `margin` and `probability` of the draft.
    package static func recording(path: String) throws -> [[RecordedToken]] {
        try recording(parsing: FileSource.contents(of: path, limit: 1 << 30), name: path)
    }

    package static func recording(parsing bytes: [UInt8], name: String) throws -> [[RecordedToken]] {
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated()
        let requests = try lines.compactMap { index, line -> [RecordedToken]? in
            if line.isEmpty { return nil }
            do { return try recordedRequest(JSON(parsing: Array(line))) } catch let failure as Failure {
                throw failure.prefixed("\(name), line \(index + 1)")
            }
        }
        guard !requests.isEmpty else { throw Failure.corrupt("\(name) holds no recorded request") }
        return requests
    }

    private static func recordedRequest(_ json: JSON) throws -> [RecordedToken] {
        func list<Value>(_ field: String, _ wanted: String, _ value: (JSON) -> Value?) throws -> [Value] {
            guard let elements = json[field]?.array else {
                throw Failure.corrupt("field \(field) is missing or no list")
            }
            let values = elements.compactMap(value)
            guard values.count == elements.count else {
                throw Failure.corrupt("field \(field) holds more than \(wanted)")
            }
            return values
        }
        let accepted = try list("accepted", "true and false") { $0.bool }
        let margins = try list("margin", "numbers") { $0.number }
        let probabilities = try list("probability", "numbers") { $0.number }
        guard !accepted.isEmpty, margins.count == accepted.count, probabilities.count == accepted.count else {
            throw Failure.corrupt("accepted, margin and probability must be equally long, and not empty")
        }
        return accepted.indices.map { index in
            RecordedToken(
                isAccepted: accepted[index],
                feature: DraftFeature(margin: Float(margins[index]), probability: Float(probabilities[index])))
        }
    }
}
