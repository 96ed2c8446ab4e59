import CForetoken
import Engine
import Formats
import Scheduling

// The structs of controller.h as values of the scheduler. Here pointers, sizes and counts are checked; what the values
// mean is the controller's business.

/// A place for `count` results, cleared.
func cleared<Element>(
    _ pointer: UnsafeMutablePointer<Element>?, _ count: Int, _ empty: Element, _ name: String, _ countName: String
) throws -> UnsafeMutablePointer<Element> {
    let pointer = try required(pointer, name)
    guard (1...ControllerLimits.requests).contains(count) else {
        throw Failure.invalid("\(countName) is \(count); it must be from 1 to \(ControllerLimits.requests)")
    }
    pointer.update(repeating: empty, count: count)
    return pointer
}

/// An array of at most `most` elements.
private func bounded<Element>(
    _ pointer: UnsafePointer<Element>?, _ count: Int, most: Int, _ name: String, _ countName: String
) throws -> [Element] {
    guard (0...most).contains(count) else {
        throw Failure.invalid("\(countName) is \(count); it must be from 0 to \(most)")
    }
    return try array(pointer, count, name)
}

/// An array of structs that begin with their size.
private func sized<Element>(
    _ pointer: UnsafePointer<Element>?, _ count: Int, most: Int, _ name: String, _ countName: String,
    _ size: KeyPath<Element, UInt32>
) throws -> [Element] {
    // Not one byte behind the first size is looked at before that is right.
    if count > 0 { try checkStructSize(try required(pointer, name), Element.self, "\(name)[0]") }
    let elements = try bounded(pointer, count, most: most, name, countName)
    for (index, element) in elements.enumerated() where Int(element[keyPath: size]) != MemoryLayout<Element>.stride {
        throw Failure(.structSize, "struct_size of \(name)[\(index)] differs from that of \(name)[0]")
    }
    return elements
}

/// A count or size as the scheduler has it. What is cut is far more than is allowed, and one can still be added to it.
private func whole(_ value: UInt64) -> Int { Int(min(value, 1 << 62)) }

func passCosts(_ pointer: UnsafePointer<ftk_controller_costs>?, _ maxRows: Int, _ name: String) throws -> PassCosts {
    let given = try input(pointer, name)
    let count = Int(given.width_count)
    guard count > 0 else { return try guessedCosts(given, maxRows, name) }
    let most = CostLimits.mostWidths
    return try CostLimits.table(
        widths: bounded(given.widths, count, most: most, "widths of \(name)", "width_count of \(name)").map { Int($0) },
        base: bounded(given.base_us, count, most: most, "base_us of \(name)", "width_count of \(name)"),
        perContext: given.per_context_us, perAttended: given.per_attended_us, name)
}

private func guessedCosts(_ given: ftk_controller_costs, _ maxRows: Int, _ name: String) throws -> PassCosts {
    let most: UInt64 = 1 << 50
    guard (1...most).contains(given.weights_bytes), (1...most).contains(given.parameters),
        given.kv_bytes_per_token <= most
    else {
        throw Failure.invalid(
            "width_count of \(name) is 0, so that weights_bytes and parameters must be given, from 1 to \(most), and "
                + "kv_bytes_per_token at most \(most)")
    }
    return .guess(
        weightsBytes: whole(given.weights_bytes), parameters: whole(given.parameters),
        kvBytesPerToken: whole(given.kv_bytes_per_token), maxRows: maxRows)
}

// MARK: Sources

func sourceConstant(_ source: DraftSource?) -> Int32 { source.map { Int32($0.rawValue) + 1 } ?? 0 }

private func draftSource(_ raw: Int32, _ place: String) throws -> DraftSource? {
    if raw == FTK_CONTROLLER_SOURCE_NONE { return nil }
    guard raw > 0, let source = DraftSource(rawValue: Int(raw) - 1) else {
        throw Failure.invalid("source of \(place) is \(raw), which is none of the FTK_CONTROLLER_SOURCE_* values")
    }
    return source
}

// MARK: Steps

