/// A row of the solver, with its place among the others.
struct RankedRow: Sendable {
    /// Survival less the price of attention and drafting; required rows come first.
    let value: Double
    let survival: Double
    /// From 0; a controller takes no more requests than this can number (`ControllerLimits`), the engine fewer.
    let lane: UInt16
    let depth: UInt16
    /// Passes of the draft model that it needs.
    let passes: UInt16
    let isBranch: Bool

    /// Of equals drafted tokens before branches, then the shallower first, so that sets stay closed; then the earlier
    /// request.
    static func precedes(_ first: RankedRow, _ second: RankedRow) -> Bool {
        if first.value != second.value { return first.value > second.value }
        if first.isBranch != second.isBranch { return second.isBranch }
        return first.depth != second.depth ? first.depth < second.depth : first.lane < second.lane
    }
}

/// A heap with the first row on top.
struct RankedRowHeap: Sendable {
    private var rows: [RankedRow] = []

    mutating func reserveCapacity(_ count: Int) { rows.reserveCapacity(count) }

    mutating func removeAll() { rows.removeAll(keepingCapacity: true) }

    /// Adds a row anywhere; `order` makes a heap of them.
    mutating func append(_ row: RankedRow) { rows.append(row) }

    mutating func order() {
        for place in rows.indices.reversed() { sink(place) }
    }

    var top: RankedRow? { rows.first }

    mutating func replaceTop(_ row: RankedRow) {
        rows[0] = row
        sink(0)
    }

    mutating func removeTop() {
        let last = rows.removeLast()
        if !rows.isEmpty { replaceTop(last) }
    }

    private mutating func sink(_ start: Int) {
        let own = rows[start]
        var place = start
        while true {
            var child = 2 * place + 1
            guard child < rows.count else { break }
            if child + 1 < rows.count, RankedRow.precedes(rows[child + 1], rows[child]) { child += 1 }
            guard RankedRow.precedes(rows[child], own) else { break }
            rows[place] = rows[child]
            place = child
        }
        rows[place] = own
    }
}
