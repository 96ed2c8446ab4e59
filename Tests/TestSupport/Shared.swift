import Kernels

/// What several threads put together.
package final class Shared<Value>: @unchecked Sendable {
    private let lock = Lock()
    private var value: Value

    package init(_ value: Value) { self.value = value }

    package func use<Result>(_ body: (inout Value) -> Result) -> Result { lock.withLock { body(&value) } }
}
