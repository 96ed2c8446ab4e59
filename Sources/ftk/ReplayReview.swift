import Engine
import Kernels
import Model
import Scheduling
import Simulation

/// Finds out what drafters have to say of the texts of runs that are over, which the steps show only in part.
struct ReplayReview {
    let target: LanguageModel
    /// The most microseconds for the texts of one run.
    let longest: Double

    /// The run with its texts read again by drafters like those of an engine with `options`. Where that is not possible it has
    /// what the steps showed of them, and the reason is given.
    func read(_ sent: SentRun, _ options: EngineOptions) -> (run: RecordedRun, reason: String?) {
        var run = sent.run
        let end = Double(monotonicMicroseconds()) + longest
        var reason = "it was interrupted"
        do {
            // A draft model's cache is not made in vain.
            if !Interrupt.isRequested {
                let found = try TextReview(target: target, options: options).read(sent.texts) {
                    !Interrupt.isRequested && Double(monotonicMicroseconds()) < end
                }
                if let found {
                    run.texts = zip(run.requests, found).map { RecordedText(length: $0.outputTokens, $1) }
                    return (run, nil)
                }
                if !Interrupt.isRequested { reason = "reading them again took too long" }
            }
        } catch { reason = "\(error)" }
        run.readTexts()
        return (run, reason)
    }
}

extension RecordedText {
    /// What a review found, position by position.
    fileprivate init(length: Int, _ positions: [TextReview.Position]) {
        self.init(length: length)
        // Nobody drafts for the first token; what was cut off has no end.
        for (place, position) in positions.prefix(length).enumerated().dropFirst() {
            if let feature = position.feature {
                (accepted[place], features[place]) = (position.isRight, feature)
            }
            looks.append(place)
            proposals += position.proposals.map {
                RecordedProposal(
                    position: place, source: $0.draft.source, features: $0.draft.features, right: $0.accepted)
            }
        }
    }
}
