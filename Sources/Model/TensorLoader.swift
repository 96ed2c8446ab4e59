package import Formats
package import Kernels

/// What a load reports to: bytes done and in all; false asks to stop.
package typealias LoadProgress = (_ done: Int, _ total: Int) -> Bool

/// The tensors that a model of some configuration needs, found and checked before anything is read.
struct TensorLoader {
    let checkpoint: Checkpoint
    private(set) var pieces: [Piece] = []
    private(set) var storages: [Storage] = []
    private(set) var parameters = 0
    private(set) var weightsBytes = 0
    /// Elements of matrices per type, to tell what a model is mostly made of.
    private(set) var elementsByType: [TensorType: Int] = [:]
    /// What each matrix takes in memory.
    private(set) var matrixSizes: [String: MatrixSize] = [:]
    private let allocates: Bool

    /// A stretch of a file and where it goes: as it is, or interleaved by groups of 16 rows.
    struct Piece: @unchecked Sendable {
        let entry: TensorEntry
        let start: Int
        let count: Int
        let target: UnsafeMutableRawPointer
        var packing: Packing?
    }
    struct Packing: Sendable {
        let format: PackedFormat
        let columns: Int
        let rowBytes: Int
        let groupBytes: Int
    }
    private static let pieceBytes = 1 << 20

    /// Without `allocates` the loader only counts.
    init(checkpoint: Checkpoint, allocates: Bool) {
        self.checkpoint = checkpoint
        self.allocates = allocates
    }

    func has(_ name: String) -> Bool { checkpoint.tensors[name] != nil }

    private func entry(_ name: String, shape: [Int]) throws -> TensorEntry {
        guard let entry = checkpoint.tensors[name] else {
            throw Failure.corrupt("\(checkpoint.path): tensor \(name) is missing")
        }
        guard entry.shape == shape else {
            throw Failure.corrupt(
                "\(checkpoint.path): tensor \(name) has the shape \(entry.shape); the configuration wants \(shape)")
        }
        return entry
    }

    private mutating func allocate(_ byteCount: Int, for name: String) throws -> UnsafeMutableRawPointer? {
        weightsBytes += byteCount
        guard allocates else { return nil }
        guard let storage = Storage(byteCount: byteCount, readInOrder: true) else {
            throw Failure(.outOfMemoryBudget, "no memory for the \(byteCount) bytes of tensor \(name)")
        }
        storages.append(storage)
        return storage.base
    }

    /// A matrix [rows, columns], interleaved for the product kernels where there is a layout for its type.
    mutating func matrix(_ name: String, rows: Int, columns: Int, packs: Bool = true) throws -> WeightMatrix? {
        let entry = try entry(name, shape: [rows, columns])
        parameters += rows * columns
        elementsByType[entry.type, default: 0] += rows * columns
        let format = entry.type.blockFormat
        let rowBytes = entry.byteCount / rows
        guard packs, let packed = PackedFormat(format) else {
            matrixSizes[name] = MatrixSize(rows: rows, columns: columns, bytes: entry.byteCount)
            guard let target = try allocate(entry.byteCount, for: name) else { return nil }
            for start in stride(from: 0, to: entry.byteCount, by: Self.pieceBytes) {
                let count = min(Self.pieceBytes, entry.byteCount - start)
                pieces.append(Piece(entry: entry, start: start, count: count, target: target + start))
            }
            return WeightMatrix(
                data: UnsafeRawPointer(target), format: format, rows: rows, columns: columns,
                layout: .rows(bytes: rowBytes))
        }
        let groups = (rows + 15) / 16
        guard let groupBytes = packed.groupBytes(columns: columns), let total = checkedProduct(groups, groupBytes)
        else {
            throw Failure(.outOfMemoryBudget, "tensor \(name) exceeds the address space")
        }
        matrixSizes[name] = MatrixSize(rows: rows, columns: columns, bytes: total)
        guard let target = try allocate(total, for: name) else { return nil }
        let packing = Packing(format: packed, columns: columns, rowBytes: rowBytes, groupBytes: groupBytes)
        let step = max(1, Self.pieceBytes / (16 * rowBytes)) * 16
        for first in stride(from: 0, to: rows, by: step) {
            pieces.append(
                Piece(
                    entry: entry, start: first * rowBytes, count: min(step, rows - first) * rowBytes,
                    target: target + first / 16 * groupBytes, packing: packing))
        }
        return WeightMatrix(
            data: UnsafeRawPointer(target), format: format, rows: rows, columns: columns,
            layout: .groups(packed, bytes: groupBytes))
    }

