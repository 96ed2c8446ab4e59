/// A workload whose requests fit a context: an output longer than half of it is cut to that, and a prompt to what the output
/// leaves. The shape of the load stays; requests that are too long for the model become the longest that it takes.
package struct LengthFit: Sendable, Equatable {
    package let arrivals: [Arrival]
    package let context: Int
    /// Requests that were shortened.
    package let shortened: Int
    /// As the workload had them.
    package let given: [Arrival]

    /// `context`: the most tokens of a prompt with its output, at least 2.
    package init(_ given: [Arrival], context: Int) {
        self.given = given
        self.context = context
        arrivals = given.map { request in
            var request = request
            request.outputTokens = min(request.outputTokens, max(1, context / 2))
            request.promptTokens = min(request.promptTokens, max(1, context - request.outputTokens))
            return request
        }
        shortened = zip(given, arrivals).count { $0 != $1 }
    }

    package static func meanPrompt(_ arrivals: [Arrival]) -> Double { mean(arrivals.map(\.promptTokens)) }
    package static func meanOutput(_ arrivals: [Arrival]) -> Double { mean(arrivals.map(\.outputTokens)) }

    private static func mean(_ values: [Int]) -> Double {
        values.isEmpty ? 0 : Double(values.reduce(0, +)) / Double(values.count)
    }
}
