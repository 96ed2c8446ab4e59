"""The command `ftk bench verification` on the bundled pair: what it reports and refuses."""

from __future__ import annotations

import json
import subprocess
import unittest

import support

ARMS = ["learned", "coupled", "argmax", "rejection", "block"]
PROMPTS = ["def add(a, b):\n    return a + b\n\n\ndef", "import os\n\n\nclass Path:\n    def __init__(self, name):\n"]


class BenchVerificationTests(support.ScratchCase):
    def bench(self, *more: str) -> subprocess.CompletedProcess[str]:
        prompts = self.scratch / "prompts.jsonl"
        prompts.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS))
        ftk = str(support.prefix() / "bin" / "ftk")
        fixed = ["-m", support.TARGET, "--prompts", str(prompts), "-n", "12", "--samples", "1"]
        return support.run([ftk, "bench", "verification", *fixed, *more])

    def test_every_arm_has_its_figures(self) -> None:
        result = self.bench("-d", support.DRAFT, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        report = json.loads(result.stdout)
        self.assertEqual(report["count"], len(PROMPTS))
        self.assertEqual([arm["arm"] for arm in report["arms"]], ARMS)
        rates = {arm["arm"]: arm["tokens_per_pass"] for arm in report["arms"]}
        for arm in report["arms"]:
            self.assertTrue(1 <= arm["tokens_per_pass"] <= report["draft_length"] + 1, arm)
            self.assertTrue(0 < arm["acceptance"] < 1, arm)
            self.assertAlmostEqual(arm["to_argmax"], arm["tokens_per_pass"] - rates["argmax"])
        table = self.bench("-d", support.DRAFT).stdout.splitlines()
        self.assertEqual([row.split()[0] for row in table[-5:]], ARMS)

    def test_a_target_is_its_own_best_draft(self) -> None:
        """Under a ratio test all of it is accepted, and coupled all of it too."""
        report = json.loads(self.bench("-d", support.TARGET, "--json").stdout)
        acceptance = {arm["arm"]: arm["acceptance"] for arm in report["arms"]}
        for arm in ("coupled", "rejection", "block"):
            self.assertEqual(acceptance[arm], 1, arm)
        self.assertLess(acceptance["argmax"], 1)

    def test_bad_options_are_named(self) -> None:
        for words, *options in (
            ("-d must name a draft model",),
            ("--draft-length must be above 0", "-d", support.DRAFT, "--draft-length", "0"),
            ("leaves no room for a prompt", "-d", support.DRAFT, "-n", "5000"),
        ):
            result = self.bench(*options)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(words, result.stderr)


if __name__ == "__main__":
    unittest.main()
