"""Threads of the process and of its callers: how many there are, and that each event comes exactly once."""

from __future__ import annotations

import ctypes
import json
import os
import threading
import unittest
from collections import Counter
from typing import Any

import abi
import children
import support


def thread_count() -> int:
    return len(os.listdir("/proc/self/task"))


def cases(library: abi.Library) -> Any:
    """In a child, where no other test has started threads."""
    yield "manual mode with one thread starts none", lambda: _one_thread(library)
    yield "destroying an engine ends its threads", lambda: _threads_end(library)
    yield "the library prints nothing", lambda: _prints_nothing(library)
    yield "the library leaves signals and environment alone", lambda: _leaves_process_alone(library)


def _one_thread(library: abi.Library) -> None:
    assert thread_count() == 1, "the child itself has threads"
    model = library.open_model(support.TARGET)
    engine = library.create_engine(model, threads=1)
    assert thread_count() == 1, "creating the engine started threads"
    library.submit_options(engine, library.text_request(b"def main():", max_tokens=4))
    library.run_until_idle(engine)
    assert thread_count() == 1, "running the engine started threads"
    library.engine_destroy(engine)
    library.model_release(model)


def _threads_end(library: abi.Library) -> None:
    before = thread_count()
    model = library.open_model(support.DRAFT)
    for _ in range(20):
        engine = library.create_engine(model, threads=2, run_mode=library.constants["FTK_RUN_BACKGROUND"])
        library.submit_options(engine, library.text_request(b"def main():", max_tokens=400))
        library.engine_destroy(engine)
    library.model_release(model)
    assert thread_count() == before, f"{thread_count() - before} threads were left"


def _prints_nothing(library: abi.Library) -> None:
    reader, writer = os.pipe()
    saved = os.dup(1), os.dup(2)
    os.dup2(writer, 1)
    os.dup2(writer, 2)
    try:
        model = library.open_model(support.DRAFT)
        engine = library.create_engine(model, log_level=library.constants["FTK_LOG_DEBUG"])
        library.submit_options(engine, library.text_request(b"def main():", max_tokens=2))
        library.run_until_idle(engine)
        library.model_open(b"/no/such/file", None, ctypes.byref(ctypes.c_void_p()))
        library.engine_destroy(engine)
        library.model_release(model)
    finally:
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        os.close(writer)
    printed = os.read(reader, 4096)
    assert printed == b"", printed


def _leaves_process_alone(library: abi.Library) -> None:
    def state() -> tuple[str, bytes]:
        with open("/proc/self/status", encoding="utf-8") as status:
            signals = "".join(line for line in status if line.startswith(("SigBlk", "SigIgn", "SigCgt")))
        getenv = ctypes.CDLL(None).getenv
        getenv.restype = ctypes.c_char_p
        return signals, b";".join(getenv(name) or b"" for name in (b"OMP_NUM_THREADS", b"OPENBLAS_NUM_THREADS", b"TZ"))

    before = state()
    model = library.open_model(support.DRAFT)
    engine = library.create_engine(model)
    library.submit_options(engine, library.text_request(b"def main():", max_tokens=2))
    library.run_until_idle(engine)
    library.engine_destroy(engine)
    library.model_release(model)
    assert state() == before


class ProcessTests(children.CasesTest):
    def test_in_a_child(self) -> None:
        self.run_cases("test_process")


