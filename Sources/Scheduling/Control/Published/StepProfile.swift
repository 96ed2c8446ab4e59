/// The fitted models of a step.
struct FittedStepCosts: Sendable, Equatable {
    let target: FittedPassModel
    /// nil without a draft model.
    let draft: FittedPassModel?
    let overhead: Double

    /// `length`: the longest draft of the profile.
    init(choosing shapes: [FittedPassModel.Shape], profile: StepCosts, length: Int) {
        target = FittedPassModel(choosing: shapes, fitting: profile.target.profile(lengths: 0...length))
        draft = profile.draft.map { FittedPassModel(choosing: shapes, fitting: $0.profile(lengths: 0...0)) }
        overhead = profile.overhead
    }
}

/// The profile of smartspec and turbospec, which is taken once per model and machine. Their authors measure it before the
/// first request. Where it holds prices that were only guessed, it is taken anew from what the passes taught, after 16,
/// 32, 64, … steps: a guess would tell of the engine's sizes, not of what these policies can do.
struct StepProfile: Sendable {
    private static let firstRenewal = 16
    private let shapes: [FittedPassModel.Shape]
    private let length: Int
    private let isMeasured: Bool
    private var steps = 0
    private(set) var costs: FittedStepCosts

    init(choosing shapes: [FittedPassModel.Shape], profile: StepCosts, length: Int) {
        self.shapes = shapes
        self.length = length
        isMeasured = profile.target.isMeasured && profile.draft?.isMeasured ?? true
        costs = FittedStepCosts(choosing: shapes, profile: profile, length: length)
    }

    /// Called once a step with what is believed by now.
    mutating func renew(_ known: StepCosts) {
        guard !isMeasured else { return }
        steps += 1
        // A power of two.
        guard steps >= Self.firstRenewal, steps & (steps - 1) == 0 else { return }
        costs = FittedStepCosts(choosing: shapes, profile: known, length: length)
    }
}

extension PassCosts {
    /// Whether no price of the table is a guess.
    fileprivate var isMeasured: Bool { !measured.contains(false) }

    /// A profile over context, batch and draft length, as far as the table of widths goes.
    package func profile(lengths: ClosedRange<Int>) -> [PassSample] {
        var samples: [PassSample] = []
        for batch in [1, 2, 4, 8, 16, 32, 64] {
            for length in lengths {
                let rows = batch * (length + 1)
                if rows > (widths.last ?? 1) { break }
                for tokens in [64, 256, 1024] {
                    let time = time(rows: rows, context: batch * tokens, attended: rows * tokens)
                    samples.append(PassSample(context: batch * tokens, rows: rows, time: time))
                }
            }
        }
        return samples
    }
}
