/// Mean and percentiles of a set of times; nil where there are none.
package struct Distribution: Sendable, Equatable {
    package let mean: Double
    package let p50: Double
    package let p90: Double
    package let p95: Double
    package let p99: Double

    package init?(_ values: [Double]) {
        guard !values.isEmpty else { return nil }
        let sorted = values.sorted()
        mean = sorted.reduce(0, +) / Double(sorted.count)
        p50 = Self.percentile(50, sorted)
        p90 = Self.percentile(90, sorted)
        p95 = Self.percentile(95, sorted)
        p99 = Self.percentile(99, sorted)
    }

    /// The nearest rank: the least value that `percent` of all are not above.
    fileprivate static func percentile(_ percent: Int, _ sorted: [Double]) -> Double {
        sorted[max(0, (sorted.count * percent + 99) / 100 - 1)]
    }
}

/// The figures of one run.
package struct OpenLoopMetrics: Sendable, Equatable {
    package let finished: Int
    /// Requests that came, by the time in which they did: the load.
    package let requestsPerSecond: Double
    package let tokensPerSecond: Double
    /// Tokens by the time that the machine worked: below saturation the arrivals alone decide the tokens per second.
    package let tokensPerBusySecond: Double
    /// Share of the time that the machine worked.
    package let utilisation: Double
    package let latency: Distribution?
    package let timeToFirstToken: Distribution?
    package let timePerOutputToken: Distribution?
    /// Share of all requests that met their targets; nil without any.
    package let attainment: Double?
    /// Tokens per second of those requests that met their targets; nil without any.
    package let attainedTokensPerSecond: Double?
    /// Accepted tokens of a draft that was verified.
    package let meanAccepted: Double
    /// Verified rows for each token of decoding.
    package let rowsPerToken: Double
    /// Shares of the busy time in draft passes, and of the decoding steps' time in those that drafted nothing.
    package let draftShare: Double
    package let offShare: Double

    package init(_ result: OpenLoopResult) {
        let done = result.requests.filter { $0.end != nil }
        let span = (done.compactMap(\.end).max() ?? 0) - (result.requests.first?.arrival ?? 0)
        func ratio(_ part: Double, _ whole: Double) -> Double { whole > 0 ? part / whole : 0 }
        finished = done.count
        let arriving = (result.requests.last?.arrival ?? 0) - (result.requests.first?.arrival ?? 0)
        requestsPerSecond = ratio(Double(result.requests.count - 1), arriving) * 1e6
        tokensPerSecond = ratio(Double(result.tokens), span) * 1e6
        tokensPerBusySecond = ratio(Double(result.tokens), result.busyTime) * 1e6
        utilisation = ratio(result.busyTime, span)
        latency = Distribution(done.compactMap(\.latency))
        timeToFirstToken = Distribution(done.compactMap(\.timeToFirstToken))
        timePerOutputToken = Distribution(done.compactMap(\.timePerOutputToken))
        if result.targets.isEmpty {
            (attainment, attainedTokensPerSecond) = (nil, nil)
        } else {
            let attained = done.filter { $0.attained(result.targets) }
            attainment = ratio(Double(attained.count), Double(result.requests.count))
            attainedTokensPerSecond = ratio(Double(attained.reduce(0) { $0 + $1.outputTokens }), span) * 1e6
        }
        meanAccepted = ratio(Double(result.accepted), Double(result.drafts))
        rowsPerToken = ratio(Double(result.rows), Double(result.decodedTokens))
        draftShare = ratio(result.draftTime, result.busyTime)
        offShare = ratio(result.offTime, result.decodingTime)
    }
}

/// Each request against itself without speculation under the same workload.
package struct SpeedUp: Sendable, Equatable {
    package let mean: Double
    package let minimum: Double
    /// Share of the requests that took over 5 % longer than plain.
    package let slowerShare: Double
    /// Jain's index of fairness of the speed-ups: 1 when all gain alike, 1/n when one gains everything.
    package let fairness: Double
    /// The speed-up that so many percent of the requests do not exceed, from 0 to 100.
    package let percentiles: [Double]

    /// nil when no request ended in both runs.
    package init?(_ result: OpenLoopResult, plain: OpenLoopResult) {
        let gains = zip(plain.requests, result.requests).compactMap { plain, other -> Double? in
            guard let before = plain.latency, let after = other.latency, after > 0 else { return nil }
            return before / after
        }
        let sorted = gains.sorted()
        guard let least = sorted.first else { return nil }
        let sum = gains.reduce(0, +)
        let squares = gains.reduce(0) { $0 + $1 * $1 }
        mean = sum / Double(gains.count)
        minimum = least
        slowerShare = Double(gains.count { $0 < 1 / 1.05 }) / Double(gains.count)
        fairness = squares > 0 ? sum * sum / (Double(gains.count) * squares) : 0
        percentiles = (0...100).map { Distribution.percentile($0, sorted) }
    }
}
