public import CForetoken
import Engine
import Formats
import Kernels
import Model
import Scheduling

@_cdecl("ftk_engine_options_init_sized") @implementation
public func ftk_engine_options_init_sized(
    _ options: UnsafeMutablePointer<ftk_engine_options>!, _ struct_size: UInt32
) -> ftk_status {
    let defaults = EngineOptions()
    return initialize(options, struct_size) {
        $0.policy = defaults.policy.rawValue
        $0.drafter = defaults.drafter.rawValue
        $0.draft_tokens = UInt32(defaults.draftTokens)
        $0.tree_width = UInt32(defaults.treeWidth)
        $0.max_running_requests = UInt32(defaults.maxRunningRequests)
        $0.max_queued_requests = UInt32(defaults.maxQueuedRequests)
        $0.max_step_tokens = UInt32(defaults.maxStepTokens)
        $0.log_level = defaults.log.level.rawValue
        $0.draft_pool_bytes = UInt64(defaults.draftPoolBytes)
        $0.profile_us = UInt64(defaults.profileTime)
    }
}

/// A callback of the host with its pointer; the host vouches for calling it from any thread.
private struct HostLog: @unchecked Sendable {
    let callback: ftk_log_callback
    let userData: UnsafeMutableRawPointer?

    func write(_ level: EngineLog.Level, _ message: String) {
        message.withCString { callback(level.rawValue, $0, userData) }
    }
}

private func engineOptions(_ given: ftk_engine_options?) throws -> EngineOptions {
    var options = EngineOptions()
    guard let given else { return options }
    options.policy = try choice(given.policy, "policy")
    options.drafter = try choice(given.drafter, "drafter")
    options.draftTokens = Int(given.draft_tokens)
    options.kvFormat = try kvFormat(given.kv_type)
    guard given.reserved == 0 else { throw Failure.invalid("reserved is \(given.reserved); it must be 0") }
    options.activations = try precision(given.activations)
    options.runsInBackground = try runsInBackground(given.run_mode)
    options.kvBudgetBytes = Int(exactly: given.kv_budget_bytes) ?? -1
    options.contextTokens = Int(given.context_tokens)
    options.threads = Int(given.threads)
    options.maxRunningRequests = Int(given.max_running_requests)
    options.maxQueuedRequests = Int(given.max_queued_requests)
    options.maxStepTokens = Int(given.max_step_tokens)
    options.log.level = try choice(given.log_level, "log_level")
    options.draftPoolBytes = Int(exactly: given.draft_pool_bytes) ?? -1
    guard given.trace <= 1 else { throw Failure.invalid("trace is \(given.trace); it must be 0 or 1") }
    options.treeWidth = Int(given.tree_width)
    options.traces = given.trace == 1
    options.profileTime = Int(clamping: given.profile_us)
    if let folder = given.profile_folder { options.profileFolder = try text(folder, "profile_folder") }
    if given.log != nil {
        let log = HostLog(callback: given.log, userData: given.log_user_data)
        options.log.sink = { log.write($0, $1) }
    }
    if let draft = given.draft_model { options.draftModel = try object(draft, LanguageModel.self, "draft_model") }
    return options
}

/// A value of an enum; names the field and what is possible otherwise.
func choice<Choice: RawRepresentable<Int32>>(_ raw: Int32, _ field: String) throws -> Choice {
    guard let value = Choice(rawValue: raw) else {
        throw Failure.invalid("\(field) is \(raw), which is none of its FTK_\(field.uppercased())_* values")
    }
    return value
}

private func kvFormat(_ raw: Int32) throws -> KVFormat? {
    switch Int(raw) {
    case FTK_KV_AUTO: nil
    case FTK_KV_F32: .f32
    case FTK_KV_F16: .f16
    case FTK_KV_Q8_0: .q8_0
    default: throw Failure.invalid("kv_type is \(raw), which is none of the FTK_KV_* values")
    }
}

private func precision(_ raw: Int32) throws -> Activations.Precision {
    switch Int(raw) {
    case FTK_ACTIVATIONS_F32: .f32
    case FTK_ACTIVATIONS_Q8: .q8
    default: throw Failure.invalid("activations is \(raw), which is none of the FTK_ACTIVATIONS_* values")
    }
}

private func runsInBackground(_ raw: Int32) throws -> Bool {
    switch Int(raw) {
    case FTK_RUN_MANUAL: false
    case FTK_RUN_BACKGROUND: true
    default: throw Failure.invalid("run_mode is \(raw), which is none of the FTK_RUN_* values")
    }
}

@_cdecl("ftk_memory_plan_compute") @implementation
public func ftk_memory_plan_compute(
    _ target_path: UnsafePointer<CChar>!, _ draft_path: UnsafePointer<CChar>!,
    _ options: UnsafePointer<ftk_engine_options>!, _ plan: UnsafeMutablePointer<ftk_memory_plan>!
) -> ftk_status {
    report {
        let out = try output(plan, "plan")
        let target = try text(target_path, "target_path")
        let draft = try draft_path.map { try text($0, "draft_path") }.map { path -> MemoryPlan.Draft in
            path == FTK_SELF_DRAFT ? .own : .file(path: path)
        }
        var engine = try engineOptions(try options.map { try input($0, "options") })
        // Which drafter will run does not matter here: a draft path says that its memory is wanted.
        engine.draftModel = nil
        engine.drafter = .auto
        let result = try MemoryPlan(targetPath: target, draft: draft, options: engine)
        out.pointee.kv_block_tokens = UInt32(result.kvBlockTokens)
        out.pointee.target_weights_bytes = UInt64(result.targetWeightsBytes)
        out.pointee.draft_weights_bytes = UInt64(result.draftWeightsBytes)
        out.pointee.kv_bytes_per_token = UInt64(result.kvBytesPerToken)
        out.pointee.kv_bytes_per_request = UInt64(result.kvBytesPerRequest)
        out.pointee.kv_budget_bytes = UInt64(result.kvBudgetBytes)
        out.pointee.scratch_bytes = UInt64(result.scratchBytes)
        out.pointee.peak_bytes = UInt64(result.peakBytes)
        return status(FTK_OK)
    }
}

