import CSIMD

/// Bytes per second at which the threads of `pool` together read memory that no cache holds; the best of `repeats`.
package func readBandwidth(pool: ThreadPool, repeats: Int = 5) -> Double? {
    let piece = 1 << 20
    let pieces = 512
    guard let storage = Storage(byteCount: piece * pieces), let sums = Storage(byteCount: pool.threads * 64) else {
        return nil
    }
    // Untouched pages all share one page of zeros.
    for offset in stride(from: 0, to: storage.byteCount, by: 4096) {
        storage.base.storeBytes(of: 1, toByteOffset: offset, as: UInt8.self)
    }
    var best = 0.0
    for _ in 0..<repeats {
        let start = monotonicMicroseconds()
        pool.run(pieces) { thread, item in
            let from = storage.base + item * piece
            var (a, b) = (SIMD8<UInt64>(), SIMD8<UInt64>())
            for offset in stride(from: 0, to: piece, by: 128) {
                simd_prefetch(from + offset + 4096)
                simd_prefetch(from + offset + 4160)
                a ^= (from + offset).loadUnaligned(as: SIMD8<UInt64>.self)
                b ^= (from + offset + 64).loadUnaligned(as: SIMD8<UInt64>.self)
            }
            // Kept, so that the reads are.
            (sums.base + thread * 64).storeBytes(of: a ^ b, as: SIMD8<UInt64>.self)
        }
        best = max(best, Double(storage.byteCount) / Double(max(1, monotonicMicroseconds() - start)) * 1e6)
    }
    return best
}
