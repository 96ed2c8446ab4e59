import CSystem
import Glibc

/// A zeroed block of memory whose size may come from input: an allocation that fails is nil, not a trap.
/// Pages are reserved and become resident when they are first touched.
package final class Storage: @unchecked Sendable {
    package let base: UnsafeMutableRawPointer
    package let byteCount: Int

    /// `readInOrder`: large pages, which become resident as a whole.
    package init?(byteCount: Int, readInOrder: Bool = false) {
        guard byteCount >= 0, byteCount <= Int.max / 2 else { return nil }
        let isLarge = readInOrder && byteCount >= 2 * Self.largePage
        let length = max(byteCount, 1) + (isLarge ? Self.largePage : 0)
        guard let memory = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            memory != MAP_FAILED
        else { return nil }
        self.byteCount = byteCount
        guard isLarge else {
            base = memory
            return
        }
        // Weights are read from end to end: large pages spare the look-ups that hold prefetching up at every 4 KiB.
        let ahead = (Self.largePage - Int(bitPattern: memory) % Self.largePage) % Self.largePage
        base = memory + ahead
        if ahead > 0 { munmap(memory, ahead) }
        munmap(base + Self.wholePages(byteCount), length - ahead - Self.wholePages(byteCount))
        system_prefer_large_pages(base, byteCount)
    }

    private static let largePage = 2 << 20

    private static func wholePages(_ byteCount: Int) -> Int { (byteCount + 4095) / 4096 * 4096 }

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
