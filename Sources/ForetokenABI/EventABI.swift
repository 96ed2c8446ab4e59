public import CForetoken
import Engine
import Formats

/// Events with memory that C can read, until the batch is freed.
private final class EventBatch {
    let events: [EventMemory]
    init(_ events: [EngineEvent]) { self.events = events.map(EventMemory.init) }
}

/// The arrays of one event.
private final class EventMemory {
    let event: EngineEvent
    private let tokens: UnsafeMutableBufferPointer<Int32>
    private let text: UnsafeMutableBufferPointer<CChar>
    private let logprobs: UnsafeMutableBufferPointer<Float>
    private let topTokens: UnsafeMutableBufferPointer<Int32>
    private let topLogprobs: UnsafeMutableBufferPointer<Float>
    private let errorText: UnsafeMutableBufferPointer<CChar>
    private let stats: UnsafeMutablePointer<ftk_request_stats>?

    init(_ event: EngineEvent) {
        func copy<Element>(_ array: [Element]) -> UnsafeMutableBufferPointer<Element> {
            let buffer = UnsafeMutableBufferPointer<Element>.allocate(capacity: array.count)
            _ = buffer.initialize(from: array)
            return buffer
        }
        func terminated(_ bytes: [UInt8]) -> [CChar] { bytes.map { CChar(bitPattern: $0) } + [0] }
        self.event = event
        tokens = copy(event.tokens)
        text = copy(terminated(event.text))
        logprobs = copy(event.logprobs?.ofTokens ?? [])
        topTokens = copy(event.logprobs?.topTokens ?? [])
        topLogprobs = copy(event.logprobs?.topLogprobs ?? [])
        errorText = copy(terminated(Array((event.finish?.failure?.message ?? "").utf8)))
        stats = event.finish.map { finish in
            let place = UnsafeMutablePointer<ftk_request_stats>.allocate(capacity: 1)
            place.initialize(to: ftk_request_stats(finish.statistics))
            return place
        }
    }

    deinit {
        tokens.deallocate()
        text.deallocate()
        logprobs.deallocate()
        topTokens.deallocate()
        topLogprobs.deallocate()
        errorText.deallocate()
        stats?.deallocate()
    }

    func fill(_ out: inout ftk_event) {
        out.kind = event.kind.rawValue
        out.request_id = event.requestID
        out.user_data = UnsafeMutableRawPointer(bitPattern: event.userData)
        out.tokens = UnsafePointer(tokens.baseAddress)
        out.token_count = tokens.count
        out.text = UnsafePointer(text.baseAddress)
        out.text_bytes = text.count - 1
        if let given = event.logprobs {
            out.logprobs = UnsafePointer(logprobs.baseAddress)
            out.top_tokens = UnsafePointer(topTokens.baseAddress)
            out.top_logprobs = UnsafePointer(topLogprobs.baseAddress)
            out.top_count = given.topCount
        }
        out.finish_reason = event.finish?.reason.rawValue ?? 0
        out.error = event.finish?.failure?.code.rawValue ?? 0
        out.error_text = UnsafePointer(errorText.baseAddress)
        out.stats = UnsafePointer(stats)
        out.sample_index = UInt32(event.sampleIndex)
    }
}

extension ftk_request_stats {
    fileprivate init(_ statistics: RequestStatistics) {
        self.init()
        struct_size = UInt32(MemoryLayout<ftk_request_stats>.stride)
        prompt_tokens = UInt32(statistics.promptTokens)
        completion_tokens = UInt32(statistics.completionTokens)
        steps = UInt32(statistics.steps)
        draft_tokens = UInt32(statistics.draftTokens)
        accepted_tokens = UInt32(statistics.acceptedTokens)
        seed = statistics.seed
        queue_us = statistics.queueTime ?? Int64(FTK_UNSET)
        ttft_us = statistics.timeToFirstToken ?? Int64(FTK_UNSET)
        tpot_us = statistics.timePerOutputToken ?? Int64(FTK_UNSET)
        total_us = statistics.totalTime
        cached_tokens = UInt32(statistics.cachedTokens)
        preemptions = UInt32(statistics.preemptions)
        ttft_attained = statistics.attainedTimeToFirstToken.map { $0 ? 1 : 0 } ?? FTK_UNSET
        tpot_attained = statistics.attainedTimePerOutputToken.map { $0 ? 1 : 0 } ?? FTK_UNSET
        limited_by = statistics.limitedBy.rawValue
        saved_us = Int64(statistics.savedTime.rounded())
    }
}

@_cdecl("ftk_poll") @implementation
public func ftk_poll(
    _ engine: OpaquePointer!, _ timeout_us: Int64, _ batch: UnsafeMutablePointer<OpaquePointer?>!
) -> ftk_status {
    report {
        let place = try required(batch, "batch")
        place.pointee = nil
        let engine = try object(engine, InferenceEngine.self, "engine")
        let events = engine.poll(timeout: timeout_us < 0 ? nil : timeout_us)
        if events.isEmpty { return status(FTK_WOULD_BLOCK) }
        place.pointee = retainedHandle(EventBatch(events))
        return status(FTK_OK)
    }
}

@_cdecl("ftk_event_batch_count") @implementation
public func ftk_event_batch_count(_ batch: OpaquePointer!) -> Int {
    guard let batch else { return 0 }
    return Unmanaged<EventBatch>.fromOpaque(UnsafeRawPointer(batch)).takeUnretainedValue().events.count
}

@_cdecl("ftk_event_batch_at") @implementation
public func ftk_event_batch_at(
    _ batch: OpaquePointer!, _ index: Int, _ event: UnsafeMutablePointer<ftk_event>!
) -> ftk_status {
    report {
        let out = try output(event, "event")
        let events = try object(batch, EventBatch.self, "batch").events
        guard events.indices.contains(index) else {
            throw Failure.invalid("index is \(index), but the batch has \(events.count) events")
        }
        events[index].fill(&out.pointee)
        return status(FTK_OK)
    }
}

@_cdecl("ftk_event_batch_free") @implementation
public func ftk_event_batch_free(_ batch: OpaquePointer!) { releaseHandle(batch, EventBatch.self) }
