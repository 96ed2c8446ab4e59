extension Jinja.Interpreter {
    private struct Date {
        var year = 1970
        var month = 1
        var day = 1
        /// From 0 on.
        var dayOfYear = 0
        /// 0 for Sunday.
        var weekday = 4
        var second = 0

        /// The date in the Gregorian calendar (UTC), counted in years that begin in March.
        init(secondsSince1970 seconds: Int) {
            let days = Self.floorDivided(seconds, 86400)
            second = seconds - days * 86400
            weekday = Self.modulo(days + 4, 7)
            let fromMarch0 = days + 719_468
            let era = Self.floorDivided(fromMarch0, 146_097)
            let dayOfEra = fromMarch0 - era * 146_097
            let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
            let dayFromMarch = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
            let monthFromMarch = (5 * dayFromMarch + 2) / 153
            day = dayFromMarch - (153 * monthFromMarch + 2) / 5 + 1
            month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
            year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
            let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
            dayOfYear = month > 2 ? dayFromMarch + 59 + (isLeap ? 1 : 0) : dayFromMarch - 306
        }

        static func floorDivided(_ value: Int, _ divisor: Int) -> Int {
            value / divisor - (value % divisor < 0 ? 1 : 0)
        }

        static func modulo(_ value: Int, _ divisor: Int) -> Int { (value % divisor + divisor) % divisor }
    }

    private static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ]
    private static let weekdays = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

    /// The moment in UTC as `strftime` writes it in the C locale.
    func formattedDate(_ seconds: Int, _ format: Text) throws -> Text {
        let bound = 253_402_300_799  // The end of the year 9999.
        let date = Date(secondsSince1970: min(max(seconds, 0), bound))
        var result = ""
        var isDirective = false
        for scalar in format.scalars {
            if isDirective {
                result += try field(scalar, of: date)
                isDirective = false
            } else if scalar == "%" {
                isDirective = true
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        if isDirective { result += "%" }
        return Text(result, trusted: format.isTrusted)
    }

    private func field(_ letter: Unicode.Scalar, of date: Date) throws -> String {
        let hour = date.second / 3600
        switch letter {
        case "Y": return String(date.year)
        case "y": return padded(date.year % 100)
        case "m": return padded(date.month)
        case "d": return padded(date.day)
        case "e": return (date.day < 10 ? " " : "") + String(date.day)
        case "j": return (date.dayOfYear < 99 ? "0" : "") + padded(date.dayOfYear + 1)
        case "B": return Self.months[date.month - 1]
        case "b", "h": return String(Self.months[date.month - 1].prefix(3))
        case "A": return Self.weekdays[date.weekday]
        case "a": return String(Self.weekdays[date.weekday].prefix(3))
        case "H": return padded(hour)
        case "I": return padded((hour + 11) % 12 + 1)
        case "p": return hour < 12 ? "AM" : "PM"
        case "M": return padded(date.second / 60 % 60)
        case "S": return padded(date.second % 60)
        case "F": return "\(date.year)-\(padded(date.month))-\(padded(date.day))"
        case "T": return "\(padded(hour)):\(padded(date.second / 60 % 60)):\(padded(date.second % 60))"
        case "%": return "%"
        default: throw unsupported("date directive", "%\(letter)")
        }
    }

    private func padded(_ value: Int) -> String { value < 10 ? "0\(value)" : String(value) }
}
