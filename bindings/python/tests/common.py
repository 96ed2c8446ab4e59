"""What the tests share."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "bindings" / "python"))

import foretoken

PROMPT = "import os\n\n\ndef main():\n"


class ModelCase(unittest.TestCase):
    """A test case with the bundled target, loaded once for all of its tests."""

    model: foretoken.Model

    @classmethod
    def setUpClass(cls) -> None:
        cls.model = foretoken.Model(foretoken.bundled("target"))
        cls.addClassCleanup(cls.model.close)

    def engine(self, draft: foretoken.Model | None = None, **options: object) -> foretoken.Engine:
        """An engine that ends with the test."""
        engine = foretoken.Engine(self.model, draft, **options)
        self.addCleanup(engine.close)
        return engine

    def expected(self, prompt: str = PROMPT, **options: object) -> str:
        """The text of a request alone on a plain engine."""
        with foretoken.Engine(self.model, background=False) as engine:
            return engine.generate(prompt, **options).text
