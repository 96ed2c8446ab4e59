import Formats
import Scheduling
import Simulation
import TestSupport
import Testing

/// Recordings of runs on virtual time, whose steps take what a cost table says: an engine without a clock.
@Suite struct RecordingTests {
    static let costs = StepCosts(
        target: PassCosts(
            widths: [1, 8, 16, 64], base: [1000, 1100, 1400, 4000], perContext: 0.05, perAttended: 0.02),
        draft: PassCosts(widths: [1, 16, 64], base: [120, 150, 400], perContext: 0.02), overhead: 30)

    static func loop(rate: Double = 40, count: Int = 150, seed: UInt64 = 3) -> OpenLoop {
        let arrivals = ArrivalPattern.gamma(rate: rate, variation: 2)
            .arrivals(count, .around(prompt: 60, output: 25), seed: seed)
        var text = TextModel(model: AcceptanceProcess(.spread(low: 0.2, high: 0.95)))
        text.retrieval = [RetrievalProcess(source: .lookup, copiedShare: 0.4), RetrievalProcess(source: .suffix)]
        var loop = OpenLoop(
            arrivals: arrivals, text: text, machine: VirtualMachine(costs), maxRunning: 6, maxRows: 64)
        loop.seed = seed
        return loop
    }

    private static func text(_ run: RecordedRun) -> String {
        ([RecordedRun.header([("machine", .string("none"))])] + run.lines).map { $0.rendered + "\n" }.joined()
    }

    private static func read(_ text: String) throws -> Recording {
        try Recording(parsing: Array(text.utf8), name: "run.jsonl")
    }

    private static let arms = ["unconfigured", "off", "static:3", "smartspec", "turbospec", "adaspec", "goodput"]

    @Test(arguments: arms)
    func aRecordedRunHasTheFiguresOfItsSimulation(name: String) throws {
        let (loop, arm) = (Self.loop(), try Arm(parsing: name))
        let run = loop.record(arm)
        #expect(OpenLoopMetrics(run.result()) == OpenLoopMetrics(loop.run(arm)))
        #expect(run.steps.count == loop.run(arm).steps)
        #expect(run.steps.reduce(0) { $0 + $1.emitted } == loop.arrivals.reduce(0) { $0 + $1.outputTokens })
    }

    @Test(arguments: arms)
    func aFileGivesBackTheRun(name: String) throws {
        var run = Self.loop().record(try Arm(parsing: name, longestDraft: 7))
        run.draftTokens = 7
        run.targets = Targets(firstToken: 1e6, perOutputToken: 2500)
        run.end = 5e6
        let recording = try Self.read(Self.text(run))
        #expect(recording.about["machine"]?.string == "none")
        let found = try #require(recording.runs.first)
        #expect(found.texts == run.texts && found.arrivals == run.arrivals)
        #expect(found.requests.map(\.firstToken) == run.requests.map(\.firstToken))
        #expect(found.requests.map(\.end) == run.requests.map(\.end))
        #expect(found.result().requests == run.result().requests)
        #expect(found.costs == run.costs && found.costs != nil)
        #expect(found.targets == run.targets && found.end == 5e6 && found.draftTokens == 7)
        // What drafts looked like is in the texts, not in the steps.
        #expect(found.steps.map(\.targetShape.rows) == run.steps.map(\.targetShape.rows))
        #expect(OpenLoopMetrics(found.result()) == OpenLoopMetrics(run.result()))
        #expect(Self.text(found) == Self.text(run))
    }

