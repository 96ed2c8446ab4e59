import Formats
package import Kernels
package import Model
package import Scheduling

// How an engine comes to what its passes cost: a profile that is kept, a measurement, or a guess.

/// Executors and sizes of an engine that has no requests yet.
struct ProfileSubject {
    let target: LanguageModel
    let draft: LanguageModel?
    let sizing: EngineSizing
    let targetExecutor: any StepExecutor
    let draftExecutor: (any StepExecutor)?
    let threads: Int
    let options: EngineOptions

    /// What sizes alone say.
    func prior() throws -> StepCosts {
        func guess(_ model: LanguageModel) throws -> PassCosts {
            try PassCosts.guess(
                model, kvFormat: sizing.kvFormat, maxRows: options.maxStepTokens, threads: threads)
        }
        return StepCosts(target: try guess(target), draft: try draft.map(guess))
    }

    /// Measures for so many microseconds: a quarter for the draft model, which is the smaller one, the rest for the target.
    func measure(_ budget: Int, goesOn: () -> Bool = { true }) throws -> CostProfile {
        let prior = try prior()
        let end = monotonicMicroseconds() + Int64(budget)
        func table(
            _ model: LanguageModel, _ executor: any StepExecutor, _ prior: PassCosts, _ budget: Int
        ) throws -> PassCosts {
            var measurement = PassMeasurement(
                executor: executor, maxRows: options.maxStepTokens,
                contextTokens: min(model.configuration.contextLength, sizing.contextTokens), kvBlocks: sizing.kvBlocks)
            return try withDefaultFloatingPoint {
                try measurement.run(budget: budget, goesOn: goesOn).costs(prior: prior) ?? prior
            }
        }
        var costs = prior
        if let draft, let draftExecutor, let prior = prior.draft {
            costs.draft = try table(draft, draftExecutor, prior, budget / 4)
        }
        let left = max(0, Int(end - monotonicMicroseconds()))
        costs.target = try table(target, targetExecutor, prior.target, left)
        return CostProfile(
            machine: machineName(), isa: InstructionSet.native.name, threads: threads, costs: costs)
    }

    /// What the engine begins with. Nothing that is wrong with profiles keeps an engine from running.
    func costs() throws -> StepCosts {
        let store = profileStore()
        if let kept = load(store) { return kept.costs }
        guard options.profileTime > 0 else { return try prior() }
        let profile = try measure(options.profileTime)
        do { try store?.save(profile) } catch {
            options.log.write(.warning, "the cost profile is not kept: \(error)")
        }
        return profile.costs
    }

    private func load(_ store: ProfileStore?) -> CostProfile? {
        do {
            guard let kept = try store?.load() else { return nil }
            guard (kept.costs.draft != nil) == (draft != nil) else {
                throw Failure.corrupt("the kept cost profile is of other models")
            }
            return kept
        } catch {
            options.log.write(.warning, "a cost profile is ignored: \(error)")
            return nil
        }
    }

    private func profileStore() -> ProfileStore? {
        guard let folder = options.profileFolder else { return nil }
        do { return ProfileStore(folder: folder, key: try key()) } catch {
            options.log.write(.warning, "no cost profile is kept: \(error)")
            return nil
        }
    }

    /// Everything that times depend on, as one number.
    private func key() throws -> String {
        var hash = Fingerprint()
        // Tables of another layout would have other keys.
        hash.add("foretoken cost profile 1")
        for model in [target, draft].compactMap({ $0 }) {
            let fingerprint = try Checkpoint(path: model.path).fingerprint()
            hash.add(Int(truncatingIfNeeded: fingerprint))
            hash.add(model.quantization)
        }
        for text in [machineName(), InstructionSet.native.name, "\(sizing.kvFormat)", "\(options.activations)"] {
            hash.add(text)
        }
        hash.add(threads)
        hash.add(options.maxStepTokens)
        return hash.hexadecimal
    }
}

extension PassCosts {
    /// What the sizes of a model alone say: of what its passes read, not of what it has in memory. A draft made of another
    /// model's weights reads those that it shares as well, and no pass reads an embedding that is not the output matrix too.
    package static func guess(
        _ model: LanguageModel, kvFormat: KVFormat, maxRows: Int, threads: Int
    ) throws -> PassCosts {
        guess(
            weightsBytes: model.passBytes, parameters: model.rowMultiplications,
            kvBytesPerToken: try KVCache.bytesPerToken(model.configuration, kvFormat), maxRows: maxRows,
            threads: threads)
    }
}

extension CostProfile {
    /// Measures the models alone, without an engine: `options` says how they compute.
    package static func measure(
        target: LanguageModel, options: EngineOptions, budget: Int, goesOn: () -> Bool
    ) throws -> CostProfile {
        var options = options
        options.draftModel = options.usesDraftModel ? options.draftModel : nil
        func sizing() throws -> EngineSizing {
            try EngineSizing(
                target: target.configuration, targetKV: target.defaultKVFormat,
                draft: options.draftModel?.configuration, options: options)
        }
        // Room for the shapes, and no more.
        options.kvBudgetBytes = try sizing().kvBytesPerToken * PassMeasurement.tokens(maxRows: options.maxStepTokens)
        let small = try sizing()
        let pool = ThreadPool(threads: small.threads)
        let subject = ProfileSubject(
            target: target, draft: options.draftModel, sizing: small,
            targetExecutor: try ModelExecutor(target, small, pool, options),
            draftExecutor: try options.draftModel.map { try ModelExecutor($0, small, pool, options) },
            threads: pool.threads, options: options)
        return try subject.measure(budget, goesOn: goesOn)
    }
}

extension ModelExecutor {
    /// A model with a cache of its own.
    convenience init(
        _ model: LanguageModel, _ sizing: EngineSizing, _ pool: ThreadPool, _ options: EngineOptions
    ) throws {
        let cache = try KVCache(
            configuration: model.configuration, format: sizing.kvFormat, blocks: sizing.kvBlocks)
        self.init(
            transformer: try Transformer(
                model: model, cache: cache, pool: pool, maxRows: options.maxStepTokens,
                maxLogitRows: EngineOptions.logitRows, precision: options.activations))
    }
}
