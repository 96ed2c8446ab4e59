// Quantisation to the K types. A step is found for each sub-block: several are tried, and each is fitted by least
// squares. Then the steps become whole multiples of the scale of the super-block, whose neighbours are tried as well.

/// 256 elements and what is computed for them, [256] each.
struct SuperBlock {
    let x: UnsafePointer<Float>
    /// The largest magnitude.
    let largest: Float
    /// How much an error of each element counts.
    let weights: Floats
    /// The levels that are to be stored.
    let levels: Floats
}

/// Runs `block` for every super-block. Elements below what the smallest scale can express are zeros; without them no
/// square underflows.
@inline(__always)
func quantizeSuperBlocks(
    _ source: UnsafePointer<Float>, _ blocks: Int, _ target: UnsafeMutableRawPointer, _ bytes: Int,
    _ block: (SuperBlock, MutableBytes) -> Void
) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 512) { scratch in
        guard let weights = scratch.baseAddress else { return }
        for index in 0..<blocks {
            let to = (target + index * bytes).assumingMemoryBound(to: UInt8.self)
            to.update(repeating: 0, count: bytes)
            let x = source + index * 256
            let largest = (0..<256).reduce(Float(0)) { max($0, abs(x[$1])) }
            if largest >= 0x1p-26 {
                block(SuperBlock(x: x, largest: largest, weights: weights, levels: weights + 256), to)
            }
        }
    }
}

extension SuperBlock {
    /// x² and four times its mean in the sub-block. Large elements move a product most; of the factors between 0.2 and
    /// 16, those from 4 up changed the probabilities of a trained model least. Relative to the largest element, since
    /// products of sums would overflow for large ones.
    fileprivate func setWeights(subBlock: Int) {
        let scale = 1 / largest
        for start in stride(from: 0, to: 256, by: subBlock) {
            var sum = SIMD8<Float>()
            for lane in stride(from: start, to: start + subBlock, by: 8) {
                let value = load8(x + lane) * scale
                store8(value * value, weights + lane)
                sum += value * value
            }
            let floor = 4 * sum.sum() / Float(subBlock)
            for lane in stride(from: start, to: start + subBlock, by: 8) {
                store8(load8(weights + lane) + floor, weights + lane)
            }
        }
    }
}

@inline(__always)
private func nearestLevels(_ values: SIMD8<Float>, _ low: Float, _ high: Float) -> SIMD8<Float> {
    nearest(values.replacing(with: low, where: values .< low).replacing(with: high, where: values .> high))
}

/// `value` as binary16, but no step above 0 becomes 0.
private func halfStep(_ value: Float) -> Float {
    let half = floatFromHalf(halfFromFloat(value))
    return half == 0 && value != 0 ? (value > 0 ? 0x1p-24 : -0x1p-24) : half
}

/// The whole multiple of `step` nearest to `value`, within bounds; no value traps.
private func multiple(_ value: Float, of step: Float, _ low: Float, _ high: Float) -> Int32 {
    // In this order of arguments NaN becomes a bound.
    step != 0 ? Int32(max(low, min(high, (value / step).rounded()))) : 0
}

// MARK: Q4_K and Q5_K

/// x = d·s·q - dmin·m: whole s and m from 0 to 63 for each of eight sub-blocks.
private struct AffineScales {
    /// The highest level q: 15 or 31.
    let top: Float
    var d: Float = 0
    var dmin: Float = 0
    var s = SIMD8<Int32>()
    var m = SIMD8<Int32>()

    func step(_ sub: Int) -> Float { d * Float(s[sub]) }
    func minimum(_ sub: Int) -> Float { dmin * Float(m[sub]) }
}

/// Weighted sums over a sub-block with its levels q: what a least-squares fit needs.
private struct AffineSums {
    let one: Float
    let x: Float
    let q: Float
    let qq: Float
    let qx: Float

    /// With the levels round((x + minimum)·inverse), 0 to `top`, of 32 elements.
    @inline(__always)
    init(_ values: UnsafePointer<Float>, _ weights: Floats, inverse: Float, minimum: Float, top: Float) {
        var ones = SIMD8<Float>()
        var (xs, qs, qqs, qxs) = (ones, ones, ones, ones)
        for lane in stride(from: 0, to: 32, by: 8) {
            let (value, weight) = (load8(values + lane), load8(weights + lane))
            let level = nearestLevels((value + minimum) * inverse, 0, top)
            let weighted = weight * level
            ones += weight
            xs += weight * value
            qs += weighted
            qqs += weighted * level
            qxs += weighted * value
        }
        (one, x, q, qq, qx) = (ones.sum(), xs.sum(), qs.sum(), qqs.sum(), qxs.sum())
    }

