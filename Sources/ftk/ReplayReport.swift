import Formats

/// What a replay measured, as a table or as JSON.
///
/// The JSON is one object. `cells` are those of `ftk simulate --json`, with the same names and units, and what only a real
/// run has comes after them:
///
///     {
///       "command": "replay",
///       "machine": "…", "isa": "avx512-bf16", "threads": 2, "commit": "…",
///       "model": "…", "model_bytes": 1, "draft": "…" or null, "draft_bytes": 0,
///       "options": {
///         the workload's members as in `ftk simulate`, then
///         "prompts": "…", "category": null, "drafter": "auto", "temperature": 0, "draft_tokens": null,
///         "max_running_requests": 16, "max_step_tokens": 256, "max_s": 120, "profile_s": 2
///       },
///       "lengths": {
///         "context": 512, "requests": 9, "shortened": 3,
///         "trace_prompt_tokens": 1.5, "trace_output_tokens": 1.5, "prompt_tokens": 1.5, "output_tokens": 1.5
///       },
///       "saturated": false,
///       "cells": [
///         {
///           all members of a cell of `ftk simulate`, "raw" always among them, then
///           "cut": null, "time" or "interrupt",
///           "unfinished": 0,
///           "drift_ms": {"mean": 0.1, "p50": 0.1, "p90": 0.1, "p95": 0.1, "p99": 0.1, "most": 0.1},
///           "draft_s": 1.5, "verify_s": 1.5, "control_s": 0.01
///         }
///       ]
///     }
///
/// `lengths` says how prompts and outputs, means of all requests, were brought within the context. A cell is `saturated`, and
/// its raw tokens per second mean something, when it was busy for 98 % of its time. An element of `raw` has, besides what
/// `ftk simulate` says of a request, `sent_s`: when it was submitted, beside `arrival_s`, when the workload has it.
struct ReplayReport {}
