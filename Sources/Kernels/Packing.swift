// Moving one row between the file's layout and its lane of a group. Where a byte of a cell lies: output `lane`,
// k = 4·step + i at byte 64·vector + 4·lane + i.

typealias MutableBytes = UnsafeMutablePointer<UInt8>

@inline(__always)
private func copy(_ from: Bytes, _ to: MutableBytes, _ count: Int) {
    for index in 0..<count { to[index] = from[index] }
}

func packWords(_ row: Bytes, _ lane: Int, _ columns: Int, _ size: Int, _ out: MutableBytes) {
    for k in 0..<columns { copy(row + k * size, out + (k * 16 + lane) * size, size) }
}

/// Two consecutive k of each of the 16 rows side by side.
func packPairs(_ row: Bytes, _ lane: Int, _ columns: Int, _ out: MutableBytes) {
    for k in 0..<columns { copy(row + k * 2, out + (k / 2 * 16 + lane) * 4 + k % 2 * 2, 2) }
}

func packQ8_0(_ row: Bytes, _ lane: Int, _ blocks: Int, _ out: MutableBytes) {
    for block in 0..<blocks {
        let (from, to) = (row + block * 34, out + block * 544)
        copy(from, to + lane * 2, 2)
        for k in 0..<32 { to[32 + k / 4 * 64 + lane * 4 + k % 4] = from[2 + k] ^ 0x80 }
    }
}

func expandPackedQ8_0(_ group: Bytes, _ lane: Int, _ blocks: Int, _ target: Floats) {
    for block in 0..<blocks {
        let cell = group + block * 544
        let scale = half(cell, lane * 2)
        for k in 0..<32 {
            let byte = cell[32 + k / 4 * 64 + lane * 4 + k % 4] ^ 0x80
            target[block * 32 + k] = Float(Int32(Int8(bitPattern: byte))) * scale
        }
    }
}

/// The nibble of element k in a packed cell of nibbles: steps j and j + 4 share vector j.
@inline(__always)
private func nibble(_ cell: Bytes, _ lane: Int, _ k: Int) -> UInt8 {
    let byte = cell[k % 16 / 4 * 64 + lane * 4 + k % 4]
    return k < 16 ? byte & 15 : byte >> 4
}

@inline(__always)
private func setNibble(_ cell: MutableBytes, _ lane: Int, _ k: Int, _ value: UInt8) {
    cell[k % 16 / 4 * 64 + lane * 4 + k % 4] |= k < 16 ? value : value << 4
}

func packQ4_0(_ row: Bytes, _ lane: Int, _ blocks: Int, _ out: MutableBytes) {
    for block in 0..<blocks {
        let (from, to) = (row + block * 18, out + block * 288)
        copy(from, to + lane * 2, 2)
        for k in 0..<16 {
            setNibble(to + 32, lane, k, from[2 + k] & 15)
            setNibble(to + 32, lane, k + 16, from[2 + k] >> 4)
        }
    }
}

func expandPackedQ4_0(_ group: Bytes, _ lane: Int, _ blocks: Int, _ target: Floats) {
    for block in 0..<blocks {
        let cell = group + block * 288
        let scale = half(cell, lane * 2)
        for k in 0..<32 { target[block * 32 + k] = Float(Int32(nibble(cell + 32, lane, k)) - 8) * scale }
    }
}

// MARK: K types

/// Element k of sub-block `sub` in the nibbles of Q4_K and Q5_K: two sub-blocks share 32 bytes.
@inline(__always)
private func storedNibble(_ quants: Bytes, _ sub: Int, _ k: Int) -> UInt8 {
    sub % 2 == 0 ? quants[sub / 2 * 32 + k] & 15 : quants[sub / 2 * 32 + k] >> 4
}

func packQ4K(_ row: Bytes, _ lane: Int, _ blocks: Int, _ out: MutableBytes) {
    for block in 0..<blocks {
        let (from, to) = (row + block * 144, out + block * 2368)
        packScales(from, lane, to, cellBytes: 288)
        for sub in 0..<8 {
            let cell = to + 64 + sub * 288 + 32
            for k in 0..<32 { setNibble(cell, lane, k, storedNibble(from + 16, sub, k)) }
        }
    }
}

