"""Many requests at once: event loops, threads, and both on one engine. Every text is that of the request alone."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import unittest
from functools import partial
from typing import Any

from common import PROMPT, ModelCase, foretoken

MANY = 16
OPTIONS: dict[str, Any] = {"max_tokens": 24, "temperature": 0.8, "seed": 5}


def prompt(index: int) -> str:
    return f"# file {index}\nimport os\n"


async def streamed(engine: foretoken.Engine, text: str, **options: Any) -> str:
    return "".join([chunk.text async for chunk in engine.astream(text, **{**OPTIONS, **options})])


async def once_around(*tasks: asyncio.Future[Any]) -> None:
    """Lets the tasks run until they wait for something."""
    await asyncio.wait(tasks, timeout=0)


async def many(engine: foretoken.Engine) -> list[str]:
    return await asyncio.gather(*(streamed(engine, prompt(index)) for index in range(MANY)))


class ConcurrencyTests(ModelCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        with foretoken.Engine(cls.model, background=False) as engine:
            cls.texts = [engine.generate(prompt(index), **OPTIONS).text for index in range(MANY)]

    def run_threads(self, *works: Any) -> None:
        """Runs each in a thread of its own; their first exception comes out."""
        failures: list[BaseException] = []

        def guarded(work: Any) -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 (raised below)
                failures.append(error)

        threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def assert_idle(self, engine: foretoken.Engine, requests: int) -> None:
        stats = engine.stats()
        self.assertEqual((stats.submitted_requests, stats.finished_requests), (requests, requests))
        self.assertEqual((stats.running_requests, stats.queued_requests), (0, 0))

    # Event loops.

    def test_sixteen_streams_on_one_loop(self) -> None:
        for options in ({}, {"background": False}, {"policy": "static", "drafter": "lookup"}):
            engine = self.engine(**options)
            self.assertEqual(asyncio.run(many(engine)), self.texts)
            self.assert_idle(engine, MANY)

    def test_agenerate(self) -> None:
        engine = self.engine()
        completion = asyncio.run(engine.agenerate(prompt(0), **OPTIONS))
        self.assertEqual(completion.text, self.texts[0])
        self.assertEqual(completion.finish_reason, "length")

    def test_more_requests_than_run_at_once(self) -> None:
        engine = self.engine(max_running_requests=3)
        self.assertEqual(asyncio.run(many(engine)), self.texts)

    def test_several_loops(self) -> None:
        engine = self.engine()
        results: list[list[str]] = []
        self.run_threads(*[lambda: results.append(asyncio.run(many(engine)))] * 3)
        self.assertEqual(results, [self.texts] * 3)
        self.assert_idle(engine, 3 * MANY)

    def test_one_loop_after_another(self) -> None:
        engine = self.engine()
        for _ in range(3):
            self.assertEqual(asyncio.run(streamed(engine, prompt(0))), self.texts[0])

    def test_breaking_out_cancels(self) -> None:
        engine = self.engine()

        async def leave() -> str:
            stream = engine.astream(PROMPT, max_tokens=1500, ignore_eos=True)
            async for _ in stream:
                break
            await stream.aclose()
            return await streamed(engine, prompt(0))

        self.assertEqual(asyncio.run(leave()), self.texts[0])
        self.assert_idle(engine, 2)

    def test_cancelling_a_task_cancels_its_request(self) -> None:
        engine = self.engine()

        async def cancel(work: Any) -> None:
            task = asyncio.ensure_future(work)
            await once_around(task)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        async def both() -> str:
            await cancel(streamed(engine, PROMPT, max_tokens=1500, ignore_eos=True))
            await cancel(engine.agenerate(PROMPT, max_tokens=1500, ignore_eos=True))
            return await streamed(engine, prompt(0))

        self.assertEqual(asyncio.run(both()), self.texts[0])
        self.assert_idle(engine, 3)

    def test_a_stream_that_never_began_is_cancelled(self) -> None:
        engine = self.engine()

        async def never() -> str:
            stream = engine.astream(PROMPT, max_tokens=1500, ignore_eos=True)
            await stream.aclose()
            del stream
            return await streamed(engine, prompt(0))

        self.assertEqual(asyncio.run(never()), self.texts[0])
        self.assert_idle(engine, 2)

    def test_errors_come_before_the_first_chunk(self) -> None:
        engine = self.engine()
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, "temperature"):
            engine.astream(PROMPT, temperature=-1)

    def test_closing_the_engine_ends_async_streams(self) -> None:
        engine = self.engine()

        async def close() -> None:
            stream = engine.astream(PROMPT, max_tokens=1500, ignore_eos=True)
            await stream.__anext__()
            waiting = [asyncio.ensure_future(streamed(engine, PROMPT, max_tokens=1500, ignore_eos=True)) for _ in "abc"]
            await once_around(*waiting)
            engine.close()
            for task in waiting:
                with self.assertRaisesRegex(foretoken.WrongStateError, "closed"):
                    await task
            with self.assertRaisesRegex(foretoken.WrongStateError, "closed"):
                async for _ in stream:
                    pass

        asyncio.run(close())

    # Threads.

    def collect(self, engine: foretoken.Engine, index: int, results: dict[int, str]) -> None:
        results[index] = "".join(chunk.text for chunk in engine.stream(prompt(index), **OPTIONS))

    def test_sixteen_threads(self) -> None:
        for options in ({}, {"background": False}, {"max_running_requests": 2}):
            engine, results = self.engine(**options), {}
            self.run_threads(*(partial(self.collect, engine, index, results) for index in range(MANY)))
            self.assertEqual([results[index] for index in range(MANY)], self.texts)
            self.assert_idle(engine, MANY)

    def test_threads_and_loops_together(self) -> None:
        engine, results, lists = self.engine(), {}, []
        threads = [partial(self.collect, engine, index, results) for index in range(MANY)]
        loops = [lambda: lists.append(asyncio.run(many(engine)))] * 2
        self.run_threads(*threads, *loops)
        self.assertEqual([results[index] for index in range(MANY)], self.texts)
        self.assertEqual(lists, [self.texts] * 2)
        self.assert_idle(engine, 3 * MANY)

    def test_blocking_calls_inside_a_loop(self) -> None:
        """Bad manners, but no deadlock: the loop's requests go on when it runs again."""
        engine = self.engine()

        async def mixed() -> list[str]:
            tasks = [asyncio.ensure_future(streamed(engine, prompt(index))) for index in range(4)]
            await once_around(*tasks)
            self.assertEqual(engine.generate(prompt(5), **OPTIONS).text, self.texts[5])
            return await asyncio.gather(*tasks)

        self.assertEqual(asyncio.run(mixed()), self.texts[:4])

    def test_readers_that_come_and_go(self) -> None:
        """The leader leaves early again and again; nobody waits for ever."""
        engine = self.engine(max_running_requests=4)

        def short(index: int) -> None:
            for length in range(1, 9):
                completion = engine.generate(prompt(index), **{**OPTIONS, "max_tokens": length})
                self.assertTrue(self.texts[index].startswith(completion.text.rstrip("\ufffd")))

        def leaver(index: int) -> None:
            for _ in range(8):
                for _ in engine.stream(prompt(index), max_tokens=1500, ignore_eos=True):
                    break

        works = [partial(short if index % 2 else leaver, index) for index in range(8)]
        self.run_threads(*works)
        self.assertEqual(engine.generate(prompt(1), **OPTIONS).text, self.texts[1])
        self.assert_idle(engine, 65)

    # Ctrl-C.

    def test_an_interrupt_within_a_batch_loses_nothing(self) -> None:
        for before in (True, False):
            engine = self.engine()
            streams = [engine.stream(prompt(index), **OPTIONS) for index in range(4)]
            deliver, interrupted = engine._dispatcher._deliver, threading.Event()

            def interrupt(
                *item: Any, deliver: Any = deliver, interrupted: threading.Event = interrupted, before: bool = before
            ) -> None:
                if interrupted.is_set() or not before:
                    deliver(*item)
                if not interrupted.is_set():
                    interrupted.set()
                    raise KeyboardInterrupt

            engine._dispatcher._deliver = interrupt  # type: ignore[method-assign]
            with self.assertRaises(KeyboardInterrupt):
                list(streams[0])
            texts = ["".join(chunk.text for chunk in stream) for stream in streams[1:]]
            self.assertEqual(texts, self.texts[1:4])

    def test_a_signal_ends_a_waiting_stream(self) -> None:
        # A shell has those that it runs in the background ignore the signal.
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        engine = self.engine()
        streams: list[Any] = []
        waiting = threading.Event()

        def send() -> None:
            waiting.wait()
            os.kill(os.getpid(), signal.SIGINT)

        sender = threading.Thread(target=send)
        sender.start()
        with self.assertRaises(KeyboardInterrupt):
            # One stream may be over before the other thread has its turn.
            while True:
                streams.append(engine.stream(PROMPT, max_tokens=1500, ignore_eos=True))
                for _ in streams[-1]:
                    waiting.set()
        sender.join()
        streams[-1].close()  # the signal may have come between two chunks
        self.assertEqual(engine.generate(prompt(0), **OPTIONS).text, self.texts[0])
        self.assert_idle(engine, len(streams) + 1)

    def test_closing_the_engine_ends_waiting_threads(self) -> None:
        engine = self.engine()
        began, ended = threading.Barrier(5), []

        def wait() -> None:
            stream = engine.stream(PROMPT, max_tokens=1500, ignore_eos=True)
            next(stream)
            began.wait()
            try:
                for _ in stream:
                    pass
            except foretoken.WrongStateError as error:
                ended.append(str(error))

        def close() -> None:
            began.wait()
            engine.close()

        self.run_threads(wait, wait, wait, wait, close)
        self.assertEqual(ended, ["the engine is closed"] * 4)


if __name__ == "__main__":
    unittest.main()
