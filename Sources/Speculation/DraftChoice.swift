/// What a draft model drafted at one position, and what its scheduler and learner want to know of it.
package struct DraftChoice: Sendable, Equatable {
    package let token: Int32
    /// The next best token in the score that chose; nil where no other was possible.
    package let runnerUp: Int32?
    /// How far the choice was ahead of the next: the difference of the two largest beta·log q + G, or of the two largest
    /// log q where there is no noise in the choice (greedy, or an infinite beta). In nats, at most `largestMargin`.
    package let margin: Float
    /// The final q of the token, or for greedy requests its q at temperature 1; nil unless asked for.
    package let probability: Float?
    /// What each strength of `CouplingStrength.ladder` would have drafted.
    package let ladder: SIMD8<Int32>

    /// The margin of a token that has no rival.
    package static let largestMargin: Float = 50

    package init(
        token: Int32, runnerUp: Int32? = nil, margin: Float, probability: Float? = nil, ladder: SIMD8<Int32>? = nil
    ) {
        self.token = token
        self.runnerUp = runnerUp
        self.margin = margin
        self.probability = probability
        self.ladder = ladder ?? SIMD8(repeating: token)
    }
}

extension Sampler {
    /// What a draft model drafts at `position`: argmax of beta·log q + G, q being its final distribution and G the noise
    /// that decides the target's token there. At `.coupled` it is `choose`, bit for bit. `logits`: [vocabulary].
    package func draft(
        logits: Span<Float>, parameters: SamplingParameters, processors: [any LogitProcessor],
        history: TokenHistory, noise: GumbelNoise, position: Int, strength: CouplingStrength,
        reportsProbability: Bool = false
    ) throws -> DraftChoice {
        let place = DraftPlace(
            parameters: parameters, noise: noise, position: position, strength: strength,
            reportsProbability: reportsProbability)
        if processors.isEmpty { return try draft(processed: logits, place) }
        try adjust(logits, processors, history)
        let adjusted = self.adjusted
        return try draft(processed: adjusted.span, place)
    }

    private func draft(processed logits: Span<Float>, _ place: DraftPlace) throws -> DraftChoice {
        let best = try LogitScan.best(of: logits)
        let parameters = place.parameters
        if parameters.isGreedy {
            let next = logits.largest(but: best.token)
            return DraftChoice(
                token: best.token, runnerUp: next.token,
                margin: min(best.value - next.value, DraftChoice.largestMargin),
                probability: place.reportsProbability ? Float(1 / logits.estimatedMass(best.value, 1)) : nil)
        }
        var scan = DraftScan(place)
        let filters = filter(logits, parameters, best)
        if filters {
            for candidate in candidates where candidate.value > -.infinity {
                scan.take(candidate.token, candidate.value)
            }
        } else {
            scan.take(logits, best)
        }
        var probability: Float?
        if place.reportsProbability {
            let scale = Double(parameters.temperature)
            let top = Double(best.value) / scale
            let mass = filters ? Self.mass(candidates, top) : logits.estimatedMass(best.value, parameters.temperature)
            probability = Float(realExponential(Double(logits[Int(scan.token)]) / scale - top) / mass)
        }
        return DraftChoice(
            token: scan.token, runnerUp: scan.runnerUpToken, margin: scan.margin, probability: probability,
            ladder: scan.tokens)
    }
}

/// Where and how a token is drafted.
struct DraftPlace {
    let parameters: SamplingParameters
    let noise: GumbelNoise
    let position: Int
    let strength: CouplingStrength
    let reportsProbability: Bool
}

/// Finds argmax of beta·value + G for every strength of the ladder at once, and the runner-up for one of them.
///
/// A comparison settles most tokens: the leading zero bits of the noise say how large it is at most, and so which
/// logits can still change anything.
struct DraftScan {
    private let noise: GumbelNoise
    private let position: Int
    private let temperature: Double
    private let rung: Int
    /// A score is slope·value + share·G. At the infinite strength it is the value.
    private let slopes: SIMD8<Double>
    private let shares: SIMD8<Double>

    private var scores = SIMD8<Double>(repeating: -.infinity)
    private(set) var tokens = SIMD8<Int32>(repeating: -1)
    /// The second-largest score at `rung`, and who has it.
    private var runnerUp = -Double.infinity
    private(set) var runnerUpToken: Int32?

    /// Below this logit a token changes nothing, by the leading zeros among the upper 32 bits of the noise's complement.
    private var floors = [Float](repeating: -.infinity, count: 33)
    private var floorsAreStale = true

