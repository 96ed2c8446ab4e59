/// An expected failure: bad input, or an environment that does not allow what was asked for.
///
/// The one error type that crosses module borders; the ABI translates `code` to an `ftk_status`
/// and `message` to the text of `ftk_last_error`.
package struct Failure: Error, CustomStringConvertible, Sendable {
    package enum Code: Int32, Sendable {
        case invalidArgument = -1
        case structSize = -2
        case io = -3
        case corruptFile = -4
        case unsupportedArchitecture = -5
        case unsupportedQuantization = -6
        case unsupportedFormat = -7
        case vocabularyMismatch = -8
        case outOfMemoryBudget = -9
        case queueFull = -10
        case contextTooLong = -11
        case cancelled = -12
        case wrongState = -14
        case notFound = -15
        case internalError = -16
    }

    package let code: Code
    /// What is wrong, where, and what to do, in one sentence for a person.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { message }

    package static func invalid(_ message: String) -> Failure { Failure(.invalidArgument, message) }
    package static func corrupt(_ message: String) -> Failure { Failure(.corruptFile, message) }
    package static func unsupported(_ message: String) -> Failure { Failure(.unsupportedFormat, message) }

    /// The same failure with the place it came from in front.
    package func prefixed(_ place: String) -> Failure { Failure(code, "\(place): \(message)") }
}
