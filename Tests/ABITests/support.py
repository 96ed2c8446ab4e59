"""Where the tests find things, and children that may die without taking the tests along.

FTK_PREFIX    an installed prefix (include/, lib/, lib/pkgconfig/)
FTK_LIBRARY   the libforetoken.so to test
FTK_TEST_DATA shared test data that is not part of the project; tests that want it are skipped without it
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from functools import cache
from pathlib import Path

import abi
import header

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HEADER = ROOT / "include" / "foretoken" / "foretoken.h"
HEADERS = [HEADER, HEADER.with_name("controller.h")]
MODELS = ROOT / "bindings" / "python" / "foretoken" / "models"
TARGET = str(MODELS / "foretoken-tiny-target-Q8_0.gguf")
DRAFT = str(MODELS / "foretoken-tiny-draft-Q8_0.gguf")


@cache
def parsed_header() -> header.Header:
    return header.read(*map(str, HEADERS))


def library_path() -> str:
    path = os.environ.get("FTK_LIBRARY")
    if not path or not os.path.isfile(path):
        raise AssertionError(f"set FTK_LIBRARY to the path of the built libforetoken.so (it is {path!r})")
    return os.path.abspath(path)


def prefix() -> Path:
    path = os.environ.get("FTK_PREFIX")
    if not path or not os.path.isdir(path):
        raise AssertionError(f"set FTK_PREFIX to a prefix made by `make install PREFIX=...` (it is {path!r})")
    return Path(path).resolve()


def library() -> abi.Library:
    """A fresh record of calls on the library (the loader itself loads it once)."""
    return abi.Library(library_path(), parsed_header())


def shared_data(relative: str) -> str:
    root = os.environ.get("FTK_TEST_DATA")
    if not root:
        raise unittest.SkipTest(f"FTK_TEST_DATA is not set: no {relative}")
    path = Path(root) / relative
    if not path.exists():
        raise unittest.SkipTest(f"FTK_TEST_DATA has no {relative}")
    return str(path)


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise AssertionError(f"{name} is needed for this test and not installed")
    return path


def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    """Runs a command; its output is in the result."""
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


class ScratchCase(unittest.TestCase):
    """A test case with a folder of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="foretoken-abi-")
        self.addCleanup(folder.cleanup)
        self.scratch = Path(folder.name)


def in_child(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a module of this folder in a child process with the same environment."""
    return run([sys.executable, "-X", "faulthandler", str(HERE / f"{module}.py"), *arguments])
