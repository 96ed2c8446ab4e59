// Feeds mutated files, texts and requests to everything that reads untrusted input. An input that aborts the process
// is left in the work folder as `last-<kind>`; the seed makes a run repeatable.
//
// usage: ftk-fuzz SECONDS SEED WORK_FOLDER FIXTURE_FOLDER

import Engine
import Formats
import Glibc
import Kernels
import Model
import Scheduling
import Speculation

struct Random {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
    mutating func below(_ limit: Int) -> Int { limit > 0 ? Int(next() % UInt64(limit)) : 0 }
}

/// Changes a few places of `bytes`: bits, interesting integers, pieces moved, the end cut off.
func mutated(_ bytes: [UInt8], _ random: inout Random) -> [UInt8] {
    var result = bytes
    // Headers matter most: half of all changes fall into the first part.
    func place(_ random: inout Random) -> Int {
        random.below(random.below(2) == 0 ? min(result.count, 4096) : result.count)
    }
    for _ in 0...random.below(6) where !result.isEmpty {
        let at = place(&random)
        switch random.below(6) {
        case 0: result[at] ^= 1 << UInt8(random.below(8))
        case 1: result[at] = UInt8(truncatingIfNeeded: random.next())
        case 2:
            let values: [UInt64] = [0, 1, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 62, .max, 1 << 63, 0x7FC0_0000, UInt64(at)]
            let value = values[random.below(values.count)]
            for offset in 0..<[1, 2, 4, 8][random.below(4)] where at + offset < result.count {
                result[at + offset] = UInt8(truncatingIfNeeded: value >> UInt64(8 * offset))
            }
        case 3: result.removeLast(random.below(min(result.count, 2048)))
        case 4: result.removeSubrange(at..<min(result.count, at + 1 + random.below(32)))
        default:
            let from = place(&random)
            result.insert(contentsOf: Array(result[from..<min(result.count, from + 1 + random.below(32))]), at: at)
        }
    }
    return result
}

func writeFile(_ path: String, _ bytes: [UInt8]) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
    guard descriptor >= 0 else { return }
    var done = 0
    while done < bytes.count {
        let count = bytes[done...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard count > 0 else { break }
        done += count
    }
    close(descriptor)
}

/// Loads a model and generates a little with it.
func exercise(_ path: String) throws {
    let model = try LanguageModel(path: path, threads: 1)
    var options = EngineOptions()
    options.threads = 1
    options.policy = .static
    options.kvBudgetBytes = 1 << 24
    let engine = try InferenceEngine(target: model, options: options)
    defer { engine.stop() }
    var request = RequestOptions()
    request.prompt = .text("def main(): x x x")
    request.maxTokens = 4
    request.logprobs = 2
    _ = try engine.submit(request)
    while try engine.step() { _ = engine.poll(timeout: 0) }
}

/// Compiles a grammar and writes a little with it.
func exercise(_ grammar: Grammar, _ random: inout Random) throws {
    let trie = try TokenTrie(vocabularySize: 300) { token in
        token < 256 ? [UInt8(truncatingIfNeeded: token)] : Array("{\"a\": 1, é}".utf8.dropFirst(Int(token) % 7))
    }
    var constraint = GrammarConstraint(GrammarMask(grammar, trie, endTokens: [299]))
    for _ in 0..<random.below(40) where !constraint.hasEnded {
        let allowed = try constraint.allowed()
        let choices = (0..<Int32(300)).filter { allowed.contains($0) }
        try constraint.advance(choices[random.below(choices.count)])
        _ = constraint.forcedTokens(limit: 8)
    }
}

let fuzzedGrammar = """
    root ::= "{" ws (pair ("," ws pair)*)? "}"   # a comment
    pair ::= "\\"" [^"\\\\\\x00-\\x1F]{1,8} "\\":" ws (number | root | ("true" | "\\u00e9") ws)
    number ::= "-"? ([0-9] | [1-9] [0-9]{0,15}) ("." [0-9]+)? ws
    ws ::= | " " | "\\n" [ \\t]{0,20}
    """
