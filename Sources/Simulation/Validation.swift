import Scheduling

/// A recorded run beside what a simulation makes of it: the same arrivals, the costs of its own steps and how they changed in
/// its course, and drafts that are right where they were, or were in other runs of the same requests. What the simulation has to find by itself is who runs with whom,
/// what is drafted and verified, and how long requests wait.
package struct Validation: Sendable, Equatable {
    package let policy: String
    package let seed: UInt64
    package let timeScale: Double
    package let checks: [Check]
    /// Of the fitted costs, a share.
    package let costError: Double

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
        let predicted = OpenLoopMetrics(loop.run(arm))
        let measured = OpenLoopMetrics(run.result())
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
    }
}
