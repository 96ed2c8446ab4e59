/// The non-negative coefficients x that minimise the sum of squares of rows·x - values. The optimum is the plain least
/// squares solution on the columns where it is not 0, so trying all sets of columns finds it exactly; there are few.
func nonNegativeLeastSquares(_ rows: [[Double]], _ values: [Double], columns: Int) -> [Double] {
    // Columns of one size: terms of very different size do not spoil the elimination.
    let scales = (0..<columns).map { column in rows.reduce(0) { max($0, abs($1[column])) } }
    let scaled = rows.map { row in (0..<columns).map { scales[$0] > 0 ? row[$0] / scales[$0] : 0 } }
    var best = Array(repeating: 0.0, count: columns)
    var bestError = values.reduce(0) { $0 + $1 * $1 }
    for set in 1..<(1 << columns) {
        let chosen = (0..<columns).filter { set >> $0 & 1 == 1 }
        guard let solution = leastSquares(scaled, values, chosen), solution.allSatisfy({ $0 >= 0 }) else { continue }
        var error = 0.0
        for (row, value) in zip(scaled, values) {
            let rest = zip(chosen, solution).reduce(value) { $0 - row[$1.0] * $1.1 }
            error += rest * rest
        }
        guard error < bestError else { continue }
        bestError = error
        best = Array(repeating: 0, count: columns)
        for (column, factor) in zip(chosen, solution) { best[column] = factor / scales[column] }
    }
    return best
}

/// The least squares solution on some columns by the normal equations; nil where the columns depend on each other.
private func leastSquares(_ rows: [[Double]], _ values: [Double], _ columns: [Int]) -> [Double]? {
    let count = columns.count
    var matrix = columns.map { a in
        columns.map { b in rows.reduce(0) { $0 + $1[a] * $1[b] } }
            + [zip(rows, values).reduce(0) { $0 + $1.0[a] * $1.1 }]
    }
    // The matrix is symmetric and positive, which elimination keeps: no pivoting is needed.
    let squares = (0..<count).map { matrix[$0][$0] }
    for pivot in 0..<count {
        guard matrix[pivot][pivot] > 1e-10 * squares[pivot] else { return nil }
        for row in 0..<count where row != pivot {
            let factor = matrix[row][pivot] / matrix[pivot][pivot]
            for column in pivot...count { matrix[row][column] -= factor * matrix[pivot][column] }
        }
    }
    return (0..<count).map { matrix[$0][count] / matrix[$0][$0] }
}
