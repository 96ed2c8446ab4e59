"""Models, tokenizers, chat templates and memory plans."""

from __future__ import annotations

import unittest
from pathlib import Path

from common import ModelCase, foretoken

TEXTS = ["", "def main():\n    return 1\n", "naïve café", "日本語とemoji 🙂🙃", "a\0b", " \t\n\r\n  x", "<|endoftext|>"]
CONVERSATION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi <|im_end|> there"}]


class ModelTests(ModelCase):
    def test_info(self) -> None:
        info = self.model.info
        self.assertEqual((info.architecture, info.quantization), ("llama", "Q8_0"))
        self.assertEqual((info.layers, info.attention_heads, info.kv_heads, info.head_dimension), (6, 4, 2, 64))
        self.assertEqual((info.vocabulary_size, info.parameters), (4096, 5_475_584))
        self.assertIs(info.has_chat_template, False)
        self.assertGreater(info.weights_bytes, 5_000_000)
        with self.assertRaises(AttributeError):
            info.layers = 7  # type: ignore[misc]

    def test_progress(self) -> None:
        seen: list[tuple[int, int]] = []
        foretoken.Model(foretoken.bundled("draft"), threads=1, progress=lambda *step: seen.append(step)).close()
        self.assertGreater(len(seen), 0)
        self.assertTrue(all(0 <= done <= total for done, total in seen))

    def test_progress_cancels(self) -> None:
        with self.assertRaises(foretoken.CancelledError):
            foretoken.Model(foretoken.bundled("draft"), progress=lambda done, total: True)

    def test_an_exception_in_progress_comes_out(self) -> None:
        def progress(done: int, total: int) -> None:
            raise KeyError("mine")

        with self.assertRaisesRegex(KeyError, "mine"):
            foretoken.Model(foretoken.bundled("draft"), progress=progress)

    def test_a_closed_model_says_so(self) -> None:
        model = foretoken.Model(foretoken.bundled("draft"))
        tokenizer = model.tokenizer
        with model:
            pass
        model.close()
        with self.assertRaisesRegex(foretoken.WrongStateError, "model is closed"):
            foretoken.Engine(model)
        self.assertEqual(tokenizer.decode(tokenizer.encode("still here")), "still here")

    def test_an_engine_keeps_its_model(self) -> None:
        with foretoken.Model(foretoken.bundled("draft")) as model:
            engine = foretoken.Engine(model)
        with engine:
            self.assertEqual(len(engine.generate("x", max_tokens=3, ignore_eos=True).tokens), 3)

    def test_a_draft_of_its_own(self) -> None:
        seen: list[tuple[int, int]] = []
        with self.model.make_draft(threads=2, progress=lambda *step: seen.append(step)) as draft:
            self.assertEqual(seen[-1], (draft.info.weights_bytes, draft.info.weights_bytes))
            self.assertEqual((draft.info.quantization, draft.info.parameters), ("Q4_0", self.model.info.parameters))
            self.assertLess(draft.info.weights_bytes, 0.6 * self.model.info.weights_bytes)
            plan = foretoken.memory_plan(foretoken.bundled("target"), draft=foretoken.SELF_DRAFT)
            self.assertEqual(plan.draft_weights_bytes, draft.info.weights_bytes)
            options = {"max_tokens": 40, "temperature": 0, "ignore_eos": True}
            with foretoken.Engine(self.model, draft, policy="static") as engine:
                drafted = engine.generate("def main():\n", **options)
                plain = engine.generate("def main():\n", speculation="off", **options)
            self.assertEqual(drafted.tokens, plain.tokens)
            self.assertGreater(drafted.stats.accepted_tokens, 0.4 * drafted.stats.draft_tokens)
            with self.assertRaisesRegex(foretoken.UnsupportedQuantizationError, "would read"):
                draft.make_draft()
        with self.assertRaises(foretoken.CancelledError):
            self.model.make_draft(progress=lambda done, total: True)

    def test_bundled(self) -> None:
        self.assertTrue(foretoken.bundled("target").exists() and foretoken.bundled("draft").exists())
        with self.assertRaisesRegex(foretoken.NotFoundError, '"target" and "draft"'):
            foretoken.bundled("other")

    def test_memory_plan(self) -> None:
        alone = foretoken.memory_plan(foretoken.bundled("target"))
        both = foretoken.memory_plan(foretoken.bundled("target"), foretoken.bundled("draft"), kv="f32", threads=1)
        self.assertEqual(alone.draft_weights_bytes, 0)
        self.assertGreater(both.draft_weights_bytes, 1_000_000)
        self.assertGreater(both.kv_bytes_per_token, alone.kv_bytes_per_token)
        self.assertGreater(both.peak_bytes, both.target_weights_bytes + both.draft_weights_bytes)
        small = foretoken.memory_plan(foretoken.bundled("target"), kv_budget_bytes=1 << 20)
        self.assertLessEqual(small.kv_budget_bytes, 1 << 20)
        with self.assertRaisesRegex(TypeError, "kv_budget_bytes"):
            foretoken.memory_plan(foretoken.bundled("target"), kv_budget=1)


