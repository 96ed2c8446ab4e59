package import Formats
package import Kernels

/// The memory of keys and values, in blocks of `kvBlockTokens` tokens. It knows block numbers only; which block
/// belongs to whom is the scheduler's business.
package final class KVCache: @unchecked Sendable {
    package let format: KVFormat
    package let blocks: Int
    let layers: [KVLayer]
    private let storage: Storage

    package init(configuration: ModelConfiguration, format: KVFormat, blocks: Int) throws {
        let tokenBytes = try Self.tokenBytes(configuration, format)
        guard let perLayer = checkedProduct(blocks, kvBlockTokens, tokenBytes),
            let total = checkedProduct(perLayer, 2, configuration.layers), let storage = Storage(byteCount: total)
        else {
            throw Failure(.outOfMemoryBudget, "no memory for a KV cache of \(blocks) blocks of \(kvBlockTokens) tokens")
        }
        self.format = format
        self.blocks = blocks
        self.storage = storage
        layers = (0..<configuration.layers).compactMap { layer in
            KVLayer(
                keys: storage.base + 2 * layer * perLayer, values: storage.base + (2 * layer + 1) * perLayer,
                format: format, kvHeads: configuration.kvHeads, headDimension: configuration.headDimension)
        }
    }

    /// Copies the keys and values of a block in all layers.
    package func copy(from source: Int32, to target: Int32) {
        for layer in layers { layer.copy(from: Int(source), to: Int(target)) }
    }

    /// Moves keys and values of a sequence, bit for bit in all layers: what lies at `places` of its block table, in
    /// ascending order and none before `first`, goes to `first`, `first` + 1, …: the accepted rows of a tree.
    package func moveRows(from places: [Int], to first: Int, blocks: [Int32]) {
        for (offset, place) in places.enumerated() {
            // Front to back: no place is written before what lies there has moved.
            precondition(place >= first + offset, "rows move towards the front, in order")
            if place == first + offset { continue }
            for layer in layers { layer.copyRow(from: place, to: first + offset, blocks: blocks) }
        }
    }

    /// Bytes that one token takes in all layers, keys and values.
    package static func bytesPerToken(_ configuration: ModelConfiguration, _ format: KVFormat) throws -> Int {
        try tokenBytes(configuration, format) * 2 * configuration.layers
    }

    private static func tokenBytes(_ configuration: ModelConfiguration, _ format: KVFormat) throws -> Int {
        guard let head = format.bytes(of: configuration.headDimension) else {
            throw Failure.invalid(
                "kv_type q8_0 needs a head dimension that is a multiple of 32; this model has \(configuration.headDimension)"
            )
        }
        return head * configuration.kvHeads
    }
}
