"""C programs, built the way that the documentation says against an installed prefix."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import support

# The language runtime keeps its caches of types to the end, behind interior pointers: "possibly lost".
VALGRIND = ["--quiet", "--error-exitcode=9", "--leak-check=full"]
VALGRIND += ["--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"]


def pkg_config(prefix: Path, *arguments: str) -> str:
    folders = os.pathsep.join(str(path.parent) for path in prefix.glob("lib*/**/foretoken.pc"))
    result = support.run(
        [support.tool("pkg-config"), *arguments, "foretoken"], env={**os.environ, "PKG_CONFIG_PATH": folders}
    )
    if result.returncode != 0:
        raise AssertionError(f"pkg-config {' '.join(arguments)} foretoken: {result.stderr}")
    return result.stdout.strip()


def environment() -> dict[str, str]:
    """With it a program finds the library of the prefix."""
    return {**os.environ, "LD_LIBRARY_PATH": pkg_config(support.prefix(), "--variable=libdir")}


class ProgramCase(support.ScratchCase):
    """A test case that builds programs and runs them."""

    def build(self, source: Path, *flags: str) -> str:
        program = str(self.scratch / source.stem)
        packaged = pkg_config(support.prefix(), "--cflags", "--libs").split()
        command = [support.tool("cc"), *flags, str(source), *packaged, "-o", program]
        result = support.run(command)
        self.assertEqual(result.returncode, 0, f"{' '.join(command)}\n{result.stderr}")
        return program

    def execute(self, *command: str, **options: object) -> str:
        result = support.run(list(command), env=environment(), **options)
        self.assertEqual(result.returncode, 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}")
        self.assertEqual(result.stderr, "")
        return result.stdout

    def execute_under_valgrind(self, *command: str, **options: object) -> str:
        valgrind = shutil.which("valgrind")
        if valgrind is None:
            self.skipTest("valgrind is not installed")
        return self.execute(valgrind, *VALGRIND, *command, **options)
