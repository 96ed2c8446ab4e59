/// How many rows each request has in a pass of the draft model that missed so many tokens of each: first come, first served,
/// up to `maxRows` in all and `catchUpRows` for those of which it missed more than the tokens of one step.
package func planDraftPass(missing: [Int], maxRows: Int, catchUpRows: Int = .max) -> [Int] {
    var (left, leftForOthers) = (maxRows, catchUpRows)
    return missing.map { missing in
        guard missing > mostTokensOfAStep else {
            let rows = min(missing, left)
            left -= rows
            return rows
        }
        let rows = min(missing, left, leftForOthers)
        left -= rows
        leftForOthers -= rows
        return rows
    }
}

/// A draft of usual length and the target's own token.
private let mostTokensOfAStep = 17
