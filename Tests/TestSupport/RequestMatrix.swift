package import Engine
package import Formats
import Speculation

/// Requests that hold every pair of the options that a request has: each option with each other one, in several covers
/// that differ in what else goes with each pair.
package struct RequestMatrix {
    private typealias Change = @Sendable (inout RequestOptions) -> Void

    private static let prompts: [RequestOptions.Prompt] =
        TestModels.builtInPrompts.map { .text($0) } + [.tokens((0..<75).map { 300 + Int32($0 % 7) * 11 })]
    package static let grammar = "root ::= (\"- \" [a-z ]{1,9} \"\\n\"){2}"
    package static let schema = """
        {"type": "object", "properties": {"kind": {"enum": ["list", "tree"]}, "size": {"type": "integer"}},
         "required": ["kind", "size"]}
        """
    private static let longest = 40

    /// The first value of each goes with all values of the others.
    private static let factors: [[Change]] = [
        prompts.map { prompt in { $0.prompt = prompt } },
        values(\.sampling.temperature, [0.8, 0, 1.3]),
        values(\.seed, [1, 1 << 63 + 5]),
        values(\.logprobs, [nil, 0, 3]),
        values(\.logprobsKind, [.raw, .processed]),
        values(\.sampling.repetitionPenalty, [1, 1.3]),
        values(\.sampling.presencePenalty, [0, 0.5]),
        values(\.sampling.frequencyPenalty, [0, 0.4, -0.2]),
        values(\.sampling.logitBias, [[], [.init(token: 300, bias: -.infinity)], [.init(token: 311, bias: 3)]]),
        values(\.sampling.topK, [0, 5, 40]),
        values(\.sampling.topP, [1, 0.9]),
        values(\.sampling.minP, [0, 0.05]),
        values(\.priority, [0, 3, -2]),
        values(\.draftTokens, [nil, 0, 2, 16]),
        [{ _ in }] + constraints,
        values(\.ignoresEndOfGeneration, [false, true]),
        values(\.promptLogprobs, [2, 0, nil]),
        values(\.maxTokens, [longest, 9, 1, 0]),
        [{ _ in }, { $0.stopTexts = ["\u{1}never"] }, { $0.stopTexts = [sought] }],
        [{ _ in }, { $0.stopTokens = [soughtToken] }],
    ]
    private static let constraints: [Change] = [{ $0.grammar = grammar }, { $0.jsonSchema = schema }]
    private static let (constraint, end, promptLogprobs, maxTokens) = (14, 15, 16, 17)
    /// Stand for what `withStops` puts in.
    private static let (sought, soughtToken) = ("\u{1}sought", Int32(0))

    private static func values<Value: Sendable>(
        _ path: any WritableKeyPath<RequestOptions, Value> & Sendable, _ values: [Value]
    ) -> [Change] {
        values.map { value in { $0[keyPath: path] = value } }
    }

    /// A grammar must be able to end, and an output of nothing makes sense for the log-probabilities of the prompt only.
    private static func excludes(_ a: PairwiseCover.Choice, _ b: PairwiseCover.Choice) -> Bool {
        (a.factor == constraint && b.factor == end && a.value > 0 && b.value == 1)
            || (a.factor == promptLogprobs && b.factor == maxTokens && a.value == 2 && b.value == 3)
    }

    /// All of the requests, with stop texts and stop tokens that no output has yet.
    package let requests: [RequestOptions]

    /// One cover for each seed.
    package init(seeds: some Sequence<UInt64>) {
        let rows = seeds.flatMap {
            PairwiseCover(Self.factors.map(\.count), seed: $0, excludes: Self.excludes).rows
        }
        requests = rows.map { row in
            var request = RequestOptions()
            for (choices, value) in zip(Self.factors, row) { choices[value](&request) }
            return request
        }
    }

    /// The requests with stops that come true: a text across the border of two tokens in the middle of the output, and a
    /// token of its last third. `outcomes` are those of `requests`.
    package func withStops(_ outcomes: [Outcome], tokenizer: Tokenizer) -> [RequestOptions] {
        zip(requests, outcomes).map { request, outcome in
            var request = request
            let tokens = outcome.tokens
            if request.stopTexts == [Self.sought] {
                request.stopTexts = Self.border(of: tokens, tokenizer).map { ["\u{1}never", $0] } ?? []
            }
            if request.stopTokens == [Self.soughtToken] { request.stopTokens = Array(tokens.dropFirst(16).prefix(1)) }
            return request
        }
    }

    /// The last character of a token in the middle and the first one of the next token.
    private static func border(of tokens: [Int32], _ tokenizer: Tokenizer) -> String? {
        guard tokens.count > 1 else { return nil }
        let middle = tokens.count / 2
        let pieces = tokens[middle - 1...middle].map { String(decoding: tokenizer.piece($0), as: UTF8.self) }
        guard let last = pieces[0].last, let first = pieces[1].first else { return nil }
        return "\(last)\(first)"
    }
}
