public import CForetoken
import Engine
import Formats
import Scheduling

@_cdecl("ftk_controller_options_init_sized") @implementation
public func ftk_controller_options_init_sized(
    _ options: UnsafeMutablePointer<ftk_controller_options>!, _ struct_size: UInt32
) -> ftk_status {
    initialize(options, struct_size) {
        $0.policy = PolicyKind.goodput.rawValue
        $0.max_step_rows = UInt32(EngineOptions().maxStepTokens)
    }
}

@_cdecl("ftk_controller_create") @implementation
public func ftk_controller_create(
    _ options: UnsafePointer<ftk_controller_options>!, _ controller: UnsafeMutablePointer<OpaquePointer?>!
) -> ftk_status {
    report {
        let place = try required(controller, "controller")
        place.pointee = nil
        let given = try input(options, "options")
        let rows = Int(given.max_step_rows)
        guard (1...CostLimits.widest).contains(rows) else {
            throw Failure.invalid("max_step_rows is \(rows); it must be from 1 to \(CostLimits.widest)")
        }
        let costs = StepCosts(
            target: try passCosts(given.target, rows, "target"),
            draft: try given.draft.map { try passCosts($0, rows, "draft") },
            overhead: try CostLimits.time(given.overhead_us, "overhead_us"))
        place.pointee = retainedHandle(
            try SpeculationController(
                policy: try choice(given.policy, "policy"), draftTokens: Int(given.max_draft_tokens), costs: costs))
        return status(FTK_OK)
    }
}

@_cdecl("ftk_controller_destroy") @implementation
public func ftk_controller_destroy(_ controller: OpaquePointer!) {
    releaseHandle(controller, SpeculationController.self)
}

@_cdecl("ftk_controller_begin") @implementation
public func ftk_controller_begin(
    _ controller: OpaquePointer!, _ step: UnsafePointer<ftk_controller_step>!,
    _ wishes: UnsafeMutablePointer<ftk_controller_wish>!, _ wish_count: Int
) -> ftk_status {
    report {
        let results = try cleared(wishes, wish_count, ftk_controller_wish(), "wishes", "wish_count")
        let controller = try object(controller, SpeculationController.self, "controller")
        let step = try stepView(try input(step, "step"))
        guard step.requests.count == wish_count else {
            throw Failure.invalid("wish_count is \(wish_count), but request_count is \(step.requests.count)")
        }
        for (index, wish) in try controller.begin(step).enumerated() {
            results[index] = ftk_controller_wish(
                source: sourceConstant(wish.source), length: UInt32(wish.length), limit: Int32(wish.limit.rawValue))
        }
        return status(FTK_OK)
    }
}

@_cdecl("ftk_controller_extend") @implementation
public func ftk_controller_extend(
    _ controller: OpaquePointer!, _ drafts: UnsafePointer<ftk_controller_draft>!, _ draft_count: Int,
    _ goes_on: UnsafeMutablePointer<UInt32>!
) -> ftk_status {
    report {
        let results = try cleared(goes_on, draft_count, 0, "goes_on", "draft_count")
        let controller = try object(controller, SpeculationController.self, "controller")
        let answers = try controller.extend(try draftViews(drafts, draft_count, "drafts"))
        for (index, answer) in answers.enumerated() { results[index] = answer ? 1 : 0 }
        return status(FTK_OK)
    }
}

@_cdecl("ftk_controller_select") @implementation
public func ftk_controller_select(
    _ controller: OpaquePointer!, _ drafts: UnsafePointer<ftk_controller_draft>!, _ draft_count: Int,
    _ lengths: UnsafeMutablePointer<UInt32>!
) -> ftk_status {
    report {
        let results = try cleared(lengths, draft_count, 0, "lengths", "draft_count")
        let controller = try object(controller, SpeculationController.self, "controller")
        let chosen = try controller.select(try draftViews(drafts, draft_count, "drafts"))
        for (index, length) in chosen.enumerated() { results[index] = UInt32(length) }
        return status(FTK_OK)
    }
}

@_cdecl("ftk_controller_commit") @implementation
public func ftk_controller_commit(_ controller: OpaquePointer!, _ result: UnsafePointer<ftk_controller_result>!)
    -> ftk_status
{
    report {
        let controller = try object(controller, SpeculationController.self, "controller")
        try controller.commit(try stepOutcome(try input(result, "result")))
        return status(FTK_OK)
    }
}

@_cdecl("ftk_controller_abandon") @implementation
public func ftk_controller_abandon(_ controller: OpaquePointer!) -> ftk_status {
    report {
        try object(controller, SpeculationController.self, "controller").abandon()
        return status(FTK_OK)
    }
}

@_cdecl("ftk_controller_forget") @implementation
public func ftk_controller_forget(_ controller: OpaquePointer!, _ id: UInt64) -> ftk_status {
    report {
        try object(controller, SpeculationController.self, "controller").forget(id)
        return status(FTK_OK)
    }
}

@_cdecl("ftk_controller_predict") @implementation
public func ftk_controller_predict(
    _ controller: OpaquePointer!, _ is_draft: UInt32, _ rows: UInt32, _ context_tokens: UInt64,
    _ attended_tokens: UInt64, _ time_us: UnsafeMutablePointer<Double>!
) -> ftk_status {
    report {
        let place = try required(time_us, "time_us")
        place.pointee = 0
        let costs = try object(controller, SpeculationController.self, "controller").costs
        guard let model = try flag(is_draft, "is_draft") ? costs.draft : costs.target else {
            throw Failure(.notFound, "there is no draft model")
        }
        guard rows > 0 else { throw Failure.invalid("rows is 0; it must be at least 1") }
        place.pointee = model.time(
            rows: Int(rows), context: Int(clamping: context_tokens), attended: Int(clamping: attended_tokens))
        return status(FTK_OK)
    }
}
