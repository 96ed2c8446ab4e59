"""What the library reports, as plain values."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, field, fields
from typing import Any

from . import _abi

LIMITS = {
    _abi.FTK_LIMITED_BY_NOTHING: "nothing",
    _abi.FTK_LIMITED_BY_QUEUE: "queue",
    _abi.FTK_LIMITED_BY_MEMORY: "memory",
    _abi.FTK_LIMITED_BY_COMPUTE: "compute",
}
FINISH_REASONS = {
    _abi.FTK_FINISH_LENGTH: "length",
    _abi.FTK_FINISH_STOP: "stop",
    _abi.FTK_FINISH_CANCELLED: "cancelled",
    _abi.FTK_FINISH_ERROR: "error",
    _abi.FTK_FINISH_DEADLINE: "deadline",
}

TopLogprobs = list[list[tuple[int, float]]]
"""For each token the likeliest ones with their log-probabilities, likeliest first."""


def from_struct(cls: Any, struct: ctypes.Structure) -> Any:
    """The dataclass `cls` with the fields of the same names in `struct`."""
    return cls(**{item.name: _plain(getattr(struct, item.name), item.type) for item in fields(cls)})


def _plain(value: Any, wanted: Any) -> Any:
    if wanted == "bool":
        return bool(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, ctypes.Array):
        return tuple(value)
    return value


@dataclass(frozen=True)
class ModelInfo:
    """What a model is; see ftk_model_info."""

    architecture: str
    quantization: str
    name: str
    parameters: int
    vocabulary_size: int
    layers: int
    embedding_length: int
    attention_heads: int
    kv_heads: int
    head_dimension: int
    feed_forward_length: int
    context_length: int
    has_chat_template: bool
    weights_bytes: int


@dataclass(frozen=True)
class TokenizerInfo:
    """What a tokenizer is; a token is None where there is none."""

    vocabulary_size: int
    bos_token: int | None
    eos_token: int | None
    unknown_token: int | None
    adds_bos: bool
    adds_eos: bool
    has_chat_template: bool


@dataclass(frozen=True)
class MemoryPlan:
    """What an engine would need; see ftk_memory_plan."""

    target_weights_bytes: int
    draft_weights_bytes: int
    kv_block_tokens: int
    kv_bytes_per_token: int
    kv_bytes_per_request: int
    kv_budget_bytes: int
    scratch_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class EngineStats:
    """A snapshot of an engine's counters; see ftk_engine_stats."""

    running_requests: int
    queued_requests: int
    threads: int
    submitted_requests: int
    finished_requests: int
    steps: int
    target_passes: int
    draft_passes: int
    prefill_tokens: int
    emitted_tokens: int
    num_drafts: int
    num_draft_tokens: int
    num_accepted_tokens: int
    accepted_tokens_per_position: tuple[int, ...]
    kv_blocks_total: int
    kv_blocks_used: int
    step_time_us: int
    kv_blocks_cached: int
    prefix_queried_tokens: int
    prefix_cached_tokens: int
    prefix_evictions: int
    num_preemptions: int
    draft_time_us: int
    verify_time_us: int
    control_time_us: int
    saved_us: int
    calibration_error: float
    num_branch_tokens: int
    num_accepted_branch_tokens: int


@dataclass(frozen=True)
class RequestStats:
    """What one request cost; times are None where they do not apply."""

    prompt_tokens: int
    completion_tokens: int
    steps: int
    draft_tokens: int
    accepted_tokens: int
    seed: int
    queue_us: int | None
    ttft_us: int | None
    tpot_us: int | None
    total_us: int
    cached_tokens: int
    preemptions: int
    ttft_attained: bool | None
    tpot_attained: bool | None
    limited_by: str
    saved_us: int


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class PromptLogprobs:
    """The prompt's tokens; `logprobs[i]` and `top[i]` belong to `tokens[i + 1]`, given the tokens before it."""

    tokens: list[int]
    logprobs: list[float]
    top: TopLogprobs


@dataclass(frozen=True)
class Chunk:
    """What one event of a request brought. The last chunk of each sample has a finish_reason and the statistics."""

    request_id: int
    text: str = ""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] | None = None
    top_logprobs: TopLogprobs | None = None
    prompt_logprobs: PromptLogprobs | None = None
    finish_reason: str | None = None
    stats: RequestStats | None = None
    sample_index: int = 0


