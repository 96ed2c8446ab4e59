package import Scheduling

/// Made-up cost tables for grids of experiments. The target takes about 20 ms for one row, the draft model a twelfth.
package enum CostShape: String, Sendable, CaseIterable {
    /// Every row costs the same: compute-bound from the first.
    case linear
    /// Rows cost in groups of eight, as kernels with a tile of eight do.
    case staircase
    /// Sixteen rows at nearly the price of one, then each costs.
    case knee

    /// Microseconds.
    package static let targetRow = 20_000.0

    package func costs(hasDraft: Bool = true, overhead: Double = 50) -> StepCosts {
        let widths = Self.widths
        let target = PassCosts(
            widths: widths, base: widths.map { Self.targetRow * price($0) }, perContext: 0.2, perAttended: 0.05)
        // A draft model is small enough to be bound by its weights up to many rows.
        let draft = PassCosts(
            widths: widths, base: widths.map { Self.targetRow / 12 * Self.draftPrice($0) }, perContext: 0.02,
            perAttended: 0.005)
        return StepCosts(target: target, draft: hasDraft ? draft : nil, overhead: overhead)
    }

    /// The time of `rows` rows in those of one.
    private func price(_ rows: Int) -> Double {
        switch self {
        case .linear: 1 + 0.1 * Double(rows - 1)
        case .staircase: 1 + 0.5 * Double((rows - 1) / 8)
        case .knee: 1 + 0.01 * Double(rows - 1) + 0.12 * Double(max(0, rows - 16))
        }
    }

    private static func draftPrice(_ rows: Int) -> Double {
        1 + 0.005 * Double(rows - 1) + 0.03 * Double(max(0, rows - 32))
    }

    /// Every width to 64, so that steps stay steps, and then few.
    private static let widths = Array(1...64) + [96, 128, 192, 256, 512]
}

extension StepCosts {
    /// All times multiplied.
    package func scaled(target: Double = 1, draft: Double = 1) -> StepCosts {
        StepCosts(
            target: self.target.scaled(target), draft: self.draft?.scaled(draft), overhead: overhead * target)
    }

    /// Every pass of the target longer by `microseconds`.
    package func shifted(by microseconds: Double) -> StepCosts {
        var result = self
        result.overhead += microseconds
        return result
    }

    /// A table whose knee is elsewhere: what really takes n rows is thought to take n · `factor`.
    package func stretched(by factor: Double) -> StepCosts {
        var result = self
        result.target = target.stretched(by: factor)
        return result
    }
}

extension PassCosts {
    package func scaled(_ factor: Double) -> PassCosts {
        PassCosts(
            widths: widths, base: base.map { $0 * factor }, perContext: perContext * factor,
            perAttended: perAttended * factor)
    }

    fileprivate func stretched(by factor: Double) -> PassCosts {
        PassCosts(
            widths: widths, base: widths.map { base(rows: max(1, Int((Double($0) / factor).rounded()))) },
            perContext: perContext, perAttended: perAttended)
    }
}
