/// How many rows each request has in a pass of the draft model that missed so many tokens of each: first come, first served,
/// up to `maxRows` in all and `catchUpRows` for those of which it missed more than the latest tokens.
package func planDraftPass(missing: [Int], maxRows: Int, catchUpRows: Int = .max) -> [Int] {
    var (left, leftForOthers) = (maxRows, catchUpRows)
    return missing.map { missing in
        guard missing > DecodingView.recentTokens else {
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

extension DecodingView {
    /// So many tokens come from a step or two: that the draft model missed no more is no reason to speak of catching up.
    package static let recentTokens = 8
}
