import TestSupport
import Testing

/// The generator of the test matrix itself.
@Suite struct PairwiseCoverTests {
    private typealias Choice = PairwiseCover.Choice

    private static func rowsHold(_ rows: [[Int]], _ a: Choice, _ b: Choice) -> Bool {
        rows.contains { $0[a.factor] == a.value && $0[b.factor] == b.value }
    }

    @Test(arguments: [[2, 2], [3, 2, 4], [2, 3, 2, 3, 2, 3, 2, 3], [1, 5, 1], [8, 3, 2, 2, 2]], [UInt64(1), 2])
    func everyPairOccurs(_ counts: [Int], _ seed: UInt64) {
        let rows = PairwiseCover(counts, seed: seed).rows
        for higher in counts.indices {
            for lower in 0..<higher {
                for a in 0..<counts[lower] {
                    for b in 0..<counts[higher] {
                        #expect(Self.rowsHold(rows, Choice(lower, a), Choice(higher, b)))
                    }
                }
            }
        }
        let largest = counts.sorted().suffix(2).reduce(1, *)
        #expect(rows.count >= largest && rows.count <= 2 * largest + counts.count)
        #expect(rows == PairwiseCover(counts, seed: seed).rows)
    }

    @Test func excludedPairsDoNotOccur() {
        let excludes: (Choice, Choice) -> Bool = { a, b in
            a.factor == 0 && a.value == 1 && b.value == 1 || a == Choice(1, 2) && b == Choice(2, 2)
        }
        let rows = PairwiseCover([2, 3, 3, 2], seed: 4, excludes: excludes).rows
        #expect(!rows.contains { $0[0] == 1 && $0[1...].contains(1) })
        #expect(!rows.contains { $0[1] == 2 && $0[2] == 2 })
        for (a, b) in [(Choice(0, 1), Choice(1, 2)), (Choice(1, 2), Choice(2, 1)), (Choice(0, 0), Choice(3, 1))] {
            #expect(Self.rowsHold(rows, a, b))
        }
    }
}
