"""Cases that may abort the process run in children, so that a death is seen and its case named.

A module of cases has `cases(library)`, which yields (name, function); a function that raises has failed. The parent
calls `failures(module)`; the child is this file run as a program. When a child dies the next one goes on behind the
case that killed it.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
import unittest
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

import abi
import support

Case = tuple[str, Callable[[], None]]

HANG_SECONDS = 120  # of one case; only so that a hang is reported instead of waited for


def failures(module: str) -> Iterator[tuple[str, str | None]]:
    """(name, None) for each case that holds, (name, what is wrong) for each other."""
    support.library_path()
    done = 0
    while True:
        with tempfile.TemporaryFile("w+") as errors:
            status, lines = _run_child(module, done, errors)
            errors.seek(0)
            said = errors.read()[-2000:]
        started = None
        for line in lines:
            record = json.loads(line)
            if record["event"] == "start":
                started = record["name"]
            else:
                done, started = done + 1, None
                yield record["name"], record["problem"]
        if status == 0 and started is None:
            return
        if started is None:
            raise AssertionError(f"the child for {module} died outside of a case: {_death(status)}\n{said}")
        done += 1
        yield started, f"the process died: {_death(status)}\n{said}"


def _run_child(module: str, skip: int, errors: IO[str]) -> tuple[int, list[str]]:
    """The exit status and the lines that the child wrote; a child that is silent for too long is killed."""
    command = [sys.executable, "-X", "faulthandler", str(Path(__file__).resolve()), module, str(skip)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
    assert process.stdout is not None
    written = b""
    with process.stdout as pipe:
        while select.select([pipe], [], [], HANG_SECONDS)[0]:
            part = os.read(pipe.fileno(), 65536)
            if not part:
                break
            written += part
        else:
            process.kill()
    return process.wait(), written.decode().splitlines()


def _death(code: int) -> str:
    if code == -signal.SIGKILL:
        return "killed, by this test if it hung"
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def _serve(module: str, skip: int) -> None:
    """The child: runs the cases behind the first `skip`, and says which one it is at."""
    # What the library might print must not mix with the records.
    records = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**record: object) -> None:
        print(json.dumps(record), file=records, flush=True)

    found: Iterable[Case] = importlib.import_module(module).cases(support.library())
    for index, (name, run) in enumerate(found):
        if index >= skip:
            say(event="start", name=name)
            problem = None
            try:
                run()
            except AssertionError as error:
                problem = str(error) or "an assertion failed"
            except Exception:  # noqa: BLE001 (the parent shows it)
                problem = traceback.format_exc()
            say(event="end", name=name, problem=problem)


class CasesTest(unittest.TestCase):
    """A test case whose tests run modules of cases."""

    def run_cases(self, module: str) -> None:
        count = 0
        for name, problem in failures(module):
            count += 1
            with self.subTest(name):
                if problem is not None:
                    self.fail(problem)
        self.assertGreater(count, 0)


def expect(library: abi.Library, status: int, *wanted: str, names: str | Iterable[str] = ()) -> None:
    """The status must be one of `wanted` (without FTK_ERROR_), and the error text must hold each of `names`."""
    found = library.status_name(status).removeprefix("FTK_ERROR_")
    text = library.error() if status < 0 else ""
    assert found in wanted, f"{found} instead of {' or '.join(wanted)}; the text is {text!r}"
    if status < 0:
        assert len(text) >= 10, f"{found} without a helpful text: {text!r}"
        for name in [names] if isinstance(names, str) else names:
            assert name in text, f"the text of {found} does not name {name}: {text!r}"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    _serve(sys.argv[1], int(sys.argv[2]))
