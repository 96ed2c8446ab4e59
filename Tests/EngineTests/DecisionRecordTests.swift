import Engine
import Formats
import Scheduling
import Speculation
import TestSupport
import Testing

/// What a step's record says, against what the step did.
@Suite struct DecisionRecordTests {
    private static func requests(_ random: inout SplitMix64, _ count: Int) -> [RequestOptions] {
        (0..<count).map { index in
            var request = tokenRequest((0..<random.int(1..<60)).map { _ in Int32(random.int(1..<319)) }, 40)
            request.draftTokens = index % 4 == 0 ? random.int(0..<9) : nil
            request.samples = 1 + index % 2
            return request
        }
    }

    private func records(_ engine: InferenceEngine) throws -> [DecisionRecord] {
        try engine.decisions { ($0, isTaken: true) }
    }

    /// Every policy, with drafts that are right now and then.
    @Test(arguments: PolicyKind.allCases)
    func recordsAddUp(_ policy: PolicyKind) throws {
        var random = SplitMix64(seed: 5)
        let requests = Self.requests(&random, 9)
        let scripted = try ScriptedEngine(
            drafts: { Array($0.tokens.suffix(3)) },
            change: {
                $0.policy = policy
                $0.traces = true
                $0.maxStepTokens = 64
            })
        scripted.executor.onLogits = { tokens, logits in
            if tokens.count > 4 { logits[Int(tokens[tokens.count - (tokens.count % 7 < 5 ? 3 : 2)])] = 100 }
        }
        let result = try scripted.run(requests)
        #expect(result.problems.isEmpty)
        let all = try records(scripted.engine)
        #expect(all.map(\.step) == Array(1...result.statistics.steps))
        #expect(all.reduce(0) { $0 + $1.rows } == scripted.executor.rows)
        let entries = all.flatMap(\.requests)
        #expect(entries.reduce(0) { $0 + $1.verified } == result.statistics.draftTokens)
        #expect(policy == .off || result.statistics.acceptedTokens > 0)
        var index = 0
        for request in 0..<requests.count {
            for sample in 0..<requests[request].samples {
                let (outcome, figures) = (result.outcomes[index], result.finishes[index].statistics)
                let id = UInt64(index - sample + 1)
                let own = entries.filter { $0.id == id && $0.sample == sample }
                #expect(own.reduce(0) { $0 + $1.emitted } == outcome.tokens.count)
                #expect(own.reduce(0) { $0 + $1.accepted } == figures.acceptedTokens)
                #expect(own.reduce(0) { $0 + $1.verified } == figures.draftTokens)
                #expect(abs(own.reduce(0) { $0 + $1.savedTime } - figures.savedTime) < 1e-3)
                index += 1
            }
        }
        for entry in entries {
            #expect(entry.accepted <= entry.verified && entry.verified <= entry.drafted && entry.drafted <= 16)
            #expect((entry.source == nil) == (entry.drafted == 0))
            #expect((entry.limit == nil) == entry.isPrefill)
            if let expected = entry.expectedTokens {
                #expect(expected >= 1 && expected <= Double(entry.verified + 1))
            }
        }
        #expect(entries.contains { $0.expectedTokens != nil } == (policy == .goodput))
        let undrafted = all.filter { step in step.requests.allSatisfy { $0.drafted == 0 && !$0.isPrefill } }
        #expect(undrafted.flatMap(\.requests).allSatisfy { $0.expectedTokens ?? 1 == 1 })
        #expect(undrafted.contains { $0.requests[0].expectedTokens == 1 } == (policy == .goodput))
    }

    /// Where a request has another draft verified than the policy chose, that says nothing of the others.
    @Test func expectationsAreOfEachRequest() throws {
        let scripted = try ScriptedEngine(
            drafts: { Array($0.tokens.suffix(4)) },
            change: {
                $0.policy = .goodput
                $0.traces = true
            })
        scripted.executor.onLogits = { tokens, logits in
            if tokens.count > 4 { logits[Int(tokens[tokens.count - 4])] = 100 }
        }
        var fixed = tokenRequest([7, 8, 9, 10, 11, 12], 60)
        fixed.draftTokens = 4
        _ = try scripted.run([tokenRequest([1, 2, 3, 4, 5, 6], 60), fixed])
        let steps = try records(scripted.engine).filter { $0.requests.count == 2 && !$0.requests[0].isPrefill }
        let mixed = steps.compactMap { step -> (own: DecisionRecord.Request, fixed: DecisionRecord.Request)? in
            guard let own = step.requests.first(where: { $0.id == 1 }),
                let fixed = step.requests.first(where: { $0.id == 2 }), fixed.verified > 0
            else { return nil }
            return (own, fixed)
        }
        #expect(mixed.contains { $0.fixed.expectedTokens == nil && $0.own.expectedTokens != nil })
    }

