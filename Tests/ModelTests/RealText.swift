import Formats
import Model
import TestSupport

/// Python sources of the project: text like that which the shipped models were trained on.
enum RealText {
    /// Windows of 128 tokens.
    static func windows(_ tokenizer: Tokenizer) throws -> [[Int32]] {
        let files = ["engine", "tokenizer", "model", "options", "_dispatch", "errors"]
        return try files.flatMap { name -> [[Int32]] in
            let bytes = try contents(of: testFile("../bindings/python/foretoken/\(name).py"))
            let tokens = try tokenizer.encode(
                String(decoding: bytes, as: UTF8.self), addSpecial: false, parseSpecial: false)
            return stride(from: 0, to: min(tokens.count - 128, 512), by: 128).map {
                [tokenizer.bos ?? 0] + tokens[$0..<$0 + 127]
            }
        }
    }

    /// Log-probabilities of the tokens that follow.
    static func scores(_ tokens: [Int32], _ machine: Machine) -> [Double] {
        zip(machine.run(tokens).dropLast(), tokens.dropFirst()).map { logSoftmax($0)[Int($1)] }
    }
}
