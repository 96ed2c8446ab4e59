import Glibc
import Speculation

/// The rules that keep ratio tests exact for sampled drafts.
enum CausalRule: CausalCut, CaseIterable {
    case all, two, none
    case beforeLowMargin, beforeLowMaximum, beforeHighEntropy, beforeWhatFollowsZero
    case afterUnlikely
    case rankOrder

    func keepsNext(_ view: CutView) -> Bool {
        let earlier = zip(view.earlier, view.proposals)
        let next = view.proposals[view.proposals.endIndex - 1]
        switch self {
        case .all: return true
        case .two: return view.earlier.count < 2
        case .none: return false
        case .beforeLowMargin: return next.margin >= 0.6
        case .beforeLowMaximum: return next.largest >= 0.5
        case .beforeHighEntropy:
            return next.entries.reduce(0.0) { $0 - ($1.probability > 0 ? $1.probability * log($1.probability) : 0) }
                < 0.9
        case .beforeWhatFollowsZero: return view.earlier.last != 0
        case .afterUnlikely: return earlier.allSatisfy { $1.probability(of: $0) >= 0.4 }
        case .rankOrder: return StepCost.admits(view.proposals.count, StepCost.survivals(Array(view.proposals)))
        }
    }
}

/// A step costs `base` and `row` for each verified token. Another request's rows compete for the same step.
enum StepCost {
    static let base = 1.0
    static let row = 0.22
    private static let others = [0.8, 0.45, 0.3]

    /// Survival of the first j tokens if each is accepted with the largest probability of its q.
    static func survivals(_ proposals: [TokenDistribution]) -> [Double] {
        proposals.reduce(into: []) { $0.append(($0.last ?? 1) * $1.largest) }
    }

    static func rate(_ survivals: some Sequence<Double>) -> Double {
        let (sum, count) = survivals.reduce((1.0, 0.0)) { ($0.0 + $1, $0.1 + 1) }
        return sum / (base + row * count)
    }

    /// Whether greedy admission gets as far as row `index` (from 1): rows of both requests by falling survival, up to
    /// the first that does not improve the rate.
    static func admits(_ index: Int, _ survivals: [Double]) -> Bool {
        let own = survivals.enumerated().map { (survival: $1, index: $0 + 1) }
        let ranked = (own + others.map { (survival: $0, index: 0) }).sorted {
            $0.survival != $1.survival ? $0.survival > $1.survival : $0.index < $1.index
        }
        var admitted: [Double] = []
        for entry in ranked {
            guard rate(admitted + [entry.survival]) > rate(admitted) else { return false }
            admitted.append(entry.survival)
            if entry.index == index { return true }
        }
        return false
    }
}

/// The rules that look at what was drafted: how many tokens they leave of a draft and its q.
enum AnticipatingRule: CaseIterable {
    case dropUnlikely, productThreshold, bestOfCurve
    // These know q_j of every token that was drafted, but not which token it was; q_(j+1) tells.
    case prunedByMaxima, bestOfMaxima

    /// The parameter is a threshold, or what two rows cost relative to a step without any. Rows are paid for in pairs.
    func length(_ tokens: [Int32], _ proposals: [TokenDistribution], _ parameter: Double) -> Int {
        let own = zip(tokens, proposals).map { $1.probability(of: $0) }
        let products = own.reduce(into: [Double]()) { $0.append(($0.last ?? 1) * $1) }
        switch self {
        case .dropUnlikely: return own.prefix { $0 >= parameter }.count
        case .productThreshold: return products.prefix { $0 >= parameter }.count
        case .bestOfCurve: return Self.best(products, parameter)
        case .prunedByMaxima: return Self.pruned(StepCost.survivals(proposals), parameter)
        case .bestOfMaxima: return Self.best(StepCost.survivals(proposals), parameter)
        }
    }

    private static func rate(_ survivals: [Double], _ length: Int, _ pairCost: Double) -> Double {
        (1 + survivals.prefix(length).reduce(0, +)) / (1 + pairCost * Double((length + 1) / 2))
    }

    private static func best(_ survivals: [Double], _ pairCost: Double) -> Int {
        (0...survivals.count).reduce(0) {
            rate(survivals, $1, pairCost) > rate(survivals, $0, pairCost) ? $1 : $0
        }
    }

    /// Pair by pair from the end, as long as the rate does not fall.
    private static func pruned(_ survivals: [Double], _ pairCost: Double) -> Int {
        var length = survivals.count
        while length > 0 {
            let shorter = (length - 1) / 2 * 2
            guard rate(survivals, shorter, pairCost) >= rate(survivals, length, pairCost) else { break }
            length = shorter
        }
        return length
    }
}
