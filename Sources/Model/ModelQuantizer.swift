package import Formats
package import Kernels

/// Writes a GGUF file again with its matrices in other types. Tensors pass through in pieces: neither file is ever in
/// memory as a whole.
package struct ModelQuantizer {
    private let source: GGUF
    private let layout: GGUFLayout
    /// Elements of a piece: whole blocks of every type.
    private static let pieceElements = 1 << 18

    /// Reads the header only.
    package init(path: String, recipe: QuantizationRecipe) throws {
        guard !isDirectory(path) else {
            throw Failure.unsupported("\(path) is a folder; only GGUF files can be quantised")
        }
        let file = try GGUF(path: path)
        if let parts = try file.int("split.count"), parts > 1 {
            throw Failure.unsupported("\(path) is one of \(parts) parts of a model; merge them first")
        }
        let configuration = try ModelConfiguration(gguf: file)
        let tensors = file.tensors.map { entry in
            let type = recipe.type(of: entry.name, stored: entry.type, shape: entry.shape, in: configuration)
            return GGUFLayout.Tensor(name: entry.name, type: type, shape: entry.shape)
        }
        // 2: the layout of blocks that has been in use since GGUF began.
        let metadata = try file.metadataEntries(setting: [
            ("general.file_type", recipe.fileType), ("general.quantization_version", 2),
        ])
        layout = try GGUFLayout(metadata: metadata, tensors: tensors, alignment: file.alignment)
        source = file
    }

    /// Writes the file to `path`. What stands there is replaced only if `force`, and only when the new file is whole.
    package func write(
        to path: String, force: Bool, pool: ThreadPool, progress: LoadProgress? = nil
    ) throws -> QuantizationReport {
        let file = try PartialFile(path: path, force: force, sources: [source.file])
        var report = QuantizationReport(inputBytes: source.file.size, outputBytes: layout.fileBytes)
        let total = source.tensors.reduce(0) { $0 + $1.byteCount }
        var done = 0
        try file.append(layout.header)
        for (index, entry) in source.tensors.enumerated() {
            let conversion = try TensorConversion(entry, to: layout.tensors[index].type)
            var sums = ErrorSums()
            for wave in conversion.waves(elements: Self.pieceElements, pieces: 2 * pool.threads) {
                if let progress, !progress(done, total) {
                    throw Failure(.cancelled, "quantising \(source.file.path) was interrupted")
                }
                for piece in try conversion.run(wave, pool: pool) {
                    try file.append(piece.bytes)
                    sums.add(piece.sums)
                }
                done += wave.reduce(0) { $0 + conversion.sourceBytes($1.count) }
            }
            try file.append(layout.padding(after: layout.byteCounts[index]))
            report.add(conversion.type, bytes: layout.byteCounts[index], sums)
        }
        try file.finish()
        if let progress { _ = progress(total, total) }
        return report
    }
}

/// What a file was made of.
package struct QuantizationReport: Sendable {
    package struct OfType: Sendable {
        package let type: TensorType
        package fileprivate(set) var tensors = 0
        package fileprivate(set) var bytes = 0
        fileprivate var sums = ErrorSums()

        /// The root of the mean square of the errors, relative to that of the elements.
        package var relativeError: Double { sums.squares > 0 ? (sums.errors / sums.squares).squareRoot() : 0 }
    }

    package let inputBytes: Int
    package let outputBytes: Int
    /// In the order of their first tensors.
    package private(set) var types: [OfType] = []

    fileprivate init(inputBytes: Int, outputBytes: Int) {
        self.inputBytes = inputBytes
        self.outputBytes = outputBytes
    }

    fileprivate mutating func add(_ type: TensorType, bytes: Int, _ sums: ErrorSums) {
        let index = types.firstIndex { $0.type == type } ?? types.count
        if index == types.count { types.append(OfType(type: type)) }
        types[index].tensors += 1
        types[index].bytes += bytes
        types[index].sums.add(sums)
    }
}