class ThreadTests(unittest.TestCase):
    def setUp(self) -> None:
        self.library = support.library()
        self.model = self.library.open_model(support.DRAFT)
        self.addCleanup(self.library.model_release, self.model)

    def test_destroying_an_engine_with_live_requests(self) -> None:
        modes = (self.library.constants["FTK_RUN_MANUAL"], self.library.constants["FTK_RUN_BACKGROUND"])
        for index in range(200):
            engine = self.library.create_engine(self.model, run_mode=modes[index % 2], threads=1)
            for length in (1, 8, 400):
                self.library.submit_options(engine, self.library.text_request(b"x = 1\n", max_tokens=length))
            if index % 4 == 0:
                self.library.ok(self.library.engine_step(engine))
            self.library.engine_destroy(engine)

    def test_eight_threads_on_a_background_engine(self) -> None:
        engine = self.library.create_engine(
            self.model, run_mode=self.library.constants["FTK_RUN_BACKGROUND"], max_queued_requests=10000, trace=1
        )
        self.check_eight_threads(engine, lambda: self.library.poll_events(engine, -1))

    def test_eight_threads_on_a_manual_engine(self) -> None:
        engine = self.library.create_engine(self.model, max_queued_requests=10000, trace=1)

        def step() -> list[dict[str, Any]]:
            self.library.ok(self.library.engine_step(engine))
            return self.library.poll_events(engine)

        self.check_eight_threads(engine, step)

    def check_eight_threads(self, engine: ctypes.c_void_p, receive: Any) -> None:
        """Each thread submits, cancels every third request, reads statistics, metrics and trace, and polls whatever comes."""
        each, library = 24, self.library
        lock = threading.Lock()
        submitted: list[int] = []
        finished: Counter[int] = Counter()
        problems: list[str] = []
        steps: list[int] = []

        def observe() -> None:
            text, size = ctypes.create_string_buffer(1 << 16), ctypes.c_size_t()
            library.ok(library.engine_metrics(engine, text, len(text), ctypes.byref(size)))
            if not text.raw[: size.value].endswith(b"\n"):
                problems.append("the metrics are cut off")
            while library.ok(library.engine_trace(engine, text, len(text), ctypes.byref(size))) > 0:
                text = ctypes.create_string_buffer(2 * size.value)
            with lock:
                steps.extend(json.loads(line)["step"] for line in text.raw[: size.value].splitlines())

        def record(events: list[dict[str, Any]]) -> None:
            with lock:
                for event in events:
                    if event["kind"] == library.constants["FTK_EVENT_FINISH"]:
                        finished[event["request"]] += 1

        def work(seed: int) -> None:
            try:
                for index in range(each):
                    prompt = f"# {seed} {index}\n".encode()
                    request = library.submit_options(engine, library.text_request(prompt, max_tokens=1 + index % 7))
                    with lock:
                        submitted.append(request)
                    if index % 3 == 0:
                        status = library.cancel(engine, request)
                        if status not in (0, library.constants["FTK_ERROR_NOT_FOUND"]):
                            problems.append(f"cancel: {library.error()}")
                    stats = library.new("ftk_engine_stats")
                    library.ok(library.engine_get_stats(engine, ctypes.byref(stats)))
                    if stats.finished_requests > stats.submitted_requests:
                        problems.append("more requests have finished than were submitted")
                    observe()
                    record(library.poll_events(engine))
            except AssertionError as error:
                problems.append(str(error))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while sum(finished.values()) < 8 * each and not problems:
            record(receive())
        self.assertEqual(problems, [])
        self.assertEqual(len(set(submitted)), 8 * each, "an id was used twice")
        self.assertEqual(dict(finished), dict.fromkeys(submitted, 1))
        self.assertEqual(library.poll_events(engine), [], "events after the last finish")
        stats = library.new("ftk_engine_stats")
        library.ok(library.engine_get_stats(engine, ctypes.byref(stats)))
        self.assertEqual((stats.running_requests, stats.queued_requests), (0, 0))
        self.assertEqual((stats.submitted_requests, stats.finished_requests), (8 * each, 8 * each))
        self.assertEqual(stats.kv_blocks_used, 0)
        observe()
        self.assertEqual(sorted(steps), list(range(1, stats.steps + 1)), "a step was read twice, or never")
        library.engine_destroy(engine)

    def test_a_blocked_poll_is_woken_by_a_submit(self) -> None:
        engine = self.library.create_engine(self.model, run_mode=self.library.constants["FTK_RUN_BACKGROUND"])
        events: list[dict[str, Any]] = []

        def poll() -> None:
            while not any(event["kind"] == self.library.constants["FTK_EVENT_FINISH"] for event in events):
                events.extend(self.library.poll_events(engine, -1))

        poller = threading.Thread(target=poll)
        poller.start()
        request = self.library.submit_options(engine, self.library.text_request(b"x", max_tokens=2))
        poller.join()
        self.assertEqual(events[-1]["request"], request)
        self.library.engine_destroy(engine)

    def test_the_descriptor_is_readable_exactly_while_events_wait(self) -> None:
        import select

        engine, descriptor = self.library.create_engine(self.model), ctypes.c_int32()
        self.library.ok(self.library.engine_event_fd(engine, ctypes.byref(descriptor)))

        def readable() -> bool:
            return bool(select.select([descriptor.value], [], [], 0)[0])

        self.assertFalse(readable())
        self.library.submit_options(engine, self.library.text_request(b"x", max_tokens=3))
        while self.library.ok(self.library.engine_step(engine)) == 0:
            pass
        self.assertTrue(readable())
        self.assertTrue(readable(), "looking must not consume")
        self.assertNotEqual(self.library.poll_events(engine), [])
        self.assertFalse(readable())
        self.library.engine_destroy(engine)


if __name__ == "__main__":
    unittest.main()
