/// What the latency targets of one request ask of the next step. Times in microseconds on one clock.
package struct LatencyDemand: Sendable {
    /// When the first token came; nil while there is none.
    package var firstToken: Double?
    /// Tokens so far, the first included.
    package var emitted = 0
    /// Tokens that are still expected.
    package var remaining = 1.0
    /// Wanted time per token, and when the request has to be done; nil without such a target.
    package var timePerToken: Double?
    package var deadline: Double?

    package init() {}

    /// The tokens that a step of `stepTime` has to give for the targets to be kept, at most `most`, the most that a step
    /// can give; 0 where there is no target, or one that can no longer be met: it gives up its claim on others. Drafts
    /// make the step `stretch` times as long.
    ///
    /// By the end of the step 1 + (now - first + step) / tpot tokens are due. A deadline asks for an even pace.
    /// Source: Li et al., "AdaServe", arXiv 2501.12162.
    package func neededTokens(now: Double, stepTime: Double, stretch: Double = 1, most: Double) -> Double {
        guard stepTime > 0 else { return 0 }
        // What the fastest steps would still take.
        let fastest = remaining * stepTime / most
        var needed = 0.0
        if let timePerToken, let firstToken, timePerToken > 0 {
            let end = firstToken + timePerToken * (Double(emitted) + remaining - 1)
            if now + fastest <= end {
                needed = 1 + (now - firstToken + stepTime * stretch) / timePerToken - Double(emitted)
            }
        }
        if let deadline, now + fastest <= deadline {
            needed = max(needed, remaining * stepTime * stretch / (deadline - now))
        }
        return min(max(0, needed), most)
    }

    /// When a step has to end that gives the request one token; nil without a target per token. A part of one token's time is
    /// kept in reserve: what fills a step to the last microsecond of an estimate ends after it as often as before.
    package var due: Double? {
        guard let timePerToken, let firstToken else { return nil }
        return firstToken + timePerToken * (Double(emitted) - Self.reserve)
    }

    private static let reserve = 0.1
}

extension StepCosts {
    /// How many rows of prompts fit into a step that carries `decoding` rows besides, with `context` tokens before them, and
    /// has `time`; at least `floor`, so that prompts always move, and at most `most`.
    package func prefillRows(decoding: Int, context: Int, time: Double, floor: Int, most: Int) -> Int {
        target.rows(besides: decoding, context: context, time: time - overhead, floor: floor, most: most)
    }
}

extension PassCosts {
    /// Likewise, of one pass.
    package func rows(besides others: Int, context: Int, time limit: Double, floor: Int, most: Int) -> Int {
        func fits(_ rows: Int) -> Bool {
            time(rows: others + rows, context: context, attended: context) <= limit
        }
        guard floor < most, fits(floor) else { return min(floor, most) }
        var (low, high) = (floor, most + 1)
        while high - low > 1 {
            let middle = (low + high) / 2
            if fits(middle) { low = middle } else { high = middle }
        }
        return low
    }
}