    /// A vector [count], expanded to floats at once.
    mutating func vector(_ name: String, count: Int) throws -> UnsafePointer<Float>? {
        let entry = try entry(name, shape: [count])
        parameters += count
        guard let target = try allocate(count * 4, for: name) else { return nil }
        let bytes = try entry.file.read(count: entry.byteCount, at: entry.offset)
        let floats = target.assumingMemoryBound(to: Float.self)
        bytes.withUnsafeBytes { raw in
            guard let base = raw.baseAddress else { return }
            dequantize(entry.type.blockFormat, base, count: count, into: floats)
        }
        return UnsafePointer(floats)
    }

    /// Reads all pieces, in waves between which `progress` is asked.
    func read(pool: ThreadPool, progress: LoadProgress?) throws {
        let total = pieces.reduce(0) { $0 + $1.count }
        var done = 0
        let wave = 4 * pool.threads
        let problem = FirstFailure()
        for start in stride(from: 0, to: pieces.count, by: wave) {
            if let progress, !progress(done, total) { throw Self.cancelled(checkpoint.path) }
            let part = pieces[start..<min(start + wave, pieces.count)]
            pool.run(part.count) { _, item in
                let piece = part[start + item]
                problem.record { try piece.read() }
            }
            try problem.check()
            done += part.reduce(0) { $0 + $1.count }
        }
        if let progress, !progress(total, total) { throw Self.cancelled(checkpoint.path) }
    }

    private static func cancelled(_ path: String) -> Failure {
        Failure(.cancelled, "loading \(path) was cancelled by the progress callback")
    }
}

extension TensorLoader.Piece {
    /// Fills the target from the file.
    func read() throws {
        guard let packing else {
            let buffer = UnsafeMutableRawBufferPointer(start: target, count: count)
            return try entry.file.read(into: buffer, at: entry.offset + start)
        }
        let bytes = try entry.file.read(count: count, at: entry.offset + start)
        let rows = count / packing.rowBytes
        bytes.withUnsafeBytes { raw in
            guard let base = raw.baseAddress else { return }
            for first in stride(from: 0, to: rows, by: 16) {
                packing.format.pack(
                    base + first * packing.rowBytes, count: min(16, rows - first), rowBytes: packing.rowBytes,
                    columns: packing.columns, into: target + first / 16 * packing.groupBytes)
            }
        }
    }
}

/// The first error of several threads.
final class FirstFailure: @unchecked Sendable {
    private let lock = Lock()
    private var failure: (any Error)?

    func record(_ body: () throws -> Void) {
        do { try body() } catch { lock.withLock { failure = failure ?? error } }
    }

    func check() throws {
        if let failure { throw failure }
    }
}

extension TensorType {
    package var blockFormat: BlockFormat {
        switch self {
        case .f32: .f32
        case .f16: .f16
        case .bf16: .bf16
        case .q8_0: .q8_0
        case .q4_0: .q4_0
        case .q4_1: .q4_1
        case .q5_0: .q5_0
        case .q5_1: .q5_1
        case .q2_K: .q2_K
        case .q3_K: .q3_K
        case .q4_K: .q4_K
        case .q5_K: .q5_K
        case .q6_K: .q6_K
        case .iq4_NL: .iq4_NL
        case .iq4_XS: .iq4_XS
        }
    }
}
