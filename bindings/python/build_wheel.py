#!/usr/bin/env python3
"""Builds the binary wheel: the package, the tiny models and libforetoken.so.0 in one file, without pip or setuptools.

usage: build_wheel.py --library PATH --output DIR

The platform tag is the lowest manylinux that has every symbol version the library needs; a library that needs more
than manylinux promises is refused. Two builds of the same inputs give the same bytes.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import re
import struct
import sys
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LICENSE = HERE.parents[1] / "LICENSE"
PACKAGE = "foretoken"
LIBRARY = "libforetoken.so.0"

# The libraries of the manylinux policies that this one could need.
ALLOWED_LIBRARIES = {
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "librt.so.1",
    "libpthread.so.0",
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "ld-linux-x86-64.so.2",
}

# The glibc (2.X) of the oldest distributions that carry a symbol version of libstdc++ or libgcc_s.
GLIBC_OF = {
    "GLIBCXX": [
        ("3.4.19", 17),
        ("3.4.22", 24),
        ("3.4.24", 27),
        ("3.4.28", 31),
        ("3.4.29", 34),
        ("3.4.30", 35),
        ("3.4.33", 39),
    ],
    "CXXABI": [("1.3.7", 17), ("1.3.10", 24), ("1.3.11", 27), ("1.3.12", 31), ("1.3.13", 34), ("1.3.15", 39)],
    "GCC": [("4.8.0", 17), ("7.0.0", 27), ("13.0.0", 38), ("14.0.0", 39)],
}


class WheelError(Exception):
    """The wheel cannot be built; the text says why."""


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


class ELF:
    """What a 64-bit little-endian x86-64 shared object needs from others."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path.read_bytes()
        if self.data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<HH", self.data, 16) != (3, 62):
            raise WheelError(f"{path} is no shared object for x86-64")
        offset, size, count = self._at("<Q", 40), *struct.unpack_from("<HH", self.data, 58)
        self.sections = [struct.unpack_from("<IIQQQQIIQQ", self.data, offset + size * i) for i in range(count)]

    def _at(self, layout: str, offset: int) -> int:
        value: int = struct.unpack_from(layout, self.data, offset)[0]
        return value

    def _section(self, kind: int) -> tuple[int, int, int]:
        """(offset, size, offset of the linked string table) of the section of a type; sizes of 0 where absent."""
        for section in self.sections:
            if section[1] == kind:
                return section[4], section[5], self.sections[section[6]][4]
        return 0, 0, 0

    def _string(self, offset: int) -> str:
        return self.data[offset : self.data.index(b"\0", offset)].decode()

    def dynamic(self, tag: int) -> list[str]:
        """The strings of a dynamic tag: 1 NEEDED, 14 SONAME, 15 RPATH, 29 RUNPATH."""
        start, size, strings = self._section(6)
        entries = [struct.unpack_from("<QQ", self.data, start + at) for at in range(0, size, 16)]
        return [self._string(strings + value) for key, value in entries if key == tag]

    def needed_versions(self) -> list[tuple[str, str]]:
        """(library, symbol version) pairs such as ("libc.so.6", "GLIBC_2.34"), from .gnu.version_r."""
        start, size, strings = self._section(0x6FFFFFFE)
        result: list[tuple[str, str]] = []
        entry = start
        while size:
            _, count, file, first, following = struct.unpack_from("<HHIII", self.data, entry)
            version = entry + first
            for _ in range(count):
                _, _, _, name, step = struct.unpack_from("<IHHII", self.data, version)
                result.append((self._string(strings + file), self._string(strings + name)))
                version += step
            if not following:
                break
            entry += following
        return result


def glibc_needed(versions: list[tuple[str, str]]) -> int:
    """The X of the lowest glibc 2.X whose distributions have all of these symbol versions; at least 17."""
    result = 17
    for library, version in versions:
        family, _, number = version.rpartition("_")
        if family == "GLIBC" and re.fullmatch(r"2(\.\d+)+", number):
            result = max(result, numbers(number)[1])
        elif family in GLIBC_OF:
            fitting = [glibc for highest, glibc in GLIBC_OF[family] if numbers(number) <= numbers(highest)]
            if not fitting:
                raise WheelError(f"{library} is needed at {version}, which no manylinux policy has")
            result = max(result, fitting[0])
        else:
            raise WheelError(f"{library} is needed at {version}, which no manylinux policy has")
    return result


