import CSIMD

/// Reads memory that no cache holds, to see how fast that goes.
package final class BandwidthProbe {
    private let pool: ThreadPool
    private let storage: Storage
    private let sums: Storage
    private static let piece = 1 << 20
    private static let pieces = 512

    /// nil when there is no memory for it.
    package init?(pool: ThreadPool) {
        guard let storage = Storage(byteCount: Self.piece * Self.pieces, readInOrder: true),
            let sums = Storage(byteCount: pool.threads * 64)
        else { return nil }
        self.pool = pool
        self.storage = storage
        self.sums = sums
        // Untouched pages all share one page of zeros.
        for offset in stride(from: 0, to: storage.byteCount, by: 4096) {
            storage.base.storeBytes(of: 1, toByteOffset: offset, as: UInt8.self)
        }
    }

    /// Bytes per second at which the threads of the pool read together, this time.
    package func measure() -> Double {
        let start = monotonicNanoseconds()
        pool.run(Self.pieces) { thread, item in
            let from = storage.base + item * Self.piece
            var (a, b) = (SIMD8<UInt64>(), SIMD8<UInt64>())
            for offset in stride(from: 0, to: Self.piece, by: 128) {
                simd_prefetch(from + offset + 4096)
                simd_prefetch(from + offset + 4160)
                a ^= (from + offset).loadUnaligned(as: SIMD8<UInt64>.self)
                b ^= (from + offset + 64).loadUnaligned(as: SIMD8<UInt64>.self)
            }
            // Kept, so that the reads are.
            (sums.base + thread * 64).storeBytes(of: a ^ b, as: SIMD8<UInt64>.self)
        }
        return Double(storage.byteCount) / Double(max(1, monotonicNanoseconds() - start)) * 1e9
    }
}
