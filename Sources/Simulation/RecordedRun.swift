package import Scheduling

/// A run of an engine, or one on virtual time in its place: what came when, what each step did, and what is known of the
/// requests' texts.
package struct RecordedRun: Sendable, Equatable {
    /// As arms are written on a command line.
    package var policy: String
    /// The most tokens of a draft where the policy chooses; nil: the policy's own.
    package var draftTokens: Int?
    package var seed: UInt64
    package var timeScale = 1.0
    /// Requests at the same time, and rows of a step.
    package var maxRunning: Int
    package var maxRows: Int
    package var targets = Targets()
    /// What the engine believed of its passes when the run began; nil: nobody knows.
    package var costs: StepCosts?
    /// Microseconds after which it was cut off; nil: it ran to its end.
    package var end: Double?
    /// In order of arrival; steps and texts go by their places.
    package var requests: [RequestRecord] = []
    /// By what the steps showed, or by what drafters said when the run was over.
    package var texts: [RecordedText] = []
    package var steps: [LoggedStep] = []

    /// No time of a run is longer, in microseconds: 30 years.
    package static let longestTime = 1e15

    package init(policy: String, seed: UInt64, maxRunning: Int, maxRows: Int) {
        self.policy = policy
        self.seed = seed
        self.maxRunning = maxRunning
        self.maxRows = maxRows
    }

    /// Takes for the texts what the steps showed of them, where it was kept.
    package mutating func readTexts() { texts = RecordedText.texts(of: requests, steps) }

    package var arrivals: [Arrival] {
        requests.map {
            Arrival(time: $0.arrival, promptTokens: $0.promptTokens, outputTokens: $0.outputTokens)
        }
    }

    /// The run's figures, by the same sums as those of a simulation.
    package func result(timelineParts: Int = 100) -> OpenLoopResult {
        let span = (requests.last?.arrival ?? 0) / Double(max(1, timelineParts))
        var result = OpenLoopResult(
            requests: arrivals.map { RequestRecord($0) }, targets: targets,
            timeline: Timeline(partLength: max(1, span)))
        for step in steps { result.add(step) }
        for (place, request) in requests.enumerated() {
            if let time = request.sent { result.send(place, at: time) }
            if let time = request.admitted { result.admit(place, at: time) }
            if let time = request.firstToken { result.first(place, at: time) }
            if let time = request.end { result.end(place, at: time) }
        }
        return result
    }
}

extension OpenLoop {
    /// A run on virtual time as a recording.
    package func record(_ arm: Arm) -> RecordedRun {
        var run = RecordedRun(policy: arm.name, seed: seed, maxRunning: maxRunning, maxRows: maxRows)
        run.targets = targets
        run.costs = costs.current
        run.end = end < .infinity ? end : nil
        let result = self.run(arm) { run.steps.append($0) }
        run.requests = result.requests
        run.readTexts()
        return run
    }

    /// The workload of a recorded run under what its passes cost, with texts as far as `texts` know them. A draft model that no
    /// step used takes what the engine believed; where nobody knows that, nothing is drafted with it. The policy begins with
    /// what the engine believed then, and learns: how wide it dares to go depends on that.
    package init(replaying run: RecordedRun, texts: [RecordedText], costs: StepCosts) {
        var truth = costs
        truth.draft = costs.draft ?? run.costs?.draft
        var text = TextModel(recorded: texts, seed: run.seed)
        if truth.draft == nil { text.model = nil }
        self.init(
            arrivals: run.arrivals, text: text, machine: VirtualMachine(truth), maxRunning: run.maxRunning,
            maxRows: run.maxRows)
        self.costs = LearnedCosts(run.costs ?? truth)
        targets = run.targets
        end = run.end ?? .infinity
        seed = run.seed
    }
}
