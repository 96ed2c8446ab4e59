package import Engine
import Synchronization

/// Time that passes only where a test says so.
package final class ManualClock: Sendable {
    private let microseconds = Atomic<Int64>(0)

    package init() {}

    package func advance(microseconds passed: Int64) { microseconds.wrappingAdd(passed, ordering: .relaxed) }

    package var clock: EngineClock { EngineClock { [self] in microseconds.load(ordering: .relaxed) * 1000 } }
}
