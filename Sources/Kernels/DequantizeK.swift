// The K types: super-blocks of 256 elements with sub-blocks of 16 or 32 that have scales of their own.

/// scales[16] (low nibble: scale, high nibble: minimum), 64 bytes of 2-bit quants, d, dmin:
/// x = d·scale·q - dmin·minimum.
@inline(__always)
func expandQ2K(_ block: Bytes, _ out: Floats) {
    let (scale, minimum) = (half(block, 80), half(block, 82))
    var index = 0
    for part in 0..<2 {  // 128 elements from 32 bytes
        let quants = block + 16 + part * 32
        for shift in 0..<4 {
            for sixteen in 0..<2 {
                let packed = block[part * 8 + shift * 2 + sixteen]
                let d = scale * Float(packed & 15)
                let m = minimum * Float(packed >> 4)
                for lane in 0..<16 {
                    let quant = quants[sixteen * 16 + lane] >> UInt8(2 * shift) & 3
                    out[index] = d * Float(quant) - m
                    index += 1
                }
            }
        }
    }
}

/// 32 bytes of third bits, 64 bytes of 2-bit quants, 12 bytes of 6-bit scales, d:
/// x = d·(scale - 32)·(q - (third bit set ? 0 : 4)).
@inline(__always)
func expandQ3K(_ block: Bytes, _ out: Floats) {
    let scale = half(block, 108)
    var index = 0
    for part in 0..<2 {
        let quants = block + 32 + part * 32
        for shift in 0..<4 {
            for sixteen in 0..<2 {
                let d = scale * Float(q3Scale(block + 96, part * 8 + shift * 2 + sixteen))
                for lane in 0..<16 {
                    let low = Int32(quants[sixteen * 16 + lane] >> UInt8(2 * shift) & 3)
                    let third = block[sixteen * 16 + lane] >> UInt8(part * 4 + shift) & 1
                    out[index] = d * Float(low - (third == 1 ? 0 : 4))
                    index += 1
                }
            }
        }
    }
}

/// The 6-bit scale of one of 16 sub-blocks: low nibbles in bytes 0 to 7, the two high bits in bytes 8 to 11.
@inline(__always)
private func q3Scale(_ scales: Bytes, _ sub: Int) -> Int32 {
    let low = sub < 8 ? scales[sub] & 15 : scales[sub - 8] >> 4
    let high = scales[8 + sub % 4] >> UInt8(2 * (sub / 4)) & 3
    return Int32(low | high << 4) - 32
}

/// The 6-bit scale and minimum of one of 8 sub-blocks, from 12 bytes.
@inline(__always)
func sixBits(_ scales: Bytes, _ sub: Int) -> (scale: Float, minimum: Float) {
    if sub < 4 { return (Float(scales[sub] & 63), Float(scales[sub + 4] & 63)) }
    let scale = scales[sub + 4] & 15 | (scales[sub - 4] >> 6) << 4
    let minimum = scales[sub + 4] >> 4 | (scales[sub] >> 6) << 4
    return (Float(scale), Float(minimum))
}

/// d, dmin, 12 bytes of scales, 128 bytes of nibbles: x = d·scale·q - dmin·minimum.
@inline(__always)
func expandQ4K(_ block: Bytes, _ out: Floats) {
    let (scale, minimum) = (half(block, 0), half(block, 2))
    for pair in 0..<4 {
        let quants = block + 16 + pair * 32
        let first = sixBits(block + 4, pair * 2)
        let second = sixBits(block + 4, pair * 2 + 1)
        let (d1, m1) = (scale * first.scale, minimum * first.minimum)
        let (d2, m2) = (scale * second.scale, minimum * second.minimum)
        let to = out + pair * 64
        for lane in 0..<32 {
            to[lane] = d1 * Float(quants[lane] & 15) - m1
            to[lane + 32] = d2 * Float(quants[lane] >> 4) - m2
        }
    }
}

/// As Q4_K with 32 bytes of fifth bits before the nibbles: bit 2·pair and 2·pair + 1 of byte `lane`.
@inline(__always)
func expandQ5K(_ block: Bytes, _ out: Floats) {
    let (scale, minimum) = (half(block, 0), half(block, 2))
    for pair in 0..<4 {
        let quants = block + 48 + pair * 32
        let first = sixBits(block + 4, pair * 2)
        let second = sixBits(block + 4, pair * 2 + 1)
        let (d1, m1) = (scale * first.scale, minimum * first.minimum)
        let (d2, m2) = (scale * second.scale, minimum * second.minimum)
        let to = out + pair * 64
        for lane in 0..<32 {
            let fifth = block[16 + lane] >> UInt8(2 * pair)
            to[lane] = d1 * Float(quants[lane] & 15 | (fifth & 1) << 4) - m1
            to[lane + 32] = d2 * Float(quants[lane] >> 4 | (fifth & 2) << 3) - m2
        }
    }
}

/// 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales, d: x = d·scale·(q - 32).
@inline(__always)
func expandQ6K(_ block: Bytes, _ out: Floats) {
    let scale = half(block, 208)
    for part in 0..<2 {
        let low = block + part * 64
        let high = block + 128 + part * 32
        for quarter in 0..<4 {
            let nibbleSource = low + (quarter % 2) * 32
            for sixteen in 0..<2 {
                let sub = Int8(bitPattern: block[192 + part * 8 + quarter * 2 + sixteen])
                let d = scale * Float(sub)
                let to = out + part * 128 + quarter * 32 + sixteen * 16
                for lane in 0..<16 {
                    let at = sixteen * 16 + lane
                    let nibble = quarter < 2 ? nibbleSource[at] & 15 : nibbleSource[at] >> 4
                    let quant = nibble | (high[at] >> UInt8(2 * quarter) & 3) << 4
                    to[lane] = d * Float(Int32(quant) - 32)
                }
            }
        }
    }
}
