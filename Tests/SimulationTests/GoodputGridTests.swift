import Scheduling
import Simulation
import Testing

/// The default policy against the best fixed length on virtual time.
@Suite struct GoodputGridTests {
    struct Cell: Sendable, CustomStringConvertible {
        let shape: CostShape
        let batch: Int
        let alpha: Double
        var description: String { "\(shape), \(batch) requests, alpha \(alpha)" }
    }

    static func cells(_ shape: CostShape) -> [Cell] {
        [1, 2, 4, 8, 16, 32, 64].flatMap { batch in
            [0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95].map { Cell(shape: shape, batch: batch, alpha: $0) }
        }
    }

    @Test(arguments: CostShape.allCases, [true, false])
    func isWithinTwoPercentOfTheBestFixedLength(_ shape: CostShape, _ informative: Bool) {
        for cell in Self.cells(shape) {
            let process = AcceptanceProcess(
                .uniform(cell.alpha), signal: informative ? DraftSignal() : .uninformative)
            var loop = ClosedLoop(
                concurrency: cell.batch, text: TextModel(model: process), machine: VirtualMachine(shape.costs()))
            loop.maxRows = 1024
            loop.outputTokens = 256
            let tokens = 6000 + 800 * cell.batch
            let best = loop.bestFixed(until: .tokens(tokens))
            let own = loop.run(GoodputPolicy(costs: shape.costs()), until: .tokens(tokens))
            let ratio = own.tokensPerSecond / best.result.tokensPerSecond
            #expect(ratio >= 0.98, "\(cell)")
        }
    }

}
