import Formats
import Scheduling

/// The members of an object in a recording, with the place that errors name.
struct RecordedFields {
    let json: JSON
    let place: String

    init(bytes: [UInt8], place: String) throws {
        do { try self.init(JSON(parsing: bytes), place: place) } catch let failure as Failure {
            throw failure.message.hasPrefix(place) ? failure : failure.prefixed(place)
        }
    }

    init(_ json: JSON, place: String) throws {
        guard json.members != nil else { throw Failure.corrupt("\(place): expected a JSON object") }
        self.json = json
        self.place = place
    }

    func bad(_ field: String, _ wanted: String) -> Failure {
        Failure.corrupt("\(place), field \(field): expected \(wanted)")
    }

    func has(_ field: String) -> Bool { json[field] != nil }

    private func value(_ field: String) throws -> JSON {
        guard let value = json[field] else { throw Failure.corrupt("\(place), field \(field) is missing") }
        return value
    }

    /// nil for null; a member that is not there at all is an error.
    func optional<Value>(_ field: String, _ read: (String) throws -> Value) throws -> Value? {
        try value(field).isNull ? nil : try read(field)
    }

    func text(_ field: String) throws -> String {
        guard let text = try value(field).string else { throw bad(field, "a text") }
        return text
    }

    /// Times and the like: none is negative, and none so large that sums of them are not finite.
    func number(_ field: String, most: Double = RecordedRun.longestTime) throws -> Double {
        guard let number = try value(field).number, number.isFinite else { throw bad(field, "a number") }
        guard number >= 0 else { throw bad(field, "no negative number, but it is \(number)") }
        guard number <= most else { throw bad(field, "at most \(most), but it is \(number)") }
        return number
    }

    func whole(_ field: String, _ range: ClosedRange<Int>) throws -> Int {
        guard let number = try value(field).int, range.contains(number) else {
            throw bad(field, "a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func list(_ field: String) throws -> [JSON] {
        guard let list = try value(field).array else { throw bad(field, "a list") }
        return list
    }

    func wholes(_ field: String) throws -> [Int] {
        try list(field).map {
            guard let number = $0.int, number >= 0 else { throw bad(field, "whole numbers from 0 on") }
            return number
        }
    }

    func objects(_ field: String) throws -> [RecordedFields] {
        try list(field).enumerated().map { index, value in
            try RecordedFields(value, place: "\(place), \(field)[\(index)]")
        }
    }

    func object(_ field: String) throws -> RecordedFields {
        let object = try value(field)
        guard object.members != nil else { throw bad(field, "an object") }
        return try RecordedFields(object, place: "\(place), \(field)")
    }

    func source(_ field: String) throws -> DraftSource? {
        try optional(field) { field in
            let name = try text(field)
            guard let source = DraftSource.allCases.first(where: { $0.name == name }) else {
                throw bad(field, "null or one of " + DraftSource.allCases.map(\.name).joined(separator: ", "))
            }
            return source
        }
    }
}
