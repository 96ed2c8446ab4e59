import Scheduling
import TestSupport
import Testing

@Suite struct TargetPricesTests {
    /// Tables with gaps and stairs, which end before the most rows or after.
    @Test func equalTheirDefinition() {
        var random = SplitMix64(seed: 4)
        for number in 0..<500 {
            var (widths, base) = ([1], [Double(random.int(1..<500))])
            for _ in 0..<random.int(0..<8) {
                widths.append(widths[widths.count - 1] + random.int(1..<9))
                base.append(base[base.count - 1] + Double(random.int(0..<4) * random.int(0..<200)))
            }
            let costs = PassCosts(widths: widths, base: base)
            let (rows, rest, most) = (random.int(0..<12), Double(random.int(0..<100)), random.int(0..<40))
            let times: [Double] = (0...most).map { rest + costs.base(rows: rows + $0) }
            var least = [Double](repeating: .infinity, count: most + 1)
            for count in 0...most {
                for more in 1..<max(1, most - count + 1) {
                    let price = (times[count + more] - times[count]) / Double(more)
                    least[count] = min(least[count], price)
                }
            }
            var prices = TargetPrices()
            prices.open(costs, rows: rows, rest: rest, most: most)
            // Little by little, and beyond the end.
            while prices.times.count <= most { prices.fill(to: prices.times.count + random.int(0..<5)) }
            #expect(prices.times.count == most + 1, "\(number)")
            var leastSoFar = Double.infinity
            for count in 0...most {
                leastSoFar = min(leastSoFar, least[count])
                #expect(abs(prices.times[count] - times[count]) < 1e-9, "\(number), \(count)")
                #expect(isClose(prices.least[count], least[count]), "\(number), \(count)")
                #expect(isClose(prices.leastUpTo[count], leastSoFar), "\(number), \(count)")
            }
            #expect(prices.floor <= leastSoFar + 1e-9, "\(number)")
        }
    }

    private func isClose(_ first: Double, _ second: Double) -> Bool { first == second || abs(first - second) < 1e-9 }
}
