/// A model on disk: its configuration and the places of its tensors, under the names that GGUF uses.
package struct Checkpoint: Sendable {
    package let path: String
    /// The file's own name for the model; "" where it has none.
    package let name: String
    package let configuration: ModelConfiguration
    package let tensors: [String: TensorEntry]
    private let gguf: GGUF?

    /// A GGUF file or a Hugging Face folder; reads headers only.
    package init(path: String) throws {
        self.path = path
        if isDirectory(path) {
            gguf = nil
            name = path.split(separator: "/").last.map(String.init) ?? ""
            configuration = try ModelConfiguration(folder: path)
            tensors = try Self.folderTensors(path, tied: configuration.tiesEmbeddings)
        } else {
            let file = try GGUF(path: path)
            gguf = file
            name = try file.string("general.name") ?? ""
            configuration = try ModelConfiguration(gguf: file)
            tensors = Dictionary(file.tensors.map { ($0.name, $0) }) { first, _ in first }
        }
    }

    package func tokenizer() throws -> Tokenizer {
        let tokenizer = try gguf.map { try Tokenizer(gguf: $0) } ?? Tokenizer(folder: path)
        guard tokenizer.vocabularySize <= configuration.vocabularySize else {
            throw Failure.corrupt(
                "\(path): the tokenizer has \(tokenizer.vocabularySize) tokens, but the embedding only \(configuration.vocabularySize) rows"
            )
        }
        return tokenizer
    }

    private static func folderTensors(_ folder: String, tied: Bool) throws -> [String: TensorEntry] {
        var result: [String: TensorEntry] = [:]
        for shard in try shards(of: folder) {
            let file = try Safetensors(path: shard)
            for entry in file.entries {
                guard let name = canonicalName(entry.name), !(tied && name == "output.weight") else { continue }
                guard result.updateValue(try file.tensor(entry, named: name), forKey: name) == nil else {
                    throw Failure.corrupt("\(shard): tensor \(entry.name) appears twice")
                }
            }
        }
        return result
    }

    private static func shards(of folder: String) throws -> [String] {
        let index = folder + "/model.safetensors.index.json"
        guard fileExists(index) else { return [folder + "/model.safetensors"] }
        let json: JSON
        do {
            json = try JSON(parsing: FileSource.contents(of: index, limit: 256 << 20))
        } catch let failure as Failure where failure.code == .corruptFile {
            throw failure.prefixed(index)
        }
        guard let map = json["weight_map"]?.members else { throw Failure.corrupt("\(index): weight_map is missing") }
        let names = map.compactMap(\.value.string)
        guard names.count == map.count, names.allSatisfy({ !$0.contains("/") && !$0.contains("\0") && $0 != ".." })
        else {
            throw Failure.corrupt("\(index): weight_map must name files of the same folder")
        }
        return Set(names).sorted().map { "\(folder)/\($0)" }
    }

    /// The GGUF name of a Hugging Face tensor; nil for what a forward pass does not use (such as stored RoPE tables).
    static func canonicalName(_ name: String) -> String? {
        let whole = [
            "model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
            "lm_head.weight": "output.weight",
        ]
        if let known = whole[name] { return known }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count >= 5, parts[0] == "model", parts[1] == "layers", let layer = Int(parts[2]),
            let kind = parts.last, kind == "weight" || kind == "bias"
        else { return nil }
        let modules = [
            "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
            "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
            "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
            "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
        ]
        return modules[parts[3..<parts.count - 1].joined(separator: ".")].map { "blk.\(layer).\($0).\(kind)" }
    }
}

extension Tokenizer {
    /// The tokenizer of a GGUF file (vocabulary-only files too) or of a Hugging Face folder.
    package convenience init(path: String) throws {
        if isDirectory(path) {
            try self.init(folder: path)
        } else {
            try self.init(gguf: GGUF(path: path, metadataOnly: true))
        }
    }
}