@_cdecl("ftk_engine_create") @implementation
public func ftk_engine_create(
    _ target: OpaquePointer!, _ options: UnsafePointer<ftk_engine_options>!,
    _ engine: UnsafeMutablePointer<OpaquePointer?>!
) -> ftk_status {
    report {
        let place = try required(engine, "engine")
        place.pointee = nil
        let model = try object(target, LanguageModel.self, "target")
        let given = try engineOptions(try options.map { try input($0, "options") })
        place.pointee = retainedHandle(try InferenceEngine(target: model, options: given))
        return status(FTK_OK)
    }
}

@_cdecl("ftk_engine_destroy") @implementation
public func ftk_engine_destroy(_ engine: OpaquePointer!) {
    guard let engine else { return }
    let handle = Unmanaged<InferenceEngine>.fromOpaque(UnsafeRawPointer(engine))
    handle.takeUnretainedValue().stop()
    handle.release()
}

@_cdecl("ftk_selftest") @implementation
public func ftk_selftest(
    _ target: OpaquePointer!, _ options: UnsafePointer<ftk_engine_options>!, _ callback: ftk_selftest_callback!,
    _ user_data: UnsafeMutableRawPointer!
) -> ftk_status {
    report {
        let model = try object(target, LanguageModel.self, "target")
        let given = try engineOptions(try options.map { try input($0, "options") })
        try SelfTest(target: model, options: given).run { check in
            guard let callback else { return true }
            return check.name.withCString { name in
                check.detail.withCString { callback(name, check.passed ? 1 : 0, $0, user_data) == 0 }
            }
        }
        return status(FTK_OK)
    }
}

@_cdecl("ftk_engine_step") @implementation
public func ftk_engine_step(_ engine: OpaquePointer!) -> ftk_status {
    report {
        status(try object(engine, InferenceEngine.self, "engine").step() ? FTK_OK : FTK_WOULD_BLOCK)
    }
}

@_cdecl("ftk_engine_event_fd") @implementation
public func ftk_engine_event_fd(_ engine: OpaquePointer!, _ descriptor: UnsafeMutablePointer<Int32>!) -> ftk_status {
    report {
        let place = try required(descriptor, "descriptor")
        place.pointee = -1
        place.pointee = try object(engine, InferenceEngine.self, "engine").eventDescriptor
        return status(FTK_OK)
    }
}

@_cdecl("ftk_engine_get_stats") @implementation
public func ftk_engine_get_stats(_ engine: OpaquePointer!, _ stats: UnsafeMutablePointer<ftk_engine_stats>!)
    -> ftk_status
{
    report {
        let out = try output(stats, "stats")
        let engine = try object(engine, InferenceEngine.self, "engine")
        let now = engine.snapshot()
        out.pointee.running_requests = UInt32(now.runningRequests)
        out.pointee.queued_requests = UInt32(now.queuedRequests)
        out.pointee.threads = UInt32(now.threads)
        out.pointee.submitted_requests = UInt64(now.submittedRequests)
        out.pointee.finished_requests = UInt64(now.finishedRequests)
        out.pointee.steps = UInt64(now.steps)
        out.pointee.target_passes = UInt64(now.targetPasses)
        out.pointee.draft_passes = UInt64(now.draftPasses)
        out.pointee.prefill_tokens = UInt64(now.prefillTokens)
        out.pointee.emitted_tokens = UInt64(now.emittedTokens)
        out.pointee.num_drafts = UInt64(now.drafts)
        out.pointee.num_draft_tokens = UInt64(now.draftTokens)
        out.pointee.num_accepted_tokens = UInt64(now.acceptedTokens)
        withUnsafeMutableBytes(of: &out.pointee.accepted_tokens_per_position) { raw in
            for (index, count) in now.acceptedPerPosition.enumerated() {
                raw.storeBytes(of: UInt64(count), toByteOffset: index * 8, as: UInt64.self)
            }
        }
        out.pointee.kv_blocks_total = UInt64(now.kvBlocksTotal)
        out.pointee.kv_blocks_used = UInt64(now.kvBlocksUsed)
        out.pointee.step_time_us = UInt64(now.stepTime)
        out.pointee.kv_blocks_cached = UInt64(now.kvBlocksCached)
        out.pointee.prefix_queried_tokens = UInt64(now.prefixQueriedTokens)
        out.pointee.prefix_cached_tokens = UInt64(now.prefixCachedTokens)
        out.pointee.prefix_evictions = UInt64(now.prefixEvictions)
        out.pointee.num_preemptions = UInt64(now.preemptions)
        out.pointee.draft_time_us = UInt64(now.draftTime)
        out.pointee.verify_time_us = UInt64(now.verifyTime)
        out.pointee.control_time_us = UInt64(now.controlTime)
        out.pointee.saved_us = Int64(now.savedTime.rounded())
        out.pointee.calibration_error = now.calibrationError
        out.pointee.num_branch_tokens = UInt64(now.branchTokens)
        out.pointee.num_accepted_branch_tokens = UInt64(now.acceptedBranches)
        return status(FTK_OK)
    }
}
