import Simulation
import Testing

/// What the default policy promises. The experiments are the library's own: `ftk bench gates` makes the same.
@Suite struct GoodputGateTests {
    private func expectToHold(_ gates: [Gate]) {
        #expect(!gates.isEmpty)
        for gate in gates { #expect(gate.holds, "\(gate)") }
    }

    @Test(arguments: CostShape.allCases, [true, false])
    func isWithinTwoPercentOfTheBestFixedLength(_ shape: CostShape, _ isInformative: Bool) {
        let gates = GoodputGates.grid(shape, isInformative: isInformative)
        #expect(gates.count == 49)
        expectToHold(gates)
    }

    @Test(arguments: CostShape.allCases) func aUselessDrafterCostsNextToNothing(_ shape: CostShape) {
        expectToHold(GoodputGates.uselessDrafter(shape))
    }

    @Test(arguments: CostShape.allCases, [1, 4])
    func aPerfectDrafterIsUsedToTheFullWithinTenSteps(_ shape: CostShape, _ batch: Int) {
        expectToHold([GoodputGates.perfectDrafter(shape, batch: batch)])
    }

    @Test(arguments: [1, 4, 16]) func followsTheText(_ batch: Int) {
        expectToHold(GoodputGates.changeOfText(batch: batch))
    }

    @Test func followsTheLoad() { expectToHold(GoodputGates.changeOfLoad()) }

    @Test(arguments: CostShape.allCases, [1, 8]) func wrongCostsAreCorrected(_ shape: CostShape, _ batch: Int) {
        expectToHold(GoodputGates.wrongCosts(shape, batch: batch))
    }

    @Test func survivesAMachineThatBecomesHalfAsFast() { expectToHold([GoodputGates.slowerMachine()]) }

    @Test func estimatesAreCalibrated() { expectToHold(GoodputGates.calibration()) }

    @Test(arguments: Hardware.names) func promptsThatKeepComingCostNothing(_ machine: String) throws {
        expectToHold([try LoadGates.busy(on: machine, load: 2)])
    }

    @Test(arguments: Hardware.names) func draftsGoToThoseWhoseTokensAreDear(_ machine: String) throws {
        expectToHold(try LoadGates.mixedPrompts(on: machine))
    }
}

@Suite struct GateTests {
    @Test func aBoundHoldsOnItsOwnSide() {
        #expect(Gate.atLeast(0.98, 0.98, "s").holds)
        #expect(!Gate.atLeast(0.98, 0.979, "s").holds)
        #expect(Gate.atMost(0.02, 0.02, "s").holds)
        #expect(!Gate.atMost(0.02, 0.021, "s").holds)
        #expect(abs(Gate.atMost(0.5, 0.25, "s").margin - 0.25) < 1e-12)
        #expect(Gate.atLeast(0.5, 0.25, "s").margin == -0.25)
    }

    @Test func whatIsNoNumberDoesNotHold() {
        #expect(!Gate.atLeast(0, .nan, "s").holds)
        #expect(!Gate.atMost(0, .nan, "s").holds)
    }
}
