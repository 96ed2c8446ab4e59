import Engine
import Formats
import Kernels
import Model
import Scheduling
import Speculation
import TestSupport
import Testing

/// What goes wrong ends those whom it concerns, with an event, and nobody else.
@Suite struct FailureTests {
    private struct Broken: Error {}

    private static func requests(_ count: Int) -> [RequestOptions] {
        (0..<count).map { tokenRequest([Int32($0 + 1), 2, 3], 12, temperature: 0.8) }
    }

    @Test(arguments: [true, false])
    func aFailedPassEndsAllThatRun(_ withCode: Bool) throws {
        let scripted = try ScriptedEngine(change: { $0.maxRunningRequests = 2 })
        let alone = try generateAlone(ScriptedEngine().engine, Self.requests(4))
        scripted.executor.onForward = { pass in
            if pass == 4 { throw withCode ? Failure(.io, "the wire is cut") as any Error : Broken() }
        }
        let result = try scripted.run(Self.requests(4))
        #expect(result.problems.isEmpty)
        #expect(result.outcomes.map(\.reason) == [.error, .error, alone.outcomes[2].reason, alone.outcomes[3].reason])
        #expect(result.outcomes[0].failure == (withCode ? .io : .internalError))
        let message = result.finishes[1].failure?.message ?? ""
        #expect(message.contains(withCode ? "the wire is cut" : "Broken"))
        #expect(result.outcomes[0].tokens == Array(alone.outcomes[0].tokens.prefix(3)))
        #expect(Array(result.outcomes[2...]) == Array(alone.outcomes[2...]))
        // The engine goes on.
        let after = try scripted.run(Self.requests(2))
        #expect(after.problems.isEmpty)
        #expect(after.outcomes == Array(alone.outcomes.prefix(2)))
        #expect(scripted.drafter.forgotten.sorted() == [1, 2, 3, 4, 5, 6])
    }

    /// A step that fails half way changes nothing: what it had chosen already was never said, and is not counted.
    @Test func aStepThatFailsHalfWay() throws {
        let scripted = try ScriptedEngine(draftTokens: 3) { Array($0.tokens.prefix(3)) }
        let alone = try generateAlone(ScriptedEngine().engine, Self.requests(3))
        var rows = 0
        scripted.executor.onLogits = { _, _ in
            rows += 1
            if rows == 3 + 2 { throw Broken() }
        }
        let result = try scripted.run(Self.requests(3))
        #expect(result.problems.isEmpty)
        #expect(result.outcomes.map(\.reason) == [.error, .error, .error])
        #expect(result.outcomes.map(\.tokens) == alone.outcomes.map { Array($0.tokens.prefix(1)) })
        #expect(result.finishes.map(\.statistics.completionTokens) == [1, 1, 1])
        #expect(result.statistics.emittedTokens == 3)
    }

    @Test func aPromptThatFailsHasNoFirstToken() throws {
        let scripted = try ScriptedEngine()
        scripted.executor.onLogits = { tokens, _ in
            if tokens[0] == 2 { throw Broken() }
        }
        let result = try scripted.run(Self.requests(2))
        #expect(result.problems.isEmpty)
        #expect(result.finishes.allSatisfy { $0.reason == .error && $0.statistics.completionTokens == 0 })
        #expect(result.finishes.allSatisfy { $0.statistics.timeToFirstToken == nil })
    }

    /// Logits that cannot be used end the one request that they belong to.
    @Test(arguments: [Float.nan, .infinity, -.infinity], [0, 5])
    func unusableLogitsEndTheirRequest(_ bad: Float, _ draftTokens: Int) throws {
        let alone = try generateAlone(ScriptedEngine().engine, Self.requests(3)).outcomes
        let scripted = try ScriptedEngine(draftTokens: draftTokens) { request in
            Array(alone[Int(request.id) - 1].tokens.dropFirst(request.tokens.count - 3))
        }
        scripted.executor.onLogits = { tokens, logits in
            guard tokens[0] == 2, tokens.count == 8 else { return }
            for index in logits.indices where bad == -.infinity || index == 44 { logits[index] = bad }
        }
        let result = try scripted.run(Self.requests(3))
        #expect(result.problems.isEmpty)
        #expect(result.outcomes[0] == alone[0] && result.outcomes[2] == alone[2])
        #expect(result.outcomes[1].reason == .error)
        #expect(result.outcomes[1].failure == (bad == -.infinity ? .invalidArgument : .corruptFile))
        // Everything before the bad row was said, drafted or not.
        #expect(result.outcomes[1].tokens == Array(alone[1].tokens.prefix(5)))
        #expect(result.outcomes[1].text == Array(alone[1].text.prefix(result.outcomes[1].text.count)))
    }

