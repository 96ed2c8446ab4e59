import Kernels
import Scheduling
import Speculation

// Who runs and who holds blocks. The budget is hard: when blocks are short the cache gives way first, then drafts, then the
// least urgent request, which is computed again later. A request that runs never fails because another one came.

extension StepRunner {
    /// Puts a sequence in its place among those that wait.
    func wait(_ sequence: ActiveSequence) {
        let urgency = sequence.urgency
        let place = waiting.firstIndex { urgency < $0.urgency } ?? waiting.count
        waiting.insert(sequence, at: place)
    }

    /// Lets requests in, the most urgent first, while there is room for all that they have to compute. One of a higher
    /// priority takes the place of a less urgent one of a lower. Samples whose prompt another is just computing stay, and
    /// a place is kept for each.
    func admit(now: Int64) {
        while let place = waiting.firstIndex(where: { !waitsForPrompt($0) }) {
            let next = waiting[place]
            if running.count + place < options.maxRunningRequests, begin(&waiting[place], now: now) {
                running.append(waiting.remove(at: place))
            } else if let least = running.indices.max(by: { running[$0].urgency < running[$1].urgency }),
                next.urgency < running[least].urgency, running[least].options.priority < next.options.priority
            {
                preempt(least)
            } else {
                break
            }
        }
        updateGauges()
    }

    private func waitsForPrompt(_ sequence: ActiveSequence) -> Bool {
        sequence.takesPromptOfOthers && source(for: sequence) == nil
            && running.contains { $0.requestID == sequence.requestID }
    }

    /// A sample of the same request that has computed the prompt up to its last token, whose logits each needs itself.
    private func source(for sequence: ActiveSequence) -> Int? {
        guard sequence.takesPromptOfOthers else { return nil }
        return running.firstIndex {
            $0.requestID == sequence.requestID && $0.computed >= sequence.promptCount - 1
        }
    }

    /// Takes over what is computed already; false, and nothing done, when the rest would not fit now.
    private func begin(_ sequence: inout ActiveSequence, now: Int64) -> Bool {
        let begins = source(for: sequence).map { fork(&sequence, from: $0) } ?? adopt(&sequence)
        guard begins else { return false }
        if !sequence.hasRun {
            sequence.statistics.queueTime = now - sequence.submitted
            sequence.statistics.cachedTokens = min(sequence.computed, sequence.promptCount)
        }
        return true
    }

    /// Begins with the prompt that another sample has.
    private func fork(_ sequence: inout ActiveSequence, from index: Int) -> Bool {
        let shared = sequence.promptCount - 1
        let rest = pool.blocks(for: sequence.promptCount) - shared / pool.blockTokens
        guard rest + running.count <= pool.available else { return false }
        var table = running[index].table.fork(tokens: shared, in: &pool)
        // A block that both would write is copied here: the other one goes on in its own, which a draft model's keys and
        // values are in as well.
        guard let reservation = table.reserve(shared..<sequence.promptCount, in: &pool) else {
            table.release(in: &pool)
            return false
        }
        if let copy = reservation.copy { executor.copy([(copy.from, copy.to)]) }
        sequence.table = table
        sequence.computed = shared
        return true
    }

    /// Begins with what the prefix cache has.
    private func adopt(_ sequence: inout ActiveSequence) -> Bool {
        let wanted = pool.blocks(for: sequence.tokens.count)
        // The log-probabilities of the prompt need every row of it.
        let salt = sequence.options.cacheSalt
        let match = sequence.promptLogprobs == nil ? pool.match(sequence.tokens, isolation: salt) : nil
        let rest = wanted - (match?.blocks.count ?? 0)
        // Those that run are about to need blocks as well: a request that takes the last ones would soon lose them.
        guard running.isEmpty || rest + running.count <= pool.available else {
            if let match { pool.release(match) }
            return false
        }
        if let match {
            let adoption = sequence.table.adopt(match, minimumPartial: 4, in: &pool)
            if let copy = adoption.copy { executor.copy([(copy.from, copy.to)]) }
            sequence.computed = adoption.tokens
        }
        return true
    }

    /// Finds blocks for the rows of the plan, the most urgent request first. Where there are not enough the least urgent
    /// one is preempted and drafts are left out.
    func reserve(_ plan: StepPlan) -> StepPlan {
        var result = plan
        result.entries = plan.entries.compactMap { reserve($0) }
        return result
    }

    private func reserve(_ entry: StepPlan.Entry) -> StepPlan.Entry? {
        while let index = index(of: entry.id) {
            let start = running[index].computed
            if grant(index, start..<start + entry.rows) { return entry }
            preempt(running.count - 1)
        }
        return nil
    }

    private func grant(_ index: Int, _ rows: Range<Int>) -> Bool {
        guard let reservation = running[index].table.reserve(rows, in: &pool) else { return false }
        if let copy = reservation.copy { executor.copy([(copy.from, copy.to)]) }
        return true
    }

    /// Blocks for as many drafted tokens behind the committed ones as there is room for, without taking any from
    /// others.
    func reserveDraft(_ id: UInt64, _ tokens: Int) -> (tokens: Int, blocks: [Int32]) {
        guard let index = index(of: id) else { return (0, []) }
        let end = running[index].tokens.count
        let most = min(tokens, running[index].table.attainableTokens(in: pool) - end)
        let granted = most > 0 && grant(index, end..<end + most) ? most : 0
        return (granted, running[index].table.blocks)
    }

    /// The request waits again, with its tokens; what it computed may still be in the cache when its turn comes.
    private func preempt(_ index: Int) {
        var sequence = running.remove(at: index)
        sequence.preempt(in: &pool)
        speculator.forget(sequence.id)
        statistics.preemptions += 1
        wait(sequence)
    }

    /// After commit: full blocks go to the prefix cache, and what rejected drafts held is given back.
    func keep(_ index: Int) {
        let computed = running[index].computed
        running[index].table.truncate(to: running[index].tokens.count, in: &pool)
        if running[index].table.register(running[index].tokens, computed: computed, in: &pool) != nil {
            // The draft model's keys and values go by block number too.
            speculator.forgetCache(running[index].id)
        }
    }
}
