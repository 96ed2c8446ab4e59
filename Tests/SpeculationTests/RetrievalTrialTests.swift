import Speculation
import Testing

@Suite struct RetrievalTrialTests {
    private func draft(_ tokens: [Int32]) -> RetrievalDraft {
        var draft = RetrievalDraft(source: .request)
        for (place, token) in tokens.enumerated() { draft.append(token, features(place)) }
        return draft
    }

    private func features(_ place: Int) -> MatchFeatures {
        MatchFeatures(matchLength: place + 1, support: 2, follows: 1)
    }

    private func outcomes(_ trial: RetrievalTrial) -> [Bool] { trial.outcomes.map(\.agreed) }

    @Test func theFirstWrongTokenEndsIt() {
        var trial = RetrievalTrial(draft([4, 5, 6, 7]))
        #expect(!trial.isDecided)
        trial.take([4, 5, 9, 7, 1])
        #expect(trial.isDecided && trial.agreed == 2)
        #expect(outcomes(trial) == [true, true, false])
        #expect(trial.outcomes.map(\.features) == (0..<3).map(features))
        trial.take([7])
        #expect(trial.agreed == 2 && trial.outcomes.count == 3)
    }

    @Test func theWholeDraftMayBeRight() {
        var trial = RetrievalTrial(draft([4, 5]))
        trial.take([4, 5, 6])
        #expect(trial.isDecided && trial.agreed == 2 && outcomes(trial) == [true, true])
    }

    /// A step that commits less than was drafted leaves the rest open, and the next steps decide it.
    @Test func whatIsNotKnownStaysOpen() {
        var trial = RetrievalTrial(draft([4, 5, 6]))
        trial.take([4])
        #expect(!trial.isDecided && trial.agreed == 1 && outcomes(trial) == [true])
        trial.take([])
        trial.take([5][...])
        #expect(!trial.isDecided && trial.agreed == 2)
        trial.take([0])
        #expect(trial.isDecided && trial.agreed == 2 && outcomes(trial) == [true, true, false])
    }

    @Test func nothingDraftedIsDecidedAtOnce() {
        var trial = RetrievalTrial(draft([]))
        #expect(trial.isDecided)
        trial.take([1, 2])
        #expect(trial.agreed == 0 && trial.outcomes.isEmpty)
    }
}
