import Engine
import Formats
import Model
import Scheduling
import Speculation
import TestSupport
import Testing

/// What a text is read again for, against what the steps that wrote it showed.
@Suite(.serialized) struct TextReviewTests {
    private static func options(_ change: (inout EngineOptions) -> Void = { _ in }) throws -> EngineOptions {
        var options = EngineOptions()
        options.policy = .goodput
        options.threads = 1
        options.draftModel = try TestModels.draft()
        options.treeWidth = 1
        options.traces = true
        options.tracesDrafts = true
        // What a run learns of it must not tell its drafts from those of the review.
        options.coupling = .coupled
        change(&options)
        return options
    }

    /// Greedy ones and others, none of which finds anything of another.
    private static var requests: [RequestOptions] {
        seededRequests(TestModels.builtInPrompts).enumerated().map { index, request in
            var own = request
            own.cacheSalt = UInt64(index) + 1
            own.maxTokens = 20 + 7 * index
            return own
        }
    }

    private struct Run {
        var texts: [TextReview.Text] = []
        var records: [DecisionRecord] = []
        var prompts: [Int] = []

        init(_ options: EngineOptions) throws {
            let target = try TestModels.target()
            let engine = try InferenceEngine(target: target, options: options)
            let result = try generate(engine, TextReviewTests.requests)
            #expect(result.problems.isEmpty)
            let requests = TextReviewTests.requests
            texts = zip(requests, result.outcomes).map { TextReview.Text(request: $0, output: $1.tokens) }
            records = try engine.decisions { ($0, isTaken: true) }
            prompts = try requests.map {
                try $0.promptTokens(
                    tokenizer: target.tokenizer, vocabularySize: target.configuration.vocabularySize
                ).count
            }
        }

        /// The drafts that steps made, with the text and the position of its output that they begin at.
        var drafts: [(text: Int, position: Int, outcome: DraftOutcome)] {
            records.flatMap(\.requests).compactMap { entry in
                entry.outcome.map { (Int(entry.id) - 1, entry.context - prompts[Int(entry.id) - 1], $0) }
            }
        }
    }

    private static func read(_ run: Run, _ options: EngineOptions) throws -> [[TextReview.Position]] {
        try #require(try TextReview(target: TestModels.target(), options: options).read(run.texts))
    }

    @Test(arguments: [1, 4, 16])
    func theModelSaysWhatItSaidInTheSteps(_ length: Int) throws {
        let options = try Self.options {
            ($0.policy, $0.drafter, $0.draftTokens) = (.static, .model, length)
        }
        let run = try Run(options)
        let found = try Self.read(run, options)
        #expect(found.map(\.count) == run.texts.map(\.output.count))
        var judged = 0
        for (text, position, outcome) in run.drafts where outcome.source == .model {
            // What an end cut off says nothing.
            let count = outcome.wasCut ? outcome.accepted : min(outcome.verified, outcome.accepted + 1)
            for offset in 0..<count {
                let own = found[text][position + offset]
                #expect(own.isRight == (offset < outcome.accepted))
                #expect(own.feature == outcome.features[offset])
            }
            judged += count
        }
        #expect(judged > 50)
        // Steps pass over positions; a review does not.
        for (text, positions) in zip(run.texts, found) {
            let last = min(text.output.count, (text.request.maxTokens ?? 0) - 1)
            #expect(positions.indices.allSatisfy { (positions[$0].feature != nil) == (1..<last).contains($0) })
        }
    }

