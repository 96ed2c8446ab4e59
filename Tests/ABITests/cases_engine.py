"""Model and engine options out of range, and drafts that do not fit."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import abi
import children
import support

BIG = 2**32 - 1

# field: the values that must be refused
ENGINE_FIELDS: dict[str, list[int]] = {
    "policy": [-1, 6, 2**31 - 1],
    "drafter": [-1, 4, 2**31 - 1],
    "draft_tokens": [17, BIG],
    "kv_type": [-1, 4, 2**31 - 1],
    "activations": [-1, 2, 2**31 - 1],
    "reserved": [-1, 1],
    "run_mode": [-1, 2, 2**31 - 1],
    "threads": [513, BIG],
    "max_running_requests": [0, 1025, BIG],
    "max_queued_requests": [0, 1000001, BIG],
    "max_step_tokens": [0, 31, 8193, BIG],
    "log_level": [-1, 4, 2**31 - 1],
    "draft_pool_bytes": [2**64 - 1],
    "trace": [2, BIG],
    "tree_width": [3, BIG],
    "profile_us": [3_600_000_001, 2**63, 2**64 - 1],
}


def cases(library: abi.Library) -> Iterator[children.Case]:
    model = library.open_model(support.DRAFT)
    for threads in (513, BIG):
        yield f"ftk_model_options.threads = {threads}", _model_case(library, threads)
    for field, values in ENGINE_FIELDS.items():
        for value in values:
            fields = {field: value}
            yield f"ftk_engine_options.{field} = {value}", _engine_case(library, model, fields, field)
            yield f"ftk_memory_plan_compute with {field} = {value}", _plan_case(library, fields, field)
    constants = library.constants
    drafter = {"drafter": constants["FTK_DRAFTER_MODEL"], "policy": constants["FTK_POLICY_STATIC"]}
    yield "the drafter is a model and there is none", _engine_case(library, model, drafter, "draft_model")
    yield "a KV budget of one byte", _budget_case(library, model, {"kv_budget_bytes": 1})
    yield "a KV budget beyond all memory", _budget_case(library, model, {"kv_budget_bytes": 2**64 - 1})
    yield "a KV budget that overflows when rounded up", _budget_case(library, model, {"kv_budget_bytes": 2**63 + 1})
    yield "a context beyond all memory", _budget_case(library, model, {"context_tokens": BIG})
    yield "quantised KV with heads that are no multiple of 32", lambda: _odd_heads(library)
    for folder in (b"", b"/\xff"):
        yield f"a profile folder {folder!r}", _engine_case(library, model, {"profile_folder": folder}, "profile_folder")
    yield "a profile folder that cannot be", lambda: _lost_profile(library, model)
    yield "the smallest engine of all", lambda: _smallest(library, model)
    yield "the largest numbers that are allowed", lambda: _largest(library, model)
    yield "the progress callback cancels", lambda: _cancelled_load(library)


def _model_case(library: abi.Library, threads: int) -> Callable[[], None]:
    def run() -> None:
        options = library.defaults("ftk_model_options", threads=threads)
        model = ctypes.c_void_p(1)
        status = library.model_open(support.DRAFT.encode(), ctypes.byref(options), ctypes.byref(model))
        children.expect(library, status, "INVALID_ARGUMENT", names="threads")
        assert model.value is None

    return run


def create(library: abi.Library, model: Any, fields: dict[str, Any]) -> tuple[int, ctypes.c_void_p]:
    engine = ctypes.c_void_p(1)
    options = library.defaults("ftk_engine_options", **fields)
    return library.engine_create(model, ctypes.byref(options), ctypes.byref(engine)), engine


def _engine_case(library: abi.Library, model: Any, fields: dict[str, Any], name: str) -> Callable[[], None]:
    def run() -> None:
        status, engine = create(library, model, fields)
        children.expect(library, status, "INVALID_ARGUMENT", names=name)
        assert engine.value is None

    return run


def _plan_case(library: abi.Library, fields: dict[str, Any], name: str) -> Callable[[], None]:
    def run() -> None:
        plan = library.new("ftk_memory_plan")
        options = library.defaults("ftk_engine_options", **fields)
        path = support.DRAFT.encode()
        status = library.memory_plan_compute(path, None, ctypes.byref(options), ctypes.byref(plan))
        children.expect(library, status, "INVALID_ARGUMENT", names=name)

    return run


def _budget_case(library: abi.Library, model: Any, fields: dict[str, Any]) -> Callable[[], None]:
    def run() -> None:
        status, _ = create(library, model, fields)
        children.expect(library, status, "OUT_OF_MEMORY", "INVALID_ARGUMENT", names=list(fields))

    return run


def _odd_heads(library: abi.Library) -> None:
    try:
        model = library.open_model(support.shared_data("models/stories260k/stories260K-f32.gguf"))
    except support.unittest.SkipTest:
        return
    status, _ = create(library, model, {"kv_type": library.constants["FTK_KV_Q8_0"]})
    children.expect(library, status, "INVALID_ARGUMENT", names=["kv_type", "8"])


def _lost_profile(library: abi.Library, model: Any) -> None:
    """What is wrong with a profile is a warning, and the engine works."""
    texts: list[bytes] = []
    log = library.types.of("ftk_log_callback")(lambda level, text, _: texts.append(text))
    fields = {"profile_us": 1000, "profile_folder": b"/proc/no/such/folder", "threads": 1, "log": log}
    status, engine = create(library, model, fields)
    library.ok(status)
    assert len(texts) == 1 and b"/proc/no/such/folder" in texts[0], texts
    library.submit_options(engine, library.text_request(b"x = 1\n", max_tokens=4))
    assert library.run_until_idle(engine)[-1]["error"] == 0
    library.engine_destroy(engine)


def _smallest(library: abi.Library, model: Any) -> None:
    fields = {"threads": 1, "max_running_requests": 1, "max_queued_requests": 1, "max_step_tokens": 32}
    status, engine = create(library, model, {**fields, "draft_tokens": 1, "context_tokens": 64})
    library.ok(status)
    library.submit_options(engine, library.text_request(b"x = 1\n" * 8, max_tokens=4))
    assert library.run_until_idle(engine)[-1]["finish_reason"] == library.constants["FTK_FINISH_LENGTH"]
    library.engine_destroy(engine)


def _largest(library: abi.Library, model: Any) -> None:
    fields = {"max_running_requests": 1024, "max_queued_requests": 1000000, "max_step_tokens": 8192}
    status, engine = create(library, model, {**fields, "draft_tokens": 16, "threads": 1})
    library.ok(status)
    library.submit_options(engine, library.text_request(b"x = 1\n", max_tokens=4))
    assert library.run_until_idle(engine)[-1]["finish_reason"] == library.constants["FTK_FINISH_LENGTH"]
    library.engine_destroy(engine)


def _cancelled_load(library: abi.Library) -> None:
    options = library.defaults("ftk_model_options")
    callback = library.types.of("ftk_progress_callback")(lambda done, total, user_data: 1)
    options.progress = callback
    model = ctypes.c_void_p(1)
    status = library.model_open(support.TARGET.encode(), ctypes.byref(options), ctypes.byref(model))
    children.expect(library, status, "CANCELLED")
    assert model.value is None
