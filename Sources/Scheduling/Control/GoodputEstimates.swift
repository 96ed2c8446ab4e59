// What the policy believes of drafts that are verified.

extension GoodputPolicy {
    package var expectedTokens: [Double]? { step.expectedTokens }

    /// Of the set that was found: a request's own token, and of its draft what survives, with what its branches add.
    mutating func noteExpectation() {
        for index in solver.lanes.indices {
            let (lane, length) = (solver.lanes[index], solver.lengths[index])
            var worth = 0.0
            for row in lane.first..<lane.first + length { worth += solver.pool.survivals[row] }
            if !solver.branches.isEmpty {
                for position in solver.branches[index] { worth += solver.pool.branch(lane, position) }
            }
            let each = step.requests[index].worth
            step.expectedTokens.append(1 + (each > 0 ? worth / each : 0))
        }
    }

    package var calibrationError: Double? { survival.calibration.expectedError }
}
