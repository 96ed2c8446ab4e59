/// How the KV cache stores keys and values.
package enum KVFormat: UInt8, Sendable, CaseIterable {
    case f32, f16, q8_0

    /// The number that the attention kernels know the format by.
    var index: Int { Int(rawValue) }

    /// Bytes of `count` elements of one token; nil when the format cannot hold that many.
    package func bytes(of count: Int) -> Int? {
        switch self {
        case .f32: checkedProduct(count, 4)
        case .f16: checkedProduct(count, 2)
        case .q8_0: count % 32 == 0 ? checkedProduct(count / 32, 34) : nil
        }
    }
}

/// Stores `source` [count] at `target`; Q8_0 quantises within these elements only.
package func storeKV(
    _ source: UnsafePointer<Float>, count: Int, as format: KVFormat, at target: UnsafeMutableRawPointer
) {
    switch format {
    case .f32: target.copyMemory(from: source, byteCount: count * 4)
    case .f16:
        for index in 0..<count {
            target.storeBytes(of: halfFromFloat(source[index]), toByteOffset: index * 2, as: UInt16.self)
        }
    case .q8_0:
        for block in 0..<count / 32 { quantizeQ8_0(source + block * 32, at: target + block * 34) }
    }
}

/// Stores the key `source` [count] of token `token` in a piece of a block: [count, kvBlockTokens], and in Q8_0 for every 32
/// elements the scales of all tokens in front. The same numbers as `storeKV` stores.
func storeKeys(
    _ source: UnsafePointer<Float>, count: Int, as format: KVFormat, token: Int, at piece: UnsafeMutableRawPointer
) {
    switch format {
    case .f32:
        let out = piece.assumingMemoryBound(to: Float.self) + token
        for index in 0..<count { out[index * kvBlockTokens] = source[index] }
    case .f16:
        let out = piece.assumingMemoryBound(to: UInt16.self) + token
        for index in 0..<count { out[index * kvBlockTokens] = halfFromFloat(source[index]) }
    case .q8_0:
        withUnsafeTemporaryAllocation(byteCount: 34, alignment: 2) { quantized in
            guard let bytes = quantized.baseAddress else { return }
            for block in 0..<count / 32 {
                quantizeQ8_0(source + block * 32, at: bytes)
                let part = piece + block * 34 * kvBlockTokens
                part.storeBytes(of: bytes.load(as: UInt16.self), toByteOffset: token * 2, as: UInt16.self)
                let out = (part + 2 * kvBlockTokens + token).assumingMemoryBound(to: Int8.self)
                for index in 0..<32 {
                    out[index * kvBlockTokens] = bytes.load(fromByteOffset: 2 + index, as: Int8.self)
                }
            }
        }
    }
}

/// 32 floats to d = max|x| / 127 (binary16) and round(x / d); a value that is not finite makes d NaN.
private func quantizeQ8_0(_ source: UnsafePointer<Float>, at target: UnsafeMutableRawPointer) {
    var largest: Float = 0
    for index in 0..<32 { largest = max(largest, abs(source[index])) }
    let finite = allFinite(source, count: 32)
    let scale = finite ? largest / 127 : .nan
    target.storeBytes(of: halfFromFloat(scale), as: UInt16.self)
    let inverse = finite && scale > 0 ? 127 / largest : 0
    for index in 0..<32 {
        let scaled = inverse.isFinite && finite ? source[index] * inverse : 0
        let quant = Int8(truncatingIfNeeded: Int32(max(-127, min(127, scaled.rounded()))))
        target.storeBytes(of: quant, toByteOffset: 2 + index, as: Int8.self)
    }
}
