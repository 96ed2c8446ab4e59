/// What drafted rows add to a pass of the target: its time with so many of them, and the least that some more take, in time
/// for each. The first numbers are looked up when they are asked for: most drafts are worth few rows.
package struct TargetPrices: Sendable {
    /// The time with so many drafted rows, attention left out.
    package private(set) var times: [Double] = []
    /// With so many, the least that each of some more takes; infinite where there are no more.
    package private(set) var least: [Double] = []
    /// The least of them with so many rows or fewer.
    package private(set) var leastUpTo: [Double] = []
    /// The most drafted rows; -1: nothing is known.
    private(set) var most = -1
    /// The least that a row takes anywhere.
    package private(set) var floor = 0.0

    /// Between two corners the time is a straight line.
    private struct Corner {
        let rows: Int
        let time: Double
        /// The corner that the lower convex hull of what is to the right goes to next.
        var next: Int
        /// The time of a row on the way to the corner after this.
        var slope: Double
    }
    private var corners: [Corner] = []
    /// The corner at or before the last number of rows that was looked up.
    private var place = 0

    package init() {}

    mutating func reserve(_ rows: Int) {
        times.reserveCapacity(rows)
        least.reserveCapacity(rows)
        leastUpTo.reserveCapacity(rows)
        corners.reserveCapacity(rows / 2)
    }

    /// For up to `most` rows beside `rows` others, whose pass takes `rest` besides its rows.
    package mutating func open(_ costs: PassCosts, rows: Int, rest: Double, most: Int) {
        self.most = most
        times.removeAll(keepingCapacity: true)
        least.removeAll(keepingCapacity: true)
        leastUpTo.removeAll(keepingCapacity: true)
        corners.removeAll(keepingCapacity: true)
        place = 0
        add(0, rest + costs.base(rows: rows))
        for (index, width) in costs.widths.enumerated() where width > rows && width < rows + most {
            add(width - rows, rest + costs.base[index])
        }
        if most > 0 { add(most, rest + costs.base(rows: rows + most)) }
        wrap()
        fill(to: 0)
    }

    private mutating func add(_ rows: Int, _ time: Double) {
        corners.append(Corner(rows: rows, time: time, next: corners.count, slope: .infinity))
    }

    /// From right to left along the lower convex hull.
    private mutating func wrap() {
        floor = .infinity
        for index in corners.indices.dropLast().reversed() {
            corners[index].slope = slope(corners[index].rows, corners[index].time, to: index + 1)
            floor = min(floor, corners[index].slope)
            corners[index].next = lowest(corners[index].rows, corners[index].time, from: index + 1)
        }
    }

    private func slope(_ rows: Int, _ time: Double, to corner: Int) -> Double {
        (corners[corner].time - time) / Double(corners[corner].rows - rows)
    }

    /// The corner that the least slope leads to, from a place before `first`.
    private func lowest(_ rows: Int, _ time: Double, from first: Int) -> Int {
        var corner = first
        while corners[corner].next > corner,
            slope(rows, time, to: corners[corner].next) <= slope(rows, time, to: corner)
        {
            corner = corners[corner].next
        }
        return corner
    }

    /// Looks numbers of rows up, to `count` or the most.
    package mutating func fill(to count: Int) {
        while times.count <= min(count, most) {
            let rows = times.count
            while place + 1 < corners.count, corners[place + 1].rows <= rows { place += 1 }
            let corner = corners[place]
            let time = rows == corner.rows ? corner.time : corner.time + corner.slope * Double(rows - corner.rows)
            var price = Double.infinity
            if place + 1 < corners.count { price = slope(rows, time, to: lowest(rows, time, from: place + 1)) }
            times.append(time)
            least.append(price)
            leastUpTo.append(min(price, leastUpTo.last ?? .infinity))
        }
    }
}
