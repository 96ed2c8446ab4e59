"""Drafts and their verification."""

from __future__ import annotations

from typing import Any

from common import PROMPT, ModelCase, foretoken


class VerificationTests(ModelCase):
    def texts(self, verification: str | None, **engine_options: Any) -> list[list[int]]:
        engine = self.engine(background=False, policy="static", draft_tokens=2, drafter="lookup", **engine_options)
        requests = [
            engine.submit(prompt, max_tokens=24, temperature=1.0, seed=5, verification=verification)
            for prompt in (PROMPT, "x = [1, 2, 3, 1, 2, 3, 1, 2, 3")
        ]
        return [request.result().tokens for request in requests]

    def test_coupled_is_the_default(self) -> None:
        self.assertEqual(self.texts("coupled"), self.texts(None))

    def test_ratio_tests_give_other_texts_that_repeat_on_a_new_engine(self) -> None:
        for verification in ("rejection", "block"):
            with self.subTest(verification):
                texts = self.texts(verification)
                self.assertEqual([len(text) for text in texts], [24, 24])
                self.assertNotEqual(texts, self.texts("coupled"))
                self.assertEqual(texts, self.texts(verification))

    def test_greedy_texts_are_the_same(self) -> None:
        engine = self.engine()
        for verification in ("rejection", "block"):
            options = {"max_tokens": 12, "temperature": 0, "verification": verification}
            self.assertEqual(engine.generate(PROMPT, **options).text, self.expected(max_tokens=12, temperature=0))


class SpeculationTests(ModelCase):
    def test_text_never_changes(self) -> None:
        with foretoken.Model(foretoken.bundled("draft")) as draft:
            engines = {
                "off": self.engine(policy="off"),
                "lookup": self.engine(policy="static", drafter="lookup"),
                "model": self.engine(draft, policy="static", drafter="model"),
                "auto": self.engine(draft, policy="static", draft_tokens=8),
            }
        for options in (
            {"temperature": 0},
            {"temperature": 0.8, "seed": 3},
            {"temperature": 1, "top_p": 0.9, "seed": 4},
        ):
            texts = {name: engine.generate(PROMPT, max_tokens=64, **options).text for name, engine in engines.items()}
            self.assertEqual(set(texts.values()), {texts["off"]}, texts)
        self.assertEqual(engines["off"].stats().num_draft_tokens, 0)
        for name in ("lookup", "model", "auto"):
            stats = engines[name].stats()
            self.assertGreater(stats.num_accepted_tokens, 0, name)
            self.assertEqual(sum(stats.accepted_tokens_per_position), stats.num_accepted_tokens, name)
        self.assertGreater(engines["model"].stats().draft_passes, 0)

    def test_speculation_of_one_request(self) -> None:
        engine = self.engine(policy="static", drafter="lookup")
        repeated = "x = [1, 2, 3]\n" * 8
        plain = engine.generate(repeated, max_tokens=32, temperature=0, speculation="off")
        self.assertEqual(plain.stats.draft_tokens, 0)
        drafted = engine.generate(repeated, max_tokens=32, temperature=0, speculation=8)
        self.assertGreater(drafted.stats.accepted_tokens, 0)
        self.assertLess(drafted.stats.steps, plain.stats.steps)
        self.assertEqual(drafted.text, plain.text)

    def test_drafts_of_the_caller(self) -> None:
        engine = self.engine(policy="static", draft_tokens=8, background=False)
        options: dict[str, Any] = {"max_tokens": 40, "temperature": 0, "ignore_eos": True}
        plain = engine.generate(PROMPT, speculation="off", **options)
        request = engine.submit(PROMPT, **options)
        request.draft(plain.tokens)
        drafted = request.result()
        self.assertEqual(drafted.tokens, plain.tokens)
        # The prompt is in the cache, so that each step gives nine tokens, but for the last.
        self.assertEqual((drafted.stats.steps, drafted.stats.accepted_tokens), (5, 35))
        request.draft(plain.tokens)  # too late, which does no harm
        with self.assertRaisesRegex(foretoken.NotFoundError, str(request.id)):
            engine.draft(request.id, plain.tokens)

    def test_drafts_come_while_a_request_runs(self) -> None:
        engine = self.engine(policy="static", draft_tokens=4)
        options: dict[str, Any] = {"max_tokens": 40, "temperature": 0, "ignore_eos": True}
        plain = engine.generate(PROMPT, **options).tokens
        request, output = engine.submit(PROMPT, **options), []
        for chunk in request:
            output += chunk.tokens
            wrong = [token ^ 1 for token in plain[len(output) :]]
            request.draft(wrong if len(output) % 2 else plain[len(output) :], position=len(output))
        self.assertEqual(output, plain)

    def test_drafts_are_checked(self) -> None:
        engine = self.engine(background=False)
        request = engine.submit(PROMPT, n=2, max_tokens=4)
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, "sample is 2"):
            request.draft([5], sample=2)
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, r"tokens\[0\]"):
            request.draft([-1], sample=1)
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, "position"):
            request.draft([5], position=-1)
        request.draft([], sample=1)
        self.assertEqual([len(sample.tokens) for sample in request.results()], [4, 4])