def platform_tag(library: Path) -> str:
    elf = ELF(library)
    foreign = [name for name in elf.dynamic(1) if name not in ALLOWED_LIBRARIES]
    if foreign:
        raise WheelError(f"{library} needs {', '.join(foreign)}, which manylinux does not promise; link it statically")
    if elf.dynamic(14) != [LIBRARY]:
        raise WheelError(f"{library} has the SONAME {elf.dynamic(14)}, not {LIBRARY}")
    run_paths = [path for tag in (15, 29) for path in elf.dynamic(tag) if path != "$ORIGIN"]
    if run_paths:
        raise WheelError(f"{library} has a run path to this machine ({', '.join(run_paths)}); link it without")
    return f"manylinux_2_{glibc_needed(elf.needed_versions())}_x86_64"


def package_files() -> dict[str, bytes]:
    """Archive name to contents of everything in the package but caches and a stale library."""
    files = {}
    for path in sorted((HERE / PACKAGE).rglob("*")):
        relative = path.relative_to(HERE)
        if path.is_file() and "__pycache__" not in relative.parts and relative.parts[1] != "lib":
            files[relative.as_posix()] = path.read_bytes()
    return files


def version() -> str:
    text = (HERE / PACKAGE / "_version.py").read_text(encoding="utf-8")
    match = re.search(r'__version__ = "([^"]+)"', text)
    if match is None:
        raise WheelError("foretoken/_version.py names no version")
    return match.group(1)


def metadata() -> str:
    """Core metadata; the same facts as in pyproject.toml (a test compares them)."""
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {PACKAGE}",
        f"Version: {version()}",
        "Summary: Fast text generation with large language models on CPUs",
        "Author: The Foretoken Authors",
        "License: Apache-2.0",
        "Classifier: License :: OSI Approved :: Apache Software License",
        "Classifier: Operating System :: POSIX :: Linux",
        "Classifier: Programming Language :: Python :: 3",
        "Classifier: Typing :: Typed",
        "Requires-Python: >=3.9",
        "Provides-Extra: report",
        "Requires-Dist: matplotlib>=3.7; extra == 'report'",
        "Description-Content-Type: text/markdown",
        "",
        (HERE / "README.md").read_text(encoding="utf-8"),
    ]
    return "\n".join(lines)


def record_line(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def timestamp() -> tuple[int, int, int, int, int, int]:
    """SOURCE_DATE_EPOCH, else the earliest time that zip knows."""
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "315532800"))
    moment = time.gmtime(max(epoch, 315532800))
    return (moment.tm_year, moment.tm_mon, moment.tm_mday, moment.tm_hour, moment.tm_min, moment.tm_sec)


def build(library: Path, output: Path) -> Path:
    """Writes the wheel into `output` and returns its path."""
    tag = f"py3-none-{platform_tag(library)}"
    info = f"{PACKAGE}-{version()}.dist-info"
    files = package_files()
    files[f"{PACKAGE}/lib/{LIBRARY}"] = library.read_bytes()
    files[f"{info}/licenses/LICENSE"] = LICENSE.read_bytes()
    files[f"{info}/METADATA"] = metadata().encode()
    files[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: foretoken build_wheel\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()
    )
    record = "".join(record_line(name, data) for name, data in files.items()) + f"{info}/RECORD,,\n"
    files[f"{info}/RECORD"] = record.encode()

    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{PACKAGE}-{version()}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, timestamp())
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (0o100755 if name.endswith(LIBRARY) else 0o100644) << 16
            archive.writestr(entry, data)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds the binary wheel of foretoken.")
    parser.add_argument("--library", type=Path, required=True, help="the built libforetoken.so")
    parser.add_argument("--output", type=Path, required=True, help="the folder for the wheel")
    arguments = parser.parse_args()
    try:
        print(build(arguments.library, arguments.output))
    except (WheelError, OSError) as error:
        print(f"build_wheel.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