func draftViews(_ pointer: UnsafePointer<ftk_controller_draft>?, _ count: Int, _ name: String) throws -> [DraftView?] {
    try sized(pointer, count, most: ControllerLimits.requests, name, "number of \(name)", \.struct_size)
        .enumerated().map { index, draft in
            let place = "\(name)[\(index)]"
            let source = try draftSource(draft.source, place)
            let features = try bounded(
                draft.features, draft.feature_count, most: ControllerLimits.features, "features of \(place)",
                "feature_count of \(place)")
            guard let source else {
                if features.isEmpty { return nil }
                throw Failure.invalid("\(place) has features, but no source")
            }
            return DraftView(source: source, features: features.map(DraftFeature.init))
        }
}

extension DraftFeature {
    fileprivate init(_ given: ftk_controller_feature) {
        self.init(
            margin: given.margin, probability: given.probability, matchLength: given.match_length,
            support: given.support)
    }
}

func stepView(_ given: ftk_controller_step) throws -> StepView {
    var view = StepView()
    view.prefillRows = Int(given.prefill_rows)
    view.prefillContext = whole(given.prefill_context_tokens)
    view.prefillAttended = whole(given.prefill_attended_tokens)
    view.rowBudget = whole(given.row_budget)
    view.freeTokens = whole(given.free_tokens)
    view.coin = given.coin
    view.requests = try sized(
        given.requests, given.request_count, most: ControllerLimits.requests, "requests", "request_count",
        \.struct_size
    ).enumerated().map { try decodingView($1, "requests[\($0)]") }
    return view
}

private func decodingView(_ given: ftk_controller_request, _ place: String) throws -> DecodingView {
    var request = DecodingView(
        id: given.id, context: whole(given.context_tokens), room: whole(given.room_tokens))
    request.draftBacklog = whole(given.draft_backlog_tokens)
    if given.remaining_tokens > 0 { request.remaining = whole(given.remaining_tokens) }
    request.isPeculiar = try flag(given.is_peculiar, "is_peculiar of \(place)")
    request.neededTokens = given.needed_tokens
    request.targetTPOT = given.target_tpot_us == 0 ? nil : given.target_tpot_us
    let name = "\(place).proposals"
    guard (0...DraftSource.allCases.count).contains(given.proposal_count) else {
        throw Failure.invalid("proposal_count of \(place) is \(given.proposal_count), more than there are sources")
    }
    request.proposals = try draftViews(given.proposals, given.proposal_count, name).map { draft in
        guard let draft else { throw Failure.invalid("\(name) hold one without a source") }
        return draft
    }
    return request
}

func stepOutcome(_ given: ftk_controller_result) throws -> StepOutcome {
    guard given.reserved == 0 else { throw Failure.invalid("reserved of result is not 0") }
    var outcome = StepOutcome()
    outcome.draftTime = given.draft_time_us
    outcome.targetTime = given.target_time_us
    outcome.stepTime = given.step_time_us == 0 ? given.draft_time_us + given.target_time_us : given.step_time_us
    outcome.draftPasses = try bounded(
        given.draft_passes, given.draft_pass_count, most: ControllerLimits.passes, "draft_passes", "draft_pass_count"
    ).map {
        StepOutcome.DraftPass(
            requests: Int($0.requests), rows: Int($0.rows), context: whole($0.context_tokens), time: $0.time_us)
    }
    outcome.requests = try sized(
        given.outcomes, given.outcome_count, most: ControllerLimits.requests, "outcomes", "outcome_count",
        \.struct_size
    ).enumerated().map { try draftOutcome($1, "outcomes[\($0)]") }
    return outcome
}

/// The controller adds the draft itself.
private func draftOutcome(_ given: ftk_controller_outcome, _ place: String) throws -> DraftOutcome {
    guard given.reserved == 0 else { throw Failure.invalid("reserved of \(place) is not 0") }
    var outcome = DraftOutcome(id: 0)
    outcome.verified = Int(given.verified_tokens)
    outcome.accepted = Int(given.accepted_tokens)
    outcome.emitted = Int(given.emitted_tokens)
    outcome.wasCut = try flag(given.was_cut, "was_cut of \(place)")
    outcome.counterfactuals = try bounded(
        given.judgements, given.judgement_count, most: DraftSource.allCases.count, "judgements of \(place)",
        "judgement_count of \(place)"
    ).map {
        DraftOutcome.Counterfactual(
            draft: DraftView(source: .lookup, features: []), judged: Int($0.judged_tokens),
            accepted: Int($0.accepted_tokens))
    }
    return outcome
}
