import CSIMD

// The two products of attention over one block of the KV cache (32 tokens of one KV head), for up to eight query vectors
// that share it: query heads of a group, and rows of a request. A block is read and widened once for all of them.
//
// Keys lie transposed, token beside token, so that a vector holds the scores of 16 tokens and no sum goes across lanes.
// Every (vector, token) score and every element of a result is one fixed sequence of operations.

private enum Format { case f32, f16, q8_0 }

/// One vector of 16 for each query vector.
private struct Sums {
    var a = simd_zero()
    var b = simd_zero()
    var c = simd_zero()
    var d = simd_zero()
    var e = simd_zero()
    var f = simd_zero()
    var g = simd_zero()
    var h = simd_zero()
}

/// sums[v] += x · s[v·stride]. `count` (1, 2, 4 or 8) must be a constant, or the sums leave the registers.
@_transparent
private func add(_ x: simd_floats, _ s: UnsafePointer<Float>, _ stride: Int, _ count: Int, _ sums: inout Sums) {
    sums.a = simd_fma_scalar(x, s[0], sums.a)
    if count > 1 { sums.b = simd_fma_scalar(x, s[stride], sums.b) }
    if count > 2 {
        sums.c = simd_fma_scalar(x, s[2 &* stride], sums.c)
        sums.d = simd_fma_scalar(x, s[3 &* stride], sums.d)
    }
    if count > 4 {
        sums.e = simd_fma_scalar(x, s[4 &* stride], sums.e)
        sums.f = simd_fma_scalar(x, s[5 &* stride], sums.f)
        sums.g = simd_fma_scalar(x, s[6 &* stride], sums.g)
        sums.h = simd_fma_scalar(x, s[7 &* stride], sums.h)
    }
}

/// sums[v] += x · y[v]
@_transparent
private func add(_ x: simd_floats, _ y: Sums, _ count: Int, _ sums: inout Sums) {
    sums.a = simd_fma(x, y.a, sums.a)
    if count > 1 { sums.b = simd_fma(x, y.b, sums.b) }
    if count > 2 {
        sums.c = simd_fma(x, y.c, sums.c)
        sums.d = simd_fma(x, y.d, sums.d)
    }
    if count > 4 {
        sums.e = simd_fma(x, y.e, sums.e)
        sums.f = simd_fma(x, y.f, sums.f)
        sums.g = simd_fma(x, y.g, sums.g)
        sums.h = simd_fma(x, y.h, sums.h)
    }
}

@_transparent
private func load(_ p: UnsafePointer<Float>, _ stride: Int, _ count: Int, _ sums: inout Sums) {
    sums.a = simd_load(p)
    if count > 1 { sums.b = simd_load(p + stride) }
    if count > 2 {
        sums.c = simd_load(p + 2 &* stride)
        sums.d = simd_load(p + 3 &* stride)
    }
    if count > 4 {
        sums.e = simd_load(p + 4 &* stride)
        sums.f = simd_load(p + 5 &* stride)
        sums.g = simd_load(p + 6 &* stride)
        sums.h = simd_load(p + 7 &* stride)
    }
}

@_transparent
private func store(_ sums: Sums, _ p: UnsafeMutablePointer<Float>, _ stride: Int, _ count: Int) {
    simd_store(p, sums.a)
    if count > 1 { simd_store(p + stride, sums.b) }
    if count > 2 {
        simd_store(p + 2 &* stride, sums.c)
        simd_store(p + 3 &* stride, sums.d)
    }
    if count > 4 {
        simd_store(p + 4 &* stride, sums.e)
        simd_store(p + 5 &* stride, sums.f)
        simd_store(p + 6 &* stride, sums.g)
        simd_store(p + 7 &* stride, sums.h)
    }
}

// MARK: Scores

/// Q8_0 keys: for every 32 elements 32 scales (binary16) and 32 x 32 bytes.
private let quantizedKeyBytes = 64 + 32 * 32

@_transparent
private func score(
    _ format: Format, _ count: Int, _ queries: UnsafePointer<Float>, _ size: Int, _ keys: UnsafeRawPointer,
    _ scores: UnsafeMutablePointer<Float>
) {
    var half = 0
    while half < 2 {
        var sums = Sums()
        if format == .q8_0 {
            var block = 0
            while block &* 32 < size {
                let base = keys + block &* quantizedKeyBytes
                var inner = Sums()
                var element = 0
                while element < 32 {
                    let key = simd_load_signed(base + (64 &+ element &* 32 &+ half &* 16))
                    add(key, queries + (block &* 32 &+ element) &* 8, 1, count, &inner)
                    element &+= 1
                }
                add(simd_load_halves(base + half &* 32), inner, count, &sums)
                block &+= 1
            }
        } else {
            var element = 0
            while element < size {
                let at = element &* 32 &+ half &* 16
                let key =
                    format == .f32
                    ? simd_load((keys + at &* 4).assumingMemoryBound(to: Float.self)) : simd_load_halves(keys + at &* 2)
                add(key, queries + element &* 8, 1, count, &sums)
                element &+= 1
            }
        }
        store(sums, scores + half &* 16, 32, count)
        half &+= 1
    }
}