    /// The best step and minimum for these levels, the minimum at least 0, and how much error they take away.
    func fit() -> (step: Float, minimum: Float, gain: Float) {
        let determinant = one * qq - q * q
        let minimum = (q * qx - qq * x) / determinant
        if determinant > 0, minimum >= 0 {
            let step = (one * qx - q * x) / determinant
            return (step, minimum, step * qx - minimum * x)
        }
        let step = qq > 0 ? qx / qq : 0
        return (step, 0, step * qx)
    }
}

func quantizeQ4K(_ block: SuperBlock, _ out: MutableBytes) {
    setAffine(block, out, top: 15)
    writeNibbles(block, out + 16)
}

/// As Q4_K, with the fifth bits of all levels before the nibbles.
func quantizeQ5K(_ block: SuperBlock, _ out: MutableBytes) {
    setAffine(block, out, top: 31)
    for element in 0..<256 {
        out[16 + element % 32] |= (lowByte(block.levels[element]) >> 4) << UInt8(element / 32)
    }
    writeNibbles(block, out + 48)
}

/// Sets the levels and writes the scales, which both types begin with.
private func setAffine(_ block: SuperBlock, _ out: MutableBytes, top: Float) {
    block.setWeights(subBlock: 32)
    var best = AffineScales(top: top)
    var steps = SIMD8<Float>()
    var minima = SIMD8<Float>()
    for sub in 0..<8 {
        (steps[sub], minima[sub]) = searchAffine(block.x + sub * 32, block.weights + sub * 32, top)
    }
    best.d = halfStep(steps.max() / 63)
    best.dmin = halfStep(minima.max() / 63)
    for sub in 0..<8 {
        best.s[sub] = multiple(steps[sub], of: best.d, 0, 63)
        best.m[sub] = multiple(minima[sub], of: best.dmin, 0, 63)
    }
    let error = refine(block, &best)
    var other = refitted(block, best)
    if refine(block, &other) < error { best = other }
    writeAffine(block, best, out)
}

/// The best of several steps around the one that spans the range of 32 elements: `top` - 2.5 to `top` + 0.5 of them do.
private func searchAffine(
    _ x: UnsafePointer<Float>, _ weights: Floats, _ top: Float
) -> (step: Float, minimum: Float) {
    var (low, high): (Float, Float) = (0, x[0])
    for lane in 0..<32 {
        low = x[lane] < low ? x[lane] : low
        high = x[lane] > high ? x[lane] : high
    }
    guard high - low >= 0x1p-30 else { return (0, -low) }
    var best = (step: (high - low) / top, minimum: -low, gain: -Float.infinity)
    for quarter in -10...2 {
        let levels = top + Float(quarter) / 4
        let fit = AffineSums(x, weights, inverse: levels / (high - low), minimum: -low, top: top).fit()
        if fit.gain > best.gain { best = fit }
    }
    return (best.step, best.minimum)
}

/// The weighted error of 32 elements as x = step·q - minimum with the nearest levels.
@inline(__always)
private func affineError(
    _ x: UnsafePointer<Float>, _ weights: Floats, _ step: Float, _ minimum: Float, _ top: Float
) -> Float {
    let inverse = step > 0 ? 1 / step : 0
    var sum = SIMD8<Float>()
    for lane in stride(from: 0, to: 32, by: 8) {
        let value = load8(x + lane)
        let error = nearestLevels((value + minimum) * inverse, 0, top) * step - minimum - value
        sum += load8(weights + lane) * error * error
    }
    return sum.sum()
}

