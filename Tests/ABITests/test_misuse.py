"""Every wrong argument has a negative status of its own kind and a text that names it; nothing aborts."""

from __future__ import annotations

import unittest

import children


class MisuseTests(children.CasesTest):
    def test_null_pointers(self) -> None:
        self.run_cases("cases_null")

    def test_struct_sizes(self) -> None:
        self.run_cases("cases_sizes")

    def test_engine_options(self) -> None:
        self.run_cases("cases_engine")

    def test_request_options(self) -> None:
        self.run_cases("cases_request")

    def test_controllers(self) -> None:
        self.run_cases("cases_controller")

    def test_states_and_tokenizers(self) -> None:
        self.run_cases("cases_states")


if __name__ == "__main__":
    unittest.main()
