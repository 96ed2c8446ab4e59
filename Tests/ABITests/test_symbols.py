"""What the shared library shows to the world and needs from it."""

from __future__ import annotations

import re
import unittest
from pathlib import Path

import support

ALLOWED_LIBRARIES = {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2"}


def dynamic_entries(tag: str) -> list[str]:
    listing = support.run([support.tool("readelf"), "-d", "-W", support.library_path()])
    assert listing.returncode == 0, listing.stderr
    return re.findall(rf"\({tag}\).*\[(.*?)\]", listing.stdout)


class SymbolTests(unittest.TestCase):
    def exported(self) -> set[str]:
        listing = support.run([support.tool("nm"), "-D", "--defined-only", support.library_path()])
        self.assertEqual(listing.returncode, 0, listing.stderr)
        rows = [line.split() for line in listing.stdout.splitlines()]
        # The version node itself is an absolute symbol ("A"); a symbol may carry it as name@@NODE.
        return {row[-1].split("@")[0] for row in rows if row[-2] != "A"}

    def test_exports_exactly_the_declared_functions(self) -> None:
        declared = set(support.parsed_header().functions)
        exported = self.exported()
        self.assertEqual(sorted(exported - declared), [], "exported but not declared")
        self.assertEqual(sorted(declared - exported), [], "declared but not exported")

    def test_needs_only_the_system_libraries(self) -> None:
        self.assertEqual(set(dynamic_entries("NEEDED")) - ALLOWED_LIBRARIES, set())

    def test_loads_no_swift_library(self) -> None:
        listing = support.run([support.tool("ldd"), support.library_path()])
        self.assertEqual(listing.returncode, 0, listing.stderr)
        self.assertNotRegex(listing.stdout.lower(), r"swift|foundation|openblas|dispatch|not found")

    def test_soname_follows_the_abi_version(self) -> None:
        version = support.parsed_header().constants["FTK_ABI_VERSION"]
        self.assertEqual(dynamic_entries("SONAME"), [f"libforetoken.so.{version}"])

    def test_no_run_path_leaves_the_library(self) -> None:
        for path in dynamic_entries("RUNPATH") + dynamic_entries("RPATH"):
            self.assertEqual(path, "$ORIGIN")

    def test_kernels_share_no_weak_symbol(self) -> None:
        """The linker keeps one of several weak symbols of a name. If the kernels of an instruction set had one in common
        with other code, vector instructions could end up where every processor goes."""
        build = Path(support.library_path()).parent
        folders = sorted(build.glob("Kernels[!T]*.build"))
        if not folders:
            self.skipTest("the object files are not beside the library")
        self.assertGreaterEqual(len(folders), 4)
        for folder in folders:
            module = folder.name.removesuffix(".build")
            own = f"$s{len(module)}{module}"
            for file in folder.glob("*.o"):
                listing = support.run([support.tool("nm"), str(file)])
                self.assertEqual(listing.returncode, 0, listing.stderr)
                rows = [line.split() for line in listing.stdout.splitlines()]
                weak = {row[-1] for row in rows if len(row) > 1 and row[-2] in "WwVvu" and row[-1].startswith("$s")}
                self.assertEqual([name for name in weak if not name.startswith(own)], [], str(file))

    def test_stack_is_not_executable(self) -> None:
        listing = support.run([support.tool("readelf"), "-l", "-W", support.library_path()])
        stack = [line for line in listing.stdout.splitlines() if "GNU_STACK" in line]
        self.assertEqual(len(stack), 1)
        self.assertNotIn("E", stack[0].split()[-2])

    def test_versions_agree_with_the_header(self) -> None:
        library = support.library()
        constants = library.constants
        self.assertEqual(library.abi_version(), constants["FTK_ABI_VERSION"])
        expected = ".".join(str(constants[f"FTK_VERSION_{part}"]) for part in ("MAJOR", "MINOR", "PATCH"))
        self.assertEqual(library.version_string().decode(), expected)

    def test_status_strings_are_the_names(self) -> None:
        library = support.library()
        for name, value in library.constants.items():
            if name.startswith("FTK_ERROR_") or name in ("FTK_OK", "FTK_WOULD_BLOCK", "FTK_TRUNCATED"):
                self.assertEqual(library.status_string(value).decode(), name)
        for unknown in (-13, -17, 3, 2**31 - 1, -(2**31)):
            self.assertTrue(library.status_string(unknown).decode())


if __name__ == "__main__":
    unittest.main()
