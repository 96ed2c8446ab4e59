import Formats
import Kernels
import Speculation

// What the target says in its rows, and the tokens that requests get of it.

extension StepRunner {
    /// Takes a row into account: by itself, or under a ratio test when all rows of the draft are there.
    func verify(_ work: inout Work, _ output: inout StepOutput, _ logits: Span<Float>) throws {
        guard work.ratio != nil else { return try choose(&work.verification, &output, work.index, logits) }
        try work.ratio?.take(logits, running[work.index], sampler)
        guard let ratio = work.ratio, ratio.isComplete else { return }
        let (tokens, failure) = ratio.outcome()
        for (row, token) in tokens.enumerated() where output.ending == nil {
            try emit(token, &work.verification, &output, work.index, ratio.logits(row).span)
        }
        if let failure, output.ending == nil { throw failure }
    }

    /// The target's token in the next open row.
    private func choose(
        _ verification: inout Verification, _ output: inout StepOutput, _ index: Int, _ logits: Span<Float>
    ) throws {
        if running[index].tokens.count >= running[index].limit {
            verification.close()
            output.ending = (.length, nil)
            return
        }
        let sequence = running[index]
        let token = try sampler.choose(
            logits: logits, parameters: sequence.options.sampling, processors: sequence.processors,
            history: sequence.history, noise: sequence.noise, position: sequence.tokens.count)
        try emit(token, &verification, &output, index, logits)
    }

    /// Gives the request its next token, whose row has these logits.
    private func emit(
        _ token: Int32, _ verification: inout Verification, _ output: inout StepOutput, _ index: Int,
        _ logits: Span<Float>
    ) throws {
        let sequence = running[index]
        if sequence.ends(with: token, endOfGeneration: tokenizer.endOfGeneration) {
            verification.close()
            output.ending = (.stop, nil)
            return
        }
        if let count = sequence.options.logprobs {
            try output.addLogprobs(of: token, top: count, sequence, sampler, logits)
        }
        verification.take(token)
        try running[index].append(token, at: options.clock.microseconds)
        output.tokens.append(token)
        output.text += running[index].text.push(token)
        if running[index].text.isStopped {
            output.ending = (.stop, nil)
        } else if running[index].tokens.count >= running[index].limit {
            output.ending = (.length, nil)
        }
        if output.ending != nil { verification.close() }
    }
}
