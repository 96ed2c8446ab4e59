"""No file aborts the process: each opens or is refused with the right status and a text that says what and where."""

from __future__ import annotations

import unittest

import children
import support


class FileTests(children.CasesTest):
    def test_gguf_files(self) -> None:
        self.run_cases("cases_gguf")

    def test_paths_and_folders(self) -> None:
        self.run_cases("cases_folder")
        support.shared_data("models/pair/draft")  # without it only the paths were tried: say so

    def test_weights_and_drafts(self) -> None:
        self.run_cases("cases_weights")
        support.shared_data("models/stories260k")


if __name__ == "__main__":
    unittest.main()
