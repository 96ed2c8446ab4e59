"""The wheel: what is in it, that two builds agree, and that it installs and generates by itself."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
import unittest
import zipfile
from email.parser import Parser
from pathlib import Path

from common import ROOT, foretoken

from foretoken._library import library

PYTHON = ROOT / "bindings" / "python"
sys.path.append(str(PYTHON))

import build_wheel

PROGRAM = """
import foretoken
from foretoken._library import library
with foretoken.Model(foretoken.bundled("target")) as model, foretoken.Engine(model) as engine:
    print(library()._name)
    print(engine.generate("def main():", max_tokens=8, temperature=0, ignore_eos=True).tokens)
"""


class WheelTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory(prefix="foretoken-wheel-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.library = Path(library()._name).resolve()
        cls.wheel = build_wheel.build(cls.library, cls.folder / "one")
        cls.archive = zipfile.ZipFile(cls.wheel)
        cls.addClassCleanup(cls.archive.close)

    def read(self, name: str) -> bytes:
        return self.archive.read(name)

    def test_name(self) -> None:
        self.assertRegex(self.wheel.name, r"^foretoken-0\.1\.0-py3-none-manylinux_2_\d+_x86_64\.whl$")
        self.assertIn(
            f"Tag: {self.wheel.stem.split('-', 2)[2]}\n", self.read("foretoken-0.1.0.dist-info/WHEEL").decode()
        )

    def test_record(self) -> None:
        rows = list(csv.reader(io.StringIO(self.read("foretoken-0.1.0.dist-info/RECORD").decode())))
        self.assertEqual([row[0] for row in rows], self.archive.namelist())
        for name, digest, size in rows[:-1]:
            data = self.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            self.assertEqual((digest, size), (f"sha256={expected}", str(len(data))), name)
        self.assertEqual(rows[-1], ["foretoken-0.1.0.dist-info/RECORD", "", ""])

    def test_contents(self) -> None:
        names = set(self.archive.namelist())
        self.assertLessEqual(
            {
                "foretoken/py.typed",
                "foretoken/lib/libforetoken.so.0",
                "foretoken/models/foretoken-tiny-target-Q8_0.gguf",
                "foretoken/models/foretoken-tiny-draft-Q8_0.gguf",
                "foretoken/models/ATTRIBUTION.md",
                "foretoken-0.1.0.dist-info/licenses/LICENSE",
            },
            names,
        )
        sources = {f"foretoken/{path.name}" for path in (PYTHON / "foretoken").glob("*.py")}
        self.assertEqual({name for name in names if name.endswith(".py")}, sources)
        self.assertFalse(any("__pycache__" in name for name in names))
        self.assertEqual(self.read("foretoken/lib/libforetoken.so.0"), self.library.read_bytes())
        self.assertEqual(self.read("foretoken-0.1.0.dist-info/licenses/LICENSE"), (ROOT / "LICENSE").read_bytes())

    def test_two_builds_agree(self) -> None:
        again = build_wheel.build(self.library, self.folder / "two")
        self.assertEqual(again.read_bytes(), self.wheel.read_bytes())

    def test_metadata_agrees_with_pyproject(self) -> None:
        metadata = Parser().parsestr(self.read("foretoken-0.1.0.dist-info/METADATA").decode())
        project = (PYTHON / "pyproject.toml").read_text(encoding="utf-8")

        def stated(pattern: str) -> str:
            found = re.search(pattern, project, re.MULTILINE)
            assert found is not None, pattern
            return found.group(1)

        self.assertEqual(metadata["Name"], stated(r'^name = "(.*)"'))
        self.assertEqual(metadata["Version"], foretoken.__version__)
        self.assertEqual(metadata["Summary"], stated(r'^description = "(.*)"'))
        self.assertEqual(metadata["Requires-Python"], stated(r'^requires-python = "(.*)"'))
        self.assertEqual(metadata["License"], stated(r'^license = \{ text = "(.*)" \}'))
        self.assertEqual(metadata["Author"], stated(r'^authors = \[\{ name = "(.*)" \}\]'))
        extra, requirement = metadata["Provides-Extra"], metadata["Requires-Dist"]
        self.assertEqual(requirement, stated(rf'^{extra} = \["(.*)"\]') + f"; extra == '{extra}'")
        for classifier in metadata.get_all("Classifier"):
            self.assertIn(f'"{classifier}"', project)
        self.assertEqual(metadata.get_payload(), (PYTHON / "README.md").read_text(encoding="utf-8"))

    def test_tags(self) -> None:
        def tag(*versions: str) -> int:
            return build_wheel.glibc_needed([("lib.so", version) for version in versions])

        self.assertEqual(tag("GLIBC_2.2.5", "GLIBC_2.14"), 17)
        self.assertEqual(tag("GLIBC_2.2.5", "GLIBC_2.34", "GLIBC_2.4"), 34)
        self.assertEqual(tag("GLIBC_2.17", "GLIBCXX_3.4.29"), 34)
        self.assertEqual(tag("GLIBC_2.35", "GLIBCXX_3.4.21", "CXXABI_1.3.9", "GCC_3.0"), 35)
        for unknown in ("GLIBC_PRIVATE", "OPENSSL_3.0.0", "GLIBCXX_3.4.99"):
            with self.assertRaisesRegex(build_wheel.WheelError, unknown):
                tag(unknown)

    def test_other_files_are_refused(self) -> None:
        for path in (Path(__file__), Path(sys.executable).resolve()):
            with self.assertRaises(build_wheel.WheelError):
                build_wheel.platform_tag(path)

    def test_installs_and_generates(self) -> None:
        environment = {k: v for k, v in os.environ.items() if k not in ("FORETOKEN_LIBRARY", "PYTHONPATH")}
        home = self.folder / "venv"

        def run(*command: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                command, check=False, capture_output=True, text=True, env=environment, cwd=self.folder
            )

        made = run(sys.executable, "-m", "venv", str(home))
        if made.returncode != 0:
            self.skipTest(f"no venv with pip here: {made.stdout}{made.stderr}")
        python = str(home / "bin" / "python")
        pip = [python, "-m", "pip", "--disable-pip-version-check"]
        installed = run(*pip, "install", "--no-index", "--no-deps", str(self.wheel))
        self.assertEqual(installed.returncode, 0, installed.stdout + installed.stderr)
        ran = run(python, "-X", "dev", "-W", "error", "-c", PROGRAM)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        loaded, tokens = ran.stdout.splitlines()
        self.assertTrue(Path(loaded).resolve().is_relative_to(home.resolve()), loaded)
        with foretoken.Model(foretoken.bundled("target")) as model, foretoken.Engine(model) as engine:
            expected = engine.generate("def main():", max_tokens=8, temperature=0, ignore_eos=True).tokens
        self.assertEqual(tokens, str(expected))
        removed = run(*pip, "uninstall", "--yes", "foretoken")
        self.assertEqual(removed.returncode, 0, removed.stderr)


if __name__ == "__main__":
    unittest.main()
