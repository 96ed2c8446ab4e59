"""One submitted request and its output."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING

from ._dispatch import Mailbox
from .errors import ForetokenError, NotFoundError
from .results import Chunk, Completion, completion_of

if TYPE_CHECKING:
    from .engine import Engine


class Request:
    """A request of an engine: iterate it, with `for` or `async for`, or ask for its result(); once, by one consumer.

    Closing or dropping it before its end cancels it.
    """

    def __init__(self, engine: Engine, mailbox: Mailbox, id: int) -> None:
        """Engine.submit makes requests."""
        self.id = id
        self._engine = engine  # keeps it open
        self._dispatcher = engine._dispatcher
        self._mailbox = mailbox
        self._finished = False

    def __iter__(self) -> Generator[Chunk, None, None]:
        try:
            while not self._finished:
                chunk = self._dispatcher.receive(self._mailbox)
                self._finished = chunk.finish_reason is not None
                yield chunk
        finally:
            self.close()

    async def __aiter__(self) -> AsyncGenerator[Chunk, None]:
        try:
            with self._dispatcher.watched(asyncio.get_running_loop()):
                while not self._finished:
                    chunk = await self._dispatcher.receive_async(self._mailbox)
                    self._finished = chunk.finish_reason is not None
                    yield chunk
        finally:
            self.close()

    def result(self) -> Completion:
        """Waits for the end of the request."""
        return completion_of(list(self))

    async def aresult(self) -> Completion:
        """Waits for the end of the request; cancelling the task cancels the request."""
        try:
            return completion_of([chunk async for chunk in self])
        finally:
            self.close()

    def cancel(self) -> None:
        """Ends the request within one step; its last chunk has the finish_reason "cancelled"."""
        if not self._finished:
            with contextlib.suppress(NotFoundError):  # it has just finished
                self._dispatcher.cancel(self.id)

    def close(self) -> None:
        """Cancels the request if it has not finished, and drops what was not read."""
        if self._dispatcher.inherited:
            return
        self._dispatcher.forget(self._mailbox)
        if not self._finished:
            self._finished = True
            with contextlib.suppress(ForetokenError):  # it has just finished, or the engine is closed
                self._dispatcher.cancel(self.id)

    def __del__(self) -> None:
        if hasattr(self, "_finished"):
            self.close()
