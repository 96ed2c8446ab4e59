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


if __name__ == "__main__":
    unittest.main()
