import Glibc

/// A zeroed block of memory whose size may come from input: an allocation that fails is nil, not a trap.
/// Pages are reserved and become resident when they are first touched.
package final class Storage: @unchecked Sendable {
    package let base: UnsafeMutableRawPointer
    package let byteCount: Int

    package init?(byteCount: Int) {
        guard byteCount >= 0, byteCount <= Int.max / 2 else { return nil }
        // Vectors are read up to 64 bytes beyond nothing: callers size their buffers exactly.
        let length = max(byteCount, 1)
        guard let memory = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            memory != MAP_FAILED
        else { return nil }
        base = memory
        self.byteCount = byteCount
    }

    deinit { munmap(base, max(byteCount, 1)) }

    package var floats: UnsafeMutablePointer<Float> { base.assumingMemoryBound(to: Float.self) }
}

/// `a * b * …`, or nil when it overflows or a factor is negative.
package func checkedProduct(_ factors: Int...) -> Int? {
    var total = 1
    for factor in factors {
        let (product, overflow) = total.multipliedReportingOverflow(by: factor)
        guard !overflow, factor >= 0 else { return nil }
        total = product
    }
    return total
}
