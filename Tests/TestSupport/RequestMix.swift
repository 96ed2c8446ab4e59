package import Engine
import Speculation

/// Requests that use everything that a request can ask for, at once or one after the other.
/// `prompts` are used in turn; tokens up to `vocabularySize` exist.
package func mixedRequests(
    _ prompts: [RequestOptions.Prompt], tokens: Int, vocabularySize: Int, stop: String = "e"
) -> [RequestOptions] {
    var requests: [RequestOptions] = []
    func add(_ temperature: Float, _ change: (inout RequestOptions) -> Void) {
        var request = RequestOptions()
        request.prompt = prompts[requests.count % prompts.count]
        request.maxTokens = tokens + requests.count % 3
        request.seed = UInt64(1000 + requests.count)
        request.sampling.temperature = temperature
        request.userData = UInt(requests.count)
        change(&request)
        requests.append(request)
    }
    add(0) { _ in }
    add(0.8) { _ in }
    add(0.8) {
        $0.sampling.repetitionPenalty = 1.2
        $0.sampling.presencePenalty = 0.3
        $0.sampling.frequencyPenalty = 0.2
        $0.logprobs = 2
        $0.logprobsKind = .processed
    }
    add(0) {
        $0.sampling.repetitionPenalty = 1.3
        $0.sampling.frequencyPenalty = -0.1
        $0.draftTokens = 3
    }
    add(0.8) {
        $0.sampling.logitBias = [.init(token: 5, bias: -.infinity), .init(token: Int32(vocabularySize - 1), bias: 2)]
        $0.sampling.topK = 20
        $0.logprobs = 0
    }
    add(1) {
        $0.sampling.topP = 0.9
        $0.logprobs = 3
        $0.draftTokens = 16
    }
    add(1) {
        $0.sampling.minP = 0.05
        $0.logprobs = 4
        $0.logprobsKind = .processed
        $0.stopTexts = ["qqqq", stop + stop, "\n\n"]
    }
    add(0) {
        $0.promptLogprobs = 2
        $0.logprobs = 1
        $0.stopTokens = [7, 9]
        $0.draftTokens = 0
    }
    add(0.6) {
        $0.promptLogprobs = 0
        $0.ignoresEndOfGeneration = true
        $0.sampling.topK = 5
        $0.sampling.topP = 0.95
        $0.sampling.minP = 0.01
        $0.stopTexts = [stop]
    }
    add(0.9) {
        $0.samples = 3
        $0.promptLogprobs = 1
        $0.logprobs = 1
        $0.sampling.presencePenalty = 0.4
    }
    return requests
}

/// Every prompt greedy and with a seed.
package func seededRequests(_ prompts: [String]) -> [RequestOptions] {
    prompts.flatMap { prompt in
        [Float(0), 0.8].map { temperature in
            var request = RequestOptions()
            request.prompt = .text(prompt)
            request.maxTokens = 40
            request.seed = 77
            request.sampling.temperature = temperature
            return request
        }
    }
}
