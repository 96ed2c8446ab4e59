/// Watches whether speculation pays: compares what steps with drafts took with what plain steps would have taken for as many
/// tokens. Losing, it forbids them for a while, twice as long after each failure, up to the length at which a try is a
/// hundredth of the time. A pure value.
package struct SpeculationGuard: Sendable {
    /// Decayed sums over steps of what was lost, taken - plain, in times of a plain step.
    private struct Window {
        let memory: Double
        /// The mean loss that ends speculation when it is no accident.
        let tolerance: Double
        var lost = 0.0
        var squares = 0.0
        var steps = 0.0

        var mean: Double { steps > 0 ? lost / steps : 0 }
        var variance: Double { steps > 0 ? max(0, squares / steps - mean * mean) : 0 }

        mutating func add(_ loss: Double) {
            let keep = 1 - 1 / memory
            lost = lost * keep + loss
            squares = squares * keep + loss * loss
            steps = steps * keep + 1
        }

        mutating func clear() { (lost, squares, steps) = (0, 0, 0) }
    }

    /// A short window ends what is dear, a long one what is not worth it.
    private var windows = [
        Window(memory: 24, tolerance: 0.35), Window(memory: 64, tolerance: 0.1), Window(memory: 400, tolerance: 0.01),
    ]
    /// How sure a loss has to be, in standard errors of its mean.
    private static let certainty = 2.0
    private static let leastSteps = 8.0
    private var offSteps = 0
    private var nextOff = shortest
    private static let shortest = 32
    package static let longest = 1024

    package init() {}

    package var isOff: Bool { offSteps > 0 }

    /// Whether it has been winning for long enough that what comes next is no longer a try.
    private var isTrusted: Bool { windows[1].steps >= 24 && windows[1].mean < -0.02 }

    /// A few steps that happen to be alike must not make a loss look certain: until much was seen a step counts as varying
    /// by as much as its expectation, less with more requests.
    private func isLosing(_ window: Window, requests: Int) -> Bool {
        let seen = windows[2]
        let prior = 24.0
        let variance = (seen.variance * seen.steps + prior / Double(requests)) / (seen.steps + prior)
        let error = (max(variance, window.variance) / max(1, window.steps)).squareRoot()
        return window.steps >= Self.leastSteps && window.mean > max(window.tolerance, Self.certainty * error)
    }

    /// A step without drafts.
    package mutating func passStep() {
        if offSteps > 0 { offSteps -= 1 }
    }

    /// A step with drafts for some of `requests`: its time, that of a plain step, and that of plain steps for as many tokens.
    package mutating func observe(taken: Double, plainStep: Double, plain: Double, requests: Int) {
        guard plainStep > 0, requests > 0 else { return }
        for index in windows.indices { windows[index].add((taken - plain) / plainStep) }
        if isTrusted { nextOff = Self.shortest }
        guard windows.contains(where: { isLosing($0, requests: requests) }) else { return }
        offSteps = nextOff
        nextOff = min(2 * nextOff, Self.longest)
        for index in windows.indices { windows[index].clear() }
    }
}

/// When to take a step without drafts, so that the price of plain decoding is known: at first for each number of requests,
/// to within a factor of two, and now and then.
struct PlainProbe: Sendable {
    /// Steps since a plain one, and how many of those there were, by the logarithm of the number of requests.
    private var steps = [Int](repeating: 0, count: 16)
    private var known = [Int](repeating: 0, count: 16)
    private static let enough = 2
    private static let interval = 256

    private static func band(_ requests: Int) -> Int {
        min(15, max(1, requests).bitWidth - max(1, requests).leadingZeroBitCount)
    }

    func isDue(requests: Int) -> Bool {
        let band = Self.band(requests)
        return known[band] < Self.enough || steps[band] >= Self.interval
    }

    mutating func passStep(requests: Int, isPlain: Bool) {
        let band = Self.band(requests)
        steps[band] = isPlain ? 0 : steps[band] + 1
        if isPlain { known[band] += 1 }
    }
}

/// When to try what is not done at present, and on how many requests. Tries are paid from a purse that a small share of all
/// time goes into, so that in the long run they cost no more than that; one that shows promise is followed by a larger one
/// at once, so that what the purse holds buys knowledge when there is some to be had.
struct ProbeSchedule: Sendable {
    /// In times of a step. It starts full: at the beginning nothing is known.
    private var purse = 3.0
    private var waited = 0
    private var interval = 0
    /// The cheapest try that the purse was too small for: what is dear is saved for, or it would never be tried again.
    private var wanted: Double?
    private(set) var requests = 1
    private static let shortest = 8
    private static let longest = 64
    private static let income = 0.006
    private static let mostSaved = 1.0

    /// Whether a try that costs so many times a step may be made now.
    func isDue(cost: Double) -> Bool { waited >= interval && cost <= purse }

    mutating func passStep() {
        waited += 1
        if purse < max(Self.mostSaved, wanted ?? 0) { purse += Self.income }
    }

    /// A try would have cost so much, and was not made.
    mutating func refused(cost: Double) {
        guard waited >= interval, cost.isFinite else { return }
        wanted = min(wanted ?? .infinity, cost)
    }

    mutating func tried(cost: Double, promising: Bool) {
        purse -= cost
        (waited, wanted) = (0, nil)
        requests = promising ? requests * 2 : max(1, requests / 2)
        interval = promising ? 0 : min(max(Self.shortest, interval * 2), Self.longest)
    }

    /// A try that takes further steps before it says anything cost so much until now.
    mutating func began(cost: Double) { purse -= cost }

    /// What was tried is done all the time now.
    mutating func reset() { (waited, interval, requests, wanted) = (0, Self.shortest, 1, nil) }
}