class TokenizerTests(ModelCase):
    def test_round_trips(self) -> None:
        tokenizer = self.model.tokenizer
        for text in TEXTS:
            self.assertEqual(tokenizer.decode(tokenizer.encode(text)), text)

    def test_special_tokens(self) -> None:
        tokenizer = self.model.tokenizer
        info = tokenizer.info
        self.assertEqual((info.bos_token, info.eos_token, info.adds_bos, info.adds_eos), (0, 0, True, False))
        self.assertEqual(tokenizer.encode("x", add_special=True), [0, *tokenizer.encode("x")])
        self.assertEqual(tokenizer.encode("<|endoftext|>", parse_special=True), [0])
        self.assertNotIn(0, tokenizer.encode("<|endoftext|>"))
        self.assertEqual(tokenizer.decode([0, *tokenizer.encode("x")], skip_special=True), "x")
        self.assertEqual(tokenizer.token_text(0), "<|endoftext|>")

    def test_open_reads_the_same_tokenizer(self) -> None:
        with foretoken.Tokenizer.open(foretoken.bundled("draft")) as other:
            for text in TEXTS:
                self.assertEqual(other.encode(text), self.model.tokenizer.encode(text))

    def test_stream_decoder_never_splits_a_code_point(self) -> None:
        tokenizer = self.model.tokenizer
        for text in TEXTS:
            decoder = tokenizer.decoder()
            pieces = [decoder.push(token) for token in tokenizer.encode(text)]
            self.assertNotIn("\ufffd", "".join(pieces))
            self.assertEqual("".join(pieces) + decoder.finish(), text)
            decoder.close()

    def test_unfinished_code_points_become_replacement_characters(self) -> None:
        tokenizer = self.model.tokenizer
        decoder, half = tokenizer.decoder(), tokenizer.encode("🙂")[:1]
        self.assertEqual(decoder.push(half[0]), "")
        self.assertIn("\ufffd", decoder.finish())
        self.assertIn("\ufffd", tokenizer.decode(half))
        self.assertEqual(decoder.finish(), "")

    def test_long_texts_need_more_than_the_first_buffer(self) -> None:
        text = "x = 1\n" * 5000
        tokenizer = self.model.tokenizer
        self.assertEqual(tokenizer.decode(tokenizer.encode(text)), text)

    def test_chat_templates(self) -> None:
        tokenizer = self.model.tokenizer
        text = tokenizer.apply_chat_template(CONVERSATION, template="chatml")
        self.assertEqual(
            text,
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi <|im_end|> there<|im_end|>\n"
            "<|im_start|>assistant\n",
        )
        shorter = tokenizer.apply_chat_template(CONVERSATION, "chatml", add_generation_prompt=False)
        self.assertEqual(shorter + "<|im_start|>assistant\n", text)
        source = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        rendered = tokenizer.apply_chat_template(CONVERSATION, source)
        self.assertEqual(rendered, "system: Be brief.\nuser: Hi <|im_end|> there\n")
        tokens = tokenizer.encode_chat(CONVERSATION, "chatml")
        self.assertEqual(tokens[0], tokenizer.info.bos_token)  # which this template leaves to the tokenizer
        self.assertEqual(tokenizer.decode(tokens[1:]), text)

    def test_messages_cannot_smuggle_special_tokens(self) -> None:
        source = "{% for m in messages %}{{ m.content }}{% endfor %}"
        tokenizer = self.model.tokenizer
        tokens = tokenizer.encode_chat([{"role": "user", "content": "a<|endoftext|>b"}], source)
        self.assertEqual(tokens.index(0), 0)
        self.assertNotIn(0, tokens[1:])
        self.assertEqual(tokenizer.decode(tokens[1:]), "a<|endoftext|>b")

    def test_errors_name_what_is_wrong(self) -> None:
        tokenizer = self.model.tokenizer
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, "4096"):
            tokenizer.decode([4096])
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, r"tokens\[1\]"):
            tokenizer.decode([1, 2**40])
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, "NUL"):
            tokenizer.encode_chat([{"role": "user", "content": "a\0b"}], "chatml")
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, r"messages\[0\].*role and content"):
            tokenizer.encode_chat([{"role": "user"}], "chatml")
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, "Unicode"):
            tokenizer.encode("\ud800")
        with self.assertRaises(foretoken.ForetokenError):
            tokenizer.apply_chat_template(CONVERSATION)  # this model has no template of its own
        with self.assertRaises(foretoken.ForetokenError):
            tokenizer.apply_chat_template(CONVERSATION, "{% for")


class OpenErrorTests(unittest.TestCase):
    def test_missing_file(self) -> None:
        with self.assertRaises(foretoken.FileAccessError) as caught:
            foretoken.Model("/no/such/model.gguf")
        self.assertIn("/no/such/model.gguf", str(caught.exception))
        self.assertEqual(caught.exception.status, -3)
        self.assertIsInstance(caught.exception, foretoken.ForetokenError)

    def test_not_a_model(self) -> None:
        with self.assertRaisesRegex(foretoken.CorruptFileError, "test_model.py"):
            foretoken.Model(Path(__file__))
        with self.assertRaisesRegex(foretoken.CorruptFileError, "test_model.py"):
            foretoken.Tokenizer.open(__file__)

    def test_wrong_arguments(self) -> None:
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, "threads"):
            foretoken.Model(foretoken.bundled("draft"), threads=-1)
        with self.assertRaisesRegex(ValueError, "threads"):
            foretoken.Model(foretoken.bundled("draft"), threads=100000)
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, "NUL"):
            foretoken.Model("a\0b")


if __name__ == "__main__":
    unittest.main()
