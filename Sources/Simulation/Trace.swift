import Formats

/// A request of a workload: when it comes, and how long it is.
package struct Arrival: Sendable, Equatable {
    /// Microseconds from the start.
    package var time: Double
    package var promptTokens: Int
    package var outputTokens: Int

    package init(time: Double, promptTokens: Int, outputTokens: Int) {
        self.time = time
        self.promptTokens = promptTokens
        self.outputTokens = outputTokens
    }
}

/// A recorded workload: a line of names, then a line for each request in order of arrival. Two forms are read:
/// `TIMESTAMP,ContextTokens,GeneratedTokens` with dates, and `arrival_s,prompt_tokens,output_tokens` with seconds.
package struct Trace: Sendable {
    package let name: String
    package private(set) var arrivals: [Arrival]

    /// The largest file that is read.
    private static let mostBytes = 1 << 30
    /// The longest prompt or output.
    private static let mostTokens = 1 << 30

    package init(path: String) throws {
        try self.init(parsing: FileSource.contents(of: path, limit: Self.mostBytes), name: path)
    }

    package init(parsing bytes: [UInt8], name: String) throws {
        self.name = name
        arrivals = []
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        guard let first = lines.first else {
            throw Failure.corrupt("\(name) is empty; a trace starts with names of columns")
        }
        let form = try Form(header: Self.text(first), name: name)
        var origin: Double?
        arrivals.reserveCapacity(lines.count)
        for (index, line) in lines.enumerated().dropFirst() {
            do {
                var arrival = try form.arrival(Self.text(line))
                let start = origin ?? (form == .dates ? arrival.time : 0)
                origin = start
                arrival.time -= start
                if let last = arrivals.last, arrival.time < last.time {
                    throw Failure.corrupt(
                        "field \(form.columns[0]): the time is before that of the line above; sort the lines")
                }
                arrivals.append(arrival)
            } catch let failure as Failure {
                throw failure.prefixed("\(name), line \(index + 1)")
            }
        }
        guard !arrivals.isEmpty else { throw Failure.corrupt("\(name) has no requests below the names of its columns") }
    }

    private static func text(_ line: ArraySlice<UInt8>) -> String {
        String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line, as: UTF8.self)
    }

    // MARK: Selection

    /// The requests that come from `start` to before `end`, in seconds from the trace's start, as a workload of its
    /// own.
    package func window(from start: Double, to end: Double) throws -> Trace {
        var result = self
        result.arrivals = arrivals.filter { $0.time >= start * 1e6 && $0.time < end * 1e6 }
        guard !result.arrivals.isEmpty else {
            let last = (arrivals.last?.time ?? 0) / 1e6
            throw Failure.invalid(
                "\(name) has no request from \(start) to \(end) s; its last one comes after \(last) s")
        }
        for index in result.arrivals.indices { result.arrivals[index].time -= start * 1e6 }
        return result
    }
}

/// The form of a trace's lines.
private enum Form {
    case dates, seconds

    var columns: [String] {
        switch self {
        case .dates: ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]
        case .seconds: ["arrival_s", "prompt_tokens", "output_tokens"]
        }
    }

    init(header: String, name: String) throws {
        let names = header.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard let form = [Form.dates, .seconds].first(where: { $0.columns == names }) else {
            throw Failure.corrupt(
                "\(name), line 1: the columns are \"\(header)\"; expected "
                    + "TIMESTAMP,ContextTokens,GeneratedTokens or arrival_s,prompt_tokens,output_tokens")
        }
        self = form
    }

    /// The request of a line, its time in microseconds from the form's own zero.
    func arrival(_ line: String) throws -> Arrival {
        let fields = line.split(separator: ",", omittingEmptySubsequences: false)
        guard fields.count == 3 else {
            throw Failure.corrupt("\(fields.count) fields; expected \(columns.joined(separator: ","))")
        }
        return Arrival(
            time: self == .dates ? try date(fields[0]) : try seconds(fields[0]),
            promptTokens: try tokens(fields[1], columns[1]), outputTokens: try tokens(fields[2], columns[2]))
    }

    private func seconds(_ field: Substring) throws -> Double {
        guard let value = Double(field), value.isFinite else { throw bad(columns[0], field, "seconds, such as 12.5") }
        guard value >= 0 else { throw Failure.corrupt("field \(columns[0]): \(field) is negative; times start at 0") }
        return value * 1e6
    }

    private func tokens(_ field: Substring, _ column: String) throws -> Int {
        guard let value = Int(field), value <= Trace.limit else { throw bad(column, field, "a number of tokens") }
        guard value >= 1 else { throw Failure.corrupt("field \(column): \(field) is below 1") }
        return value
    }

    private func date(_ field: Substring) throws -> Double {
        guard let time = CalendarTime(field) else {
            throw bad(columns[0], field, "a date and time, such as 2023-11-16 18:15:46.68")
        }
        return time.microseconds
    }

    private func bad(_ column: String, _ field: Substring, _ wanted: String) -> Failure {
        Failure.corrupt("field \(column): \"\(field)\" is not \(wanted)")
    }
}

extension Trace {
    package static var limit: Int { mostTokens }
}

/// A date and time of day in universal time, as far as microseconds.
private struct CalendarTime {
    let microseconds: Double

    init?(_ text: Substring) {
        let bytes = Array(text.utf8)
        // 2023-11-16 18:15:46, perhaps with a fraction and the offset of universal time.
        guard bytes.count >= 19, let year = Self.number(bytes[0..<4]), bytes[4] == UInt8(ascii: "-"),
            let month = Self.number(bytes[5..<7]), bytes[7] == UInt8(ascii: "-"), let day = Self.number(bytes[8..<10]),
            bytes[10] == UInt8(ascii: " ") || bytes[10] == UInt8(ascii: "T"), let hour = Self.number(bytes[11..<13]),
            bytes[13] == UInt8(ascii: ":"), let minute = Self.number(bytes[14..<16]), bytes[16] == UInt8(ascii: ":"),
            let second = Self.number(bytes[17..<19]), (1...12).contains(month), (1...31).contains(day), hour < 24,
            minute < 60, second < 61
        else { return nil }
        var rest = bytes[19...]
        for suffix in ["Z", "+00:00"] where rest.suffix(suffix.utf8.count).elementsEqual(suffix.utf8) {
            rest = rest.dropLast(suffix.utf8.count)
        }
        var fraction = 0.0
        if !rest.isEmpty {
            guard rest.first == UInt8(ascii: "."), rest.count > 1, let value = Self.number(rest.dropFirst()) else {
                return nil
            }
            fraction = (1..<rest.count).reduce(Double(value)) { scaled, _ in scaled / 10 }
        }
        // From the year 2000, so that microseconds stay exact.
        let days = Self.days(year, month, day) - Self.days(2000, 1, 1)
        let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
        microseconds = Double(seconds) * 1e6 + fraction * 1e6
    }

    /// At most fifteen digits, so that nothing overflows.
    private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
        guard !digits.isEmpty, digits.count <= 15 else { return nil }
        var value = 0
        for digit in digits {
            guard digit >= UInt8(ascii: "0"), digit <= UInt8(ascii: "9") else { return nil }
            value = value * 10 + Int(digit - UInt8(ascii: "0"))
        }
        return value
    }

    /// Days of the Gregorian calendar from its year 0, where years begin in March so that a leap day comes last.
    private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let year = month > 2 ? year : year - 1
        let month = (month + 9) % 12
        return 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day
    }
}