    @Test func unusableLogitsOfAPrompt() throws {
        let scripted = try ScriptedEngine(change: { $0.maxStepTokens = 32 })
        scripted.executor.onLogits = { tokens, logits in
            if tokens.count == 10 { logits[3] = .nan }
        }
        var scored = tokenRequest([Int32](repeating: 6, count: 70), 5)
        scored.promptLogprobs = 1
        var plain = scored
        plain.promptLogprobs = nil
        let result = try scripted.run([scored, plain])
        #expect(result.problems.isEmpty)
        #expect(result.outcomes.map(\.reason) == [.error, .length])
        #expect(result.outcomes[0].promptLogprobs.isEmpty && result.outcomes[0].tokens.isEmpty)
    }

    @Test func everyTokenForbidden() throws {
        let scripted = try ScriptedEngine()
        var request = tokenRequest([1, 2], 5, temperature: 1)
        request.sampling.logitBias = (0..<319).map { SamplingParameters.Bias(token: $0, bias: -.infinity) }
        let result = try scripted.run([request, tokenRequest([1, 2], 5)])
        #expect(result.problems.isEmpty)
        #expect(result.outcomes.map(\.reason) == [.error, .length])
        #expect(result.outcomes[0].failure == .invalidArgument)
    }

    @Test func aDrafterThatFails() throws {
        final class Messages: @unchecked Sendable { var all: [String] = [] }
        let messages = Messages()
        let alone = try generateAlone(ScriptedEngine().engine, Self.requests(3))
        let scripted = try ScriptedEngine(
            draftTokens: 4,
            drafts: { request in
                if request.tokens.count % 2 == 0 { throw Broken() }
                return Array(request.tokens.prefix(2))
            },
            change: { $0.log.sink = { level, text in if level == .warning { messages.all.append(text) } } })
        let result = try scripted.run(Self.requests(3))
        #expect(result.problems.isEmpty)
        #expect(result.outcomes == alone.outcomes)
        #expect(!messages.all.isEmpty && messages.all.allSatisfy { $0.contains("Broken") })
        #expect(result.statistics.draftTokens > 0)
    }

    // MARK: Damaged weights

    private static func damaged(_ name: String, _ tensor: String) throws -> LanguageModel {
        var patch = try PatchedModel(path: TestModels.randomPath(name))
        try patch.poison(tensor)
        return try patch.load()
    }

    @Test(arguments: [KVFormat.f32, .f16], ["output_norm.weight", "blk.0.attn_norm.weight"])
    func aDamagedTargetEndsRequestsWithAnError(_ format: KVFormat, _ tensor: String) throws {
        var options = EngineOptions()
        options.threads = 1
        options.kvFormat = format
        let engine = try InferenceEngine(target: Self.damaged("llama2", tensor), options: options)
        for _ in 0..<2 {
            let result = try generate(engine, Self.requests(3))
            #expect(result.problems.isEmpty)
            #expect(result.outcomes.allSatisfy { $0.reason == .error && $0.failure == .corruptFile })
            #expect(result.finishes.allSatisfy { $0.failure?.message.contains("finite") == true })
        }
    }

    @Test(arguments: ["output_norm.weight", "blk.1.ffn_norm.weight"])
    func aDamagedDraftDoesNotChangeTheText(_ tensor: String) throws {
        let target = try TestModels.random("llama2")
        var options = EngineOptions()
        options.threads = 1
        let plain = try generate(InferenceEngine(target: target, options: options), Self.requests(4))
        options.draftModel = try Self.damaged("llama-linear", tensor)
        options.policy = .static
        let result = try generate(InferenceEngine(target: target, options: options), Self.requests(4))
        #expect(result.problems.isEmpty)
        #expect(result.outcomes == plain.outcomes)
        #expect(result.statistics.draftTokens == 0 && result.statistics.draftPasses > 0)
    }
}
