import Scheduling
import Simulation
import Testing

@Suite struct OracleTests {
    private static func loop(_ requests: Int, _ text: AcceptanceProcess, _ shape: CostShape) -> ClosedLoop {
        var loop = ClosedLoop(
            concurrency: requests, text: TextModel(model: text), machine: VirtualMachine(shape.costs()))
        loop.outputTokens = 200
        return loop
    }

    private static func rate(_ loop: ClosedLoop, _ policy: any SpeculationPolicy) -> Double {
        loop.run(policy, until: .tokens(3000)).tokensPerSecond
    }

    @Test(arguments: [1, 4, 16], CostShape.allCases) func nothingRefusedIsVerified(requests: Int, shape: CostShape) {
        let loop = Self.loop(requests, .uniform(0.8), shape)
        let result = loop.run(OraclePolicy(costs: shape.costs()), until: .steps(200))
        #expect(result.records.allSatisfy { $0.verified == $0.accepted })
        // Sixteen requests take all the rows that the knee leaves cheap.
        let drafts = result.records.contains { $0.accepted.contains { $0 > 0 } }
        #expect(drafts == (requests < 16 || shape != .knee))
    }

    @Test(arguments: [1, 4, 16], CostShape.allCases) func nothingIsBetter(requests: Int, shape: CostShape) {
        let text = AcceptanceProcess(.stretches(easy: 0.95, hard: 0.3, easyLength: 20, hardLength: 10))
        let loop = Self.loop(requests, text, shape)
        let oracle = Self.rate(loop, OraclePolicy(costs: shape.costs()))
        #expect(oracle >= loop.bestFixed(until: .tokens(3000)).result.tokensPerSecond)
        #expect(oracle >= Self.rate(loop, GoodputPolicy(costs: shape.costs())))
    }

    @Test func nothingIsDraftedWhereNothingIsRight() {
        let loop = Self.loop(2, .uniform(0), .knee)
        let result = loop.run(OraclePolicy(costs: CostShape.knee.costs()), until: .steps(100))
        #expect(result.offShare == 1)
    }

    @Test func servesALoadWithPrompts() throws {
        let machine = try Hardware(nameOrPath: "h100-8b")
        let arrivals = ArrivalPattern.poisson(rate: 8).arrivals(100, .around(prompt: 300, output: 60), seed: 3)
        let loop = OpenLoop(arrivals: arrivals, text: TextModel(model: .uniform(0.7)), hardware: machine)
        let (oracle, plain) = (loop.run(try Arm(parsing: "oracle")), loop.run(.off))
        #expect(oracle.tokens == plain.tokens && oracle.accepted > 0)
        #expect(try #require(SpeedUp(oracle, plain: plain)).mean > 1.2)
    }
}