    @Test func retrievalFindsWhatItFoundInTheSteps() throws {
        let options = try Self.options()
        let run = try Run(options)
        let found = try Self.read(run, options)
        var (compared, gone) = (0, 0)
        for (text, position, outcome) in run.drafts {
            let own = found[text][position].proposals
            #expect(own.map(\.draft) == outcome.counterfactuals.map(\.draft))
            for (all, part) in zip(own, outcome.counterfactuals) {
                #expect(all.judged >= part.judged && all.accepted >= part.accepted)
                if part.accepted < part.judged { #expect(all.accepted == part.accepted) }
                if all.accepted > part.accepted { gone += 1 }
                compared += 1
            }
        }
        // A step that ends within a proposal does not know how far it is right.
        #expect(compared > 20 && gone > 0)
    }

    /// Prompts that take some passes, and fewer places than texts.
    @Test func howMuchIsReadAtOnceDoesNotMatter() throws {
        let run = try Run(Self.options())
        func read(_ running: Int, _ rows: Int) throws -> [String] {
            let options = try Self.options {
                ($0.maxRunningRequests, $0.maxStepTokens) = (running, rows)
            }
            return try Self.read(run, options).map { positions in positions.map { "\($0)" }.joined() }
        }
        let whole = try read(16, 256)
        #expect(try read(2, 32) == whole)
        #expect(try read(1, 33) == whole)
        #expect(try read(6, 40) == whole)
    }

    @Test func onlyWhatDraftsIsAsked() throws {
        let run = try Run(Self.options())
        let found = try Self.read(
            run,
            Self.options {
                ($0.policy, $0.drafter, $0.draftTokens) = (.static, .lookup, 2)
            }
        ).joined()
        #expect(found.count == run.texts.reduce(0) { $0 + $1.output.count })
        #expect(found.allSatisfy { $0.feature == nil && !$0.isRight })
        let proposals = found.flatMap(\.proposals)
        #expect(!proposals.isEmpty && proposals.allSatisfy { $0.draft.source == .lookup })
    }

    @Test func halfATextIsReadAsFarAsItGoes() throws {
        let options = try Self.options()
        let run = try Run(options)
        let whole = try Self.read(run, options)
        var cut = run
        for index in cut.texts.indices { cut.texts[index].output = Array(run.texts[index].output.prefix(3 * index)) }
        let found = try Self.read(cut, options)
        #expect(found.map(\.count) == cut.texts.map(\.output.count) && found[0].isEmpty)
        for (part, all) in zip(found, whole) {
            #expect(part.map(\.feature) == all.prefix(part.count).map(\.feature))
            #expect(part.map(\.isRight) == all.prefix(part.count).map(\.isRight))
        }
    }

    private static let refused:
        [(reason: String, change: @Sendable (inout RequestOptions, inout EngineOptions) -> Void)] = [
            ("no seed", { request, _ in request.seed = nil }),
            ("several samples", { request, _ in request.samples = 2 }),
            ("a grammar", { request, _ in request.grammar = "root ::= [a-z]+" }),
            ("a grammar", { request, _ in request.jsonSchema = "{}" }),
            ("a ratio test", { request, _ in request.verification = .block }),
            (
                "a temperature",
                { request, options in
                    request.sampling.temperature = 0.8
                    options.coupling = nil
                }
            ),
            ("texts of others", { request, _ in request.cacheSalt = TextReviewTests.requests[1].cacheSalt }),
        ]

    /// What drafters said in the run, they said for more reasons than the text before.
    @Test(arguments: refused.indices) func whatHangsOnMoreThanTheTextIsRefused(_ index: Int) throws {
        let (reason, change) = Self.refused[index]
        var (requests, options) = (Array(Self.requests.prefix(2)), try Self.options())
        let texts = requests.map { TextReview.Text(request: $0, output: [5, 6]) }
        #expect(try TextReview(target: TestModels.target(), options: options).read(texts) != nil)
        change(&requests[0], &options)
        let review = try TextReview(target: TestModels.target(), options: options)
        let failure = #expect(throws: Failure.self) {
            try review.read(requests.map { TextReview.Text(request: $0, output: [5, 6]) })
        }
        #expect(failure?.code == .invalidArgument)
        #expect(failure?.message.contains(reason) == true, "\(failure?.message ?? "")")
    }