@_transparent
private func score(
    _ format: Format, _ count: Int, dispatch queries: UnsafePointer<Float>, _ size: Int, _ keys: UnsafeRawPointer,
    _ scores: UnsafeMutablePointer<Float>
) {
    switch count {
    case 1: score(format, 1, queries, size, keys, scores)
    case 2: score(format, 2, queries, size, keys, scores)
    case 4: score(format, 4, queries, size, keys, scores)
    default: score(format, 8, queries, size, keys, scores)
    }
}

/// scores [count, 32] = queries [size, 8], of which the first `count` (1, 2, 4 or 8) matter, · the keys of a block.
/// keys: [size, 32]; Q8_0 as above. `format`: 0 F32, 1 F16, 2 Q8_0.
package func scoreBlock(
    format: Int, count: Int, queries: UnsafePointer<Float>, size: Int, keys: UnsafeRawPointer,
    scores: UnsafeMutablePointer<Float>
) {
    switch format {
    case 0: score(.f32, count, dispatch: queries, size, keys, scores)
    case 1: score(.f16, count, dispatch: queries, size, keys, scores)
    default: score(.q8_0, count, dispatch: queries, size, keys, scores)
    }
}

// MARK: Values

/// Elements 16·chunk to 16·chunk + 15 of a stored value.
@_transparent
private func load(_ value: UnsafeRawPointer, _ chunk: Int, _ format: Format) -> simd_floats {
    if format == .f32 { return simd_load((value + chunk &* 64).assumingMemoryBound(to: Float.self)) }
    if format == .f16 { return simd_load_halves(value + chunk &* 32) }
    let block = value + (chunk &>> 1) &* 34
    return simd_scale(simd_load_signed(block + (2 &+ (chunk & 1) &* 16)), simd_half(block))
}

/// One element behind the last whole chunk; blocks of Q8_0 leave none.
@inline(__always)
private func element(_ value: UnsafeRawPointer, _ index: Int, _ format: Format) -> Float {
    format == .f32 ? (value + index &* 4).loadUnaligned(as: Float.self) : simd_half(value + index &* 2)
}

@_transparent
private func weigh(
    _ format: Format, _ count: Int, _ weights: UnsafePointer<Float>, _ size: Int, _ values: UnsafeRawPointer,
    _ valueBytes: Int, _ from: Int, _ to: Int, _ results: UnsafeMutablePointer<Float>
) {
    var chunk = 0
    while chunk < size &>> 4 {
        var sums = Sums()
        load(results + chunk &* 16, size, count, &sums)
        var at = from
        while at < to {
            add(load(values + at &* valueBytes, chunk, format), weights + at, 32, count, &sums)
            at &+= 1
        }
        store(sums, results + chunk &* 16, size, count)
        chunk &+= 1
    }
    var index = size & ~15
    while index < size {
        var vector = 0
        while vector < count {
            var sum = results[vector &* size &+ index]
            var at = from
            while at < to {
                sum += weights[vector &* 32 &+ at] * element(values + at &* valueBytes, index, format)
                at &+= 1
            }
            results[vector &* size &+ index] = sum
            vector &+= 1
        }
        index &+= 1
    }
}

@_transparent
private func weigh(
    _ format: Format, _ count: Int, dispatch weights: UnsafePointer<Float>, _ size: Int, _ values: UnsafeRawPointer,
    _ valueBytes: Int, _ from: Int, _ to: Int, _ results: UnsafeMutablePointer<Float>
) {
    switch count {
    case 1: weigh(format, 1, weights, size, values, valueBytes, from, to, results)
    case 2: weigh(format, 2, weights, size, values, valueBytes, from, to, results)
    case 4: weigh(format, 4, weights, size, values, valueBytes, from, to, results)
    default: weigh(format, 8, weights, size, values, valueBytes, from, to, results)
    }
}

/// results [count, size] += weights [count, 32] · the values of tokens `from` ..< `to` of a block, `valueBytes` apart.
/// `count` is 1, 2, 4 or 8. `format` as for `scoreBlock`.
package func weighBlock(
    format: Int, count: Int, weights: UnsafePointer<Float>, size: Int, values: UnsafeRawPointer, valueBytes: Int,
    from: Int, to: Int, results: UnsafeMutablePointer<Float>
) {
    switch format {
    case 0: weigh(.f32, count, dispatch: weights, size, values, valueBytes, from, to, results)
    case 1: weigh(.f16, count, dispatch: weights, size, values, valueBytes, from, to, results)
    default: weigh(.q8_0, count, dispatch: weights, size, values, valueBytes, from, to, results)
    }
}
