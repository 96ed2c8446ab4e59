"""The C examples, built the way that the documentation says against an installed prefix, and the prefix itself."""

from __future__ import annotations

import os
import shutil
import unittest
from pathlib import Path

import support

EXAMPLES = support.ROOT / "bindings" / "c"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def pkg_config(prefix: Path, *arguments: str) -> str:
    folders = os.pathsep.join(str(path.parent) for path in prefix.glob("lib*/**/foretoken.pc"))
    result = support.run(
        [support.tool("pkg-config"), *arguments, "foretoken"], env={**os.environ, "PKG_CONFIG_PATH": folders}
    )
    if result.returncode != 0:
        raise AssertionError(f"pkg-config {' '.join(arguments)} foretoken: {result.stderr}")
    return result.stdout.strip()


class ExampleTests(support.ScratchCase):
    def build(self, name: str, *flags: str) -> str:
        program = str(self.scratch / name)
        packaged = pkg_config(support.prefix(), "--cflags", "--libs").split()
        command = [support.tool("cc"), *flags, str(EXAMPLES / f"{name}.c"), *packaged, "-o", program]
        result = support.run(command)
        self.assertEqual(result.returncode, 0, f"{' '.join(command)}\n{result.stderr}")
        return program

    def execute(self, *command: str) -> str:
        folder = pkg_config(support.prefix(), "--variable=libdir")
        result = support.run(list(command), env={**os.environ, "LD_LIBRARY_PATH": folder})
        self.assertEqual(result.returncode, 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}")
        self.assertEqual(result.stderr, "")
        return result.stdout

    def test_minimal(self) -> None:
        program = self.build("minimal", *STRICT)
        text = self.execute(program, support.TARGET)
        self.assertGreater(len(text.strip()), 8)
        self.assertEqual(self.execute(program, support.TARGET), text)

    def test_streaming_has_the_same_text_with_and_without_a_draft_model(self) -> None:
        program = self.build("streaming", *STRICT)
        plain = self.execute(program, support.TARGET)
        drafted = self.execute(program, support.TARGET, support.DRAFT)
        for name in ("main", "class"):
            self.assertEqual(streamed_text(plain, name), streamed_text(drafted, name))
            self.assertGreater(len(streamed_text(plain, name)), 8)
        self.assertRegex(drafted, r"(?m)^engine: 2 requests, 64 tokens in \d+ target passes and [1-9]\d* draft passes")

    def test_examples_report_errors(self) -> None:
        folder = pkg_config(support.prefix(), "--variable=libdir")
        for name in ("minimal", "streaming"):
            program = self.build(name)
            for arguments in ([], [str(self.scratch / "missing.gguf")], [str(EXAMPLES / "minimal.c")]):
                result = support.run([program, *arguments], env={**os.environ, "LD_LIBRARY_PATH": folder})
                self.assertEqual(result.returncode, 1)
                self.assertNotEqual(result.stderr, "")
                self.assertEqual(result.stdout, "")

    def test_examples_run_clean_under_valgrind(self) -> None:
        valgrind = shutil.which("valgrind")
        if valgrind is None:
            self.skipTest("valgrind is not installed")
        checks = ["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"]
        # The language runtime keeps its caches of types to the end, behind interior pointers: "possibly lost".
        checks.append("--show-leak-kinds=definite")
        self.execute(valgrind, *checks, self.build("minimal", "-g"), support.DRAFT)
        self.execute(valgrind, *checks, self.build("streaming", "-g"), support.DRAFT, support.DRAFT)

    def test_every_x86_64_processor_can_run_it(self) -> None:
        """One binary for all: no instruction that the (emulated) processor does not have, wherever it stands."""
        emulator = shutil.which("qemu-x86_64")
        if emulator is None:
            self.skipTest("qemu-x86_64 is not installed")
        program = self.build("minimal")
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
    return "".join(line for line in lines if not line.startswith("finished: "))


class PrefixTests(support.ScratchCase):
    def test_header_is_the_one_of_the_project(self) -> None:
        installed = support.prefix() / "include" / "foretoken" / "foretoken.h"
        self.assertEqual(installed.read_bytes(), support.HEADER.read_bytes())

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