    /// Whatever the arm drafts again in the same steps is right or wrong as it was.
    @Test(arguments: arms)
    func aRunIsReplayedStepByStep(name: String) throws {
        let arm = try Arm(parsing: name)
        let run = Self.loop().record(arm)
        var again = OpenLoop(replaying: run, texts: run.texts, costs: Self.costs)
        again.costs = StatedCosts(Self.costs)
        let second = again.record(arm)
        func shapes(_ run: RecordedRun) -> [[Int]] {
            run.steps.map { $0.decoding.map(\.verified) + $0.decoding.map(\.emitted) }
        }
        // The goodput policy probes by coins; adaspec also goes by scores behind wrong tokens, which say nothing of the text
        // and are not kept. The others do the same steps.
        if !["goodput", "adaspec"].contains(name) { #expect(shapes(second) == shapes(run)) }
        #expect(second.steps.reduce(0) { $0 + $1.emitted } == run.steps.reduce(0) { $0 + $1.emitted })
    }

    @Test(arguments: arms)
    func aRunIsPredictedFromItsOwnSteps(name: String) throws {
        let recording = try Self.read(Self.text(Self.loop().record(try Arm(parsing: name))))
        let validation = try Validation(recording.runs[0])
        #expect(validation.checks.map(\.name) == ["tokens per second", "tokens per busy second", "P95 TPOT"])
        #expect(validation.holds, "\(validation)")
        #expect(validation == (try Validation(recording.runs[0])))
    }

    /// Times of requests that do not follow from the steps: the prediction must say so.
    @Test func whatDoesNotHoldIsSaid() throws {
        var run = Self.loop().record(try Arm(parsing: "static:3"))
        for index in run.requests.indices { run.requests[index].end = run.requests[index].end.map { $0 * 1.5 } }
        let validation = try Validation(run)
        #expect(!validation.holds)
        let pace = try #require(validation.checks.last)
        #expect(pace.error < -0.1 && !pace.holds)
    }

    /// Requests whose drafts are nearly always right, and others whose are nearly always wrong.
    private static func mixed(seed: UInt64) -> (loop: OpenLoop, texts: [RecordedText]) {
        var loop = loop(rate: 25, count: 24, seed: seed)
        var random = SplitMix64(seed: seed)
        let texts = loop.arrivals.enumerated().map { place, arrival in
            var text = RecordedText(length: arrival.outputTokens)
            for position in text.accepted.indices {
                text.accepted[position] = random.int(0..<100) < (place % 4 == 0 ? 5 : 90)
                text.features[position] = DraftFeature(margin: 1, probability: 0.5)
            }
            return text
        }
        loop.text = TextModel(recorded: texts, seed: seed)
        loop.text.draftStartsCold = true
        return (loop, texts)
    }

    /// What was not drafted is not like what was: only the whole text tells how long a request takes.
    @Test func wholeTextsTellEveryRequest() throws {
        var (whole, shown) = (0.0, 0.0)
        for seed in 1...6 as ClosedRange<UInt64> {
            let (loop, texts) = Self.mixed(seed: seed)
            let run = loop.record(try Arm(parsing: "goodput"))
            // As if nobody had drafted for those whose drafts are wrong.
            let seen = texts.enumerated().map { place, text in
                place % 4 == 0 ? RecordedText(length: text.accepted.count) : text
            }
            func worst(_ validation: Validation) -> Double {
                validation.slowest.reduce(0) { max($0, abs(($1.predicted ?? 0) / ($1.measured ?? 1) - 1)) }
            }
            let (full, partial) = (try Validation(run, texts: texts), try Validation(run, texts: seen))
            #expect(full.holds && worst(full) < 0.1, "\(full)")
            #expect(try #require(partial.knownShare) < 0.9)
            #expect(full.knownShare == 1)
            whole += worst(full)
            shown += worst(partial)
        }
        #expect(whole < shown / 2)
    }

    /// An engine that takes wide passes for dear drafts little, and its simulation too.
    @Test func aPolicyBelievesWhatItsEngineDid() throws {
        var loop = Self.loop(rate: 60)
        let wrong = PassCosts(
            widths: [1, 8, 9, 64], base: [1000, 1100, 3000, 9000], perContext: 0.05, perAttended: 0.02)
        loop.costs = StatedCosts(StepCosts(target: wrong, draft: Self.costs.draft, overhead: 30))
        var run = loop.record(try Arm(parsing: "goodput"))
        func rows(_ run: RecordedRun) throws -> Double {
            let fitted = try RecordedCosts(run.steps, followsSpeed: true)
            var again = OpenLoop(replaying: run, texts: run.texts, costs: fitted.costs)
            again.machine.slowdown = fitted.slowdown
            again.costs = StatedCosts(again.costs.current)
            return OpenLoopMetrics(again.run(try Arm(parsing: "goodput"))).rowsPerToken
        }
        let real = OpenLoopMetrics(run.result()).rowsPerToken
        let known = try rows(run)
        run.costs = nil
        let unknown = try rows(run)
        #expect(abs(known / real - 1) < 0.05)
        #expect(abs(unknown / real - 1) > 2 * abs(known / real - 1))
    }

    /// Texts are known without any step that drafted; what drafts take is then what the engine believed.
    @Test func whatNoStepDraftedIsNotFree() throws {
        var run = Self.loop().record(.fixed(3))
        for index in run.steps.indices {
            run.steps[index].stepTime -= run.steps[index].draftTime
            (run.steps[index].draftPasses, run.steps[index].draftTime) = ([], 0)
        }
        let fitted = try RecordedCosts(run.steps).costs
        #expect(fitted.draft == nil)
        func passes(_ run: RecordedRun) -> [StepOutcome.DraftPass] {
            var result: [StepOutcome.DraftPass] = []
            _ = OpenLoop(replaying: run, texts: run.texts, costs: fitted).run(.fixed(3)) { result += $0.draftPasses }
            return result
        }
        let price = try #require(Self.costs.draft)
        let known = passes(run)
        #expect(!known.isEmpty)
        #expect(known.allSatisfy { $0.time == price.time(rows: $0.rows, context: $0.context, attended: 0) })
        let validation = try Validation(run)
        // Nobody knows what a draft model takes: none is there, rather than one for nothing.
        run.costs?.draft = nil
        #expect(passes(run).isEmpty)
        let without = try Validation(run)
        #expect(without.knownShare == nil && validation.knownShare != nil)
        run.costs = nil
        #expect(passes(run).isEmpty)
    }

    @Test func aMachineHasTheDraftModelThatNobodyUsed() throws {
        let (plain, drafted) = (Self.loop().record(.off), Self.loop().record(.fixed(3)))
        func costs(_ runs: [RecordedRun]) throws -> StepCosts {
            let lines = [RecordedRun.header([])] + runs.flatMap(\.lines)
            return try Self.read(lines.map { $0.rendered + "\n" }.joined()).costs()
        }
        #expect(try costs([plain]).draft == Self.costs.draft)
        let measured = try RecordedCosts(plain.steps + drafted.steps).costs
        #expect(try costs([plain, drafted]).draft == measured.draft && measured.draft != nil)
        var unknown = plain
        unknown.costs = nil
        #expect(try costs([unknown]).draft == nil)
        #expect(try costs([unknown, plain]).draft == Self.costs.draft)
    }

    @Test(arguments: ["off", "goodput"])
    func theSlowestAreNamed(name: String) throws {
        let run = Self.loop().record(try Arm(parsing: name))
        let validation = try Validation(run)
        let pace = try #require(validation.checks.last)
        let measured = validation.slowest.compactMap(\.measured)
        // Of 150 requests eight are at or above the P95.
        #expect(measured.count { $0 >= pace.measured } == 8)
        #expect(validation.slowest.contains { $0.predicted == pace.predicted })
        for slow in validation.slowest {
            #expect(slow.measured == run.requests[slow.request].timePerOutputToken.map { $0 / 1e3 })
            #expect(slow.outputTokens == run.requests[slow.request].outputTokens)
        }
    }

    /// A step that the machine was away in: what came later came that much later.
    @Test func aDisturbedStepIsFound() throws {
        let calm = Self.loop().record(try Arm(parsing: "static:3"))
        #expect(try Validation(calm).outliers.places.isEmpty)
        var run = calm
        let (place, pause) = (calm.steps.count / 2, 40_000.0)
        let end = calm.steps[place].end
        run.steps[place].targetTime += pause
        run.steps[place].stepTime += pause
        for later in run.steps.indices.dropFirst(place + 1) { run.steps[later].start += pause }
        func late(_ time: Double?) -> Double? { time.map { $0 >= end ? $0 + pause : $0 } }
        for index in run.requests.indices {
            run.requests[index].firstToken = late(run.requests[index].firstToken)
            run.requests[index].end = late(run.requests[index].end)
        }
        let outliers = try Validation(run).outliers
        #expect(outliers.places == [place])
        #expect(abs(outliers.lost / pause - 1) < 0.2)
        let (with, without) = (OpenLoopMetrics(run.result()), OpenLoopMetrics(calm.result()))
        let usual = try #require(without.timePerOutputToken).p95 / 1e3
        #expect(try #require(with.timePerOutputToken).p95 / 1e3 > usual)
        #expect(abs(try #require(outliers.paceWithout) / usual - 1) < 0.1)
    }

    /// Others use the machine too, and it is less than half as fast for a while.
    @Test(arguments: arms)
    func aMachineThatSlowsDownIsPredicted(name: String) throws {
        var loop = Self.loop()
        loop.machine.slowdown = Schedule(
            1, changes: [(start: .time(1e6), value: 2.2), (start: .time(2.5e6), value: 0.9)])
        let run = loop.record(try Arm(parsing: name))
        let validation = try Validation(run)
        #expect(validation.holds, "\(validation)")
        #expect(validation.slowdown.upperBound > 2 * validation.slowdown.lowerBound)
        let (blind, seeing) = (try RecordedCosts(run.steps), try RecordedCosts(run.steps, followsSpeed: true))
        #expect(seeing.targetError < blind.targetError / 2)
    }

    /// Who drafted shows the text of a run that did not.
    @Test func runsOfTheSameRequestsTellOfOneText() throws {
        let loop = Self.loop()
        let (plain, drafted) = (loop.record(.off), loop.record(.fixed(3)))
        let lines = [RecordedRun.header([])] + plain.lines + drafted.lines
        let recording = try Self.read(lines.map { $0.rendered + "\n" }.joined())
        let known = plain.texts.flatMap(\.accepted).compactMap { $0 }
        #expect(known.isEmpty)
        #expect(recording.texts(of: recording.runs[0]).map(\.accepted) == drafted.texts.map(\.accepted))
        #expect(recording.texts(of: recording.runs[1]).map(\.accepted) == drafted.texts.map(\.accepted))
        var other = recording.runs[0]
        other.seed += 1
        #expect(recording.texts(of: other) == plain.texts)
    }

    @Test func costsAreFoundAgain() throws {
        let run = Self.loop().record(try Arm(parsing: "goodput"))
        let found = try RecordedCosts(run.steps)
        #expect(found.targetError < 0.02)
        for step in run.steps {
            let shape = step.targetShape
            let time = found.costs.target.time(rows: shape.rows, context: shape.context, attended: shape.attended)
            #expect(abs(time + found.costs.overhead - step.targetTime) < 0.2 * step.targetTime)
        }
        let draft = try #require(found.costs.draft)
        #expect(abs(draft.base(rows: 1) / 120 - 1) < 0.2)
    }

    // MARK: Bad files

    private static let lines = [
        #"{"recording": 2}"#,
        #"{"run": "static:2", "draft_tokens": null, "seed": 1, "time_scale": 1, "max_running_requests": 4, "max_step_tokens": 64, "target_ttft_us": null, "target_tpot_us": null, "cut_us": null, "costs": {"target": {"widths": [1, 4], "base_us": [9, 12], "per_context_us": 0.5, "per_attended_us": 0, "measured": [true, false]}, "draft": null, "overhead_us": 3}}"#,
        #"{"request": 0, "arrival_us": 0, "sent_us": null, "prompt_tokens": 3, "output_tokens": 2, "admitted_us": 0, "first_token_us": 5, "end_us": 9, "accepted": [null, true], "margin": [null, 1], "probability": [null, 0.5], "looks": [1], "proposals": [{"position": 1, "drafter": "lookup", "right": 0, "probability": [0.5], "match": [2], "support": [1]}]}"#,
        #"{"step": 1, "start_us": 0, "draft_us": 1, "target_us": 4, "time_us": 5, "control_us": 0, "waiting": 0, "draft_passes": [{"requests": 1, "rows": 2, "context": 4, "us": 1}], "prompts": [{"request": 0, "rows": 3, "computed": 0, "emitted": 1}], "decoding": [{"request": 0, "context": 4, "drafter": "model", "drafted": 1, "verified": 1, "accepted": 1, "emitted": 1}]}"#,
    ]

    @Test func theLinesAboveAreARecording() throws {
        let run = try Self.read(Self.lines.joined(separator: "\n")).runs[0]
        #expect(run.steps[0].draftPasses.map(\.rows) == [2] && run.texts[0].accepted == [nil, true])
        #expect(run.texts[0].proposals.map(\.source) == [.lookup])
        var table = PassCosts(widths: [1, 4], base: [9, 12], perContext: 0.5)
        table.measured = [true, false]
        #expect(run.costs == StepCosts(target: table, overhead: 3))
    }

    /// The longest times that a file may state are numbers like others.
    @Test func longTimesArePredicted() throws {
        var lines = Self.lines
        for (line, part, other) in [
            (2, #""end_us": 9"#, #""end_us": 1e15"#), (3, #""target_us": 4"#, #""target_us": 1e15"#),
            (3, #""time_us": 5"#, #""time_us": 1e15"#), (3, #""us": 1"#, #""us": 1e15"#),
        ] { lines[line].replace(part, with: other) }
        lines.append(lines[3].replacing(#""start_us": 0"#, with: #""start_us": 1e15"#))
        lines.append(Self.lines[3].replacing(#""start_us": 0"#, with: #""start_us": 1e15"#))
        let validation = try Validation(try Self.read(lines.joined(separator: "\n")).runs[0])
        #expect(validation.slowdown.lowerBound > 0 && validation.slowdown.upperBound.isFinite)
        #expect(validation.checks.allSatisfy { $0.measured.isFinite && $0.predicted.isFinite })
    }

    /// Every member of every line, taken away and then made something else.
    @Test func whatIsMissingIsNamed() throws {
        for (number, line) in Self.lines.enumerated() {
            let members = try #require(try JSON(parsing: Array(line.utf8)).members)
            for member in members where !["run", "request", "step", "drafter"].contains(member.key) {
                let without = members.filter { $0.key != member.key }
                var lines = Self.lines
                lines[number] = JSONText.object(without.map { ($0.key, text($0.value)) }).rendered
                #expect(message(lines) == "run.jsonl, line \(number + 1), field \(member.key) is missing")
                lines[number] =
                    JSONText.object(members.map { ($0.key, $0.key == member.key ? .string("?") : text($0.value)) })
                    .rendered
                #expect(message(lines).hasPrefix("run.jsonl, line \(number + 1), field \(member.key): expected"))
            }
        }
    }

    @Test(arguments: [
        (3, #""rows": 3"#, #""lines": 3"#, "run.jsonl, line 4, prompts[0], field rows is missing"),
        (3, #""us": 1"#, #""ms": 1"#, "run.jsonl, line 4, draft_passes[0], field us is missing"),
        (
            3, #""accepted": 1"#, #""accepted": 2"#,
            "line 4, decoding[0], field accepted: expected a whole number from 0 to 1"
        ),
        (
            3, #""start_us": 0"#, #""start_us": -1"#,
            "line 4, field start_us: expected no negative number, but it is -1.0"
        ),
        (
            3, #""drafter": "model""#, #""drafter": "oracle""#,
            "line 4, decoding[0], field drafter: expected null or one of"
        ),
        (2, #""arrival_us": 0"#, #""arrival_us": -5"#, "line 3, field arrival_us: expected no negative number"),
        (2, #""request": 0"#, #""request": 1"#, "line 3, field request: expected 0: requests are in order"),
        (2, #""right": 0"#, #""right": 2"#, "line 3, proposals[0], field right: expected a whole number from 0 to 1"),
        (2, "[null, true]", "[true]", "line 3, field accepted: expected 2 elements"),
        (2, #""output_tokens": 2"#, #""output_tokens": 1048576"#, "line 3, field accepted: expected 1048576 elements"),
        (2, #""drafter": "lookup""#, #""drafter": "host""#, "proposals[0], field drafter: expected lookup or suffix"),
        (3, #""rows": 3"#, #""rows": 2000000"#, "prompts[0], field rows: expected a whole number from 1 to 1048576"),
        (1, #""static:2""#, #""best""#, #"line 2, field run: no policy is called "best""#),
        (1, #""run""#, #""ran""#, "line 2: a run comes before its requests and steps"),
        (0, "2", "1", "line 1, field recording: expected 2, the form that this program reads"),
        (1, "[1, 4]", "[2, 4]", "line 2, costs, target, field widths: expected ascending widths from 1"),
        (1, "[9, 12]", "[9]", "line 2, costs, target, field base_us: expected a time above 0"),
        (1, "[9, 12]", "[0, 12]", "line 2, costs, target, field base_us: expected a time above 0"),
        (1, "[true, false]", "[true]", "line 2, costs, target, field measured: expected true or false for each"),
        (1, #""per_context_us": 0.5, "#, "", "line 2, costs, target, field per_context_us is missing"),
        (1, #""draft": null, "#, "", "line 2, costs, field draft is missing"),
        (
            1, #""overhead_us": 3"#, #""overhead_us": -3"#,
            "line 2, costs, field overhead_us: expected no negative number"
        ),
        // Not passed over: the elements behind it would be those of other widths.
        (1, "[9, 12]", #"[9, "x", 12]"#, "line 2, costs, target, field base_us: expected a time above 0"),
        (1, "[9, 12]", "[9, 12, null]", "line 2, costs, target, field base_us: expected a time above 0"),
        (
            1, "[9, 12]", "[9, 1e13]",
            "line 2, costs, target, field base_us: expected a time above 0, at most 2600000000000.0"
        ),
        (1, "[true, false]", "[true, 0]", "line 2, costs, target, field measured: expected true or false for each"),
        (1, "[true, false]", "[true, null, false]", "costs, target, field measured: expected true or false for each"),
        (1, "[true, false]", "[null]", "line 2, costs, target, field measured: expected true or false for each"),
        (
            1, #""per_context_us": 0.5"#, #""per_context_us": 3e12"#,
            "line 2, costs, target, field per_context_us: expected at most 2600000000000.0, but it is 3000000000000.0"
        ),
        (
            1, #""per_attended_us": 0"#, #""per_attended_us": 3e12"#,
            "line 2, costs, target, field per_attended_us: expected at most 2600000000000.0"
        ),
        (
            1, #""overhead_us": 3"#, #""overhead_us": 3e12"#,
            "line 2, costs, field overhead_us: expected at most 2600000000000.0"
        ),
        (
            3, #""start_us": 0"#, #""start_us": 1e300"#,
            "line 4, field start_us: expected at most 1000000000000000.0, but it is 1e+300"
        ),
        (3, #""target_us": 4"#, #""target_us": 1e16"#, "line 4, field target_us: expected at most 1000000000000000.0"),
        (2, #""end_us": 9"#, #""end_us": 1e308"#, "line 3, field end_us: expected at most 1000000000000000.0"),
        (0, "{", "", "run.jsonl, line 1: JSON"),
    ])
    func whatIsWrongIsNamed(line: Int, part: String, other: String, expected: String) {
        var lines = Self.lines
        let at = lines[line].firstRange(of: part)
        #expect(at != nil)
        if let at { lines[line].replaceSubrange(at, with: other) }
        let found = message(lines)
        #expect(found.contains(expected), "\(found)")
    }

    @Test func halfARecordingIsRefused() {
        #expect(message(Array(Self.lines.prefix(1))) == "run.jsonl holds no run")
        #expect(message(Array(Self.lines.prefix(3))).contains("the run of static:2 has no requests or no steps"))
        #expect(message([Self.lines[0], Self.lines[1], Self.lines[3]]).contains("requests come before the steps"))
        #expect(message([]).contains("line 1"))
    }

    private func message(_ lines: [String]) -> String {
        do {
            _ = try Self.read(lines.joined(separator: "\n"))
            return "no error"
        } catch { return "\(error)" }
    }

    private func text(_ value: JSON) -> JSONText {
        switch value {
        case .null: .null
        case .bool(let value): .bool(value)
        case .number(let value): .number(value)
        case .string(let value): .string(value)
        case .array(let values): .array(values.map { text($0) })
        case .object(let members): .object(members.map { ($0.key, text($0.value)) })
        }
    }
}
