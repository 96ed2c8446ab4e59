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
    @Option(help: "Take only every n-th request.") var every = 1
    @Option(help: "At most so many requests; made-up workloads without an end have 1000.") var requests: Int?
    @Option(help: "Mean prompt length of made-up workloads, each from half to one and a half of it.") var promptTokens =
        512
    @Option(help: "Mean output length, likewise.") var outputTokens = 128
    @Option(help: "Draw lengths from the lines of this trace instead.") var lengths: String?

    /// Nothing says when requests come.
    var isUnstated: Bool { trace == nil && poisson == nil && gamma == nil && steps == nil }

    /// The workload of a seed, before its times are scaled.
    func arrivals(seed: UInt64) throws -> [Arrival] {
        guard every >= 1 else { throw Failure.invalid("--every is \(every); it must be at least 1") }
        if let requests, requests < 1 { throw Failure.invalid("--requests is \(requests); it must be at least 1") }
        let all = try source().map { try recorded($0) } ?? madeUp(seed: seed)
        let chosen = stride(from: 0, to: all.count, by: every).map { all[$0] }.prefix(requests ?? .max)
        guard !chosen.isEmpty else { throw Failure.invalid("the workload has no request") }
        return Array(chosen)
    }

    /// What a report has to say of it.
    var json: [(String, JSONText)] {
        let stated = [("trace", trace), ("poisson", poisson.map { "\($0)" }), ("gamma", gamma), ("steps", steps)]
        let times = stated.compactMap { name, value in value.map { "\(name) \($0)" } }.first ?? "recorded"
        let made = trace == nil
        let means = made && lengths == nil
        return [
            ("workload", .string(times)), ("every", .int(every)),
            ("lengths", made ? lengths.map { .string($0) } ?? .null : .null),
            ("prompt_tokens", means ? .int(promptTokens) : .null),
            ("output_tokens", means ? .int(outputTokens) : .null),
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
        guard promptTokens >= 1, outputTokens >= 1 else {
            throw Failure.invalid("--prompt-tokens and --output-tokens must be at least 1")
        }
        let sizes = try lengths.map { Lengths.drawn(try Trace(path: $0).arrivals) }
        let endless = requests ?? 1000
        return try pattern().arrivals(
            (steps == nil ? endless * every : requests.map { $0 * every }) ?? .max,
            sizes ?? .around(prompt: promptTokens, output: outputTokens), seed: seed)
    }

    private func pattern() throws -> ArrivalPattern {
        if let poisson { return .poisson(rate: try positive("\(poisson)", "--poisson")) }
        if let gamma {
            let parts = gamma.split(separator: ",", omittingEmptySubsequences: false)
            guard parts.count == 2 else {
                throw Failure.invalid("--gamma \(gamma) is not of the form RATE,CV, such as 4,2")
            }
            return .gamma(
                rate: try positive(String(parts[0]), "--gamma"), variation: try positive(String(parts[1]), "--gamma"))
        }
        return .steps(
            try (steps ?? "").split(separator: ",", omittingEmptySubsequences: false).map { step in
                let parts = step.split(separator: ":", omittingEmptySubsequences: false)
                guard parts.count == 2, let rate = Double(parts[0]), rate >= 0, rate.isFinite else {
                    throw Failure.invalid("--steps \(step) is not of the form RATE:SECONDS, such as 4:60")
                }
                return (rate: rate, seconds: try positive(String(parts[1]), "--steps"))
            })
    }
}

/// A number above 0 on the command line.
func positive(_ text: String, _ option: String) throws -> Double {
    guard let value = Double(text), value > 0, value.isFinite else {
        throw Failure.invalid("\(option): \"\(text)\" is not a number above 0")
    }
    return value
}
