"""`ftk profile`: the table of a machine, for people and for programs."""

from __future__ import annotations

import json
import subprocess

import support


class ProfileTests(support.ScratchCase):
    def profile(self, *more: str) -> subprocess.CompletedProcess[str]:
        ftk = str(support.prefix() / "bin" / "ftk")
        return support.run([ftk, "profile", "-m", support.TARGET, "--time", "0.2", "-t", "1", *more])

    def check(self, table: dict[str, object]) -> None:
        widths, base = table["widths"], table["base_us"]
        assert isinstance(widths, list) and isinstance(base, list)
        self.assertEqual(widths[:4], [1, 2, 3, 4])
        self.assertEqual(widths, sorted(set(widths)))
        self.assertEqual(len(widths), len(base))
        self.assertGreater(base[0], 0)
        self.assertEqual(base, sorted(base))
        for price in ("per_context_us", "per_attended_us"):
            self.assertGreaterEqual(table[price], 0)  # type: ignore[arg-type]

    def test_json(self) -> None:
        out = self.scratch / "table.json"
        out.write_text("what was there before", encoding="utf-8")
        result = self.profile("-d", support.DRAFT, "--json", "--out", str(out))
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        profile = json.loads(result.stdout)
        self.assertEqual(json.loads(out.read_text(encoding="utf-8")), profile)
        self.assertEqual(list(profile), ["machine", "isa", "threads", "target", "draft", "overhead_us"])
        self.assertEqual(profile["threads"], 1)
        self.check(profile["target"])
        self.check(profile["draft"])

    def test_table(self) -> None:
        result = self.profile()
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        lines = result.stdout.splitlines()
        self.assertTrue(lines[0].endswith("1 threads"), lines[0])
        self.assertTrue(lines[1].startswith("target: "), lines[1])
        self.assertEqual(lines[3].split()[::2], ["1", "1.00"])
        self.assertNotIn("draft", result.stdout)
        result = self.profile("--json")
        self.assertIsNone(json.loads(result.stdout)["draft"])

    def test_what_cannot_be(self) -> None:
        for time in ("0", "-1", "nan", "3601"):
            result = self.profile(f"--time={time}")
            self.assertNotEqual(result.returncode, 0)
            self.assertIn("--time", result.stderr)
        result = self.profile("--out", "/proc/no/table.json")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("/proc/no/table.json", result.stderr)


if __name__ == "__main__":
    support.unittest.main()
