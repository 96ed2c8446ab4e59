import Scheduling

/// What a step that decided on drafts was expected to take and to give, and what it took. Times in microseconds, by the
/// cost table as it was before the step.
struct StepAccount {
    /// Of the passes as they were made.
    var predictedTime = 0.0
    /// Of the same step without drafts.
    var plainTime = 0.0
    /// Of a further step without drafts and without the rows of prompts that this one carried.
    var furtherTime = 0.0
    /// What it took: looking for drafts and deciding on them, then the target with sampling and commit.
    var draftTime = 0.0
    var targetTime = 0.0
    /// For each request that decodes; nil where the policy has no estimate of what was verified.
    var expectedTokens: [Double?] = []
    /// Something was drafted.
    var speculated = false
    /// For each request that decodes.
    var outcome = StepOutcome()

    var time: Double { draftTime + targetTime }

    /// What a request with so many tokens from this step gained by speculation, negative where it lost: plain decoding would
    /// have taken a step for each of them. Nobody gains or loses where nothing was drafted.
    func savedTime(emitted: Int) -> Double {
        speculated ? plainTime + Double(max(0, emitted - 1)) * furtherTime - time : 0
    }
}
