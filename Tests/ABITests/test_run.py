"""`ftk run` with several samples, explanations, and draft models with other vocabularies."""

from __future__ import annotations

import json
import subprocess
import unittest

import gguf
import support
from cases_gguf import changed


class RunTests(support.ScratchCase):
    def run_tool(self, *more: str) -> subprocess.CompletedProcess[str]:
        ftk = str(support.prefix() / "bin" / "ftk")
        return support.run([ftk, "run", "-m", support.DRAFT, "-p", "def main():", "-n", "8", "--temp", "1", *more])

    def json(self, *more: str) -> object:
        result = self.run_tool("--seed", "4", "--json", *more)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_samples_are_listed(self) -> None:
        single, samples = self.json(), self.json("--samples", "3")
        assert isinstance(single, dict) and isinstance(samples, list)
        self.assertEqual(samples[0]["text"], single["text"])
        self.assertEqual(len({sample["text"] for sample in samples}), 3)
        shown = self.run_tool("--seed", "4", "--samples", "3").stdout
        parts = [f"--- sample {index} ---\n{sample['text']}\n" for index, sample in enumerate(samples)]
        self.assertEqual(shown, "".join(parts))

    def test_steps_are_explained(self) -> None:
        result = self.run_tool("--seed", "4", "--explain")
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = result.stderr.splitlines()
        start = next(index for index, line in enumerate(lines) if line.split()[:1] == ["step"])
        rows = [line.split() for line in lines[start + 2 : -1]]
        self.assertEqual(sum(int(row[5]) for row in rows), 8, result.stderr)
        self.assertIn("total: 8 tokens in ", lines[-1])
        self.assertLessEqual(max(map(len, lines)), 100)
        self.assertEqual(result.stdout, self.run_tool("--seed", "4").stdout)

    def test_explanations_are_part_of_the_json(self) -> None:
        self.assertNotIn("explain", self.json())  # type: ignore[arg-type]
        samples = self.json("--samples", "2", "--explain")
        assert isinstance(samples, list)
        for index, sample in enumerate(samples):
            parts = [part for step in sample["explain"] for part in step["requests"]]
            self.assertEqual({part["sample"] for part in parts}, {index})
            self.assertEqual(sum(part["emitted"] for part in parts), len(sample["tokens"]))

    def test_what_a_draft_shares_is_said(self) -> None:
        file, _ = gguf.read(support.DRAFT)

        def swap(other: gguf.File) -> None:
            texts = other.metadata["tokenizer.ggml.tokens"].value
            other.metadata["tokenizer.ggml.tokens"].value = [*texts[:1234], texts[1235], texts[1234], *texts[1236:]]

        draft = self.scratch / "draft.gguf"
        draft.write_bytes(changed(file, swap))
        note = "The draft model has another vocabulary: it shares 3839 of the target's 3839 tokens"
        plain = self.run_tool("--seed", "4")
        self.assertNotIn("vocabulary", plain.stderr)
        result = self.run_tool("--seed", "4", "-d", str(draft), "--policy", "static")
        self.assertEqual((result.returncode, result.stdout), (0, plain.stdout), result.stderr)
        self.assertIn(note, result.stderr)
        fixture = support.ROOT / "Tests" / "ModelTests" / "Fixtures" / "models" / "llama2" / "model.gguf"
        result = self.run_tool("-d", str(fixture))
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("46 of the target's 3839 tokens", result.stderr)

    def test_a_draft_of_its_own(self) -> None:
        plain = self.json("--policy", "off")
        drafted = self.json("--self-draft", "--policy", "static", "--drafter", "model")
        assert isinstance(plain, dict) and isinstance(drafted, dict)
        self.assertEqual(drafted["tokens"], plain["tokens"])
        self.assertGreater(drafted["stats"]["drafted"], 0)
        both = self.run_tool("--self-draft", "-d", support.DRAFT)
        self.assertNotEqual(both.returncode, 0)
        self.assertIn("either --draft or --self-draft", both.stderr)

    def test_verification_is_chosen(self) -> None:
        drafts = ("-d", support.DRAFT, "--policy", "static")
        self.assertEqual(self.json(*drafts, "--verification", "coupled")["tokens"], self.json()["tokens"])
        for kind in ("rejection", "block"):
            found = self.json(*drafts, "--verification", kind)
            self.assertEqual(len(found["tokens"]), 8)
            self.assertGreater(found["stats"]["drafted"], 0)
            self.assertEqual(found["tokens"], self.json(*drafts, "--verification", kind)["tokens"])
            greedy = [self.json("--temp", "0", *more)["text"] for more in ((), (*drafts, "--verification", kind))]
            self.assertEqual(greedy[0], greedy[1])
        result = self.run_tool("--verification", "argmax")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("one of 'coupled', 'rejection' or 'block'", result.stderr)

    def test_impossible_numbers_are_refused(self) -> None:
        for number in ("0", "-1", "65"):
            result = self.run_tool(f"--samples={number}")
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(f"n is {number}", result.stderr)


if __name__ == "__main__":
    unittest.main()
