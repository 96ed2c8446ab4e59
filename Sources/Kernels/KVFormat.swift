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

/// Copies the key [count] of one token of a piece that `storeKeys` filled, bit for bit, to a token of another piece or of
/// the same.
func copyKey(
    count: Int, as format: KVFormat, from source: UnsafeRawPointer, token: Int, to target: UnsafeMutableRawPointer,
    token targetToken: Int
) {
    switch format {
    case .f32:
        copyColumn(UInt32.self, count, from: source, token, to: target, targetToken)
    case .f16:
        copyColumn(UInt16.self, count, from: source, token, to: target, targetToken)
    case .q8_0:
        for block in 0..<count / 32 {
            let (scales, targetScales) = (source + block * 34 * kvBlockTokens, target + block * 34 * kvBlockTokens)
            copyColumn(UInt16.self, 1, from: scales, token, to: targetScales, targetToken)
            copyColumn(
                UInt8.self, 32, from: scales + 2 * kvBlockTokens, token, to: targetScales + 2 * kvBlockTokens,
                targetToken)
        }
    }
}

/// `count` elements of a token, those of the other tokens of the block between them.
private func copyColumn<Element: BitwiseCopyable>(
    _ type: Element.Type, _ count: Int, from source: UnsafeRawPointer, _ token: Int,
    to target: UnsafeMutableRawPointer, _ targetToken: Int
) {
    let from = source.assumingMemoryBound(to: type) + token
    let to = target.assumingMemoryBound(to: type) + targetToken
    for index in 0..<count { to[index * kvBlockTokens] = from[index * kvBlockTokens] }
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
