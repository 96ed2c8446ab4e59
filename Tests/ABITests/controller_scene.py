"""A controller and the steps that tests take with it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import abi


def costs(library: abi.Library, widths: Sequence[int], base: Sequence[float], **values: Any) -> Any:
    made = library.new("ftk_controller_costs", width_count=len(widths), **values)
    made.widths = (ctypes.c_uint32 * len(widths))(*widths)
    made.base_us = (ctypes.c_double * len(base))(*base)
    return made


def options(library: abi.Library, target: Any = None, draft: Any = None, **values: Any) -> Any:
    """Rows for one price, and drafts that cost next to nothing."""
    made = library.defaults("ftk_controller_options", **values)
    made.target = ctypes.pointer(target or costs(library, [1, 64], [1000, 1000]))
    made.draft = ctypes.pointer(draft or costs(library, [1, 64], [10, 10]))
    return made


def request(library: abi.Library, **values: Any) -> Any:
    given = {"id": 1, "context_tokens": 100, "room_tokens": 32, "draft_backlog_tokens": 1, **values}
    return library.new("ftk_controller_request", **given)


def step(library: abi.Library, requests: Sequence[Any], **values: Any) -> Any:
    array = (library.types.structs["ftk_controller_request"] * max(1, len(requests)))(*requests)
    given = {"row_budget": 256, "free_tokens": 2**64 - 1, "coin": 0.5, "request_count": len(requests), **values}
    made = library.new("ftk_controller_step", **given)
    made.requests = array
    return made


def features(library: abi.Library, count: int, **values: Any) -> Any:
    element = library.types.structs["ftk_controller_feature"]
    return (element * count)(*[element(**{"margin": 3.0, "probability": 0.5, **values}) for _ in range(count)])


def draft(library: abi.Library, count: int, **values: Any) -> Any:
    made = library.new("ftk_controller_draft", **{"source": 3 if count else 0, "feature_count": count, **values})
    if count:
        made.features = features(library, count)
    return made


def drafts(library: abi.Library, counts: Sequence[int]) -> Any:
    return (library.types.structs["ftk_controller_draft"] * len(counts))(*[draft(library, n) for n in counts])


def result(library: abi.Library, outcomes: Sequence[Any], **values: Any) -> Any:
    array = (library.types.structs["ftk_controller_outcome"] * max(1, len(outcomes)))(*outcomes)
    given = {"outcome_count": len(outcomes), "target_time_us": 1000.0, "draft_time_us": 10.0, **values}
    made = library.new("ftk_controller_result", **given)
    made.outcomes = array
    return made


def outcome(library: abi.Library, verified: int = 0, accepted: int = 0, **values: Any) -> Any:
    given = {"verified_tokens": verified, "accepted_tokens": accepted, "emitted_tokens": accepted + 1, **values}
    return library.new("ftk_controller_outcome", **given)


def argument(library: abi.Library, struct: str) -> Any:
    """A valid argument of a type."""
    makers = {
        "ftk_controller_options": lambda: options(library),
        "ftk_controller_step": lambda: step(library, [request(library)]),
        "ftk_controller_draft": lambda: drafts(library, [1]),
        "ftk_controller_result": lambda: result(library, [outcome(library)]),
        "ftk_controller_wish": lambda: (library.types.structs[struct] * 1)(),
    }
    return makers[struct]()


class Scene:
    """A controller, with calls that must succeed."""

    def __init__(self, library: abi.Library, target: Any = None, draft: Any = None, **values: Any) -> None:
        self.library = library
        self.controller = ctypes.c_void_p()
        given = options(library, target, draft, **values)
        library.ok(library.controller_create(ctypes.byref(given), ctypes.byref(self.controller)))

    def begin(self, count: int, **values: Any) -> Any:
        described = step(self.library, [request(self.library, id=1 + index) for index in range(count)], **values)
        wishes = (self.library.types.structs["ftk_controller_wish"] * count)()
        self.library.ok(self.library.controller_begin(self.controller, ctypes.byref(described), wishes, count))
        return list(wishes)

    def _ask(self, call: Any, counts: Sequence[int]) -> list[int]:
        answers = (ctypes.c_uint32 * len(counts))()
        self.library.ok(call(self.controller, drafts(self.library, counts), len(counts), answers))
        return list(answers)

    def extend(self, counts: Sequence[int]) -> list[int]:
        return self._ask(self.library.controller_extend, counts)

    def select(self, counts: Sequence[int]) -> list[int]:
        return self._ask(self.library.controller_select, counts)

    def commit(self, pairs: Sequence[tuple[int, int]]) -> None:
        made = result(self.library, [outcome(self.library, *pair) for pair in pairs])
        self.library.ok(self.library.controller_commit(self.controller, ctypes.byref(made)))