let fuzzedSchema = ##"""
    {"$defs": {"n": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/o"}]}, "o": {"type": "object", "properties": {
        "v": {"type": "integer", "minimum": -3, "exclusiveMaximum": 205}, "n": {"$ref": "#/$defs/n"},
        "s": {"type": ["string", "number"], "maxLength": 5}, "p": {"pattern": "^(a|\\d{2,3})+[^\\s]?$"}},
        "required": ["v", "n"], "additionalProperties": {"type": ["array", "string"]}}},
     "allOf": [{"$ref": "#/$defs/o"}, {"properties": {"t": {"items": {"enum": ["x", 1.5, {"y": []}]}, "minItems": 1}}}]}
    """##

let arguments = CommandLine.arguments
guard arguments.count == 5, let seconds = Int64(arguments[1]), let seed = UInt64(arguments[2]) else {
    print("usage: ftk-fuzz SECONDS SEED WORK_FOLDER FIXTURE_FOLDER")
    exit(2)
}
let (work, fixtures) = (arguments[3], arguments[4])
mkdir(work, 0o755)
var random = Random(state: seed)
let names = ["llama3", "qwen3", "llama-bias", "llama31"]
let end = monotonicMicroseconds() + seconds * 1_000_000
var (runs, accepted) = (0, 0)
var kinds: [String: [UInt8]] = [:]
for name in names {
    kinds["gguf-\(name)"] = try FileSource.contents(of: "\(fixtures)/models/\(name)/model.gguf", limit: 1 << 24)
    for file in ["model.safetensors", "tokenizer.json", "config.json"] {
        kinds["\(file)-\(name)"] = try FileSource.contents(of: "\(fixtures)/models/\(name)/hf/\(file)", limit: 1 << 24)
    }
}
kinds["template"] = Array(ChatTemplateName.llama3.source.utf8)
kinds["gbnf"] = Array(fuzzedGrammar.utf8)
kinds["schema"] = Array(fuzzedSchema.utf8)
let order = kinds.keys.sorted()

while monotonicMicroseconds() < end {
    let kind = order[random.below(order.count)]
    guard let original = kinds[kind] else { continue }
    let input = mutated(original, &random)
    let last = "\(work)/last-\(kind)"
    writeFile(last, input)
    do {
        if kind.hasPrefix("gguf"), random.below(4) == 0 {
            let recipe = QuantizationRecipe.allCases[random.below(QuantizationRecipe.allCases.count)]
            let quantizer = try ModelQuantizer(path: last, recipe: recipe)
            _ = try quantizer.write(to: "\(work)/quantized", force: true, pool: ThreadPool(threads: 1))
        } else if kind.hasPrefix("gguf") {
            try exercise(last)
        } else if kind == "template" {
            let template = try ChatTemplate(String(decoding: input, as: UTF8.self))
            _ = try template.render([ChatMessage(role: "user", content: "hello <|eot_id|>")])
        } else if kind == "gbnf" {
            try exercise(Grammar(gbnf: String(decoding: input, as: UTF8.self)), &random)
        } else if kind == "schema" {
            try exercise(Grammar(jsonSchema: String(decoding: input, as: UTF8.self)), &random)
        } else if let dash = kind.lastIndex(of: "-") {
            let folder = "\(work)/folder"
            mkdir(folder, 0o755)
            for file in ["model.safetensors", "tokenizer.json", "config.json"] {
                let own = file == kind[..<dash] ? input : kinds["\(file)-\(kind[dash...].dropFirst())"]
                writeFile("\(folder)/\(file)", own ?? [])
            }
            try exercise(folder)
        }
        accepted += 1
    } catch is Failure {}
    unlink(last)
    runs += 1
}
print("\(runs) inputs, \(accepted) of them accepted, none aborted; seed \(seed)")
