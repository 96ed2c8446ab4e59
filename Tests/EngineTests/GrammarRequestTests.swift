import Engine
import Formats
import Model
import Scheduling
import Speculation
import TestSupport
import Testing

/// Requests with a grammar: the same text plain and speculative, alone and together.
@Suite struct GrammarRequestTests {
    private static func requests() throws -> [RequestOptions] {
        let schema = """
            {"type": "object", "properties": {"name": {"type": "string", "maxLength": 10},
             "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 3}},
             "required": ["name", "tags"]}
            """
        return ["def main():", "class Node:\n", "import os"].flatMap { prompt in
            [Float(0), 0.8].flatMap { temperature in
                ["json", "list", "none"].map { kind in
                    var request = RequestOptions()
                    request.prompt = .text(prompt)
                    request.maxTokens = 60
                    request.seed = 9
                    request.sampling.temperature = temperature
                    request.sampling.frequencyPenalty = kind == "json" ? 0.2 : 0
                    request.jsonSchema = kind == "json" ? schema : nil
                    request.grammar = kind == "list" ? "root ::= (\"- \" [a-z ]{1,9} \"\\n\"){3}" : nil
                    return request
                }
            }
        }
    }

    private func engine(_ change: (inout EngineOptions) -> Void) throws -> InferenceEngine {
        var options = EngineOptions()
        options.threads = 1
        change(&options)
        return try InferenceEngine(target: try TestModels.target(), options: options)
    }

    @Test(arguments: [EngineOptions.DrafterKind.lookup, .model])
    func speculationDoesNotChangeThem(drafter: EngineOptions.DrafterKind) throws {
        let requests = try Self.requests()
        let plain = try generateAlone(engine { _ in }, requests)
        #expect(plain.problems.isEmpty)
        let speculative = try generate(
            engine {
                $0.policy = .static
                $0.drafter = drafter
                $0.draftModel = drafter == .model ? try? TestModels.draft() : nil
                $0.maxRunningRequests = 5
            }, requests)
        #expect(speculative.problems.isEmpty)
        #expect(speculative.outcomes == plain.outcomes)
        #expect(speculative.statistics.acceptedTokens > 0)
    }

    @Test func textsFollowTheirGrammar() throws {
        let result = try generate(engine { _ in }, Self.requests())
        for (index, outcome) in result.outcomes.enumerated() where index % 3 != 2 && outcome.reason == .stop {
            if index % 3 == 0 {
                let value = try JSON(parsing: outcome.text)
                #expect(value["name"]?.string != nil && (value["tags"]?.array?.count ?? 9) <= 3)
            } else {
                #expect(outcome.string.split(separator: "\n").count == 3 && outcome.string.hasPrefix("- "))
            }
        }
        #expect(result.outcomes.indices.contains { $0 % 3 == 0 && result.outcomes[$0].reason == .stop })
        #expect(result.outcomes.indices.contains { $0 % 3 == 1 && result.outcomes[$0].reason == .stop })
    }

    @Test func mistakesAreNamedAtSubmit() throws {
        let engine = try engine { _ in }
        for (grammar, schema, word) in [
            ("root ::= [a-", nil, "line 1"), (nil, "{\"type\": \"thing\"}", "type"), ("root ::= \"a\"", "{}", "both"),
        ] as [(String?, String?, String)] {
            var request = RequestOptions()
            request.prompt = .text("a")
            request.maxTokens = 4
            (request.grammar, request.jsonSchema) = (grammar, schema)
            let problem = failure { _ = try engine.submit(request) }
            #expect(problem?.code == .invalidArgument && problem?.message.contains(word) == true)
        }
    }
}
