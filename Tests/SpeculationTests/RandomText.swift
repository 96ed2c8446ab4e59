import TestSupport

extension SplitMix64 {
    /// A text of tokens from 0 on. It may be noise, a repetition with faults, or a patchwork of pieces of itself.
    mutating func text(_ length: Int, alphabet: Int32) -> [Int32] {
        var text: [Int32] = []
        let style = int(0..<3)
        let period = int(1..<40)
        while text.count < length {
            let token = Int32.random(in: 0..<alphabet, using: &self)
            if style == 1, text.count >= period, int(0..<20) > 0 {
                text.append(text[text.count - period])
            } else if style == 2, text.count > 4, int(0..<4) == 0 {
                let start = int(0..<text.count)
                text += Array(text[start..<min(text.count, start + int(1..<50))])
            } else {
                text.append(token)
            }
        }
        return Array(text.prefix(length))
    }
}
