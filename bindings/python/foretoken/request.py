"""One submitted request and its output."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import TYPE_CHECKING

from ._dispatch import Mailbox
from .errors import ForetokenError, InvalidArgumentError, NotFoundError
from .results import Chunk, Completion, completions_of

if TYPE_CHECKING:
    from .engine import Engine


class Request:
    """A request of an engine: iterate it, with `for` or `async for`, or ask for its result(); once, by one consumer.

    A request of n samples has results(), in their order. Its chunks come as they are made: each says in sample_index whose
    it is, and the iteration ends with the last sample. An error of one sample ends the whole request. Closing or dropping it before its end cancels it.
    """

    def __init__(self, engine: Engine, mailbox: Mailbox, id: int, samples: int = 1) -> None:
        """Engine.submit makes requests."""
        self.id = id
        self.samples = samples
        self._open = samples  # of them, those that have not finished
        self._engine = engine  # keeps it open
        self._dispatcher = engine._dispatcher
        self._mailbox = mailbox
        self._finished = False

    def __iter__(self) -> Generator[Chunk, None, None]:
        try:
            while not self._finished:
                chunk = self._dispatcher.receive(self._mailbox)
                self._note(chunk)
                yield chunk
        finally:
            self.close()

    async def __aiter__(self) -> AsyncGenerator[Chunk, None]:
        try:
            with self._dispatcher.watched(asyncio.get_running_loop()):
                while not self._finished:
                    chunk = await self._dispatcher.receive_async(self._mailbox)
                    self._note(chunk)
                    yield chunk
        finally:
            self.close()

    def _note(self, chunk: Chunk) -> None:
        if chunk.finish_reason is not None:
            self._open -= 1
            self._finished = self._open == 0

    def result(self) -> Completion:
        """Waits for the end of the request, which must have one sample."""
        self._check_single()
        return self.results()[0]

    def results(self) -> list[Completion]:
        """Waits for the end of all samples."""
        return completions_of(list(self), self.samples)

    async def aresult(self) -> Completion:
        """result() for coroutines; cancelling the task cancels the request."""
        self._check_single()
        return (await self.aresults())[0]

    async def aresults(self) -> list[Completion]:
        """results() for coroutines; cancelling the task cancels the request."""
        try:
            return completions_of([chunk async for chunk in self], self.samples)
        finally:
            self.close()

    def _check_single(self) -> None:
        if self.samples != 1:
            raise InvalidArgumentError(
                f"n is {self.samples}, so there is more than one result; ask submit(...) for its results()"
            )

    def cancel(self) -> None:
        """Ends the request within one step; samples that had not finished end with the finish_reason "cancelled"."""
        if not self._finished:
            with contextlib.suppress(NotFoundError):  # it has just finished
                self._dispatcher.cancel(self.id)

    def draft(self, tokens: Sequence[int], position: int = 0, sample: int = 0) -> None:
        """Offers tokens that are expected in the output, after `position` tokens of it: what is known of a file that is
        being written, say. They make it faster if they are right, and never change it. What agrees with the output already
        is skipped, and from the first token that differs the rest is dropped. A later offer takes the place of this one.
        Nothing happens once the sample has finished."""
        if not 0 <= sample < self.samples:
            raise InvalidArgumentError(f"sample is {sample}, but the request has {self.samples}")
        if not self._finished:
            with contextlib.suppress(NotFoundError):  # it has just finished
                self._dispatcher.draft(self.id + sample, position, tokens)

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
