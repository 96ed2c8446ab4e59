"""The command `ftk bench policies` on the bundled pair: what it reports, resumes and refuses."""

from __future__ import annotations

import json
import subprocess
import unittest

import support

PROMPTS = [
    {"prompt": "def add(a, b):\n    return a + b\n\n\ndef", "category": "code"},
    {"prompt": "import os\n\n\nclass Path:\n    def __init__(self, name):\n", "category": "code"},
    {"prompt": "for index in range(10):\n    print(index)\n" * 60, "category": "long"},
]
FIGURES = {
    "policy", "concurrency", "tokens_per_s", "spread", "tokens_per_pass", "drafted", "accepted", "draft_us",
    "verify_us", "step_us", "steps", "control_us_per_step", "latency_us_mean", "running_mean", "ratio_to_unconfigured",
}  # fmt: skip


class BenchPoliciesTests(support.ScratchCase):
    def setUp(self) -> None:
        super().setUp()
        self.prompts = self.scratch / "prompts.jsonl"
        self.prompts.write_text("".join(json.dumps(entry) + "\n" for entry in PROMPTS))
        self.kept = self.scratch / "cells.jsonl"

    def bench(self, *more: str) -> subprocess.CompletedProcess[str]:
        """Later options win over those that are set here; an empty one takes an option away."""
        ftk = str(support.prefix() / "bin" / "ftk")
        options = {"--prompts": str(self.prompts), "-n": "6", "--requests": "4", "--repeats": "1", "-d": support.DRAFT}
        options |= {"--concurrency": "1,2", "--policies": "off,static:2", "-m": support.TARGET}
        pairs = list(more)
        while pairs and pairs[0] != "--json":
            name, value, *pairs = pairs
            options[name] = value
        words = [word for name, value in options.items() if value for word in (name, value)]
        return support.run([ftk, "bench", "policies", *words, *pairs])

    def report(self, *more: str) -> dict:
        result = self.bench(*more, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def refused(self, words: str, *more: str) -> None:
        result = self.bench(*more)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(words, result.stderr)

    def test_every_cell_has_its_figures(self) -> None:
        report = self.report()
        self.assertEqual(report["model"], support.TARGET)
        self.assertEqual(report["draft"], support.DRAFT)
        cells = report["cells"]
        arms = ["unconfigured", "off", "static:2"]
        found = [(cell["policy"], cell["concurrency"]) for cell in cells]
        self.assertEqual(found, [(arm, level) for level in (1, 2) for arm in arms])
        for cell in cells:
            self.assertEqual(set(cell), FIGURES)
            self.assertGreater(cell["tokens_per_s"], 0)
            self.assertGreater(cell["running_mean"], 0)
            self.assertLessEqual(cell["accepted"], cell["drafted"])
            self.assertEqual(cell["drafted"] > 0, cell["policy"] == "static:2")
            self.assertEqual(cell["tokens_per_pass"] > 1, cell["policy"] == "static:2")
            self.assertEqual(cell["draft_us"] > 0, cell["policy"] == "static:2")
            self.assertLessEqual(cell["draft_us"] + cell["verify_us"], cell["step_us"])
            self.assertGreater(cell["ratio_to_unconfigured"], 0)
            if cell["policy"] == "unconfigured":
                self.assertEqual(cell["ratio_to_unconfigured"], 1)

    def test_one_cell_does_the_same_work_in_every_arm(self) -> None:
        """At a time of one, an arm without drafts takes a step for each token."""
        cells = self.report("--policies", "again,off", "--concurrency", "1", "--repeats", "2")["cells"]
        self.assertEqual([cell["policy"] for cell in cells], ["unconfigured", "again", "off"])
        self.assertEqual(len({cell["steps"] for cell in cells}), 1)
        self.assertGreaterEqual(cells[0]["steps"], 2 * 4 * 6)

    def test_every_policy_gives_the_same_texts_with_a_temperature(self) -> None:
        policies = "static,smartspec,turbospec:3,adaspec,goodput"
        for drafter in ("lookup", "suffix", "model"):
            with self.subTest(drafter):
                report = self.report("--policies", policies, "--concurrency", "2", "--temp", "0.8", "--drafter", drafter)
                self.assertEqual(report["policies"], "unconfigured," + policies)
                self.assertEqual(report["drafter"], drafter)

    def test_a_later_run_goes_on(self) -> None:
        first = self.report("--concurrency", "2", "--resume", str(self.kept))["cells"]
        lines = self.kept.read_text().splitlines()
        self.assertEqual([json.loads(line) for line in lines[1:]], first)
        both = self.report("--resume", str(self.kept))["cells"]
        self.assertEqual(both[3:], first)  # measured once: times never come out the same twice
        self.assertEqual(self.kept.read_text().splitlines()[: len(lines)], lines)
        self.assertEqual(self.report("--resume", str(self.kept))["cells"], both)
        table = self.bench("--resume", str(self.kept)).stdout.splitlines()
        self.assertEqual([row.split()[:2] for row in table[-6:]], [[c["policy"], str(c["concurrency"])] for c in both])

    def test_files_of_other_runs_are_refused(self) -> None:
        self.report("--concurrency", "1", "--resume", str(self.kept))
        before = self.kept.read_bytes()
        resume = ("--resume", str(self.kept))
        self.refused("was measured with n = 6, but this run has 5", *resume, "-n", "5")
        self.refused("was measured with policies = unconfigured,off,static:2", *resume, "--policies", "off")
        self.refused("was measured with temperature = 0, but this run has 0.5", *resume, "--temp", "0.5")
        self.refused("was measured with model = ", *resume, "-m", support.DRAFT)
        self.assertEqual(self.kept.read_bytes(), before)

    def test_files_of_other_kinds_are_refused(self) -> None:
        for content, words in (
            ("a list\n", "line 1: JSON"),
            ('{"machine": 4}\n', "was measured with machine = 4"),
            ("{}\n", "is not a file of this command: its first line has no machine"),
        ):
            self.kept.write_text(content)
            self.refused(words, "--resume", str(self.kept))
            self.assertEqual(self.kept.read_text(), content)
        self.kept.unlink()
        self.report("--concurrency", "1", "--resume", str(self.kept))
        with self.kept.open("a") as file:
            file.write('{"policy": "off", "concurrency": 2}\n')
        self.refused("line 5 is not a measured cell", "--resume", str(self.kept))

    def test_bad_options_are_named(self) -> None:
        for words, *options in (
            ('--policies: "fast" is none of', "--policies", "off,fast"),
            ('--policies: "static:0" needs a length from 1 to 16', "--policies", "static:0"),
            ('--policies: "static:" needs a length', "--policies", "static:"),
            ('--policies: "off:2" is none of', "--policies", "off:2"),
            ("--policies names static:2 twice", "--policies", "static:2,static:2"),
            ('--concurrency: "0" is not a number from 1 to 256', "--concurrency", "0"),
            ("--concurrency names 2 twice", "--concurrency", "2,2"),
            ("--repeats, --requests and -n must be above 0", "--repeats", "0"),
            ("--repeats, --requests and -n must be above 0", "--requests", "0"),
            ("-n is 512, which leaves no room for a prompt", "-n", "512"),
            ("holds no prompt of category prose", "--category", "prose"),
            ("cannot open", "--prompts", str(self.scratch / "none.jsonl")),
        ):
            with self.subTest(options):
                self.refused(words, *options)

    def test_bad_prompts_are_named(self) -> None:
        for content, words in (
            ("\n", "holds no prompt"),
            ('{"prompt": "a"}\n{"text": "b"}\n', 'line 2 has no text "prompt"'),
            ('{"prompt": "a"}\n\n{"prompt"\n', "line 3: JSON"),
        ):
            self.prompts.write_text(content)
            self.refused(words)

    def test_a_draft_model_is_not_invented(self) -> None:
        self.refused("draft_model is not given", "--drafter", "model", "-d", "")
        self.assertIsNone(self.report("--policies", "goodput", "--concurrency", "1", "-d", "")["draft"])


if __name__ == "__main__":
    unittest.main()
