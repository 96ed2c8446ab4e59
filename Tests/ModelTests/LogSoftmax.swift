import Glibc

/// Log-probabilities of a row of logits, in double.
func logSoftmax(_ logits: [Float]) -> [Double] {
    let top = Double(logits.max() ?? 0)
    let sum = logits.reduce(0) { $0 + exp(Double($1) - top) }
    return logits.map { Double($0) - top - log(sum) }
}

/// The largest difference of the log-probabilities of `logits` from `truth`; infinite where one is NaN.
func largestDifference(_ logits: [[Float]], from truth: [[Double]]) -> Double {
    guard logits.count == truth.count else { return .infinity }
    var worst = 0.0
    for (row, wanted) in zip(logits, truth) {
        guard row.count == wanted.count else { return .infinity }
        for (ours, theirs) in zip(logSoftmax(row), wanted) {
            let difference = abs(ours - theirs)
            worst = difference.isNaN ? .infinity : max(worst, difference)
        }
    }
    return worst
}