@dataclass(frozen=True)
class Completion:
    """The whole output of a request, or of one of its samples. Prompt log-probabilities come with sample 0."""

    request_id: int
    text: str
    tokens: list[int]
    finish_reason: str
    stats: RequestStats
    logprobs: list[float] | None = None
    top_logprobs: TopLogprobs | None = None
    prompt_logprobs: PromptLogprobs | None = None
    sample_index: int = 0

    @property
    def usage(self) -> Usage:
        return Usage(self.stats.prompt_tokens, self.stats.completion_tokens)


@dataclass(frozen=True)
class Score:
    """How likely a text is; `logprobs[i]` and `top[i]` belong to `tokens[i + 1]`."""

    tokens: list[int]
    logprobs: list[float]
    top: TopLogprobs

    @property
    def total(self) -> float:
        """The log-probability of all tokens after the first."""
        return math.fsum(self.logprobs)

    @property
    def perplexity(self) -> float:
        return math.exp(-self.total / len(self.logprobs)) if self.logprobs else math.nan


def completion_of(chunks: list[Chunk]) -> Completion:
    """Joins all chunks of a sample."""
    last = chunks[-1]
    assert last.finish_reason is not None and last.stats is not None
    return Completion(
        request_id=last.request_id,
        text="".join(chunk.text for chunk in chunks),
        tokens=[token for chunk in chunks for token in chunk.tokens],
        finish_reason=last.finish_reason,
        stats=last.stats,
        logprobs=_joined([chunk.logprobs for chunk in chunks]),
        top_logprobs=_joined([chunk.top_logprobs for chunk in chunks]),
        prompt_logprobs=next((chunk.prompt_logprobs for chunk in chunks if chunk.prompt_logprobs), None),
        sample_index=last.sample_index,
    )


def completions_of(chunks: list[Chunk], samples: int) -> list[Completion]:
    """Joins all chunks of a request, sample by sample."""
    parts: list[list[Chunk]] = [[] for _ in range(samples)]
    for chunk in chunks:
        parts[chunk.sample_index].append(chunk)
    return [completion_of(part) for part in parts]


def _joined(lists: list[Any]) -> Any:
    present = [part for part in lists if part is not None]
    return [item for part in present for item in part] if present else None


def chunk_of(event: _abi.ftk_event) -> Chunk:
    """Copies an event out of its batch."""
    count = event.token_count
    tokens = event.tokens[:count] if event.tokens else []
    logprobs = event.logprobs[:count] if event.logprobs else None
    top = _top(event) if event.top_tokens and event.top_count else None
    if event.kind == _abi.FTK_EVENT_PROMPT_LOGPROBS:
        # The last position has no token that follows it.
        scored = PromptLogprobs(tokens, (logprobs or [])[:-1], (top or [])[:-1])
        return Chunk(event.request_id, prompt_logprobs=scored, sample_index=event.sample_index)
    return Chunk(
        request_id=event.request_id,
        text=ctypes.string_at(event.text, event.text_bytes).decode("utf-8", "replace") if event.text else "",
        tokens=tokens,
        logprobs=logprobs,
        top_logprobs=top,
        finish_reason=FINISH_REASONS.get(event.finish_reason, "unknown")
        if event.kind == _abi.FTK_EVENT_FINISH
        else None,
        stats=_stats(event.stats.contents) if event.stats else None,
        sample_index=event.sample_index,
    )


def _top(event: _abi.ftk_event) -> TopLogprobs:
    width = event.top_count
    tokens = event.top_tokens[: width * event.token_count]
    values = event.top_logprobs[: width * event.token_count]
    rows = (zip(tokens[start : start + width], values[start : start + width]) for start in range(0, len(tokens), width))
    return [[(token, value) for token, value in row if token != _abi.FTK_NO_TOKEN] for row in rows]


def _stats(struct: _abi.ftk_request_stats) -> RequestStats:
    values = {item.name: getattr(struct, item.name) for item in fields(RequestStats)}
    for name in ("queue_us", "ttft_us", "tpot_us"):
        if values[name] == _abi.FTK_UNSET:
            values[name] = None
    for name in ("ttft_attained", "tpot_attained"):
        values[name] = None if values[name] == _abi.FTK_UNSET else bool(values[name])
    values["limited_by"] = LIMITS.get(values["limited_by"], "unknown")
    return RequestStats(**values)