    /// Each of these holds only together with something else.
    @Test func whatHangsOnTheTextAloneIsRead() throws {
        var texts = Self.requests.prefix(2).map { TextReview.Text(request: $0, output: [5, 6]) }
        func reads(_ change: (inout EngineOptions) -> Void) throws -> Bool {
            let review = try TextReview(target: TestModels.target(), options: Self.options(change))
            return try review.read(texts) != nil
        }
        texts[1].request.cacheSalt = texts[0].request.cacheSalt
        #expect(try reads { $0.draftPoolBytes = 0 })
        #expect(try reads { ($0.policy, $0.drafter) = (.static, .lookup) })
        texts[1].request.cacheSalt += 1
        texts[1].request.sampling.temperature = 0.8
        #expect(try reads { ($0.draftModel, $0.coupling) = (nil, nil) })
        texts[1].request.sampling.temperature = 0
        #expect(try reads { $0.coupling = nil })
    }

    @Test func aReviewStopsWhenItIsTold() throws {
        let options = try Self.options()
        let run = try Run(options)
        let review = try TextReview(target: TestModels.target(), options: options)
        func asked(_ most: Int) throws -> (count: Int, found: [[TextReview.Position]]?) {
            var count = 0
            let found = try review.read(run.texts) {
                count += 1
                return count <= most
            }
            return (count, found)
        }
        for most in [0, 7] {
            let (count, found) = try asked(most)
            #expect(count == most + 1 && found == nil)
        }
        // Nothing of a text that was given up is left.
        let whole = try asked(.max)
        #expect(whole.count > 8)
        func text(_ found: [[TextReview.Position]]?) -> [String]? { found?.map { "\($0)" } }
        #expect(text(whole.found) == text(try Self.read(run, options)))
    }

    /// A draft model whose logits are of no use: whoever needs a row of each pass for it must not keep the others waiting.
    @Test func aDraftModelThatFailsEndsNoReview() throws {
        let target = try TestModels.target()
        let vocabulary = target.configuration.vocabularySize
        var options = try Self.options()
        (options.maxStepTokens, options.maxRunningRequests, options.contextTokens) = (32, 32, 64)
        let sizing = try EngineSizing(
            target: target.configuration, targetKV: target.defaultKVFormat, draft: nil, options: options)
        // A row for each text fills a pass; the last texts are read when others are done.
        let texts = (0..<40).map { place in
            var request = Self.requests[0]
            (request.prompt, request.cacheSalt) = (.tokens([5, 6, Int32(place) + 7]), UInt64(place))
            request.maxTokens = 8
            return TextReview.Text(request: request, output: (0..<8).map { Int32(20 + $0) })
        }
        let fails: (Int) -> Bool = { $0 % 40 != 3 && $0 % 40 != 39 }
        let executor = ScriptedExecutor(vocabularySize: vocabulary)
        executor.onLogits = { tokens, logits in
            if fails(Int(tokens[2]) - 7) { logits[0] = .nan }
        }
        let model = DraftModelDrafter(
            executor: executor, maxRows: options.maxStepTokens, contextTokens: sizing.contextTokens,
            targetVocabulary: vocabulary)
        let review = TextReview(target: target, options: options, sizing: sizing, model: model, retrieval: [])
        var passes = 0
        let found = try review.read(texts) {
            passes += 1
            return passes < 5000
        }
        let positions = try #require(found)
        #expect(executor.problems.isEmpty)
        for (place, own) in positions.enumerated() {
            let known = own.indices.filter { own[$0].feature != nil }
            #expect(known == (fails(place) ? [] : Array(1..<7)), "text \(place)")
        }
    }

    @Test func aTextTakesUpTheOutputAlone() throws {
        let engine = try InferenceEngine(target: TestModels.target(), options: Self.options())
        var request = Self.requests[0]
        (request.logprobs, request.promptLogprobs, request.ignoresEndOfGeneration) = (2, 2, true)
        var text = TextReview.Text(request: request, output: [])
        var log = EventLog()
        _ = try engine.submit(request)
        while try engine.step() {
            let events = engine.poll(timeout: 0)
            log.add(events)
            for event in events { text.add(event) }
        }
        let outcome = try #require(log.outcomes.values.first)
        #expect(!outcome.promptTokens.isEmpty && outcome.tokens.count == request.maxTokens)
        #expect(text.output == outcome.tokens)
    }
}
