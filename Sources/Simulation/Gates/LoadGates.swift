/// What the default policy promises where requests come by themselves and bring prompts: that it is below no other arm.
package enum LoadGates {
    package static let all: [GateGroup] = [
        GateGroup(
            name: "open load", meaning: "tokens per busy second against the best of all other arms, by machine and load"
        ) {
            try Hardware.names.flatMap { name in try [0.3, 0.8, 2].map { try busy(on: name, load: $0) } }
        },
        GateGroup(
            name: "long and short prompts",
            meaning: "tokens per busy second in overload against the best of all other arms"
        ) {
            try Hardware.names.flatMap { try mixedPrompts(on: $0) }
        },
        GateGroup(
            name: "attainment", meaning: "share that met 0.8 x P90 of plain decoding, less that of the best other arm"
        ) {
            try Hardware.names.map { try attainment(on: $0, load: 0.8) }
        },
    ]

    /// All that could be chosen instead.
    private static let others =
        [
            "off", "static:1", "static:2", "static:3", "static:4", "static:6", "static:8", "smartspec", "turbospec",
            "adaspec",
        ]
    private static let requests = 300

    /// Requests in bursts, `load` times as many a second as the machine serves without speculation when all come at once.
    private static func loop(on name: String, load: Double) throws -> OpenLoop {
        let machine = try Hardware(nameOrPath: name)
        func loop(rate: Double) -> OpenLoop {
            OpenLoop(
                arrivals: ArrivalPattern.gamma(rate: rate, variation: 2)
                    .arrivals(requests, .around(prompt: 512, output: 128), seed: 1),
                text: TextModel(model: .uniform(0.7)), hardware: machine)
        }
        let all = OpenLoopMetrics(loop(rate: 1e6).run(.off))
        return loop(rate: load * all.tokensPerBusySecond / 128)
    }

    package static func busy(on name: String, load: Double) throws -> Gate {
        let loop = try loop(on: name, load: load)
        let best = try others.map { arm in
            (arm: arm, rate: OpenLoopMetrics(loop.run(try Arm(parsing: arm))).tokensPerBusySecond)
        }.max { $0.rate < $1.rate }
        let own = OpenLoopMetrics(loop.run(try Arm(parsing: "goodput"))).tokensPerBusySecond
        return .atLeast(
            0.98, own / (best?.rate ?? .nan), "\(name), \(load) times what it serves, against \(best?.arm ?? "none")")
    }

    /// Requests that write much behind short prompts beside those that write little behind long ones, whose tokens take most
    /// of the time: drafts for the former give more tokens a second for a while, and spare next to nothing. A draft model
    /// would have to read the long prompts first. What lookup finds costs rows only, and for the latter that pays wherever
    /// rows are cheap.
    package static func mixedPrompts(on name: String) throws -> [Gate] {
        let arrivals = (0..<200).map { number in
            let isLong = number % 2 == 1
            return Arrival(
                time: 10_000 * Double(number), promptTokens: isLong ? 20_000 : 60, outputTokens: isLong ? 100 : 300)
        }
        func gate(_ text: TextModel, _ drafter: String) throws -> Gate {
            let loop = OpenLoop(arrivals: arrivals, text: text, hardware: try Hardware(nameOrPath: name))
            func rate(_ arm: String) throws -> Double {
                OpenLoopMetrics(loop.run(try Arm(parsing: arm))).tokensPerBusySecond
            }
            let best = try others.map { (arm: $0, rate: try rate($0)) }.max { $0.rate < $1.rate }
            return .atLeast(
                0.995, try rate("goodput") / (best?.rate ?? .nan),
                "\(name), prompts of 60 and of 20 000 tokens, \(drafter), against \(best?.arm ?? "none")")
        }
        return [
            try gate(TextModel(model: .uniform(0.7)), "draft model"),
            try gate(TextModel(model: nil, retrieval: [RetrievalProcess(copiedShare: 0.8)]), "lookup"),
        ]
    }

    /// A hundredth, three of so many requests, is less than the standard error of the difference of two such shares.
    package static func attainment(on name: String, load: Double) throws -> Gate {
        var loop = try loop(on: name, load: load)
        let pace = OpenLoopMetrics(loop.run(.off)).timePerOutputToken?.p90
        loop.targets = Targets(perOutputToken: pace.map { 0.8 * $0 })
        func share(_ arm: String) throws -> Double {
            OpenLoopMetrics(loop.run(try Arm(parsing: arm))).attainment ?? .nan
        }
        let best = try others.map { (arm: $0, share: try share($0)) }.max { $0.share < $1.share }
        return .atLeast(
            -0.01, try share("goodput") - (best?.share ?? .nan), "\(name), against \(best?.arm ?? "none")")
    }
}
