import CSystem

/// Runs `body` with the floating-point state that every process starts with: rounding to nearest, subnormals kept. A host
/// may have another one on its threads (fast-math libraries set it), and bits must not depend on that.
package func withDefaultFloatingPoint<Result>(_ body: () throws -> Result) rethrows -> Result {
    let callers = system_float_state()
    system_set_float_state(0x1F80)
    defer { system_set_float_state(callers) }
    return try body()
}
