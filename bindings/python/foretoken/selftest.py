"""The library's self-test: that a text never depends on how it was computed."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from . import _abi
from ._library import check, library
from .model import Model
from .options import engine_options


@dataclass(frozen=True)
class SelfTestCheck:
    """`name` says how requests were computed, `passed` whether they said what each says alone."""

    name: str
    passed: bool
    detail: str


def selftest(model: Model, draft: Model | None = None, **options: Any) -> list[SelfTestCheck]:
    """Runs ftk_selftest on this machine; kv, activations, threads and context_tokens (see EngineOptions) count. An
    InternalError names the first difference."""
    checks: list[SelfTestCheck] = []
    failures: list[BaseException] = []

    def report(name: bytes, passed: int, detail: bytes, _: Any) -> int:
        try:
            checks.append(SelfTestCheck(name.decode(), bool(passed), detail.decode()))
            return 0
        except BaseException as error:  # noqa: BLE001 (raised below, once the library has returned)
            failures.append(error)
            return 1

    struct = engine_options(options, draft)  # type: ignore[arg-type]
    status = library().ftk_selftest(
        model.pointer, ctypes.byref(struct), _abi.ftk_selftest_callback(report), None
    )
    if failures:
        raise failures[0]
    check(status)
    return checks
