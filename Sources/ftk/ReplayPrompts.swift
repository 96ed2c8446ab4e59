import Formats

/// Prompts of any length, made from those of a file: in turn, each as long as is asked for.
struct ReplayPrompts {
    private let texts: [[Int32]]
    private let bos: Int32?

    init(_ prompts: [BenchPrompt], path: String, tokenizer: Tokenizer) throws {
        var texts: [[Int32]] = []
        var begins: Int32?
        for prompt in prompts {
            var tokens = try tokenizer.encodePrompt(prompt.text)
            if let bos = tokenizer.bos, tokens.first == bos {
                begins = bos
                tokens.removeFirst()
            }
            guard !tokens.isEmpty else {
                throw Failure.invalid("--prompts: \(path), line \(prompt.line), field prompt: it gives no tokens")
            }
            texts.append(tokens)
        }
        (self.texts, bos) = (texts, begins)
    }

    /// The prompt of the request at `place`: its text's last tokens, behind those of the next texts where it is too short.
    func tokens(_ place: Int, count: Int) -> [Int32] {
        let start: [Int32] = count > 1 ? (bos.map { [$0] } ?? []) : []
        let wanted = count - start.count
        var parts: [[Int32]] = []
        var sum = 0
        while sum < wanted {
            let text = texts[(place + parts.count) % texts.count]
            parts.append(text)
            sum += text.count
        }
        return start + parts.reversed().joined().suffix(wanted)
    }
}