/// Moves s and m of each sub-block to their best neighbours; gives the error of the super-block.
private func refine(_ block: SuperBlock, _ scales: inout AffineScales) -> Float {
    var total: Float = 0
    for sub in 0..<8 {
        let (x, weights) = (block.x + sub * 32, block.weights + sub * 32)
        let (s, m) = (scales.s[sub], scales.m[sub])
        var best = affineError(x, weights, scales.step(sub), scales.minimum(sub), scales.top)
        for otherM in max(m - 1, 0)...min(m + 1, 63) {
            for otherS in max(s - 1, 0)...min(s + 1, 63) {
                let (step, minimum) = (scales.d * Float(otherS), scales.dmin * Float(otherM))
                let error = affineError(x, weights, step, minimum, scales.top)
                if error < best { (best, scales.s[sub], scales.m[sub]) = (error, otherS, otherM) }
            }
        }
        total += best
    }
    return total
}

/// d and dmin fitted by least squares while all levels, s and m stay.
private func refitted(_ block: SuperBlock, _ scales: AffineScales) -> AffineScales {
    var (ss, sm, mm, sx, mx): (Float, Float, Float, Float, Float) = (0, 0, 0, 0, 0)
    for sub in 0..<8 {
        let step = scales.step(sub)
        let sums = AffineSums(
            block.x + sub * 32, block.weights + sub * 32, inverse: step > 0 ? 1 / step : 0,
            minimum: scales.minimum(sub), top: scales.top)
        let (s, m) = (Float(scales.s[sub]), Float(scales.m[sub]))
        ss += s * s * sums.qq
        sm += s * m * sums.q
        mm += m * m * sums.one
        sx += s * sums.qx
        mx += m * sums.x
    }
    let determinant = ss * mm - sm * sm
    var result = scales
    if determinant > 0 {
        result.d = halfStep((sx * mm - mx * sm) / determinant)
        result.dmin = halfStep((sx * sm - mx * ss) / determinant)
    } else if ss > 0 {
        result.d = halfStep(sx / ss)
    }
    return result.d >= 0 && result.dmin >= 0 ? result : scales
}

private func writeAffine(_ block: SuperBlock, _ scales: AffineScales, _ out: MutableBytes) {
    for sub in 0..<8 {
        let (step, minimum) = (scales.step(sub), scales.minimum(sub))
        let inverse = step > 0 ? 1 / step : 0
        for lane in stride(from: sub * 32, to: sub * 32 + 32, by: 8) {
            store8(nearestLevels((load8(block.x + lane) + minimum) * inverse, 0, scales.top), block.levels + lane)
        }
        writeSixBits(out + 4, sub, UInt8(scales.s[sub]), UInt8(scales.m[sub]))
    }
    storeHalf(halfFromFloat(scales.d), out, 0)
    storeHalf(halfFromFloat(scales.dmin), out, 2)
}

/// The low four bits of all levels: two sub-blocks share 32 bytes.
private func writeNibbles(_ block: SuperBlock, _ out: MutableBytes) {
    for pair in 0..<4 {
        for lane in 0..<32 {
            let low = lowByte(block.levels[pair * 64 + lane])
            let high = lowByte(block.levels[pair * 64 + 32 + lane])
            out[pair * 32 + lane] = low & 15 | high << 4
        }
    }
}

/// The reverse of `sixBits`; the bytes are zeros before the first sub-block.
private func writeSixBits(_ scales: MutableBytes, _ sub: Int, _ s: UInt8, _ m: UInt8) {
    if sub < 4 {
        scales[sub] = s
        scales[sub + 4] = m
    } else {
        scales[sub + 4] = s & 15 | m << 4
        scales[sub - 4] |= (s >> 4) << 6
        scales[sub] |= (m >> 4) << 6
    }
}

// MARK: Q6_K

/// x = d·s·q: whole s from -128 to 127 for each of sixteen sub-blocks.
private struct SignedScales {
    var d: Float = 0
    var s = SIMD16<Int32>()
}

/// Weighted sums over 16 elements with their levels q.
private struct SignedSums {
    let qq: Float
    let qx: Float

    /// With the levels round(x·inverse), -32 to 31.
    @inline(__always)
    init(_ values: UnsafePointer<Float>, _ weights: Floats, inverse: Float) {
        var qqs = SIMD8<Float>()
        var qxs = qqs
        for lane in stride(from: 0, to: 16, by: 8) {
            let value = load8(values + lane)
            let level = nearestLevels(value * inverse, -32, 31)
            let weighted = load8(weights + lane) * level
            qqs += weighted * level
            qxs += weighted * value
        }
        (qq, qx) = (qqs.sum(), qxs.sum())
    }
}