    /// With what was drafted, the records are enough to make the run again: where each request stood, what went through the
    /// target, and what was known of it before.
    @Test func recordsTellTheRun() throws {
        let lengths = [5, 40, 70, 1]
        func run(_ keeps: Bool) throws -> [DecisionRecord] {
            let scripted = try ScriptedEngine(
                draftTokens: 4, drafts: { Array($0.tokens.suffix(3)) },
                change: {
                    $0.traces = true
                    $0.tracesDrafts = keeps
                    $0.maxStepTokens = 32
                })
            // Nothing that the prefix cache could know.
            let requests = lengths.map { length in
                tokenRequest((0..<length).map { Int32(($0 * 11 + length * 5) % 300 + 1) }, 20)
            }
            #expect(try scripted.run(requests).problems.isEmpty)
            return try records(scripted.engine)
        }
        let kept = try run(true)
        var produced = lengths.map { _ in 0 }
        var computed = lengths.map { _ in 0 }
        for (record, later) in zip(kept, kept.dropFirst() + kept.suffix(1)) {
            #expect(record.start > 0 && record.start <= later.start && record.stepTime >= record.time)
            #expect(record.controlTime >= 0 && record.controlTime <= record.stepTime && record.draftPasses.isEmpty)
            let rows = record.requests.reduce(0) { $0 + $1.rows + $1.verified }
            #expect(rows == record.rows)
            for request in record.requests {
                let place = Int(request.id) - 1
                if request.isPrefill {
                    #expect(request.context == computed[place] && request.outcome == nil)
                    computed[place] += request.rows
                } else {
                    #expect(request.context == lengths[place] + produced[place] && request.rows == 1)
                }
                if let outcome = request.outcome {
                    #expect(outcome.features.count == request.drafted && outcome.verified == request.verified)
                    #expect(outcome.accepted == request.accepted && outcome.emitted == request.emitted)
                    #expect(outcome.counterfactuals.allSatisfy { $0.accepted <= $0.judged })
                }
                produced[place] += request.emitted
            }
        }
        #expect(kept.flatMap(\.requests).contains { $0.outcome?.counterfactuals.isEmpty == false })
        #expect(try run(false).flatMap(\.requests).allSatisfy { $0.outcome == nil })
    }

    /// The histograms count the same requests as the records.
    @Test func histogramsAgreeWithRecords() throws {
        let scripted = try ScriptedEngine(
            drafts: { Array($0.tokens.suffix(4)) },
            change: {
                $0.policy = .static
                $0.draftTokens = 3
                $0.traces = true
            })
        let result = try scripted.run([tokenRequest([4, 5, 6, 7, 8], 30), tokenRequest([9, 9], 12)])
        let decided = try records(scripted.engine).filter { $0.predictedTime != nil }
        let histograms = result.statistics.histograms
        for limit in DraftLimit.allCases {
            let own = decided.flatMap(\.requests).filter { $0.limit == limit }
            #expect(histograms.draftLength[limit.rawValue].count == own.count)
            #expect(histograms.draftLength[limit.rawValue].sum == Double(own.reduce(0) { $0 + $1.verified }))
        }
        #expect(histograms.timeRatio.count == decided.count)
        #expect(histograms.timeToFirstToken.count == 2 && histograms.timePerOutputToken.count == 2)
        #expect(result.statistics.finishedByReason.reduce(0, +) == 2)
    }

    @Test func limitsAreNamed() throws {
        func limits(_ length: Int, _ tokens: Int, _ drafts: [Int32]) throws -> [DraftLimit] {
            let scripted = try ScriptedEngine(
                draftTokens: length, drafts: { _ in drafts }, change: { $0.traces = true })
            var request = tokenRequest([1, 2], tokens)
            request.ignoresEndOfGeneration = true
            #expect(try scripted.run([request]).problems.isEmpty)
            return try records(scripted.engine).flatMap(\.requests).compactMap(\.limit)
        }
        // Wrong drafts: a token a step.
        #expect(try limits(2, 5, [300, 300, 300]).prefix(2) == [.length, .length])
        #expect(try limits(2, 5, [300]).first == .drafter)
        #expect(try limits(8, 5, [Int32](repeating: 300, count: 9)).allSatisfy { $0 == .end })
        #expect(try limits(0, 3, []) == [.length, .end])
    }

    @Test func withoutATraceNothingIsRecorded() throws {
        let scripted = try ScriptedEngine(draftTokens: 2)
        #expect(try scripted.run([tokenRequest([1, 2], 4)]).problems.isEmpty)
        let failure = failure(of: { _ = try scripted.engine.decisions { ($0, isTaken: true) } })
        #expect(failure?.code == .wrongState)
    }

    /// What was not taken stays, what was is gone, and the oldest steps make way.
    @Test func decisionsAreReadOnce() throws {
        let scripted = try ScriptedEngine(change: { $0.traces = true })
        let engine = scripted.engine
        #expect(try records(engine).isEmpty)
        #expect(try scripted.run([tokenRequest([1, 2], 4)]).problems.isEmpty)
        let seen = try engine.decisions { ($0.count, isTaken: false) }
        #expect(try seen > 0 && records(engine).count == seen)
        #expect(try records(engine).isEmpty)
        for _ in 0..<60 {
            var request = tokenRequest([1, 2], 100)
            request.ignoresEndOfGeneration = true
            #expect(try scripted.run([request]).problems.isEmpty)
        }
        let kept = try records(engine).map(\.step)
        let last = engine.snapshot().steps
        #expect(last > 5000)
        #expect(kept == Array(last - 4095...last))
    }
}
