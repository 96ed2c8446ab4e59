package import Formats
package import Kernels
import Model

/// The sizes that follow from models and options, in one place for the engine and for the plan.
package struct EngineSizing: Sendable {
    package let kvFormat: KVFormat
    package let contextTokens: Int
    package let kvBytesPerToken: Int
    package let kvBlocks: Int
    package let kvBytes: Int
    package let threads: Int
    package let scratchBytes: Int

    package init(
        target: ModelConfiguration, targetKV: KVFormat, draft: ModelConfiguration?, options: EngineOptions
    ) throws {
        try options.validate()
        threads = options.threadCount
        let own = target.contextLength
        guard options.contextTokens <= own else {
            throw Failure.invalid(
                "context_tokens is \(options.contextTokens), but the model was made for \(own); 0 takes that")
        }
        contextTokens = options.contextTokens > 0 ? options.contextTokens : own
        let format = options.kvFormat ?? targetKV
        kvFormat = format
        let draftKV = try draft.map { try KVCache.bytesPerToken($0, format) } ?? 0
        kvBytesPerToken = try KVCache.bytesPerToken(target, format) + draftKV
        if options.kvBudgetBytes > 0 {
            kvBlocks = options.kvBudgetBytes / kvBytesPerToken / kvBlockTokens
        } else {
            kvBlocks = (max(EngineOptions.defaultKVTokens, contextTokens) + kvBlockTokens - 1) / kvBlockTokens
        }
        guard kvBlocks > 0, kvBlocks <= Int(Int32.max) / kvBlockTokens,
            let budget = checkedProduct(kvBlocks, kvBlockTokens, kvBytesPerToken), budget <= Int.max / 8
        else {
            throw Failure(
                .outOfMemoryBudget,
                "a KV cache of kv_budget_bytes = \(options.kvBudgetBytes) is not possible: a block of \(kvBlockTokens) tokens "
                    + "takes \(kvBytesPerToken * kvBlockTokens) bytes, and \(kvBlocks) would be needed")
        }
        kvBytes = budget
        var scratch = 0
        for shape in [target, draft].compactMap({ $0 }) {
            guard
                let layout = ScratchLayout(
                    shape, rows: options.maxStepTokens, logitRows: EngineOptions.logitRows, threads: threads)
            else { throw Failure(.outOfMemoryBudget, "the activations of a step exceed the address space") }
            scratch += layout.byteCount
        }
        scratchBytes = scratch
    }

    package static func blocks(forTokens tokens: Int) -> Int { (tokens + kvBlockTokens - 1) / kvBlockTokens }
}

/// What an engine would need, from the headers of files alone.
package struct MemoryPlan: Sendable {
    package let targetWeightsBytes: Int
    package let draftWeightsBytes: Int
    package let kvBlockTokens: Int
    package let kvBytesPerToken: Int
    package let kvBytesPerRequest: Int
    package let kvBudgetBytes: Int
    package let scratchBytes: Int
    package let peakBytes: Int

    /// Where a draft model comes from.
    package enum Draft {
        case file(path: String)
        /// Made of the target.
        case own
    }

    package init(targetPath: String, draft: Draft?, options: EngineOptions) throws {
        let target = try ModelRequirements(path: targetPath)
        var shape: ModelConfiguration?
        switch draft {
        case nil: draftWeightsBytes = 0
        case .file(let path):
            let requirements = try ModelRequirements(path: path)
            shape = requirements.configuration
            draftWeightsBytes = requirements.weightsBytes
        case .own:
            shape = target.configuration
            draftWeightsBytes = try target.selfDraft().weightsBytes
        }
        let sizing = try EngineSizing(
            target: target.configuration, targetKV: target.defaultKVFormat, draft: shape, options: options)
        targetWeightsBytes = target.weightsBytes
        kvBlockTokens = Kernels.kvBlockTokens
        kvBytesPerToken = sizing.kvBytesPerToken
        let blocks = EngineSizing.blocks(forTokens: sizing.contextTokens)
        guard let perRequest = checkedProduct(blocks, Kernels.kvBlockTokens, kvBytesPerToken) else {
            throw Failure(.outOfMemoryBudget, "the KV cache of one full context exceeds the address space")
        }
        kvBytesPerRequest = perRequest
        kvBudgetBytes = sizing.kvBytes
        scratchBytes = sizing.scratchBytes
        peakBytes = targetWeightsBytes + draftWeightsBytes + kvBudgetBytes + scratchBytes
    }
}
