import Glibc
package import Scheduling

/// The truth about a draft model on one kind of text. Whether the token that it would draft at a position of the output
/// is the target's is a property of the text, as it is under drafter-invariant verification: it depends neither on the
/// length of the draft nor on the step that the draft is made in.
package struct AcceptanceProcess: Sendable {
    package enum Text: Sendable, Equatable {
        /// Every token with the same probability.
        case uniform(Double)
        /// Stretches of easy and of hard tokens, of these mean lengths in tokens.
        case stretches(easy: Double, hard: Double, easyLength: Double, hardLength: Double)
        /// Every token with a probability of its own, uniform between these.
        case spread(low: Double, high: Double)
        /// What was recorded, position by position. A request takes the sequence of its number, from the start when
        /// that ends.
        case recorded([[RecordedToken]])
    }

    package struct RecordedToken: Sendable, Equatable {
        package var isAccepted: Bool
        package var feature: DraftFeature

        package init(isAccepted: Bool, feature: DraftFeature) {
            self.isAccepted = isAccepted
            self.feature = feature
        }
    }

    package var text: Schedule<Text>
    package var signal: DraftSignal

    package init(_ text: Schedule<Text>, signal: DraftSignal = DraftSignal()) {
        self.text = text
        self.signal = signal
    }

    package init(_ text: Text, signal: DraftSignal = DraftSignal()) {
        self.init(Schedule(text), signal: signal)
    }

    package static func uniform(_ alpha: Double) -> AcceptanceProcess { AcceptanceProcess(.uniform(alpha)) }
}

/// How much a draft model's scores say of the probability s that a token is accepted.
package struct DraftSignal: Sendable {
    /// False: the features have nothing to do with s.
    package var isInformative = true
    /// margin = (logit s - bias) / slope + noise · (a normal number), not below 0.
    package var slope = 1.0
    package var bias = -1.5
    package var noise = 0.5
    /// probability = sigmoid(logit s + confidence + noise · (another normal number)).
    package var confidence = 0.5

    package init() {}

    package init(noise: Double) { self.noise = noise }

    package static var uninformative: DraftSignal {
        var signal = DraftSignal()
        signal.isInformative = false
        return signal
    }

    /// The features of a token with the true probability `s`, from two normal numbers.
    func feature(_ s: Double, _ first: Double, _ second: Double) -> DraftFeature {
        let score = isInformative ? logit(s) : 0
        return DraftFeature(
            margin: Float(max(0, (score - bias) / slope + noise * first)),
            probability: Float(sigmoid(score + confidence + noise * second)))
    }
}

/// The logarithm of the odds, for probabilities 0 and 1 too.
func logit(_ probability: Double) -> Double {
    let bounded = min(max(probability, 1e-4), 1 - 1e-4)
    return log(bounded / (1 - bounded))
}

func sigmoid(_ score: Double) -> Double { 1 / (1 + exp(-score)) }

/// What a draft model would draft for one request, position by position of its output.
struct AcceptanceStream: Sendable {
    private let process: AcceptanceProcess
    private let number: Int
    private var random: SimulationRandom
    /// Positions that were looked at; the first is the next output token's.
    private var upcoming: [Position] = []
    private var passed = 0
    /// Positions whose chances were drawn or left out.
    private var drawn = 0
    private var isEasy = true

    /// The chances of one position, drawn once.
    private struct Position: Sendable {
        /// The draft is right when this is below the probability that it is.
        let coin: Double
        let level: Double
        let isEasy: Bool
        let noise: (Double, Double)

        /// Numbers from the generator for one position: three, and twelve for each normal one.
        static let draws = 3 + 2 * 12
    }

    init(_ process: AcceptanceProcess, number: Int, seed: UInt64) {
        self.process = process
        self.number = number
        random = SimulationRandom(seed: seed, 1, UInt64(number))
    }

    /// The token that is drafted `offset` tokens after the next one: what the drafter says of it, and whether it is
    /// right if the ones before were.
    mutating func draft(_ offset: Int, at moment: Moment) -> (feature: DraftFeature, isRight: Bool) {
        let text = process.text.value(at: moment)
        while upcoming.count <= offset { upcoming.append(nextPosition(text)) }
        let position = upcoming[offset]
        let s: Double
        switch text {
        case .uniform(let alpha): s = alpha
        case .stretches(let easy, let hard, _, _): s = position.isEasy ? easy : hard
        case .spread(let low, let high): s = low + (high - low) * position.level
        case .recorded(let sequences):
            let sequence = sequences[number % sequences.count]
            let token = sequence[(passed + offset) % sequence.count]
            return (token.feature, token.isAccepted)
        }
        return (process.signal.feature(s, position.noise.0, position.noise.1), position.coin < s)
    }

    /// The next `count` tokens of the output are there.
    mutating func pass(_ count: Int, at moment: Moment) {
        let known = min(count, upcoming.count)
        upcoming.removeFirst(known)
        if case .stretches = process.text.value(at: moment) {
            for _ in known..<count { _ = nextPosition(process.text.value(at: moment)) }
        } else {
            // Nobody looked at them, and nothing that follows depends on them.
            random.skip((count - known) * Position.draws)
            drawn += count - known
        }
        passed += count
    }

    private mutating func nextPosition(_ text: AcceptanceProcess.Text) -> Position {
        let turn = random.unit()
        if case .stretches(_, _, let easyLength, let hardLength) = text {
            if drawn == 0 {
                isEasy = turn < easyLength / (easyLength + hardLength)
            } else if turn < 1 / max(1, isEasy ? easyLength : hardLength) {
                isEasy.toggle()
            }
        }
        drawn += 1
        return Position(
            coin: random.unit(), level: random.unit(), isEasy: isEasy, noise: (random.normal(), random.normal()))
    }
}
