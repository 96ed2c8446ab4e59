"""Runs the requests of one model."""

from __future__ import annotations

import ctypes
import json
import os
import weakref
from collections.abc import AsyncGenerator, Generator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _abi
from ._dispatch import Dispatcher
from ._library import check, checked_int, library, text_from
from .model import Model
from .options import EngineOptions, Log, Prompt, RequestOptions, engine_options, request_options
from .request import Request
from .results import Chunk, Completion, EngineStats, Score, from_struct

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class Engine:
    """Generates for many requests at once, from any number of threads and event loops.

    What a request generates depends on its prompt, parameters and seed alone: policy, drafter, batching and threads
    change only the speed. With background=True a thread of the engine works whenever there is something to do; with
    False nothing happens but in step(), which generate, stream and their like call themselves.
    """

    def __init__(
        self,
        model: Model,
        draft: Model | None = None,
        *,
        policy: str = "goodput",
        drafter: str = "auto",
        draft_tokens: int = 0,
        kv: str = "auto",
        activations: str = "q8",
        background: bool = True,
        threads: int = 0,
        kv_budget_bytes: int = 0,
        context_tokens: int = 0,
        max_running_requests: int = 16,
        max_queued_requests: int = 1024,
        max_step_tokens: int = 256,
        log: Log | None = None,
        log_level: str = "warning",
        draft_pool_bytes: int = 64 << 20,
        trace: bool = False,
        tree_width: int = 0,
        profile_us: int = 0,
        profile_folder: None | str | os.PathLike[str] = None,
    ) -> None:
        """policy: "off", "static", "smartspec", "turbospec", "adaspec" or "goodput". drafter: "auto", "lookup", "suffix" or
        "model" (which needs `draft`).
        kv: "auto", "f32", "f16" or "q8_0". activations: "q8", or "f32", which is exact and slower. profile_us: time to
        measure this machine's costs for first; profile_folder: where they are kept. 0 means the library's choice; see
        ftk_engine_options. trace: keep what trace() returns. tree_width: 1 for drafts that are chains, 2 for trees."""
        options = EngineOptions(
            policy=policy,
            drafter=drafter,
            draft_tokens=draft_tokens,
            kv=kv,
            activations=activations,
            background=background,
            threads=threads,
            kv_budget_bytes=kv_budget_bytes,
            context_tokens=context_tokens,
            max_running_requests=max_running_requests,
            max_queued_requests=max_queued_requests,
            max_step_tokens=max_step_tokens,
            log=log,
            log_level=log_level,
            draft_pool_bytes=draft_pool_bytes,
            trace=trace,
            tree_width=tree_width,
            profile_us=profile_us,
            profile_folder=profile_folder,
        )
        struct = engine_options(options, draft)
        pointer = ctypes.c_void_p()
        check(library().ftk_engine_create(model.pointer, ctypes.byref(struct), ctypes.byref(pointer)))
        assert pointer.value is not None
        self._dispatcher = Dispatcher(pointer.value, background, keep=struct)
        self._finalizer = weakref.finalize(self, self._dispatcher.close)

    def submit(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> Request:
        """Queues a request, to be read later."""
        struct = request_options(prompt, options)
        mailbox, request = self._dispatcher.submit(struct)
        return Request(self, mailbox, request, struct.n)

    def generate(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> Completion:
        """Text, token ids or messages to a completion. For n > 1 of them: submit(...).results()."""
        return self.submit(prompt, **options).result()

    async def agenerate(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> Completion:
        """generate() for coroutines; cancelling the task cancels the request."""
        return await self.submit(prompt, **options).aresult()

    def stream(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> Generator[Chunk, None, None]:
        """Chunks as they come. The request is queued at once; closing or dropping the generator cancels it."""
        return iter(self.submit(prompt, **options))

    def astream(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> AsyncGenerator[Chunk, None]:
        """stream() for `async for`; aclose() and cancelling the task cancel the request."""
        return self.submit(prompt, **options).__aiter__()

    def score(self, prompt: Prompt, top: int = 0) -> Score:
        """The log-probability of each token of `prompt`, and of the `top` likeliest ones at its place."""
        found = self.submit(prompt, max_tokens=0, prompt_logprobs=top).result().prompt_logprobs
        assert found is not None
        return Score(found.tokens, found.logprobs, found.top)

    def stats(self) -> EngineStats:
        struct = _abi.ftk_engine_stats(struct_size=ctypes.sizeof(_abi.ftk_engine_stats))
        with self._dispatcher.engine() as engine:
            check(library().ftk_engine_get_stats(engine, ctypes.byref(struct)))
        stats: EngineStats = from_struct(EngineStats, struct)
        return stats

    def metrics(self) -> str:
        """The figures and histograms of the engine, as text for a Prometheus server."""
        with self._dispatcher.engine() as engine:
            return text_from(lambda *out: library().ftk_engine_metrics(engine, *out), guess=1 << 15)

    def trace(self) -> list[dict[str, Any]]:
        """What was decided in the steps since the last call, oldest first; see ftk_engine_trace. Needs trace=True."""
        with self._dispatcher.engine() as engine:
            lines = text_from(lambda *out: library().ftk_engine_trace(engine, *out), guess=1 << 16)
        return [json.loads(line) for line in lines.splitlines()]

    def cancel(self, request_id: int) -> None:
        """Ends a request within one step; NotFoundError once it has finished."""
        self._dispatcher.cancel(checked_int(request_id, ctypes.c_uint64, "request_id"))

    def draft(self, request_id: int, tokens: Sequence[int], position: int = 0) -> None:
        """Offers tokens that are expected after `position` output tokens of a request; see ftk_request_draft. A sample other
        than the first goes by the request's id + sample_index. NotFoundError once it has finished."""
        self._dispatcher.draft(checked_int(request_id, ctypes.c_uint64, "request_id"), position, tokens)

    def step(self) -> bool:
        """With background=False: one pass for all running requests; False when there was nothing to do."""
        return self._dispatcher.step()

    def close(self) -> None:
        """Stops the engine. Live requests are cancelled; who waits for one gets a WrongStateError."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
