import Engine
import Formats

/// One finished request.
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
}

extension InferenceEngine {
    /// Runs one request to its end on this thread; `onText` sees the text as it comes. Ctrl-C cancels it.
    func complete(_ request: RequestOptions, onText: ([UInt8]) -> Void = { _ in }) throws -> Completion {
        let id = try submit(request)
        var completion = Completion()
        var isCancelled = false
        while completion.finish == nil, try step() {
            if Interrupt.isRequested, !isCancelled {
                isCancelled = true
                try cancel(id)
            }
            for event in poll(timeout: 0) where event.requestID == id {
                switch event.kind {
                case .tokens:
                    completion.tokens += event.tokens
                    completion.text += event.text
                    completion.logprobs += event.logprobs?.ofTokens ?? []
                    onText(event.text)
                case .promptLogprobs: completion.prompt = event
                case .finish: completion.finish = event.finish
                }
            }
        }
        if let failure = completion.finish?.failure { throw failure }
        return completion
    }
}
