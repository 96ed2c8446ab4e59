import Scheduling

/// A recorded run beside what a simulation makes of it: the same arrivals, the costs of its own steps and how they changed in
/// its course, what the engine believed of them at first, and drafts that are right where they were, or would have been. What
/// the simulation has to find by itself is who runs with whom, what is drafted and verified, and how long requests wait.
package struct Validation: Sendable, Equatable {
    package let policy: String
    package let seed: UInt64
    package let timeScale: Double
    package let checks: [Check]
    /// Of the fitted costs, a share.
    package let costError: Double
    /// The least and the most that passes took in the course of the run, in times of what they cost: how calm the machine was.
    package let slowdown: ClosedRange<Double>
    /// Share of the output tokens of which it is known whether the draft model's would be right, the others are guessed; nil
    /// without a draft model.
    package let knownShare: Double?
    /// The requests that are at or above the P95 of the time per output token, as it was measured or as it is predicted, the
    /// slowest first.
    package let slowest: [Pace]
    package let outliers: OutlierSteps

    /// A figure that has to be predicted within a share of what was measured.
    package struct Check: Sendable, Equatable {
        package let name: String
        package let measured: Double
        package let predicted: Double
        package let limit: Double

        /// How far the prediction is off, as a share of what was measured; negative: too low.
        package var error: Double { measured > 0 ? predicted / measured - 1 : (predicted > 0 ? .infinity : 0) }
        package var holds: Bool { abs(error) <= limit }
    }

    /// Time per output token of one request, in milliseconds; nil where it did not end.
    package struct Pace: Sendable, Equatable {
        package let request: Int
        package let outputTokens: Int
        package let measured: Double?
        package let predicted: Double?
    }

    /// Throughput within 5 %, of busy time too, which does not follow from the arrivals; P95 TPOT within 10 %.
    package static let throughputLimit = 0.05
    package static let paceLimit = 0.10

    package var holds: Bool { checks.allSatisfy(\.holds) }

    /// `texts`: what is known of the run's texts; nil for what it showed itself.
    package init(_ run: RecordedRun, texts: [RecordedText]? = nil) throws {
        let fitted = try RecordedCosts(run.steps, followsSpeed: true)
        let arm = try Arm(parsing: run.policy, longestDraft: run.draftTokens)
        var loop = OpenLoop(replaying: run, texts: texts ?? run.texts, costs: fitted.costs)
        loop.machine.slowdown = fitted.slowdown
        let (simulated, real) = (loop.run(arm), run.result())
        let (predicted, measured) = (OpenLoopMetrics(simulated), OpenLoopMetrics(real))
        var checks = [
            Check(
                name: "tokens per second", measured: measured.tokensPerSecond, predicted: predicted.tokensPerSecond,
                limit: Self.throughputLimit),
            Check(
                name: "tokens per busy second", measured: measured.tokensPerBusySecond,
                predicted: predicted.tokensPerBusySecond, limit: Self.throughputLimit),
        ]
        if let measured = measured.timePerOutputToken, let predicted = predicted.timePerOutputToken {
            checks.append(
                Check(
                    name: "P95 TPOT", measured: measured.p95 / 1e3, predicted: predicted.p95 / 1e3,
                    limit: Self.paceLimit))
        }
        self.checks = checks
        (policy, seed, timeScale) = (run.policy, run.seed, run.timeScale)
        costError = fitted.targetError
        let slowdowns = run.steps.map { fitted.slowdown.value(at: Moment(time: $0.start)) }
        slowdown = (slowdowns.min() ?? 1)...(slowdowns.max() ?? 1)
        // Nobody drafts for the first token, nor for the last.
        let positions = (texts ?? run.texts).flatMap { $0.accepted.dropFirst().dropLast() }
        let known = Double(positions.count { $0 != nil }) / Double(max(1, positions.count))
        knownShare = loop.machine.costs.draft.map { _ in known }
        slowest = Self.slowest(real, measured, simulated, predicted)
        outliers = OutlierSteps(run, fitted)
    }

    private static func slowest(
        _ real: OpenLoopResult, _ measured: OpenLoopMetrics, _ simulated: OpenLoopResult, _ predicted: OpenLoopMetrics
    ) -> [Pace] {
        func isSlow(_ time: Double?, _ metrics: OpenLoopMetrics) -> Bool {
            guard let time, let limit = metrics.timePerOutputToken?.p95 else { return false }
            return time >= limit
        }
        return real.requests.indices.compactMap { place -> Pace? in
            let (own, other) = (
                real.requests[place].timePerOutputToken, simulated.requests[place].timePerOutputToken
            )
            guard isSlow(own, measured) || isSlow(other, predicted) else { return nil }
            return Pace(
                request: place, outputTokens: real.requests[place].outputTokens, measured: own.map { $0 / 1e3 },
                predicted: other.map { $0 / 1e3 })
        }.sorted { max($0.measured ?? 0, $0.predicted ?? 0) > max($1.measured ?? 0, $1.predicted ?? 0) }
    }
}
