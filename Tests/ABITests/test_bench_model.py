"""The command `ftk bench model` on the bundled target: what it reports."""

from __future__ import annotations

import json
import subprocess
import unittest

import support

REPORT = {
    "machine", "isa", "threads", "commit", "activations", "separate", "read_bandwidth_gb_s", "weights_bytes",
    "resident_bytes", "load_ms", "decode", "prefill",
}  # fmt: skip
DECODE = {"rows", "context", "us_median", "us_spread", "tokens_per_s", "bandwidth_share"}


class BenchModelTests(support.ScratchCase):
    def bench(self, *more: str) -> subprocess.CompletedProcess[str]:
        ftk = str(support.prefix() / "bin" / "ftk")
        return support.run([ftk, "bench", "model", "-m", support.TARGET, "--repeats", "2", *more])

    def report(self, *more: str) -> dict:
        result = self.bench(*more, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_every_shape_has_its_figures(self) -> None:
        for separate in (False, True):
            flag = ["--separate"] if separate else []
            report = self.report("--rows", "1,5", "--context", "0,70", "--prefill", "9", *flag)
            self.assertEqual(set(report), REPORT)
            self.assertIs(report["separate"], separate)
            shapes = [(cell["rows"], cell["context"]) for cell in report["decode"]]
            self.assertEqual(shapes, [(1, 0), (5, 0), (1, 70), (5, 70)])
            for cell in report["decode"]:
                self.assertEqual(set(cell), DECODE)
                self.assertGreater(cell["us_median"], 0)
                self.assertAlmostEqual(cell["tokens_per_s"], cell["rows"] / cell["us_median"] * 1e6, delta=1)
            self.assertEqual([cell["rows"] for cell in report["prefill"]], [9])

    def test_a_table_for_people(self) -> None:
        lines = self.bench("--rows", "1,2", "--prefill", "0").stdout.splitlines()
        self.assertEqual([row.split()[:2] for row in lines[-2:]], [["1", "0"], ["2", "0"]])

    def test_bad_shapes_are_refused(self) -> None:
        cases = {
            "--rows=0": '--rows: "0"',
            "--rows=x": '--rows: "x"',
            "--context=-1": '--context: "-1"',
            "--prefill=9000": "--prefill from 0 to 8192",
            "--prefill=-5": "--prefill from 0 to 8192",
            "--repeats=0": "--repeats must be above 0",
        }
        for option, message in cases.items():
            result = self.bench(option)
            self.assertNotEqual(result.returncode, 0, option)
            self.assertIn(message, result.stderr)


if __name__ == "__main__":
    unittest.main()
