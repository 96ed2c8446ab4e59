import Kernels

/// Where an engine reads the time: the monotonic clock but in tests, whose passes take as long as they say.
package struct EngineClock: Sendable {
    private let read: @Sendable () -> Int64

    /// `nanoseconds` never goes back.
    package init(nanoseconds: @escaping @Sendable () -> Int64) { read = nanoseconds }

    package static let monotonic = EngineClock(nanoseconds: monotonicNanoseconds)

    package var nanoseconds: Int64 { read() }
    package var microseconds: Int64 { read() / 1000 }
}
