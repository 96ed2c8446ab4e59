package import Formats

/// A model of the llama architecture with random weights of one type, to be written as a GGUF file.
package struct TinyLlama: Sendable {
    package struct Shape: Sendable {
        package var width = 256
        package var feedForward = 256
        package var layers = 2
        package var heads = 4
        package var kvHeads = 2
        package init() {}

        package var headDimension: Int { width / heads }
    }

    package let shape: Shape
    package let vocabularySize: Int
    package var file: GGUFWriter

    /// The tokenizer is that of the fixture `llama2`.
    package init(_ type: TensorType, shape: Shape = Shape(), version: UInt32 = 3, seed: UInt64 = 1) throws {
        let source = try GGUF(path: testFile("ModelTests/Fixtures/models/llama2/model.gguf"))
        var random = SplitMix64(seed: seed)
        self.shape = shape
        vocabularySize = try source.strings("tokenizer.ggml.tokens")?.count ?? 0
        file = GGUFWriter()
        file.version = version
        setMetadata()
        file.copy("tokenizer.", from: source)
        addTensors(type, &random)
    }

    private mutating func setMetadata() {
        file.set("general.architecture", .text("llama"))
        file.set("general.name", .text("tiny"))
        let numbers = [
            "block_count": shape.layers, "embedding_length": shape.width, "feed_forward_length": shape.feedForward,
            "attention.head_count": shape.heads, "attention.head_count_kv": shape.kvHeads, "context_length": 512,
            "vocab_size": vocabularySize, "rope.dimension_count": shape.headDimension,
        ]
        for (key, value) in numbers.sorted(by: { $0.key < $1.key }) {
            file.set("llama.\(key)", .uint32(UInt32(value)))
        }
        file.set("llama.attention.layer_norm_rms_epsilon", .float32(1e-5))
        file.set("llama.rope.freq_base", .float32(10_000))
    }

    private mutating func addTensors(_ type: TensorType, _ random: inout SplitMix64) {
        func vector(_ name: String, _ count: Int) {
            file.add(name, .f32, shape: [count], littleEndian(random.floats(count, bound: 0.5).map { $0 + 1 }))
        }
        func matrix(_ name: String, _ rows: Int, _ columns: Int) {
            // About the size that keeps activations near 1.
            let bound = 2 / Float(columns).squareRoot()
            file.add(
                name, type, shape: [rows, columns], type.randomBlocks(rows * columns, bound: bound, using: &random))
        }
        let (width, inner) = (shape.width, shape.feedForward)
        let keys = shape.kvHeads * shape.headDimension
        matrix("token_embd.weight", vocabularySize, width)
        for layer in 0..<shape.layers {
            let prefix = "blk.\(layer)."
            vector(prefix + "attn_norm.weight", width)
            matrix(prefix + "attn_q.weight", width, width)
            matrix(prefix + "attn_k.weight", keys, width)
            matrix(prefix + "attn_v.weight", keys, width)
            matrix(prefix + "attn_output.weight", width, width)
            vector(prefix + "ffn_norm.weight", width)
            matrix(prefix + "ffn_gate.weight", inner, width)
            matrix(prefix + "ffn_up.weight", inner, width)
            matrix(prefix + "ffn_down.weight", width, inner)
        }
        vector("output_norm.weight", width)
        matrix("output.weight", vocabularySize, width)
    }

    /// The same model with every tensor expanded to F32.
    package var expanded: TinyLlama {
        var twin = self
        for index in twin.file.tensors.indices {
            guard let type = TensorType(rawValue: twin.file.tensors[index].type), type != .f32 else { continue }
            twin.file.tensors[index].bytes = littleEndian(type.expanded(twin.file.tensors[index].bytes))
            twin.file.tensors[index].type = TensorType.f32.rawValue
        }
        return twin
    }

    /// Changes the tensor `name`.
    package mutating func change(_ name: String, _ body: (inout GGUFWriter.Tensor) -> Void) {
        for index in file.tensors.indices where file.tensors[index].name == name { body(&file.tensors[index]) }
    }
}
