import ArgumentParser
import Formats
import Simulation

/// Where a workload's requests come from.
struct WorkloadArguments: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A recorded workload, or its requests from START to END seconds.", valueName: "file[:start-end]"))
    var trace: String?
    @Option(help: "Independent arrivals, so many a second.") var poisson: Double?
    @Option(
        help: ArgumentHelp("Arrivals with gamma distributed gaps: requests a second, variation.", valueName: "rate,cv"))
    var gamma: String?
    @Option(help: ArgumentHelp("Independent arrivals at rates that change.", valueName: "rate:seconds,…"))
    var steps: String?

    @Option(
        help: ArgumentHelp(
            "Multiplies the arrival times: 2 is half the load. A list gives a cell for each.", valueName: "x,…"))
    var timeScale = "1"
    @Option(help: "Take only every n-th request. Default: 1.") var every: Int?
    @Option(help: "At most so many requests; made-up workloads without an end have 1000.") var requests: Int?
    @Option(help: "Mean prompt length of made-up workloads, each from half to one and a half of it. Default: 512.")
    var promptTokens: Int?
    @Option(help: "Mean output length, likewise. Default: 128.") var outputTokens: Int?
    @Option(help: "Draw lengths from the lines of this trace instead.") var lengths: String?

    private static let meanPrompt = 512
    private static let meanOutput = 128
    /// More arrivals than that are a mistake, and would fill the memory.
    private static let mostArrivals = 100_000_000

    /// Nothing says when requests come.
    var isUnstated: Bool { trace == nil && poisson == nil && gamma == nil && steps == nil }

    /// The workload of a seed, before its times are scaled.
    func arrivals(seed: UInt64) throws -> [Arrival] {
        try Self.check(every, "--every", most: 1_000_000)
        try Self.check(requests, "--requests", most: 1_000_000_000)
        try Self.check(promptTokens, "--prompt-tokens", most: Trace.limit)
        try Self.check(outputTokens, "--output-tokens", most: Trace.limit)
        let all = try source().map { try recorded($0) } ?? madeUp(seed: seed)
        let chosen = stride(from: 0, to: all.count, by: every ?? 1).map { all[$0] }.prefix(requests ?? .max)
        guard !chosen.isEmpty else { throw Failure.invalid("the workload has no request") }
        return Array(chosen)
    }

    private static func check(_ value: Int?, _ option: String, most: Int) throws {
        guard let value, !(1...most).contains(value) else { return }
        throw Failure.invalid("\(option) is \(value); it must be from 1 to \(most)")
    }

    /// A recorded workload is what it is: options that would select from it or make up lengths are an error.
    func refuseForRecorded() throws {
        let stated = [
            ("--every", every != nil), ("--requests", requests != nil), ("--lengths", lengths != nil),
            ("--prompt-tokens", promptTokens != nil), ("--output-tokens", outputTokens != nil),
        ]
        for (option, isStated) in stated where isStated {
            throw Failure.invalid(
                "\(option) does not apply to the workload of --recording; state another with --trace, --poisson, "
                    + "--gamma or --steps")
        }
    }

    /// What a report has to say of it; null where it played no part.
    var json: [(String, JSONText)] {
        let stated = [("trace", trace), ("poisson", poisson.map { "\($0)" }), ("gamma", gamma), ("steps", steps)]
        let times = stated.compactMap { name, value in value.map { "\(name) \($0)" } }.first ?? "recorded"
        let made = trace == nil && !isUnstated
        let means = made && lengths == nil
        return [
            ("workload", .string(times)), ("every", isUnstated ? .null : .int(every ?? 1)),
            ("requests", requests.map { .int($0) } ?? .null),
            ("lengths", made ? lengths.map { .string($0) } ?? .null : .null),
            ("prompt_tokens", means ? .int(promptTokens ?? Self.meanPrompt) : .null),
            ("output_tokens", means ? .int(outputTokens ?? Self.meanOutput) : .null),
        ]
    }

    func timeScales() throws -> [Double] {
        try timeScale.split(separator: ",", omittingEmptySubsequences: false).map {
            try positive(String($0), "--time-scale")
        }
    }

    /// The trace, where the workload is one.
    private func source() throws -> String? {
        let given = [trace != nil, poisson != nil, gamma != nil, steps != nil].count { $0 }
        guard given == 1 else {
            throw Failure.invalid(
                "one of --trace, --poisson, --gamma and --steps says when requests come; \(given) are given")
        }
        return trace
    }

    private func recorded(_ argument: String) throws -> [Arrival] {
        guard let colon = argument.lastIndex(of: ":"), !fileExists(argument) else {
            return try Trace(path: argument).arrivals
        }
        let ends = argument[argument.index(after: colon)...].split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let start = Double(ends[0]), let end = Double(ends[1]), start >= 0, start < end else {
            throw Failure.invalid("--trace \(argument): a window is FILE:START-END in seconds, such as trace.csv:0-600")
        }
        return try Trace(path: String(argument[..<colon])).window(from: start, to: end).arrivals
    }

    private func madeUp(seed: UInt64) throws -> [Arrival] {
        let sizes = try lengths.map { Lengths.drawn(try Trace(path: $0).arrivals) }
        let every = every ?? 1
        let endless = requests ?? 1000
        guard steps != nil || endless * every <= Self.mostArrivals else {
            throw Failure.invalid("--requests times --every is \(endless * every); the most is \(Self.mostArrivals)")
        }
        return try pattern().arrivals(
            (steps == nil ? endless * every : requests.map { $0 * every }) ?? .max,
            sizes ?? .around(prompt: promptTokens ?? Self.meanPrompt, output: outputTokens ?? Self.meanOutput),
            seed: seed)
    }

    private func pattern() throws -> ArrivalPattern {
        if let poisson { return .poisson(rate: try rate("\(poisson)", "--poisson")) }
        if let gamma {
            let parts = gamma.split(separator: ",", omittingEmptySubsequences: false)
            guard parts.count == 2 else {
                throw Failure.invalid("--gamma \(gamma) is not of the form RATE,CV, such as 4,2")
            }
            let variation = try positive(String(parts[1]), "--gamma")
            guard (0.01...100).contains(variation) else {
                throw Failure.invalid("--gamma: the variation is \(variation); it must be from 0.01 to 100")
            }
            return .gamma(rate: try rate(String(parts[0]), "--gamma"), variation: variation)
        }
        let stated = try (steps ?? "").split(separator: ",", omittingEmptySubsequences: false).map(Self.step)
        let expected = stated.reduce(0.0) { $0 + $1.rate * $1.seconds }
        guard expected <= Double(Self.mostArrivals) else {
            throw Failure.invalid("--steps: \(expected) requests are expected; the most is \(Self.mostArrivals)")
        }
        return .steps(stated)
    }

    private static func step(_ text: Substring) throws -> (rate: Double, seconds: Double) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let rate = Double(parts[0]), (0...mostRate).contains(rate) else {
            throw Failure.invalid(
                "--steps \(text) is not of the form RATE:SECONDS, such as 4:60, with at most \(mostRate) a second")
        }
        return (rate: rate, seconds: try positive(String(parts[1]), "--steps"))
    }
}

/// Requests a second: more than any machine could look at are a mistake.
private let mostRate = 1e6

private func rate(_ text: String, _ option: String) throws -> Double {
    let rate = try positive(text, option)
    guard (1e-6...mostRate).contains(rate) else {
        throw Failure.invalid("\(option): a rate is \(rate); it must be from 1e-6 to \(mostRate)")
    }
    return rate
}

extension [Arrival] {
    /// The same requests with all times multiplied, as long as these are times that a clock could show.
    func scaled(by factor: Double) throws -> [Arrival] {
        let result = stretched(by: factor)
        guard result.allSatisfy({ $0.time <= RecordedRun.longestTime }) else {
            throw Failure.invalid("the workload's last request comes after more than 1e9 s; see --time-scale")
        }
        return result
    }
}

/// A number above 0 on the command line.
func positive(_ text: String, _ option: String) throws -> Double {
    guard let value = Double(text), value > 0, value.isFinite else {
        throw Failure.invalid("\(option): \"\(text)\" is not a number above 0")
    }
    return value
}
