"""The examples do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unittest

from common import ROOT, foretoken

PACKAGE = ROOT / "bindings" / "python"


class ExampleTests(unittest.TestCase):
    def run_example(self, name: str, *arguments: str) -> str:
        command = [sys.executable, "-W", "error", str(PACKAGE / "examples" / name), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, "")
        return result.stdout

    def test_sixty_four_streams_and_a_heartbeat(self) -> None:
        for arguments in ([], [foretoken.bundled("draft")]):
            output = self.run_example("streams.py", *arguments)
            found = re.fullmatch(
                r"(\d+) of 64 streams finished in [\d.]+ s, (\d+) characters\n(\d+) heartbeats, .*\n", output
            )
            assert found is not None, output
            finished, characters, heartbeats = (int(text) for text in found.groups())
            self.assertEqual(finished, 64)
            self.assertGreater(characters, 64 * 16)
            # A stream that blocked the loop until it ends would leave room for none.
            self.assertGreater(heartbeats, 2)

    def test_speculation_shrinks_as_the_load_of_a_simulated_engine_grows(self) -> None:
        output = self.run_example("simulated_engine.py")
        self.assertEqual(output, self.run_example("simulated_engine.py"))
        rows = [[float(cell) for cell in line.split()] for line in output.splitlines()[2:]]
        self.assertEqual([row[0] for row in rows], [1, 2, 4, 8, 16, 32, 64])
        lengths = [row[1] for row in rows]
        self.assertGreater(lengths[0], 3)
        self.assertLess(lengths[-1], 0.5)
        self.assertEqual(lengths, sorted(lengths, reverse=True))
        # It is worth it where it is done, and costs next to nothing where it is not.
        self.assertGreater(rows[0][2], 1.5 * rows[0][3])
        for _, _, rate, plain in rows:
            self.assertGreater(rate, 0.97 * plain)
        fixed = self.run_example("simulated_engine.py", "static").splitlines()
        self.assertLess(float(fixed[-1].split()[2]), rows[-1][2])

    def test_own_drafts_save_passes(self) -> None:
        last = self.run_example("own_drafts.py").splitlines()[-1]
        found = re.fullmatch(r"96 tokens: (\d+) passes alone, (\d+) with the old completion as a draft", last)
        assert found is not None, last
        self.assertLess(int(found[2]), 0.6 * int(found[1]))


if __name__ == "__main__":
    unittest.main()
