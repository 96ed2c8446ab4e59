"""One owner per C handle."""

from __future__ import annotations

import os
import weakref
from typing import Any, Callable

from .errors import WrongStateError


class Handle:
    """Releases `pointer` once: on close(), when its owner is collected, or when the interpreter ends."""

    def __init__(self, owner: object, pointer: int, release: Callable[[int], Any], what: str) -> None:
        self._pointer = pointer
        self._what = what
        self._finalizer = weakref.finalize(owner, _release, os.getpid(), release, pointer)

    @property
    def pointer(self) -> int:
        if not self._finalizer.alive:
            raise WrongStateError(f"the {self._what} is closed")
        return self._pointer

    def close(self) -> None:
        self._finalizer()


def _release(process: int, release: Callable[[int], Any], pointer: int) -> None:
    """A forked child must not touch the handles of its parent."""
    if os.getpid() == process:
        release(pointer)