func packQ5K(_ row: Bytes, _ lane: Int, _ blocks: Int, _ out: MutableBytes) {
    for block in 0..<blocks {
        let (from, to) = (row + block * 176, out + block * 2880)
        packScales(from, lane, to, cellBytes: 352)
        for sub in 0..<8 {
            let cell = to + 64 + sub * 352 + 32
            for k in 0..<32 {
                setNibble(cell, lane, k, storedNibble(from + 48, sub, k))
                let fifth = from[16 + k] >> UInt8(sub) & 1
                cell[256 + lane * 4 + k % 4] |= fifth << UInt8(k / 4)
            }
        }
    }
}

/// d, dmin and the scales and minima of eight sub-blocks, as bytes.
private func packScales(_ from: Bytes, _ lane: Int, _ to: MutableBytes, cellBytes: Int) {
    copy(from, to + lane * 2, 2)
    copy(from + 2, to + 32 + lane * 2, 2)
    for sub in 0..<8 {
        let (scale, minimum) = sixBits(from + 4, sub)
        to[64 + sub * cellBytes + lane] = UInt8(scale)
        to[64 + sub * cellBytes + 16 + lane] = UInt8(minimum)
    }
}

func expandPackedQ4K(_ group: Bytes, _ lane: Int, _ blocks: Int, _ target: Floats) {
    for block in 0..<blocks {
        let base = group + block * 2368
        for sub in 0..<8 {
            let cell = base + 64 + sub * 288
            let d = half(base, lane * 2) * Float(cell[lane])
            let m = half(base, 32 + lane * 2) * Float(cell[16 + lane])
            for k in 0..<32 { target[block * 256 + sub * 32 + k] = d * Float(nibble(cell + 32, lane, k)) - m }
        }
    }
}

func expandPackedQ5K(_ group: Bytes, _ lane: Int, _ blocks: Int, _ target: Floats) {
    for block in 0..<blocks {
        let base = group + block * 2880
        for sub in 0..<8 {
            let cell = base + 64 + sub * 352
            let d = half(base, lane * 2) * Float(cell[lane])
            let m = half(base, 32 + lane * 2) * Float(cell[16 + lane])
            for k in 0..<32 {
                let fifth = cell[288 + lane * 4 + k % 4] >> UInt8(k / 4) & 1
                target[block * 256 + sub * 32 + k] = d * Float(nibble(cell + 32, lane, k) | fifth << 4) - m
            }
        }
    }
}

func packQ6K(_ row: Bytes, _ lane: Int, _ blocks: Int, _ out: MutableBytes) {
    for block in 0..<blocks {
        let (from, to) = (row + block * 210, out + block * 3360)
        copy(from + 208, to + lane * 2, 2)
        for sub in 0..<8 {
            let cell = to + 32 + sub * 416
            cell[lane] = from[192 + sub * 2]
            cell[16 + lane] = from[192 + sub * 2 + 1]
            let (part, quarter) = (sub / 4, sub % 4)
            for k in 0..<32 {
                let low = from[part * 64 + quarter % 2 * 32 + k]
                setNibble(cell + 32, lane, k, quarter < 2 ? low & 15 : low >> 4)
                let pair = from[128 + part * 32 + k] >> UInt8(2 * quarter) & 3
                cell[288 + k / 16 * 64 + lane * 4 + k % 4] |= pair << UInt8(2 * (k % 16 / 4))
            }
        }
    }
}

func expandPackedQ6K(_ group: Bytes, _ lane: Int, _ blocks: Int, _ target: Floats) {
    for block in 0..<blocks {
        let base = group + block * 3360
        for sub in 0..<8 {
            let cell = base + 32 + sub * 416
            for k in 0..<32 {
                let d = half(base, lane * 2) * Float(Int8(bitPattern: cell[k / 16 * 16 + lane]))
                let pair = cell[288 + k / 16 * 64 + lane * 4 + k % 4] >> UInt8(2 * (k % 16 / 4)) & 3
                target[block * 256 + sub * 32 + k] = d * Float(Int32(nibble(cell + 32, lane, k) | pair << 4) - 32)
            }
        }
    }
}
