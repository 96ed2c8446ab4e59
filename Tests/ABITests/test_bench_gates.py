"""The command `ftk bench gates`: what it measures and judges, and how it ends."""

from __future__ import annotations

import json
import subprocess
import unittest
from pathlib import Path
from typing import Any

import support


def cell(policy: str, load: int, rate: float, spread: float = 0.0, **more: float) -> dict[str, Any]:
    figures = {
        "tokens_per_s": rate, "spread": spread, "tokens_per_pass": 1, "drafted": 0, "accepted": 0, "draft_us": 0,
        "verify_us": 0, "step_us": 1, "steps": 1, "control_us_per_step": 0, "latency_us_mean": 1, "running_mean": 1,
        "ratio_to_unconfigured": rate / 100,
    }  # fmt: skip
    return {"policy": policy, "concurrency": load, **figures, **more}


class BenchGatesTests(support.ScratchCase):
    def gates(self, *options: str) -> subprocess.CompletedProcess[str]:
        return support.run([str(support.prefix() / "bin" / "ftk"), "bench", "gates", *options])

    def measured(self, *cells: dict[str, Any]) -> Path:
        file = self.scratch / f"measured{len(list(self.scratch.iterdir()))}.json"
        file.write_text(json.dumps({"machine": "m", "cells": list(cells)}))
        return file

    def judged(self, *cells: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
        result = self.gates("--only", "none", "--measured", str(self.measured(*cells)), "--json")
        return result.returncode, json.loads(result.stdout)

    def test_gates_on_virtual_time(self) -> None:
        result = self.gates("--only", "perfect drafter,change of load")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        lines = result.stdout.splitlines()
        self.assertTrue(lines[0].startswith("pass  perfect drafter: 6 of 6"), lines)
        self.assertRegex(lines[1], r"tightest: [\d.]+ >= [\d.]+, margin [\d.]+, ")
        self.assertTrue(lines[2].startswith("pass  change of load: 2 of 2"), lines)
        self.assertEqual(lines[-1], "all gates hold")

    def test_measured_cells_are_judged_by_load(self) -> None:
        status, (best, published) = self.judged(
            cell("unconfigured", 1, 100), cell("static:2", 1, 150), cell("turbospec", 1, 149), cell("goodput", 1, 149),
            cell("unconfigured", 8, 100), cell("static:2", 8, 80), cell("turbospec", 8, 99), cell("goodput", 8, 99),
        )  # fmt: skip
        self.assertEqual(status, 0)
        self.assertEqual([round(gate["value"], 4) for gate in best["gates"]], [0.9933, 0.99])
        self.assertEqual([gate["value"] for gate in published["gates"]], [1, 1])
        self.assertEqual(published["gates"][0]["bound"], 1)

    def test_a_loss_beyond_the_noise_fails(self) -> None:
        cells = [cell("unconfigured", 1, 100), cell("adaspec", 1, 90), cell("goodput", 1, 95)]
        status, (best, published) = self.judged(*cells)
        self.assertEqual((status, best["passed"], published["passed"]), (1, False, True))
        self.assertAlmostEqual(best["gates"][0]["margin"], -0.03)
        # Another run of the same arm was 4% off.
        status, (best, _) = self.judged(*cells, cell("again", 1, 96))
        self.assertEqual((status, best["passed"]), (0, True))
        # So were the rounds of each arm.
        noisy = [dict(one, spread=0.04) for one in cells]
        self.assertEqual(self.judged(*noisy)[0], 0)

    def test_a_failure_is_named(self) -> None:
        file = self.measured(cell("unconfigured", 4, 100), cell("goodput", 4, 50))
        result = self.gates("--only", "none", "--measured", str(file))
        self.assertEqual(result.returncode, 1)
        self.assertIn("FAIL  measured: 0 of 1", result.stdout)
        self.assertIn("0.5000 >= 0.9800, margin -0.4800, 4 at a time, against unconfigured", result.stdout)

    def test_bad_input_is_named(self) -> None:
        text = self.scratch / "text.json"
        text.write_text("[")
        for options, message in (
            (["--only", "grid,best"], 'no gates are called "best"'),
            (["--only", "none", "--measured", str(self.scratch / "missing.json")], "missing.json"),
            (["--only", "none", "--measured", str(text)], f"{text}: JSON"),
            (["--only", "none", "--measured", str(self.measured(cell("off", 1, 1)))], "has no arm goodput"),
            (["--only", "none", "--measured", str(self.measured({"policy": "goodput"}))], "is not what ftk bench"),
        ):
            result = self.gates(*options)
            self.assertEqual(result.returncode, 1, options)
            self.assertIn(message, result.stderr)


if __name__ == "__main__":
    unittest.main()