func quantizeQ6K(_ block: SuperBlock, _ out: MutableBytes) {
    block.setWeights(subBlock: 16)
    var steps = SIMD16<Float>()
    var largest: Float = 0
    for sub in 0..<16 {
        steps[sub] = searchSigned(block.x + sub * 16, block.weights + sub * 16)
        if abs(steps[sub]) > abs(largest) { largest = steps[sub] }
    }
    // The largest step takes the one value that has no counterpart of the other sign.
    var best = SignedScales(d: halfStep(largest / -128))
    for sub in 0..<16 { best.s[sub] = multiple(steps[sub], of: best.d, -128, 127) }
    let error = refine(block, &best)
    var other = refitted(block, best)
    if refine(block, &other) < error { best = other }
    writeQ6K(block, best, out)
}

/// The best of several steps around the one that takes the element of largest magnitude to the level -32: to -29 up
/// to -32.75, where it is cut off.
private func searchSigned(_ x: UnsafePointer<Float>, _ weights: Floats) -> Float {
    var largest: Float = 0
    for lane in 0..<16 where abs(x[lane]) > abs(largest) { largest = x[lane] }
    guard abs(largest) >= 0x1p-28 else { return 0 }
    var best = (step: largest / -32, gain: -Float.infinity)
    for quarter in 116...131 {
        let sums = SignedSums(x, weights, inverse: Float(quarter) / -4 / largest)
        let gain = sums.qx * sums.qx / sums.qq
        if gain > best.gain { best = (sums.qx / sums.qq, gain) }
    }
    return best.step
}

/// The weighted error of 16 elements as x = step·q with the nearest levels.
@inline(__always)
private func signedError(_ x: UnsafePointer<Float>, _ weights: Floats, _ step: Float) -> Float {
    let inverse = step != 0 ? 1 / step : 0
    var sum = SIMD8<Float>()
    for lane in stride(from: 0, to: 16, by: 8) {
        let value = load8(x + lane)
        let error = nearestLevels(value * inverse, -32, 31) * step - value
        sum += load8(weights + lane) * error * error
    }
    return sum.sum()
}

/// Moves s of each sub-block to its best neighbour; gives the error of the super-block.
private func refine(_ block: SuperBlock, _ scales: inout SignedScales) -> Float {
    var total: Float = 0
    for sub in 0..<16 {
        let (x, weights, s) = (block.x + sub * 16, block.weights + sub * 16, scales.s[sub])
        var best = signedError(x, weights, scales.d * Float(s))
        for other in max(s - 1, -128)...min(s + 1, 127) {
            let error = signedError(x, weights, scales.d * Float(other))
            if error < best { (best, scales.s[sub]) = (error, other) }
        }
        total += best
    }
    return total
}

/// d fitted by least squares while all levels and s stay.
private func refitted(_ block: SuperBlock, _ scales: SignedScales) -> SignedScales {
    var (squares, products): (Float, Float) = (0, 0)
    for sub in 0..<16 {
        let s = Float(scales.s[sub])
        let step = scales.d * s
        let sums = SignedSums(block.x + sub * 16, block.weights + sub * 16, inverse: step != 0 ? 1 / step : 0)
        squares += s * s * sums.qq
        products += s * sums.qx
    }
    var result = scales
    if squares > 0 { result.d = halfStep(products / squares) }
    return result
}

private func writeQ6K(_ block: SuperBlock, _ scales: SignedScales, _ out: MutableBytes) {
    for sub in 0..<16 {
        let step = scales.d * Float(scales.s[sub])
        let inverse = step != 0 ? 1 / step : 0
        for lane in stride(from: sub * 16, to: sub * 16 + 16, by: 8) {
            store8(nearestLevels(load8(block.x + lane) * inverse, -32, 31) + 32, block.levels + lane)
        }
        out[192 + sub] = UInt8(truncatingIfNeeded: scales.s[sub])
    }
    storeHalf(halfFromFloat(scales.d), out, 208)
    for element in 0..<256 {
        let level = lowByte(block.levels[element]) & 63
        let (part, quarter, at) = (element / 128, element / 32 % 4, element % 32)
        out[part * 64 + quarter % 2 * 32 + at] |= (level & 15) << UInt8(quarter / 2 * 4)
        out[128 + part * 32 + at] |= (level >> 4) << UInt8(quarter * 2)
    }
}
