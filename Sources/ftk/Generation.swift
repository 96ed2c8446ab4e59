import Engine
import Formats

/// One finished request, or sample of a request.
struct Completion {
    var text: [UInt8] = []
    var tokens: [Int32] = []
    var logprobs: [Float] = []
    var prompt: EngineEvent?
    var finish: Finish?

    /// Emitted tokens per second from the first token on.
    var tokensPerSecond: Double {
        guard let time = finish?.statistics.timePerOutputToken, time > 0 else { return 0 }
        return 1e6 / Double(time)
    }

    mutating func add(_ event: EngineEvent) {
        switch event.kind {
        case .tokens:
            tokens += event.tokens
            text += event.text
            logprobs += event.logprobs?.ofTokens ?? []
        case .promptLogprobs: prompt = event
        case .finish: finish = event.finish
        }
    }
}

extension InferenceEngine {
    /// Runs a request of one sample to its end on this thread; `onText` sees the text as it comes. Ctrl-C cancels it.
    func complete(_ request: RequestOptions, onText: ([UInt8]) -> Void = { _ in }) throws -> Completion {
        try samples(of: request, onText: onText)[0]
    }

    /// Runs a request to the end of all its samples, whose texts come to `onText` as they are made.
    func samples(of request: RequestOptions, onText: ([UInt8]) -> Void = { _ in }) throws -> [Completion] {
        let id = try submit(request)
        var completions = Array(repeating: Completion(), count: request.samples)
        var isCancelled = false
        while completions.contains(where: { $0.finish == nil }), try step() {
            if Interrupt.isRequested, !isCancelled {
                isCancelled = true
                try cancel(id)
            }
            for event in poll(timeout: 0) where event.requestID == id {
                completions[event.sampleIndex].add(event)
                onText(event.text)
            }
        }
        if let failure = completions.compactMap({ $0.finish?.failure }).first { throw failure }
        return completions
    }
}
