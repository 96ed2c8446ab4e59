package import Formats
package import Scheduling

/// The runs of a recording's file. What is wrong is named by file, line and field.
package struct Recording: Sendable {
    package let name: String
    /// What the file says it is of.
    package let about: JSON
    package private(set) var runs: [RecordedRun] = []

    private static let mostBytes = 1 << 31
    private static let most = 1 << 30
    /// Rows, tokens of a draft, and lengths of prompts and outputs; tokens that one request has before a step; and
    /// requests in a step. Sums over a step's products of these are below what an Int holds.
    private static let mostRows = 1 << 20
    private static let mostContext = 1 << 24
    private static let mostInStep = 1 << 16

    package init(path: String) throws {
        try self.init(parsing: FileSource.contents(of: path, limit: Self.mostBytes), name: path)
    }

    package init(parsing bytes: [UInt8], name: String) throws {
        self.name = name
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        func fields(_ index: Int) throws -> RecordedFields {
            try RecordedFields(bytes: Array(lines[index]), place: "\(name), line \(index + 1)")
        }
        let first = try fields(0)
        let version = try first.whole("recording", 0...Self.most)
        guard version == RecordedRun.version else {
            throw first.bad("recording", "\(RecordedRun.version), the form that this program reads")
        }
        about = first.json
        for index in lines.indices.dropFirst() where !lines[index].isEmpty { try add(fields(index)) }
        guard !runs.isEmpty else { throw Failure.corrupt("\(name) holds no run") }
        for run in runs where run.requests.isEmpty || run.steps.isEmpty {
            throw Failure.corrupt("\(name): the run of \(run.policy) has no requests or no steps")
        }
    }

    private mutating func add(_ line: RecordedFields) throws {
        if line.has("run") { return runs.append(try Self.run(line)) }
        guard !runs.isEmpty else { throw Failure.corrupt("\(line.place): a run comes before its requests and steps") }
        if line.has("request") {
            try Self.addRequest(line, to: &runs[runs.count - 1])
        } else if line.has("step") {
            guard !runs[runs.count - 1].requests.isEmpty else {
                throw Failure.corrupt("\(line.place): requests come before the steps of their run")
            }
            runs[runs.count - 1].steps.append(try Self.step(line, runs[runs.count - 1].requests))
        } else {
            throw Failure.corrupt("\(line.place): expected an object with run, request or step")
        }
    }

    /// What is known of the texts of a run's requests: by its own steps, and where they say nothing by those of other runs of
    /// the same requests, whose texts are the same.
    package func texts(of run: RecordedRun) -> [RecordedText] {
        var texts = run.texts
        for other in runs where other.seed == run.seed {
            for place in texts.indices.prefix(other.texts.count) {
                let (own, request) = (run.requests[place], other.requests[place])
                guard own.promptTokens == request.promptTokens, own.outputTokens == request.outputTokens else {
                    continue
                }
                texts[place] = texts[place].merged(with: other.texts[place])
            }
        }
        return texts
    }

    /// What passes take on the machine, by the steps of all runs; those of a draft model that none of them used by what an engine
    /// believed.
    package func costs() throws -> StepCosts {
        var costs = try RecordedCosts(runs.flatMap(\.steps)).costs
        costs.draft = costs.draft ?? runs.lazy.compactMap { $0.costs?.draft }.first
        return costs
    }

    // MARK: Lines

    private static func run(_ line: RecordedFields) throws -> RecordedRun {
        let running = try line.whole("max_running_requests", 1...mostRows)
        var run = RecordedRun(
            policy: try line.text("run"), seed: UInt64(try line.whole("seed", 0...Int.max)), maxRunning: running,
            maxRows: try line.whole("max_step_tokens", running...mostRows))
        run.draftTokens = try line.optional("draft_tokens") { try line.whole($0, 1...Arm.mostDraft) }
        run.timeScale = try line.number("time_scale", most: .greatestFiniteMagnitude)
        run.targets = Targets(
            firstToken: try line.optional("target_ttft_us") { try line.number($0) },
            perOutputToken: try line.optional("target_tpot_us") { try line.number($0) })
        run.end = try line.optional("cut_us") { try line.number($0) }
        run.costs = try line.optional("costs") { try costs(line.object($0)) }
        do { _ = try Arm(parsing: run.policy, longestDraft: run.draftTokens) } catch let failure as Failure {
            throw failure.prefixed("\(line.place), field run")
        }
        return run
    }

    private static func costs(_ fields: RecordedFields) throws -> StepCosts {
        StepCosts(
            target: try passCosts(fields.object("target")),
            draft: try fields.optional("draft") { try passCosts(fields.object($0)) },
            overhead: try fields.number("overhead_us", most: CostLimits.longest))
    }

    private static func passCosts(_ fields: RecordedFields) throws -> PassCosts {
        let widths = try fields.wholes("widths")
        guard widths.first == 1, widths.count <= CostLimits.mostWidths, (widths.last ?? 0) <= CostLimits.widest,
            zip(widths, widths.dropFirst()).allSatisfy({ $0 < $1 })
        else {
            throw fields.bad(
                "widths", "ascending widths from 1 to at most \(CostLimits.widest), \(CostLimits.mostWidths) at most")
        }
        // What is no number is no time above 0 either.
        let base = try fields.list("base_us").map { $0.number ?? 0 }
        guard base.count == widths.count, base.allSatisfy({ $0 > 0 && $0 <= CostLimits.longest }) else {
            throw fields.bad("base_us", "a time above 0, at most \(CostLimits.longest), for each of widths")
        }
        let marks = try fields.list("measured")
        let measured = marks.compactMap(\.bool)
        guard measured.count == marks.count, marks.isEmpty || marks.count == widths.count else {
            throw fields.bad("measured", "true or false for each of widths, or nothing")
        }
        var costs = PassCosts(
            widths: widths, base: base, perContext: try fields.number("per_context_us", most: CostLimits.longest),
            perAttended: try fields.number("per_attended_us", most: CostLimits.longest))
        costs.measured = measured
        return costs
    }

    private static func addRequest(_ line: RecordedFields, to run: inout RecordedRun) throws {
        guard run.steps.isEmpty, try line.whole("request", 0...most) == run.requests.count else {
            throw line.bad("request", "\(run.requests.count): requests are in order, before the steps")
        }
        var request = RequestRecord(
            Arrival(
                time: try line.number("arrival_us"), promptTokens: try line.whole("prompt_tokens", 1...mostRows),
                outputTokens: try line.whole("output_tokens", 1...mostRows)))
        if let last = run.requests.last, request.arrival < last.arrival {
            throw line.bad("arrival_us", "no time before that of the request above")
        }
        request.sent = try line.optional("sent_us") { try line.number($0) }
        request.admitted = try line.optional("admitted_us") { try line.number($0) }
        request.firstToken = try line.optional("first_token_us") { try line.number($0) }
        request.end = try line.optional("end_us") { try line.number($0) }
        run.texts.append(try text(line, length: request.outputTokens))
        run.requests.append(request)
    }

    private static func text(_ line: RecordedFields, length: Int) throws -> RecordedText {
        let accepted = try line.list("accepted")
        guard accepted.count == length else { throw line.bad("accepted", "\(length) elements, as output_tokens says") }
        // Only now: a length that the line does not fill must not ask for memory.
        var text = RecordedText(length: length)
        let (margins, probabilities) = (try line.list("margin"), try line.list("probability"))
        for index in accepted.indices where !accepted[index].isNull {
            guard let value = accepted[index].bool else { throw line.bad("accepted", "true, false and null") }
            guard index < margins.count, let margin = margins[index].number, margin >= 0 else {
                throw line.bad("margin", "a number from 0 on for each element of accepted")
            }
            guard index < probabilities.count, let probability = probabilities[index].number,
                (0...1).contains(probability)
            else { throw line.bad("probability", "a number from 0 to 1 for each element of accepted") }
            text.accepted[index] = value
            text.features[index] = DraftFeature(margin: Float(margin), probability: Float(probability))
        }
        text.looks = try line.wholes("looks")
        guard zip(text.looks, text.looks.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw line.bad("looks", "ascending positions")
        }
        text.proposals = try line.objects("proposals").map(proposal)
        return text
    }

    private static func proposal(_ fields: RecordedFields) throws -> RecordedProposal {
        let probabilities = try fields.list("probability").map { $0.number ?? -1 }
        let (matches, support) = (try fields.wholes("match"), try fields.wholes("support"))
        guard probabilities.allSatisfy({ (0...1).contains($0) }) else {
            throw fields.bad("probability", "numbers from 0 to 1")
        }
        guard matches.count == probabilities.count else { throw fields.bad("match", "as many as probability has") }
        guard support.count == probabilities.count else { throw fields.bad("support", "as many as probability has") }
        guard let source = try fields.source("drafter"), source == .lookup || source == .suffix else {
            throw fields.bad("drafter", "lookup or suffix")
        }
        return RecordedProposal(
            position: try fields.whole("position", 0...mostRows), source: source,
            features: probabilities.indices.map {
                DraftFeature(
                    probability: Float(probabilities[$0]), matchLength: Int32(clamping: matches[$0]),
                    support: Int32(clamping: support[$0]))
            }, right: try fields.whole("right", 0...probabilities.count))
    }

    private static func step(_ line: RecordedFields, _ requests: [RequestRecord]) throws -> LoggedStep {
        var step = LoggedStep()
        step.start = try line.number("start_us")
        step.draftTime = try line.number("draft_us")
        step.targetTime = try line.number("target_us")
        step.stepTime = try line.number("time_us")
        step.controlTime = try line.number("control_us")
        step.waiting = try line.whole("waiting", 0...most)
        step.draftPasses = try line.objects("draft_passes").map {
            StepOutcome.DraftPass(
                requests: try $0.whole("requests", 1...mostRows), rows: try $0.whole("rows", 1...mostRows),
                context: try $0.whole("context", 0...most), time: try $0.number("us"))
        }
        step.prompts = try line.objects("prompts").map {
            LoggedStep.Prompt(
                request: try $0.whole("request", 0...requests.count - 1), rows: try $0.whole("rows", 1...mostRows),
                computed: try $0.whole("computed", 0...mostContext), emitted: try $0.whole("emitted", 0...1))
        }
        step.decoding = try line.objects("decoding").map { try decoding($0, requests) }
        guard step.prompts.count <= mostInStep else { throw line.bad("prompts", "at most \(mostInStep) elements") }
        guard step.decoding.count <= mostInStep else { throw line.bad("decoding", "at most \(mostInStep) elements") }
        return step
    }

    private static func decoding(
        _ fields: RecordedFields, _ requests: [RequestRecord]
    ) throws -> LoggedStep.Decoding {
        var part = LoggedStep.Decoding(
            request: try fields.whole("request", 0...requests.count - 1),
            context: try fields.whole("context", 1...mostContext)
        )
        part.source = try fields.source("drafter")
        part.drafted = try fields.whole("drafted", 0...mostRows)
        part.verified = try fields.whole("verified", 0...part.drafted)
        part.accepted = try fields.whole("accepted", 0...part.verified)
        part.emitted = try fields.whole("emitted", 0...part.accepted + 1)
        return part
    }
}
