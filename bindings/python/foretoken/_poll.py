"""What a dispatcher polls: the engine's events, and the descriptors that tell of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import threading
from collections.abc import Iterator
from typing import Any

from . import _abi
from ._library import check, library
from .errors import error_of
from .results import chunk_of

Serial = tuple[int, int]
"""The number of a batch, and of an event in it."""


class Batch:
    """The events of one poll, handed out in order; freed with this object."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._pointer = ctypes.c_void_p()
        self._index = 0
        self._free = library().ftk_event_batch_free

    def __del__(self) -> None:
        self._free(self._pointer)

    def poll(self, engine: int) -> bool:
        """Fetches the events unless it has some."""
        if not self._pointer:
            check(library().ftk_poll(engine, 0, ctypes.byref(self._pointer)))
        return bool(self._pointer)

    def items(self) -> Iterator[tuple[Serial, int, Any]]:
        """(serial, key, chunk or exception) of what was not handed out yet."""
        lib, event = library(), _abi.ftk_event()
        while self._index < lib.ftk_event_batch_count(self._pointer):
            event.struct_size = ctypes.sizeof(event)
            check(lib.ftk_event_batch_at(self._pointer, self._index, ctypes.byref(event)))
            yield (self._number, self._index), event.user_data or 0, _item(event)
            self._index += 1


def _item(event: _abi.ftk_event) -> Any:
    if event.kind == _abi.FTK_EVENT_FINISH and event.error != _abi.FTK_OK:
        return error_of(event.error, (event.error_text or b"").decode("utf-8", "replace"))
    return chunk_of(event)


class Descriptors:
    """A copy of the engine's descriptor and a pipe that wakes the leader; open until their last user is gone.

    The copy outlives the engine, so that no event loop is left watching a number that the system gave away again.
    """

    def __init__(self, events: int) -> None:
        self.events = os.dup(events)
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self.events, select.POLLIN)
        self._poll.register(self._wake_reader, select.POLLIN)
        self._users = 1
        self._lock = threading.RLock()

    def retain(self) -> None:
        with self._lock:
            self._users += 1

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                for descriptor in (self.events, self._wake_reader, self._wake_writer):
                    os.close(descriptor)

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it wakes as it is
            os.write(self._wake_writer, b"\0")

    def sleep(self) -> None:
        """Until events wait or wake() is called; for one thread at a time. Signals are handled meanwhile."""
        self._poll.poll()
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)
