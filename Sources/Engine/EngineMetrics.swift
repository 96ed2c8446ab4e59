import Scheduling

extension EngineStatistics {
    /// All figures for a Prometheus server, under the names that servers of language models use where there is one.
    package var prometheusText: String {
        var out = PrometheusText()
        addSpeculation(to: &out)
        addSpeculationQuality(to: &out)
        addRequests(to: &out)
        addCache(to: &out)
        addWork(to: &out)
        return out.text
    }

    private func addSpeculation(to out: inout PrometheusText) {
        out.counter("spec_decode_num_drafts_total", "Drafts that were verified.", Double(drafts))
        out.counter(
            "spec_decode_num_draft_tokens_total", "Drafted tokens that were verified.", Double(draftTokens))
        out.counter(
            "spec_decode_num_accepted_tokens_total", "Drafted tokens that were accepted.", Double(acceptedTokens))
        out.counter(
            "spec_decode_num_branch_tokens_total", "Of the verified tokens those beside a drafted chain.",
            Double(branchTokens))
        out.counter(
            "spec_decode_num_accepted_branch_tokens_total", "Of the accepted tokens those beside a drafted chain.",
            Double(acceptedBranches))
        out.counter(
            "spec_decode_num_accepted_tokens_per_pos_total", "Accepted tokens by their position in the draft.",
            label: "position", acceptedPerPosition.enumerated().map { (String($0), Double($1)) })
        out.histogram(
            "spec_decode_draft_length", "Verified tokens of a draft, 0 included, by why there were no more.",
            label: "reason", DraftLimit.allCases.map { ($0.name, histograms.draftLength[$0.rawValue]) })
    }

    private func addSpeculationQuality(to out: inout PrometheusText) {
        out.histogram(
            "spec_decode_step_time_ratio", "Time of a step over the time that the cost table predicted for it.",
            histograms.timeRatio)
        out.histogram(
            "spec_decode_token_surplus", "Tokens that a draft's step gave less those that were expected of it.",
            histograms.tokenSurplus)
        out.gauge(
            "spec_decode_calibration_error", "Expected calibration error of the acceptance probabilities.",
            calibrationError)
        out.gauge(
            "spec_decode_saved_seconds", "Time saved by speculation against plain decoding; negative when lost.",
            savedTime / 1e6)
    }

    private func addRequests(to out: inout PrometheusText) {
        out.gauge("num_requests_running", "Requests that run.", Double(runningRequests))
        out.gauge("num_requests_waiting", "Requests that wait to run.", Double(queuedRequests))
        out.counter("requests_submitted_total", "Requests that were accepted.", Double(submittedRequests))
        out.counter(
            "requests_finished_total", "Requests that ended, by why.", label: "reason",
            FinishReason.allCases.map { ($0.name, Double(finishedByReason[Int($0.rawValue)])) })
        out.counter("num_preemptions_total", "Requests that gave their place to others.", Double(preemptions))
        out.histogram(
            "time_to_first_token_seconds", "From submit to the first token, of requests that ended.",
            histograms.timeToFirstToken)
        out.histogram(
            "time_per_output_token_seconds", "Mean time between tokens, of requests that ended.",
            histograms.timePerOutputToken)
    }

    private func addCache(to out: inout PrometheusText) {
        out.gauge("kv_blocks_used", "Blocks of the KV cache that requests hold.", Double(kvBlocksUsed))
        out.gauge("kv_blocks_cached", "Free blocks that keep a prefix for the next prompt.", Double(kvBlocksCached))
        out.gauge("kv_blocks_capacity", "Blocks of the KV cache.", Double(kvBlocksTotal))
        out.counter(
            "prefix_cache_queries_total", "Tokens that were looked for in the prefix cache.",
            Double(prefixQueriedTokens))
        out.counter("prefix_cache_hits_total", "Tokens that the prefix cache had.", Double(prefixCachedTokens))
        out.counter("prefix_cache_evictions_total", "Cached blocks given up for others.", Double(prefixEvictions))
    }

    private func addWork(to out: inout PrometheusText) {
        out.counter("prompt_tokens_total", "Tokens of prompts that were computed.", Double(prefillTokens))
        out.counter("generation_tokens_total", "Tokens that were emitted.", Double(emittedTokens))
        out.counter("steps_total", "Steps.", Double(steps))
        out.counter(
            "passes_total", "Forward passes.", label: "model",
            [("target", Double(targetPasses)), ("draft", Double(draftPasses))])
        out.counter("step_seconds_total", "Time spent in steps.", Double(stepTime) / 1e6)
        out.counter("draft_seconds_total", "Of it: drafts, and deciding on them.", Double(draftTime) / 1e6)
        out.counter(
            "verify_seconds_total", "Of it: passes of the target, sampling and commit.", Double(verifyTime) / 1e6)
        out.counter("control_seconds_total", "Time of the policy alone.", controlTime / 1e6)
        out.gauge("threads", "Threads that compute.", Double(threads))
    }
}
