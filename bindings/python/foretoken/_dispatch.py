"""Hands the events of one engine to the requests that they belong to.

Nobody owns the job of polling. Whoever waits for events may poll, and puts every event into the mailbox of its
request, whoever reads that:

- Threads elect a leader. The leader sleeps in poll(2) on the engine's descriptor; the others sleep on the lock of
  their mailbox. A leader that leaves wakes one of the others to take its place.
- An event loop watches the descriptor with add_reader for as long as it has requests to read.
- In manual mode each waiting thread steps the engine instead of sleeping.

Why no wake-up is lost: mailboxes, the leader and all waiters change under `_lock` only. A consumer looks into its
mailbox and registers as a waiter in one critical section, and a delivery appends and wakes in one. A leader asleep
while someone else polls its event away is woken through a pipe. Polling and delivering happen together under
`_pump_lock`, so that two pollers cannot swap the events of a request.

`_lock` is re-entrant because the collector may close an abandoned request at any allocation, also inside it. A batch
that KeyboardInterrupt broke off is resumed by the next poll; serial numbers keep its events from counting twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from . import _abi
from ._library import check, checked_int, int32_array, library
from ._poll import Batch, Descriptors, Serial
from .errors import ForetokenError, InternalError, WrongStateError
from .results import Chunk


class Mailbox:
    """What has come for one request and was not read yet. One consumer reads it."""

    def __init__(self, key: int) -> None:
        self.key = key
        self.items: deque[tuple[Serial, Any]] = deque()  # of Chunk; a ForetokenError is the last item
        self.seen: Serial = (-1, -1)
        self.signal: threading.Event | None = None  # where a follower sleeps
        self.future: asyncio.Future[None] | None = None  # what a coroutine awaits


class Dispatcher:
    """The engine handle, its mailboxes, and everyone who waits for them."""

    def __init__(self, engine: int, background: bool, keep: Any) -> None:
        """Takes over the engine handle; `keep` is what the engine borrows (its log callback)."""
        self._engine = engine
        self._process = os.getpid()
        self._background = background
        self._keep = keep
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._pump_lock = threading.Lock()
        self._keys = itertools.count(1)
        self._mailboxes: dict[int, Mailbox] = {}
        self._leader: Mailbox | None = None
        self._asleep = False  # the leader
        self._followers: dict[int, Mailbox] = {}
        self._loops: dict[Any, int] = {}
        self._calls = 0
        self._failure: ForetokenError | None = None
        self._closed = False
        self._batch: Batch | None = None
        self._batches = itertools.count()
        self._descriptors = Descriptors(self._event_fd())

    def _event_fd(self) -> int:
        descriptor = ctypes.c_int32()
        check(library().ftk_engine_event_fd(self._engine, ctypes.byref(descriptor)))
        return descriptor.value

    # Calls into the engine.

    @property
    def inherited(self) -> bool:
        """In a forked child neither the engine nor the locks may be touched."""
        return os.getpid() != self._process

    @contextlib.contextmanager
    def engine(self) -> Iterator[int]:
        """The handle, for the time of one call: close() waits for it."""
        if self.inherited:
            raise WrongStateError("the engine belongs to the process that created it; a forked child needs its own")
        with self._lock:
            self._raise_failure()
            self._calls += 1
        try:
            yield self._engine
        finally:
            with self._lock:
                self._calls -= 1
                if self._calls == 0:
                    self._idle.notify_all()

    def step(self) -> bool:
        """One step of a manual engine; False when there was nothing to do."""
        with self.engine() as engine:
            return check(library().ftk_engine_step(engine)) == _abi.FTK_OK

    def submit(self, options: _abi.ftk_request_options) -> tuple[Mailbox, int]:
        """Queues a request. Its mailbox stands before its first event can come."""
        mailbox = Mailbox(next(self._keys))
        options.user_data = mailbox.key
        request = ctypes.c_uint64()
        with self._lock:
            self._mailboxes[mailbox.key] = mailbox
        try:
            with self.engine() as engine:
                check(library().ftk_submit(engine, ctypes.byref(options), ctypes.byref(request)))
        except BaseException:
            self.forget(mailbox)
            raise
        return mailbox, request.value

    def cancel(self, request: int) -> None:
        with self.engine() as engine:
            check(library().ftk_cancel(engine, request))

    def draft(self, request: int, position: int, tokens: Sequence[int]) -> None:
        array = int32_array(tokens, "tokens")
        position = checked_int(position, ctypes.c_uint64, "position")
        with self.engine() as engine:
            check(library().ftk_request_draft(engine, request, position, array, len(array)))

    def forget(self, mailbox: Mailbox) -> None:
        """Events that still come for this request are dropped; who waits for one gets an error."""
        with self._lock:
            if self._mailboxes.pop(mailbox.key, None) is not None:
                mailbox.items.append(((next(self._batches), 0), WrongStateError("the request is closed")))
                self._wake(mailbox)

    # Polling and delivering.

    def pump(self) -> None:
        """Delivers all waiting events, without blocking. Never raises: a failure goes to all who wait."""
        try:
            with self._pump_lock, self.engine() as engine:
                if self._batch is None:
                    self._batch = Batch(next(self._batches))
                if self._batch.poll(engine):
                    for serial, key, item in self._batch.items():
                        self._deliver(serial, key, item)
                self._batch = None
        except ForetokenError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 (who waits must learn of it)
            self._fail(InternalError(f"an event could not be read: {error!r}"))
        except BaseException:  # KeyboardInterrupt: somebody else must resume the batch
            self._wake_all()
            raise

    def _deliver(self, serial: Serial, key: int, item: Any) -> None:
        with self._lock:
            mailbox = self._mailboxes.get(key)
            if mailbox is not None:
                mailbox.items.append((serial, item))
                self._wake(mailbox)

    def _wake(self, mailbox: Mailbox) -> None:
        if mailbox.signal is not None:
            mailbox.signal.set()
        if mailbox.future is not None:
            future, mailbox.future = mailbox.future, None
            _resolve_on_its_loop(future)
        if self._asleep and self._leader is mailbox:
            self._descriptors.wake()

    def _wake_all(self) -> None:
        with self._lock:
            for mailbox in list(self._mailboxes.values()):
                self._wake(mailbox)

    def _fail(self, error: ForetokenError) -> None:
        """Every call and every wait ends with `error` from now on."""
        with self._lock:
            if self._failure is None:
                self._failure = error
            self._wake_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise type(self._failure)(self._failure.text, self._failure.status)

    def _take(self, mailbox: Mailbox) -> Chunk | None:
        """The next chunk, None when there is none yet. Needs the lock."""
        while mailbox.items:
            serial, item = mailbox.items.popleft()
            if serial > mailbox.seen:
                mailbox.seen = serial
                if isinstance(item, Chunk):
                    return item
                raise item
        self._raise_failure()
        return None

    # Threads.

    def receive(self, mailbox: Mailbox) -> Chunk:
        """Blocks until the request's next chunk; raises the error that ended it."""
        return self._receive_sleeping(mailbox) if self._background else self._receive_stepping(mailbox)

    def _receive_stepping(self, mailbox: Mailbox) -> Chunk:
        worked = True
        while True:
            self.pump()
            with self._lock:
                chunk = self._take(mailbox)
            if chunk is not None:
                return chunk
            if not worked:
                raise InternalError("the engine has nothing left to do, but the request has not finished")
            worked = self.step()

    def _receive_sleeping(self, mailbox: Mailbox) -> Chunk:
        signal = threading.Event()
        try:
            while True:
                with self._lock:
                    chunk = self._take(mailbox)
                    if chunk is not None:
                        return chunk
                    leading = self._leader is None or self._leader is mailbox
                    if leading:
                        self._leader = mailbox
                        self._followers.pop(mailbox.key, None)
                        self._asleep = self._batch is None  # else there is a batch to resume
                        self._descriptors.retain()
                    else:
                        signal.clear()
                        mailbox.signal = signal
                        self._followers[mailbox.key] = mailbox
                if leading:
                    try:
                        if self._asleep:
                            self._descriptors.sleep()
                    finally:
                        self._asleep = False
                        self._descriptors.release()
                    self.pump()
                else:
                    signal.wait()
        finally:
            with self._lock:
                mailbox.signal = None
                self._followers.pop(mailbox.key, None)
                if self._leader is mailbox:
                    self._leader = None
                if self._leader is None:
                    self._promote()

    def _promote(self) -> None:
        """Wakes one follower, which then finds that there is no leader."""
        for mailbox in self._followers.values():
            if mailbox.signal is not None:
                mailbox.signal.set()
            return

    # Event loops.

    @contextlib.contextmanager
    def watched(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Within it the running loop polls whenever events wait. Must be used on the loop's thread."""
        with self._lock:
            self._raise_failure()
            if loop not in self._loops:
                loop.add_reader(self._descriptors.events, self._pump_on, loop)
            self._loops[loop] = self._loops.get(loop, 0) + 1
            self._descriptors.retain()
        try:
            yield
        finally:
            with self._lock:
                self._loops[loop] -= 1
                if self._loops[loop] == 0:
                    del self._loops[loop]
                    with contextlib.suppress(RuntimeError):  # the loop is closed
                        loop.remove_reader(self._descriptors.events)
                self._descriptors.release()

    def _pump_on(self, loop: asyncio.AbstractEventLoop) -> None:
        self.pump()
        if self._failure is not None:  # nobody will empty the descriptor any more
            loop.remove_reader(self._descriptors.events)

    async def receive_async(self, mailbox: Mailbox) -> Chunk:
        """The request's next chunk; within watched()."""
        loop = asyncio.get_running_loop()
        worked = True
        while True:
            with self._lock:
                chunk = self._take(mailbox)
                if chunk is None and self._background:
                    mailbox.future = future = loop.create_future()
            if chunk is not None:
                return chunk
            if self._background:
                await future
                if self._batch is not None:
                    self.pump()
            else:
                if not worked:
                    raise InternalError("the engine has nothing left to do, but the request has not finished")
                worked = await loop.run_in_executor(None, self.step)
                self.pump()

    # The end.

    def close(self) -> None:
        """Ends all waits with an error, waits for calls of other threads, and destroys the engine."""
        if self.inherited:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._fail(WrongStateError("the engine is closed"))
            while self._calls:
                self._idle.wait()
            self._descriptors.release()
        library().ftk_engine_destroy(self._engine)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _resolve_on_its_loop(future: asyncio.Future[None]) -> None:
    loop = future.get_loop()
    if asyncio._get_running_loop() is loop:
        _resolve(future)
    else:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody can read there any more
            loop.call_soon_threadsafe(_resolve, future)