    init(_ place: DraftPlace) {
        let isInfinite = CouplingStrength.ladder .== SIMD8(repeating: .infinity)
        noise = place.noise
        position = place.position
        temperature = Double(place.parameters.temperature)
        rung = place.strength.rung
        slopes = CouplingStrength.ladder.replacing(with: 1, where: isInfinite)
        shares = SIMD8<Double>(repeating: 1).replacing(with: 0, where: isInfinite)
    }

    var token: Int32 { tokens[rung] }
    var margin: Float { min(Float(scores[rung] - runnerUp), DraftChoice.largestMargin) }

    /// Takes all tokens of a row into account. `best` goes first, since it settles most others.
    mutating func take(_ logits: Span<Float>, _ best: LogitScan.Best) {
        take(best.token, Double(best.value) / temperature)
        for first in stride(from: 0, to: logits.count, by: 4) {
            let block = first..<min(first + 4, logits.count)
            if floorsAreStale { updateFloors() }
            guard block.contains(where: { logits[$0] >= floors[32] && logits[$0] > -.infinity }) else { continue }
            let bits = noise.upperBits(position: position, firstToken: Int32(first))
            for index in block {
                let zeros = (~UInt32(truncatingIfNeeded: bits[index - first])).leadingZeroBitCount
                guard logits[index] >= floors[zeros], logits[index] > -.infinity, index != Int(best.token) else {
                    continue
                }
                take(Int32(index), Double(logits[index]) / temperature)
            }
        }
    }

    /// Takes one token into account; `value` is its logit over temperature.
    mutating func take(_ token: Int32, _ value: Double) {
        let sums = slopes * value + shares * noise.gumbel(position: position, token: token)
        let wins = sums[rung] > scores[rung] || sums[rung] == scores[rung] && token < tokens[rung]
        let (loser, score) = wins ? (tokens[rung], scores[rung]) : (token, sums[rung])
        if score > runnerUp { (runnerUp, runnerUpToken) = (score, loser) }
        for lane in sums.indices where sums[lane] >= scores[lane] {
            guard sums[lane] > scores[lane] || token < tokens[lane] else { continue }
            (scores[lane], tokens[lane]) = (sums[lane], token)
        }
        floorsAreStale = true
    }

    private mutating func updateFloors() {
        var gates = scores
        gates[rung] = runnerUp
        for zeros in floors.indices {
            // Where the upper half says nothing more, the lower half may be anything.
            let bound = GumbelNoise.bound(leadingZeros: zeros < 32 ? zeros : 64)
            let least = ((gates - shares * bound) / slopes).min() * temperature
            // Rounding must not settle a token that could win.
            floors[zeros] = Float(least - abs(least) * 1e-6)
        }
        floorsAreStale = false
    }
}

extension Span<Float> {
    fileprivate func largest(but token: Int32) -> (token: Int32?, value: Float) {
        var largest = -Float.infinity
        var place = -1
        for index in indices where self[index] > largest && index != Int(token) {
            (largest, place) = (self[index], index)
        }
        return (place < 0 ? nil : Int32(place), largest)
    }

    /// Σ e^((logit - best)/temperature) within 1e-5 of itself: for estimates, never for what decides a text.
    fileprivate func estimatedMass(_ best: Float, _ temperature: Float) -> Double {
        let scale = 1.442_695 / temperature
        var sums = SIMD8<Float>()
        var block = SIMD8<Float>(repeating: -.infinity)
        for first in stride(from: 0, to: count, by: 8) {
            for lane in 0..<8 { block[lane] = first + lane < count ? self[first + lane] : -.infinity }
            sums += powersOfTwo((block - best) * scale)
        }
        return sums.indices.reduce(0.0) { $0 + Double(sums[$1]) }
    }
}

/// 2^x for x <= 0 within a few millionths of itself; at most 2^-120 below -120.
@inline(__always)
private func powersOfTwo(_ x: SIMD8<Float>) -> SIMD8<Float> {
    let bounded = pointwiseMax(x, SIMD8(repeating: -120))
    // Adding 1.5·2^23 rounds to the nearest integer, which then stands in the low bits of the sum.
    let rounded = bounded + 12_582_912
    let r = (bounded - (rounded - 12_582_912)) * 0.693_147_18
    var power = r * (1 / 120) + (1 / 24)
    power = power * r + (1 / 6)
    power = power * r + 0.5
    power = power * r + 1
    power = power * r + 1
    for lane in rounded.indices { power[lane] *= Float(bitPattern: (rounded[lane].bitPattern &+ 127) &<< 23) }
    return power
}
