"""How far to speculate, for hosts that run models themselves. Experimental, as controller.h is.

    from foretoken.controller import Controller, Costs, Draft, Feature, Outcome, Request
    controller = Controller(Costs([1, 8, 64], [1000, 1100, 6000]), Costs([1, 64], [100, 400]))
    wishes = controller.begin([Request(id=1, context=20, room=16, draft_backlog=1)])
    ...                                                   # draft as wished; between passes ask controller.extend(drafts)
    lengths = controller.select([Draft("model", features)])
    ...                                                   # verify as many tokens of each draft
    controller.commit([Outcome(verified=4, accepted=2, emitted=3)], target_time_us=1090)
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import _controller_abi as _abi
from ._handle import Handle
from ._library import check, checked_int, library
from .errors import InvalidArgumentError
from .options import POLICIES, choice

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

SOURCES = {
    "none": _abi.FTK_CONTROLLER_SOURCE_NONE,
    "lookup": _abi.FTK_CONTROLLER_SOURCE_LOOKUP,
    "suffix": _abi.FTK_CONTROLLER_SOURCE_SUFFIX,
    "model": _abi.FTK_CONTROLLER_SOURCE_MODEL,
    "host": _abi.FTK_CONTROLLER_SOURCE_HOST,
}
LIMITS = ("gain", "budget", "target", "memory", "guard", "end", "drafter", "length")
"""Why a draft is not longer; see FTK_CONTROLLER_LIMIT_*."""
_SOURCE_NAMES = {value: name for name, value in SOURCES.items()}
_NO_LIMIT = 2**64 - 1


@dataclass(frozen=True)
class Costs:
    """What passes of a model take in microseconds, by the number of their rows; or sizes of a model to guess it from."""

    widths: Sequence[int] = ()
    base_us: Sequence[float] = ()
    per_context_us: float = 0.0
    per_attended_us: float = 0.0
    weights_bytes: int = 0
    parameters: int = 0
    kv_bytes_per_token: int = 0


@dataclass(frozen=True)
class Feature:
    """What is known of one drafted token before the target has seen it; see ftk_controller_feature."""

    margin: float = 0.0
    probability: float = 0.0
    match_length: int = 0
    support: int = 0


@dataclass(frozen=True)
class Draft:
    """A draft as far as it goes. source: "lookup", "suffix", "model" or "host"."""

    source: str
    features: Sequence[Feature] = ()


@dataclass(frozen=True)
class Request:
    """A request that decodes; sizes in tokens, see ftk_controller_request. remaining 0: room and one more."""

    id: int
    context: int
    room: int
    draft_backlog: int = 0
    remaining: int = 0
    proposals: Sequence[Draft] = ()
    is_peculiar: bool = False
    needed_tokens: float = 0.0
    target_tpot_us: float = 0.0


@dataclass(frozen=True)
class Wish:
    """What to draft with (None: nothing), how many tokens at most, and why not more (see LIMITS)."""

    source: str | None
    length: int
    limit: str


@dataclass(frozen=True)
class Outcome:
    """What came of a request in the step. judgements: for each of its proposals (judged, accepted) tokens, or nothing."""

    verified: int = 0
    accepted: int = 0
    emitted: int = 1
    was_cut: bool = False
    judgements: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True)
class DraftPass:
    requests: int
    rows: int
    context: int
    time_us: float


@dataclass
class _Step:
    """C memory that has to live as long as a call."""

    kept: list[Any] = field(default_factory=list)

    def array(self, element: Any, values: Sequence[Any]) -> Any:
        made = (element * len(values))(*values) if len(values) else None
        self.kept.append(made)
        return made


def _sized(struct: Any, **values: Any) -> Any:
    return struct(struct_size=ctypes.sizeof(struct), **values)


def _u32(value: int, name: str) -> int:
    return checked_int(value, ctypes.c_uint32, name)


def _u64(value: int, name: str) -> int:
    return checked_int(value, ctypes.c_uint64, name)


class Controller:
    """One scheduler. For each step begin, extend before every pass of the draft model, select, commit; lists have one
    element for each request of the step. Not for several threads at once."""

    def __init__(
        self,
        target: Costs,
        draft: Costs | None = None,
        *,
        policy: str = "goodput",
        max_draft_tokens: int = 0,
        max_step_rows: int = 256,
        overhead_us: float = 0.0,
    ) -> None:
        step = _Step()
        options = _abi.ftk_controller_options()
        lib = library()
        check(lib.ftk_controller_options_init_sized(ctypes.byref(options), ctypes.sizeof(options)))
        options.policy = choice("policy", policy, POLICIES)
        options.max_draft_tokens = _u32(max_draft_tokens, "max_draft_tokens")
        options.max_step_rows = _u32(max_step_rows, "max_step_rows")
        options.overhead_us = overhead_us
        options.target = ctypes.pointer(_costs(step, target, "target"))
        if draft is not None:
            options.draft = ctypes.pointer(_costs(step, draft, "draft"))
        pointer = ctypes.c_void_p()
        check(lib.ftk_controller_create(ctypes.byref(options), ctypes.byref(pointer)))
        assert pointer.value is not None
        self._handle = Handle(self, pointer.value, lib.ftk_controller_destroy, "controller")

    def begin(
        self,
        requests: Sequence[Request],
        *,
        row_budget: int = 256,
        free_tokens: int | None = None,
        coin: float = 0.5,
        prefill_rows: int = 0,
        prefill_context: int = 0,
        prefill_attended: int = 0,
    ) -> list[Wish]:
        """What each request is to draft with, and how far at most. coin: in [0, 1), another in every step."""
        step = _Step()
        described = [_request(step, request, f"requests[{index}]") for index, request in enumerate(requests)]
        struct = _sized(
            _abi.ftk_controller_step,
            prefill_rows=_u32(prefill_rows, "prefill_rows"),
            prefill_context_tokens=_u64(prefill_context, "prefill_context"),
            prefill_attended_tokens=_u64(prefill_attended, "prefill_attended"),
            row_budget=_u64(row_budget, "row_budget"),
            free_tokens=_NO_LIMIT if free_tokens is None else _u64(free_tokens, "free_tokens"),
            coin=coin,
            requests=step.array(_abi.ftk_controller_request, described),
            request_count=len(described),
        )
        wishes = (_abi.ftk_controller_wish * max(1, len(described)))()
        handle = self._handle.pointer
        check(library().ftk_controller_begin(handle, ctypes.byref(struct), wishes, len(wishes)))
        return [
            Wish(_SOURCE_NAMES[wish.source] if wish.source else None, wish.length, LIMITS[wish.limit])
            for wish in wishes
        ]

    def extend(self, drafts: Sequence[Draft | None]) -> list[bool]:
        """Which requests take part in the next pass of the draft model, after `drafts` so far."""
        return [answer == 1 for answer in self._ask(library().ftk_controller_extend, drafts)]

    def select(self, drafts: Sequence[Draft | None]) -> list[int]:
        """How many tokens of each draft the target verifies."""
        return list(self._ask(library().ftk_controller_select, drafts))

    def _ask(self, call: Any, drafts: Sequence[Draft | None]) -> Any:
        step = _Step()
        array = _drafts(step, drafts, "drafts")
        answers = (ctypes.c_uint32 * max(1, len(drafts)))()
        check(call(self._handle.pointer, array, len(answers) if array is None else len(drafts), answers))
        return answers

    def commit(
        self,
        outcomes: Sequence[Outcome],
        *,
        target_time_us: float,
        draft_time_us: float = 0.0,
        step_time_us: float = 0.0,
        draft_passes: Sequence[DraftPass] = (),
    ) -> None:
        """What came of the step, and what it took; step_time_us 0 is the sum of both."""
        step = _Step()
        described = [_outcome(step, outcome, f"outcomes[{index}]") for index, outcome in enumerate(outcomes)]
        passes = [
            _abi.ftk_controller_pass(
                _u32(one.requests, "requests of a draft pass"),
                _u32(one.rows, "rows of a draft pass"),
                _u64(one.context, "context of a draft pass"),
                one.time_us,
            )
            for one in draft_passes
        ]
        struct = _sized(
            _abi.ftk_controller_result,
            outcomes=step.array(_abi.ftk_controller_outcome, described),
            outcome_count=len(described),
            draft_passes=step.array(_abi.ftk_controller_pass, passes),
            draft_pass_count=len(passes),
            draft_time_us=draft_time_us,
            target_time_us=target_time_us,
            step_time_us=step_time_us,
        )
        check(library().ftk_controller_commit(self._handle.pointer, ctypes.byref(struct)))

    def abandon(self) -> None:
        """Ends a step that failed; nothing is learned of it."""
        check(library().ftk_controller_abandon(self._handle.pointer))

    def forget(self, request_id: int) -> None:
        """The request is gone."""
        check(library().ftk_controller_forget(self._handle.pointer, _u64(request_id, "request_id")))

    def predict(self, rows: int, *, context: int = 0, attended: int = 0, draft: bool = False) -> float:
        """Microseconds that a pass is believed to take now."""
        time = ctypes.c_double()
        check(
            library().ftk_controller_predict(
                self._handle.pointer,
                1 if draft else 0,
                _u32(rows, "rows"),
                _u64(context, "context"),
                _u64(attended, "attended"),
                ctypes.byref(time),
            )
        )
        return time.value

    def close(self) -> None:
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _costs(step: _Step, costs: Costs, name: str) -> Any:
    if len(costs.widths) != len(costs.base_us):
        raise InvalidArgumentError(f"widths and base_us of {name} must have the same length")
    widths = [_u32(width, f"a width of {name}") for width in costs.widths]
    return _sized(
        _abi.ftk_controller_costs,
        width_count=len(widths),
        widths=step.array(ctypes.c_uint32, widths),
        base_us=step.array(ctypes.c_double, list(costs.base_us)),
        per_context_us=costs.per_context_us,
        per_attended_us=costs.per_attended_us,
        weights_bytes=_u64(costs.weights_bytes, f"weights_bytes of {name}"),
        parameters=_u64(costs.parameters, f"parameters of {name}"),
        kv_bytes_per_token=_u64(costs.kv_bytes_per_token, f"kv_bytes_per_token of {name}"),
    )


def _drafts(step: _Step, drafts: Sequence[Draft | None], name: str) -> Any:
    return step.array(
        _abi.ftk_controller_draft, [_draft(step, draft, f"{name}[{index}]") for index, draft in enumerate(drafts)]
    )


def _draft(step: _Step, draft: Draft | None, name: str) -> Any:
    if draft is None:
        return _sized(_abi.ftk_controller_draft)
    features = [
        _abi.ftk_controller_feature(
            feature.margin,
            feature.probability,
            checked_int(feature.match_length, ctypes.c_int32, f"match_length of {name}"),
            checked_int(feature.support, ctypes.c_int32, f"support of {name}"),
        )
        for feature in draft.features
    ]
    return _sized(
        _abi.ftk_controller_draft,
        source=choice(f"source of {name}", draft.source, SOURCES),
        features=step.array(_abi.ftk_controller_feature, features),
        feature_count=len(features),
    )


def _request(step: _Step, request: Request, name: str) -> Any:
    return _sized(
        _abi.ftk_controller_request,
        is_peculiar=1 if request.is_peculiar else 0,
        id=_u64(request.id, f"id of {name}"),
        context_tokens=_u64(request.context, f"context of {name}"),
        room_tokens=_u64(request.room, f"room of {name}"),
        draft_backlog_tokens=_u64(request.draft_backlog, f"draft_backlog of {name}"),
        remaining_tokens=_u64(request.remaining, f"remaining of {name}"),
        needed_tokens=request.needed_tokens,
        target_tpot_us=request.target_tpot_us,
        proposals=_drafts(step, request.proposals, f"proposals of {name}"),
        proposal_count=len(request.proposals),
    )


def _outcome(step: _Step, outcome: Outcome, name: str) -> Any:
    judgements = [
        _abi.ftk_controller_judgement(_u32(judged, f"judged of {name}"), _u32(accepted, f"accepted of {name}"))
        for judged, accepted in outcome.judgements
    ]
    return _sized(
        _abi.ftk_controller_outcome,
        verified_tokens=_u32(outcome.verified, f"verified of {name}"),
        accepted_tokens=_u32(outcome.accepted, f"accepted of {name}"),
        emitted_tokens=_u32(outcome.emitted, f"emitted of {name}"),
        was_cut=1 if outcome.was_cut else 0,
        judgements=step.array(_abi.ftk_controller_judgement, judgements),
        judgement_count=len(judgements),
    )
