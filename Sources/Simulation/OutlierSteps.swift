import Scheduling

/// Steps of a run that took far longer than others like them at their time: what a disturbed machine does to a run, and what no
/// simulation of it can know.
package struct OutlierSteps: Sendable, Equatable {
    /// By their places among the run's steps.
    package let places: [Int]
    /// What they took beyond what was to be expected, in microseconds.
    package let lost: Double
    /// P95 of the time per output token, in milliseconds, had they taken what was to be expected.
    package let paceWithout: Double?

    /// In times of what is expected.
    package static let limit = 1.5

    init(_ run: RecordedRun, _ fitted: RecordedCosts) {
        var (places, excess): ([Int], [Double]) = ([], [])
        for (place, step) in run.steps.enumerated() {
            let expected = fitted.expectedTime(of: step)
            guard step.stepTime > Self.limit * expected else { continue }
            places.append(place)
            excess.append(step.stepTime - expected)
        }
        self.places = places
        lost = excess.reduce(0, +)
        let paces = run.requests.compactMap { request -> Double? in
            guard let pace = request.timePerOutputToken, let first = request.firstToken, let end = request.end else {
                return nil
            }
            let own = zip(places, excess).reduce(0) { sum, outlier in
                let step = run.steps[outlier.0]
                return step.start < end && step.end > first ? sum + outlier.1 : sum
            }
            return pace - own / Double(request.outputTokens - 1)
        }
        paceWithout = Distribution(paces).map { $0.p95 / 1e3 }
    }
}
