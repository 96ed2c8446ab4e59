/// How far estimates and outcomes are apart: the expected calibration error over ten bins (Naeini, Cooper, Hauskrecht,
/// "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015).
package struct Calibration: Sendable, Equatable {
    private struct Sum: Equatable {
        var predicted = 0.0
        var accepted = 0.0
        var count = 0.0
    }
    private var sums = [Sum](repeating: Sum(), count: 10)

    mutating func add(predicted value: Double, accepted wasAccepted: Bool) {
        let bin = min(9, max(0, Int(value * 10)))
        sums[bin].predicted += value
        sums[bin].accepted += wasAccepted ? 1 : 0
        sums[bin].count += 1
    }

    package var observations: Int { Int(sums.reduce(0) { $0 + $1.count }) }

    /// Of estimates that are alike: their mean, the share that was accepted, and how many there were.
    package struct Bin: Sendable, Equatable {
        package let predicted: Double
        package let accepted: Double
        package let count: Int
    }

    /// Bins that hold any, from low estimates to high ones.
    package var bins: [Bin] {
        sums.filter { $0.count > 0 }.map {
            Bin(predicted: $0.predicted / $0.count, accepted: $0.accepted / $0.count, count: Int($0.count))
        }
    }

    /// 0 to 1; 0 without observations.
    package var expectedError: Double {
        let total = sums.reduce(0) { $0 + $1.count }
        guard total > 0 else { return 0 }
        return sums.reduce(0) { $0 + abs($1.predicted - $1.accepted) } / total
    }
}
