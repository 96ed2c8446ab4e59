import Glibc
import Formats

/// How long the requests of a made-up workload are.
package enum Lengths: Sendable {
    /// Prompt and output each uniform between half and one and a half of these means.
    case around(prompt: Int, output: Int)
    /// Pairs drawn from these.
    case drawn([Arrival])

    func draw(_ random: inout SimulationRandom) -> (prompt: Int, output: Int) {
        switch self {
        case .around(let prompt, let output):
            func vary(_ mean: Int) -> Int { max(1, Int((Double(mean) * (0.5 + random.unit())).rounded())) }
            return (vary(prompt), vary(output))
        case .drawn(let pairs):
            let pair = pairs[min(pairs.count - 1, Int(random.unit() * Double(pairs.count)))]
            return (pair.promptTokens, pair.outputTokens)
        }
    }
}

/// When the requests of a workload come.
package enum ArrivalPattern: Sendable {
    /// Independent arrivals, so many a second.
    case poisson(rate: Double)
    /// Gamma distributed gaps whose standard deviation is `variation` times their mean: above 1 in bursts.
    case gamma(rate: Double, variation: Double)
    /// Poisson arrivals whose rate changes: requests a second, for so many seconds.
    case steps([(rate: Double, seconds: Double)])

    /// The first `count` arrivals, or those of all steps if they are fewer.
    package func arrivals(_ count: Int, _ lengths: Lengths, seed: UInt64) -> [Arrival] {
        var random = SimulationRandom(seed: seed, 4)
        var sizes = SimulationRandom(seed: seed, 5)
        var time = 0.0
        var result: [Arrival] = []
        while result.count < count, let next = next(after: time, &random) {
            time = next
            let (prompt, output) = lengths.draw(&sizes)
            result.append(Arrival(time: time * 1e6, promptTokens: prompt, outputTokens: output))
        }
        return result
    }

    /// Seconds; nil after the last step.
    private func next(after time: Double, _ random: inout SimulationRandom) -> Double? {
        switch self {
        case .poisson(let rate): return time + exponentialVariate(&random) / rate
        case .gamma(let rate, let variation):
            let shape = 1 / (variation * variation)
            return time + gammaVariate(shape, &random) / (shape * rate)
        case .steps(let steps):
            // What is left of one unit exponential is used up at each step's own rate.
            var rest = exponentialVariate(&random)
            var (now, start) = (time, 0.0)
            for (rate, seconds) in steps {
                let end = start + seconds
                start = end
                guard now < end else { continue }
                if rest < (end - now) * rate { return now + rest / rate }
                rest -= (end - now) * rate
                now = end
            }
            return nil
        }
    }
}

private func exponentialVariate(_ random: inout SimulationRandom) -> Double { -log(1 - random.unit()) }

/// A gamma variate of scale 1: Marsaglia and Tsang, "A simple method for generating gamma variables" (2000). A shape
/// below 1 is one above it times a power of a uniform number.
private func gammaVariate(_ shape: Double, _ random: inout SimulationRandom) -> Double {
    guard shape >= 1 else {
        let boosted = gammaVariate(shape + 1, &random)
        return boosted * pow(1 - random.unit(), 1 / shape)
    }
    let d = shape - 1.0 / 3
    let c = 1 / (9 * d).squareRoot()
    while true {
        let x = normalVariate(&random)
        let v = 1 + c * x
        guard v > 0 else { continue }
        let cube = v * v * v
        if log(1 - random.unit()) < 0.5 * x * x + d - d * cube + d * log(cube) { return d * cube }
    }
}

/// A normal variate with exact tails, by Box and Muller.
private func normalVariate(_ random: inout SimulationRandom) -> Double {
    let radius = (-2 * log(1 - random.unit())).squareRoot()
    return radius * cos(2 * .pi * random.unit())
}

extension [Arrival] {
    /// The same requests with all times multiplied: 2 is half the load.
    package func stretched(by factor: Double) -> [Arrival] {
        map { Arrival(time: $0.time * factor, promptTokens: $0.promptTokens, outputTokens: $0.outputTokens) }
    }
}