private struct ErrorSums: Sendable {
    var errors = 0.0
    var squares = 0.0

    mutating func add(_ other: ErrorSums) {
        errors += other.errors
        squares += other.squares
    }
}

/// One tensor on its way from one type to another.
private struct TensorConversion {
    let entry: TensorEntry
    let type: TensorType
    /// nil: the bytes stay.
    private let format: QuantizedFormat?
    private let elements: Int

    struct Piece: Sendable {
        var bytes: [UInt8] = []
        var sums = ErrorSums()
    }

    init(_ entry: TensorEntry, to type: TensorType) throws {
        self.entry = entry
        self.type = type
        format = entry.type == type ? nil : QuantizedFormat(type.blockFormat)
        guard let elements = checkedProduct(entry.byteCount / entry.type.blockBytes, entry.type.blockElements),
            elements <= Int.max / 2
        else {
            throw Failure.invalid("\(entry.file.path): tensor \(entry.name) has too many elements")
        }
        self.elements = elements
        guard format != nil || entry.type == type else {
            throw Failure(.unsupportedQuantization, "\(type.name) cannot be written")
        }
    }

    func sourceBytes(_ elements: Int) -> Int { elements / entry.type.blockElements * entry.type.blockBytes }

    /// The elements in groups of pieces that are in memory together.
    func waves(elements size: Int, pieces: Int) -> some Sequence<[Range<Int>]> {
        stride(from: 0, to: elements, by: size * pieces).lazy.map { first in
            stride(from: first, to: min(first + size * pieces, elements), by: size).map {
                $0..<min($0 + size, elements)
            }
        }
    }

    func run(_ wave: [Range<Int>], pool: ThreadPool) throws -> [Piece] {
        var pieces = [Piece](repeating: Piece(), count: wave.count)
        let problem = FirstFailure()
        pieces.withUnsafeMutableBufferPointer { pieces in
            pool.run(wave.count) { _, item in problem.record { pieces[item] = try convert(wave[item]) } }
        }
        try problem.check()
        return pieces
    }

    private func convert(_ range: Range<Int>) throws -> Piece {
        let start = entry.offset + sourceBytes(range.lowerBound)
        let stored = try entry.file.read(count: sourceBytes(range.count), at: start)
        let values = expanded(stored, entry.type, range.count)
        guard allFinite(values, count: values.count) else {
            throw Failure.corrupt("\(entry.file.path): tensor \(entry.name) holds a value that is not finite")
        }
        guard let format else { return Piece(bytes: stored, sums: ErrorSums(squares: squares(values))) }
        var piece = Piece(bytes: quantized(values, format))
        let result = expanded(piece.bytes, type, values.count)
        piece.sums = ErrorSums(errors: squares(zip(values, result).map { $0 - $1 }), squares: squares(values))
        // Scales are binary16: what they cannot express became infinite.
        guard piece.sums.errors.isFinite else {
            throw Failure.invalid(
                "\(entry.file.path): tensor \(entry.name) holds values that are too large for \(type.name)")
        }
        return piece
    }

    private func expanded(_ bytes: [UInt8], _ type: TensorType, _ count: Int) -> [Float] {
        [Float](unsafeUninitializedCapacity: count) { target, used in
            bytes.withUnsafeBytes { source in
                guard let from = source.baseAddress, let to = target.baseAddress else { return }
                dequantize(type.blockFormat, from, count: count, into: to)
            }
            used = count
        }
    }

    private func quantized(_ values: [Float], _ format: QuantizedFormat) -> [UInt8] {
        let byteCount = values.count / type.blockElements * type.blockBytes
        return [UInt8](unsafeUninitializedCapacity: byteCount) { target, used in
            values.withUnsafeBufferPointer { source in
                guard let from = source.baseAddress, let to = target.baseAddress else { return }
                format.quantize(from, count: values.count, into: to)
            }
            used = byteCount
        }
    }

    private func squares(_ values: [Float]) -> Double { values.reduce(0) { $0 + Double($1) * Double($1) } }
}
