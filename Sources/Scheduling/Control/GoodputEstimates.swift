// What the policy believes of drafts that are verified.

extension GoodputPolicy {
    /// Its own token, and of the draft what survives, with what its branches add.
    package func expectedTokens(_ view: StepView, _ verified: [DraftView?]) -> [Double]? {
        zip(view.requests, verified).map { request, draft in
            guard let draft else { return 1 }
            let survivals = survival.survivals(draft, request: request.id)
            let worths = draft.branches.isEmpty ? [] : runnersUp.worths(draft, survivals: survivals)
            return draft.branches.reduce(1 + survivals.reduce(0, +)) {
                $0 + (worths.indices.contains($1) ? worths[$1] : 0)
            }
        }
    }

    package var calibrationError: Double? { survival.calibration.expectedError }
}
