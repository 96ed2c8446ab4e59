/// The drafted rows that a step may verify: those of a request stand one after the other, and all requests share the arrays.
/// A decision between two passes of a model finds the caches empty, so that what it takes is mostly how much memory it
/// touches; the arrays keep theirs from step to step.
package struct RowPool: Sendable {
    /// The rows of one request, as a part of the pool.
    package struct Lane: Sendable {
        /// Tokens that each of its rows attends to.
        package var context: Int
        /// Further tokens come from passes of the draft model, from position `drafted` on.
        package var usesModel = false
        package var drafted = 0
        /// So many rows are taken in any case.
        package var required = 0
        /// Where its rows begin in the pool, and how many they are.
        package var first = 0
        package var count = 0
        /// Some of its rows have a branch.
        package var hasBranches = false

        package init(context: Int) { self.context = context }
    }

    /// For each row the probability that it is reached and accepted, or what that counts for; never rises along a lane.
    package var survivals: [Double] = []
    /// For each row what one for its next best token adds, in the unit of `survivals` and at most as much as there; 0:
    /// there is none.
    package var branches: [Double] = []

    package init() {}

    mutating func reserve(_ rows: Int) {
        survivals.reserveCapacity(rows)
        branches.reserveCapacity(rows)
    }

    package mutating func removeAll() {
        survivals.removeAll(keepingCapacity: true)
        branches.removeAll(keepingCapacity: true)
    }

    /// Makes the rows from `first` to the end those of `lane`. They have no branches but those that are there already.
    package mutating func close(_ lane: inout Lane, first: Int) {
        (lane.first, lane.count) = (first, survivals.count - first)
        pad(to: survivals.count)
    }

    /// The rows before `place` have no branches but those that are there already.
    mutating func pad(to place: Int) {
        while branches.count < place { branches.append(0) }
    }

    mutating func add(_ lane: RowSolver.Lane) -> Lane {
        var own = Lane(context: lane.context)
        (own.usesModel, own.drafted, own.required) = (lane.usesModel, lane.drafted, lane.required)
        own.hasBranches = !lane.branches.isEmpty
        let first = survivals.count
        survivals.append(contentsOf: lane.survivals)
        branches.append(contentsOf: lane.branches.prefix(lane.survivals.count))
        close(&own, first: first)
        return own
    }

    /// Rows and branches of the lane count so many times what they did.
    package mutating func scale(_ lane: Lane, by worth: Double) {
        for place in lane.first..<lane.first + lane.count {
            survivals[place] *= worth
            branches[place] *= worth
        }
    }

    /// The sum of the lane's survivals.
    func sum(_ lane: Lane) -> Double { survivals[lane.first..<lane.first + lane.count].reduce(0, +) }

    /// The worth of the branch at a row of the lane; 0: it has none.
    func branch(_ lane: Lane, _ depth: Int) -> Double { lane.hasBranches ? branches[lane.first + depth] : 0 }
}
