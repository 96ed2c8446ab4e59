import CSIMD

// The two products of attention over one block of the KV cache, for one row and the query heads that share a KV head.
// A head is worked on in chunks of 16 elements, and what is left over one by one.

private enum Format { case f32, f16, q8_0 }

/// Elements 16·chunk to 16·chunk + 15 of a stored head.
@inline(__always)
private func load(_ head: UnsafeRawPointer, _ chunk: Int, _ format: Format) -> simd_floats {
    switch format {
    case .f32: return simd_load((head + chunk &* 64).assumingMemoryBound(to: Float.self))
    case .f16: return simd_load_halves(head + chunk &* 32)
    case .q8_0:
        let block = head + (chunk &>> 1) &* 34
        return simd_scale(simd_load_signed(block + (2 &+ (chunk & 1) &* 16)), simd_half(block))
    }
}

/// One element behind the last whole chunk; blocks of Q8_0 leave none.
@inline(__always)
private func element(_ head: UnsafeRawPointer, _ index: Int, _ format: Format) -> Float {
    format == .f32 ? (head + index &* 4).loadUnaligned(as: Float.self) : simd_half(head + index &* 2)
}

@inline(__always)
private func score(
    _ format: Format, _ queries: UnsafePointer<Float>, _ group: Int, _ size: Int, _ keys: UnsafeRawPointer,
    _ tokenBytes: Int, _ count: Int, _ scale: Float, _ scores: UnsafeMutablePointer<Float>, _ stride: Int
) {
    let chunks = size &>> 4
    var at = 0
    while at < count {
        let key = keys + at &* tokenBytes
        var head = 0
        while head < group {
            let query = queries + head &* size
            var sums = simd_zero()
            var chunk = 0
            while chunk < chunks {
                sums = simd_fma(load(key, chunk, format), simd_load(query + chunk &* 16), sums)
                chunk &+= 1
            }
            var sum = simd_sum(sums)
            var index = chunks &* 16
            while index < size {
                sum += query[index] * element(key, index, format)
                index &+= 1
            }
            scores[head &* stride &+ at] = sum * scale
            head &+= 1
        }
        at &+= 1
    }
}

@inline(__always)
private func weigh(
    _ format: Format, _ weights: UnsafePointer<Float>, _ stride: Int, _ group: Int, _ size: Int,
    _ values: UnsafeRawPointer, _ tokenBytes: Int, _ count: Int, _ results: UnsafeMutablePointer<Float>
) {
    let chunks = size &>> 4
    var head = 0
    while head < group {
        let weight = weights + head &* stride
        let result = results + head &* size
        var chunk = 0
        while chunk < chunks {
            var sums = simd_load(result + chunk &* 16)
            var at = 0
            while at < count {
                sums = simd_fma_scalar(load(values + at &* tokenBytes, chunk, format), weight[at], sums)
                at &+= 1
            }
            simd_store(result + chunk &* 16, sums)
            chunk &+= 1
        }
        var index = chunks &* 16
        while index < size {
            var sum = result[index]
            var at = 0
            while at < count {
                sum += weight[at] * element(values + at &* tokenBytes, index, format)
                at &+= 1
            }
            result[index] = sum
            index &+= 1
        }
        head &+= 1
    }
}

/// scores[head, position] = query[head]·key[position]·scale for `count` positions; heads of scores are `stride` apart.
/// queries: [group, size]; keys: the KV head at the first position, positions `tokenBytes` apart.
/// `format`: 0 F32, 1 F16, 2 Q8_0.
package func scoreBlock(
    format: Int, queries: UnsafePointer<Float>, group: Int, size: Int, keys: UnsafeRawPointer, tokenBytes: Int,
    count: Int, scale: Float, scores: UnsafeMutablePointer<Float>, stride: Int
) {
    switch format {
    case 0: score(.f32, queries, group, size, keys, tokenBytes, count, scale, scores, stride)
    case 1: score(.f16, queries, group, size, keys, tokenBytes, count, scale, scores, stride)
    default: score(.q8_0, queries, group, size, keys, tokenBytes, count, scale, scores, stride)
    }
}

/// results[head] += Σ weight[head, position]·value[position]; the layouts of `scoreBlock`.
package func weighBlock(
    format: Int, weights: UnsafePointer<Float>, stride: Int, group: Int, size: Int, values: UnsafeRawPointer,
    tokenBytes: Int, count: Int, results: UnsafeMutablePointer<Float>
) {
    switch format {
    case 0: weigh(.f32, weights, stride, group, size, values, tokenBytes, count, results)
    case 1: weigh(.f16, weights, stride, group, size, values, tokenBytes, count, results)
    default: weigh(.q8_0, weights, stride, group, size, values, tokenBytes, count, results)
    }
}
