"""The command `ftk bench overhead` on the bundled pair: what it reports, and which steps it compares with bare passes."""

from __future__ import annotations

import json
import subprocess
import unittest

import support

ENGINES = ["unconfigured", "again", "off"]
FIGURES = {"policy", "concurrency", "steps", "us_median", "ratio", "ratio_from", "ratio_to"}
SHORT = ["def add(a, b):\n    return a + b\n\n\ndef", "import os\n\n\nclass Path:\n    def __init__(self, name):\n"]
LONG = "for index in range(10):\n    print(index)\n" * 60


class BenchOverheadTests(support.ScratchCase):
    def bench(self, prompts: list[str], *more: str) -> subprocess.CompletedProcess[str]:
        file = self.scratch / "prompts.jsonl"
        file.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
        ftk = str(support.prefix() / "bin" / "ftk")
        fixed = ["-m", support.TARGET, "-d", support.DRAFT, "--prompts", str(file), "--steps", "12"]
        return support.run([ftk, "bench", "overhead", *fixed, *more])

    def cells(self, prompts: list[str], *more: str) -> dict[tuple[str, int], dict]:
        result = self.bench(prompts, *more, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return {(cell["policy"], cell["concurrency"]): cell for cell in json.loads(result.stdout)["cells"]}

    def test_every_row_has_its_figures(self) -> None:
        cells = self.cells(SHORT, "--concurrency", "1,3", "-n", "6")
        self.assertEqual(list(cells), [(name, level) for level in (1, 3) for name in [*ENGINES, "pass"]])
        for (name, _), cell in cells.items():
            self.assertEqual(set(cell), FIGURES | {"context_mean" if name == "pass" else "scheduling_us"})
            self.assertGreater(cell["us_median"], 0)
            self.assertTrue(0 < cell["ratio_from"] <= cell["ratio"] <= cell["ratio_to"], cell)
        table = self.bench(SHORT, "--concurrency", "1,3", "-n", "6").stdout.splitlines()
        self.assertEqual([(row.split()[0], int(row.split()[1])) for row in table[-8:]], list(cells))

    def test_passes_are_compared_where_all_requests_decode(self) -> None:
        """Short prompts take one step together, and the five later ones decode. A prompt of 506 tokens takes three steps,
        in which the short one decodes already: three are left to both, and two more to the long one."""
        for prompts, share in ((SHORT, 5 / 6), ([SHORT[0], LONG], 3 / 8)):
            with self.subTest(prompts):
                cells = self.cells(prompts, "--concurrency", "2", "-n", "6")
                self.assertEqual(len({cells[name, 2]["steps"] for name in ENGINES}), 1)
                self.assertAlmostEqual(cells["pass", 2]["steps"] / cells["unconfigured", 2]["steps"], share)

    def test_passes_are_as_far_as_the_requests(self) -> None:
        """The first is made with the prompt in the cache, so that their mean grows by half a token for each more."""
        means = [
            self.cells(SHORT[:1], "--concurrency", "2", "-n", count)["pass", 2]["context_mean"] for count in ("6", "10")
        ]
        self.assertAlmostEqual(means[1] - means[0], 2)

    def test_without_a_common_step_there_is_no_pass(self) -> None:
        result = self.bench(SHORT, "--concurrency", "2", "-n", "1", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual([cell["policy"] for cell in json.loads(result.stdout)["cells"]], ENGINES)
        self.assertIn("At no time did all of 2 requests decode", result.stderr)

    def test_bad_options_are_named(self) -> None:
        for words, *options in (
            ("--steps and -n must be above 0", "--steps", "0"),
            ('--concurrency: "0" is not a number from 1 to 256', "--concurrency", "0"),
            ("leaves no room for a prompt", "-n", "5000"),
        ):
            result = self.bench(SHORT, *options)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(words, result.stderr)


if __name__ == "__main__":
    unittest.main()
