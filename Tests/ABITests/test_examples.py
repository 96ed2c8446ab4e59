"""The C examples, built the way that the documentation says against an installed prefix, and the prefix itself."""

from __future__ import annotations

import os
import re
import shutil
import signal
import unittest
from pathlib import Path

import programs
import support
from programs import pkg_config

EXAMPLES = support.ROOT / "bindings" / "c"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]


class ExampleTests(programs.ProgramCase):
    def example(self, name: str, *flags: str) -> str:
        return self.build(EXAMPLES / f"{name}.c", *flags)

    def test_minimal(self) -> None:
        program = self.example("minimal", *STRICT)
        text = self.execute(program, support.TARGET)
        self.assertGreater(len(text.strip()), 8)
        self.assertEqual(self.execute(program, support.TARGET), text)

    def test_streaming_has_the_same_text_with_and_without_a_draft_model(self) -> None:
        program = self.example("streaming", *STRICT)
        plain = self.execute(program, support.TARGET)
        drafted = self.execute(program, support.TARGET, support.DRAFT)
        for name in ("main", "class"):
            self.assertEqual(streamed_text(plain, name), streamed_text(drafted, name))
            self.assertGreater(len(streamed_text(plain, name)), 8)
        self.assertRegex(drafted, r"(?m)^engine: 2 requests, 64 tokens in \d+ target passes and [1-9]\d* draft passes")

    def test_two_engines_in_one_event_loop(self) -> None:
        output = self.execute(self.example("event_loop", *STRICT), support.TARGET)
        for name in ("main", "class"):
            self.assertGreater(len(streamed_text(output, name)), 8)
            self.assertIn(f"[{name}] complete after 48 tokens\n", output)
        self.assertRegex(output, r"(?m)^loop: \d+ ticks of the timer$")

    def test_the_event_loop_ends_on_a_signal(self) -> None:
        """Sent before the program starts and blocked until it reads it: it comes before the many tokens are made."""

        def interrupt() -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            os.kill(os.getpid(), signal.SIGINT)

        program = self.example("event_loop", *STRICT)
        output = self.execute(program, support.TARGET, "2000", preexec_fn=interrupt)
        for name in ("main", "class"):
            self.assertRegex(output, rf"(?m)^\[{name}\] cancelled after \d+ tokens$")

    def test_examples_report_errors(self) -> None:
        for name in ("minimal", "streaming", "event_loop"):
            program = self.example(name)
            for arguments in ([], [str(self.scratch / "missing.gguf")], [str(EXAMPLES / "minimal.c")]):
                result = support.run([program, *arguments], env=programs.environment())
                self.assertEqual(result.returncode, 1)
                self.assertNotEqual(result.stderr, "")
                self.assertEqual(result.stdout, "")

    def test_examples_run_clean_under_valgrind(self) -> None:
        self.execute_under_valgrind(self.example("minimal", "-g"), support.DRAFT)
        self.execute_under_valgrind(self.example("streaming", "-g"), support.DRAFT, support.DRAFT)
        self.execute_under_valgrind(self.example("event_loop", "-g"), support.DRAFT, "8")

    def test_every_x86_64_processor_can_run_it(self) -> None:
        """One binary for all: no instruction that the (emulated) processor does not have, wherever it stands."""
        emulator = shutil.which("qemu-x86_64")
        if emulator is None:
            self.skipTest("qemu-x86_64 is not installed")
        program = self.example("minimal")
        texts = {
            processor: self.execute(emulator, "-cpu", processor, program, support.TARGET)
            for processor in ("qemu64", "core2duo", "Nehalem", "max")
        }
        self.assertGreater(len(texts["qemu64"].strip()), 8)
        # None of these has AVX2, so they run the same code; the last has it.
        for processor in ("core2duo", "Nehalem"):
            self.assertEqual(texts[processor], texts["qemu64"])
        self.assertGreater(len(texts["max"].strip()), 8)


def streamed_text(output: str, name: str) -> str:
    start = f"[{name}] "
    lines = [line[len(start) :] for line in output.splitlines() if line.startswith(start)]
    return "".join(line for line in lines if not re.match(r"finished: |complete after \d+ tokens$", line))


class PrefixTests(support.ScratchCase):
    def test_headers_are_those_of_the_project(self) -> None:
        for header in support.HEADERS:
            installed = support.prefix() / "include" / "foretoken" / header.name
            self.assertEqual(installed.read_bytes(), header.read_bytes())

    def test_library_has_its_links(self) -> None:
        constants = support.parsed_header().constants
        version = ".".join(str(constants[f"FTK_VERSION_{part}"]) for part in ("MAJOR", "MINOR", "PATCH"))
        folder = Path(pkg_config(support.prefix(), "--variable=libdir"))
        real = folder / f"libforetoken.so.{version}"
        self.assertTrue(real.is_file() and not real.is_symlink(), real)
        for name in (f"libforetoken.so.{constants['FTK_ABI_VERSION']}", "libforetoken.so"):
            link = folder / name
            self.assertTrue(link.is_symlink(), link)
            self.assertEqual(link.resolve(), real.resolve())
            self.assertFalse(os.path.isabs(os.readlink(link)), link)

    def test_pkg_config_agrees_with_the_header(self) -> None:
        constants = support.parsed_header().constants
        version = ".".join(str(constants[f"FTK_VERSION_{part}"]) for part in ("MAJOR", "MINOR", "PATCH"))
        self.assertEqual(pkg_config(support.prefix(), "--modversion"), version)
        found = pkg_config(support.prefix(), "--variable=abi_version")
        self.assertEqual(found, str(constants["FTK_ABI_VERSION"]))
        self.assertNotEqual(pkg_config(support.prefix(), "--variable=simd"), "")

    def test_prefix_can_be_moved(self) -> None:
        moved = self.scratch / "elsewhere"
        shutil.copytree(support.prefix(), moved, symlinks=True)
        flags = pkg_config(moved, "--cflags", "--libs")
        self.assertIn(str(moved), flags)
        self.assertNotIn(str(support.prefix()), flags)
        for path in moved.glob("lib*/**/foretoken.pc"):
            text = path.read_text(encoding="utf-8")
            self.assertNotRegex(text, r"(?m)^[^#]*@\w+@", "a placeholder is left")
            self.assertNotIn(str(support.prefix()), text)


if __name__ == "__main__":
    unittest.main()
