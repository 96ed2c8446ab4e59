import Formats
import Glibc
import Speculation
import TestSupport
import Testing

/// Drafter-invariant verification with toy models whose distribution depends on the last two tokens.
@Suite struct VerificationTests {
    static let vocabulary = 6

    static func logits(after tokens: [Int32], model: UInt64) -> [Float] {
        var random = SplitMix64(seed: model)
        for token in tokens.suffix(2) { random = SplitMix64(seed: random.next() ^ UInt64(token)) }
        return (0..<vocabulary).map { _ in Float.random(in: -2...2, using: &random) }
    }

    static func choose(
        after tokens: [Int32], model: UInt64, _ parameters: SamplingParameters, _ noise: GumbelNoise
    ) throws -> Int32 {
        try Sampler().choose(
            logits: logits(after: tokens, model: model).span, parameters: parameters, processors: [],
            history: TokenHistory(prompt: []), noise: noise, position: tokens.count)
    }

    /// How drafts are made; all but the last are allowed to be bad.
    enum Drafting: CaseIterable { case none, constant, coupledOther, argmaxOther, oracle, oracleWithErrors }

    private static func draft(
        _ kind: Drafting, after tokens: [Int32], count: Int, _ parameters: SamplingParameters, _ noise: GumbelNoise
    ) throws -> [Int32] {
        var all = tokens
        for offset in 0..<count {
            switch kind {
            case .none: return []
            case .constant: all.append(2)
            case .coupledOther: all.append(try choose(after: all, model: 2, parameters, noise))
            case .argmaxOther:
                let row = logits(after: all, model: 2)
                all.append(try LogitScan.best(of: row.span).token)
            case .oracle: all.append(try choose(after: all, model: 1, parameters, noise))
            case .oracleWithErrors:
                let right = try choose(after: all, model: 1, parameters, noise)
                all.append(offset % 3 == 2 ? (right + 1) % Int32(vocabulary) : right)
            }
        }
        return Array(all[tokens.count...])
    }

    /// A rule that shortens drafts; it may look at whatever it likes, even at the drafted tokens.
    typealias Cut = @Sendable ([Int32]) -> [Int32]
    static let cuts: [Cut] = [
        { $0 }, { Array($0.prefix(1)) }, { Array($0.prefix { $0 != 3 }) }, { $0.count > 2 ? [] : $0 },
        { $0.reduce(0, +) % 2 == 0 ? Array($0.dropLast()) : $0 },
    ]

    /// Generates with verification; tokens, passes and what was accepted.
    private static func generate(
        _ kind: Drafting, length: Int, draftLength: Int, cut: Cut, _ parameters: SamplingParameters, seed: UInt64
    ) throws -> (tokens: [Int32], passes: Int, accepted: Int) {
        let noise = GumbelNoise(seed: seed)
        var tokens: [Int32] = [1, 4]
        var (passes, accepted) = (0, 0)
        while tokens.count < length {
            let full = try draft(kind, after: tokens, count: draftLength, parameters, noise)
            let draft = cut(full)
            var verification = Verification(draft: draft)
            for row in 0...draft.count where verification.isOpen {
                let token = try choose(after: tokens + draft.prefix(row), model: 1, parameters, noise)
                verification.take(token)
            }
            #expect(!verification.isOpen)
            #expect(verification.tokens.count == verification.accepted + 1)
            #expect(verification.tokens.prefix(verification.accepted) == draft.prefix(verification.accepted))
            tokens += verification.tokens
            accepted += verification.accepted
            passes += 1
        }
        return (Array(tokens.prefix(length)), passes, accepted)
    }

    @Test(arguments: [Float(0), 0.8, 1.5])
    func textDoesNotDependOnDrafts(_ temperature: Float) throws {
        var parameters = SamplingParameters()
        parameters.temperature = temperature
        for seed in UInt64(1)...4 {
            let plain = try Self.generate(.none, length: 60, draftLength: 1, cut: { $0 }, parameters, seed: seed)
            #expect(plain.passes == 58)
            for kind in Drafting.allCases {
                for length in [1, 2, 3, 5, 8, 16] {
                    for cut in Self.cuts {
                        let other = try Self.generate(
                            kind, length: 60, draftLength: length, cut: cut, parameters, seed: seed)
                        #expect(other.tokens == plain.tokens)
                    }
                }
            }
            let oracle = try Self.generate(.oracle, length: 60, draftLength: 5, cut: { $0 }, parameters, seed: seed)
            #expect(oracle.passes == 10 && oracle.accepted == 50)
        }
    }

    @Test func closingEndsTheVerification() {
        var verification = Verification(draft: [7, 8, 9])
        verification.take(7)
        #expect(verification.isOpen && verification.accepted == 1)
        verification.close()
        #expect(!verification.isOpen && verification.tokens == [7] && verification.accepted == 1)
        var plain = Verification(draft: [])
        #expect(plain.isOpen)
        plain.take(3)
        #expect(!plain.isOpen && plain.tokens == [3] && plain.accepted == 0)
        var wrong = Verification(draft: [7, 8])
        wrong.take(6)
        #expect(!wrong.isOpen && wrong.tokens == [6] && wrong.accepted == 0)
    }

    /// Daliri, Musco, Suresh, arXiv 2408.07978: drafts that share the noise agree with probability
    /// Σ_x 1 / Σ_y max(p(y)/p(x), q(y)/q(x)), and at least (1 - TV) / (1 + TV).
    @Test func coupledDraftsAgreeAsTheTheorySays() throws {
        let sampler = Sampler()
        var parameters = SamplingParameters()
        for pair in UInt64(0)..<5 {
            parameters.temperature = pair == 4 ? 0.5 : 1
            let rows = [Self.logits(after: [], model: pair + 10), Self.logits(after: [], model: pair + 20)]
            let distributions = try rows.map { row in
                try sampler.finalDistribution(
                    logits: row.span, parameters: parameters, processors: [], history: TokenHistory(prompt: [])
                ).map { exp($0.value) }
            }
            let (p, q) = (distributions[0], distributions[1])
            let theory = p.indices.reduce(0.0) { sum, x in
                sum + 1 / p.indices.reduce(0.0) { $0 + max(p[$1] / p[x], q[$1] / q[x]) }
            }
            let distance = zip(p, q).reduce(0.0) { $0 + abs($1.0 - $1.1) } / 2
            #expect(theory >= (1 - distance) / (1 + distance) - 1e-12)
            #expect(distance > 0.05)
            let draws = 40_000
            var agreed = 0
            for position in 0..<draws {
                let tokens = try rows.map { row in
                    try sampler.choose(
                        logits: row.span, parameters: parameters, processors: [], history: TokenHistory(prompt: []),
                        noise: GumbelNoise(seed: pair), position: position)
                }
                if tokens[0] == tokens[1] { agreed += 1 }
            }
            let error = (theory * (1 - theory) / Double(draws)).squareRoot()
            #expect(abs(Double(agreed) / Double(draws) - theory) < 5 * error)
        }
    }
}
