"""Requests one at a time: results, options, errors, and the process around them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import unittest

from common import PROMPT, ROOT, ModelCase, foretoken


class GenerateTests(ModelCase):
    def test_completion(self) -> None:
        completion = self.engine().generate(PROMPT, max_tokens=24, temperature=0, ignore_eos=True)
        self.assertEqual((completion.finish_reason, len(completion.tokens)), ("length", 24))
        self.assertEqual(self.model.tokenizer.decode(completion.tokens), completion.text)
        prompt = self.model.tokenizer.encode(PROMPT, add_special=True)
        self.assertEqual(completion.usage, foretoken.Usage(len(prompt), 24))
        stats = completion.stats
        self.assertIsNotNone(stats.queue_us)
        assert stats.ttft_us is not None and stats.tpot_us is not None
        self.assertLessEqual(stats.ttft_us, stats.total_us)

    def test_all_kinds_of_prompts(self) -> None:
        engine = self.engine()
        options = {"max_tokens": 12, "temperature": 0}
        text = engine.generate(PROMPT, **options).text
        tokens = self.model.tokenizer.encode(PROMPT, add_special=True)
        self.assertEqual(engine.generate(tokens, **options).text, text)
        self.assertEqual(engine.generate(tuple(tokens), **options).text, text)
        self.assertEqual(engine.generate(PROMPT.encode(), **options).text, text)
        messages = [{"role": "user", "content": "def f():"}]
        chat = engine.generate(messages, chat_template="chatml", **options)
        rendered = self.model.tokenizer.encode_chat(messages, "chatml")
        self.assertEqual(engine.generate(rendered, **options).text, chat.text)

    def test_manual_and_background_mode_agree(self) -> None:
        for options in ({"temperature": 0}, {"temperature": 0.8, "seed": 7}):
            text = self.engine().generate(PROMPT, max_tokens=32, **options).text
            self.assertEqual(self.expected(max_tokens=32, **options), text)

    def test_stepping_by_hand(self) -> None:
        engine = self.engine(background=False)
        request = engine.submit(PROMPT, max_tokens=8, temperature=0)
        self.assertEqual(engine.stats().submitted_requests, 1)
        steps = 0
        while engine.step():
            steps += 1
        self.assertGreaterEqual(steps, 8)
        self.assertEqual(engine.stats().finished_requests, 1)
        self.assertEqual(request.result().text, self.expected(max_tokens=8, temperature=0))

    def test_a_trace_tells_what_each_step_did(self) -> None:
        engine = self.engine(trace=True, policy="static", drafter="lookup")
        completion = engine.generate(PROMPT * 3, max_tokens=40, temperature=0, ignore_eos=True)
        steps = engine.trace()
        self.assertEqual([step["step"] for step in steps], list(range(1, len(steps) + 1)))
        parts = [part for step in steps for part in step["requests"]]
        self.assertEqual(sum(part["emitted"] for part in parts), 40)
        self.assertEqual(sum(part["verified"] for part in parts), completion.stats.draft_tokens)
        self.assertEqual(sum(part["accepted"] for part in parts), completion.stats.accepted_tokens)
        self.assertAlmostEqual(sum(part["saved_us"] for part in parts), completion.stats.saved_us, delta=len(parts))
        self.assertEqual({part["id"] for part in parts}, {completion.request_id})
        self.assertGreater(completion.stats.draft_tokens, 0)
        self.assertEqual(engine.trace(), [])
        with self.assertRaisesRegex(foretoken.WrongStateError, "trace"):
            self.engine().trace()

    def test_trees_give_the_same_text(self) -> None:
        options = {"max_tokens": 40, "temperature": 0, "ignore_eos": True}
        with foretoken.Model(foretoken.bundled("draft")) as draft:
            engine = self.engine(draft, policy="static", draft_tokens=3, tree_width=2, trace=True)
        self.assertEqual(engine.generate(PROMPT * 3, **options).text, self.engine().generate(PROMPT * 3, **options).text)
        stats = engine.stats()
        # A next best token beside each of the draft's.
        self.assertGreater(stats.num_branch_tokens, 0)
        self.assertEqual(2 * stats.num_branch_tokens, stats.num_draft_tokens)
        self.assertLessEqual(stats.num_accepted_branch_tokens, stats.num_accepted_tokens)
        parts = [part for step in engine.trace() for part in step["requests"]]
        self.assertEqual(sum(part["branches"] for part in parts), stats.num_branch_tokens)
        self.assertEqual(sum(part["accepted_branches"] for part in parts), stats.num_accepted_branch_tokens)
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, "tree_width"):
            self.engine(tree_width=3)

    def test_metrics_agree_with_the_statistics(self) -> None:
        engine = self.engine()
        engine.generate(PROMPT, max_tokens=12, temperature=0, ignore_eos=True)
        samples = dict(line.rsplit(" ", 1) for line in engine.metrics().splitlines() if not line.startswith("#"))
        stats = engine.stats()
        for name, value in {
            "generation_tokens_total": stats.emitted_tokens,
            "spec_decode_num_draft_tokens_total": stats.num_draft_tokens,
            "spec_decode_num_accepted_tokens_total": stats.num_accepted_tokens,
            'requests_finished_total{reason="length"}': 1,
            "time_to_first_token_seconds_count": 1,
            "kv_blocks_capacity": stats.kv_blocks_total,
        }.items():
            self.assertEqual(int(samples["foretoken_" + name]), value, name)
        self.assertGreaterEqual(stats.step_time_us, stats.draft_time_us + stats.verify_time_us)
        self.assertTrue(0 <= stats.calibration_error <= 1)

    def test_later_turns_find_the_earlier_ones(self) -> None:
        engine = self.engine()
        prompt = self.model.tokenizer.encode(PROMPT * 40, add_special=True)
        options = {"max_tokens": 6, "temperature": 0, "ignore_eos": True}
        first = engine.generate(prompt, **options)
        self.assertEqual(first.stats.cached_tokens, 0)
        again = engine.generate(prompt, **options)
        self.assertEqual(again.tokens, first.tokens)
        self.assertGreaterEqual(again.stats.cached_tokens, len(prompt) - 32)
        stats = engine.stats()
        self.assertEqual(stats.prefix_cached_tokens, again.stats.cached_tokens)
        self.assertGreater(stats.kv_blocks_cached, 0)
        self.assertEqual((again.stats.preemptions, stats.num_preemptions), (0, 0))

    def test_targets_and_deadlines(self) -> None:
        engine = self.engine()
        options = {"max_tokens": 8, "temperature": 0, "ignore_eos": True}
        plain = engine.generate(PROMPT, **options)
        self.assertEqual((plain.stats.ttft_attained, plain.stats.limited_by), (None, "nothing"))
        kept = engine.generate(PROMPT, target_ttft_us=10**12, target_tpot_us=10**12, priority=3, **options)
        self.assertEqual((kept.stats.ttft_attained, kept.stats.tpot_attained), (True, True))
        self.assertEqual((kept.stats.limited_by, kept.tokens), ("nothing", plain.tokens))
        missed = engine.generate(PROMPT, target_tpot_us=1, **options)
        self.assertEqual((missed.stats.tpot_attained, missed.stats.limited_by), (False, "compute"))
        late = engine.generate(PROMPT, deadline_us=1, **options)
        self.assertEqual(late.finish_reason, "deadline")
        self.assertLess(len(late.tokens), 8)

    def test_structured_output(self) -> None:
        schema = {
            "type": "object",
            "properties": {"name": {"type": "string", "maxLength": 8}, "size": {"type": "integer"}},
            "required": ["name", "size"],
        }
        engine = self.engine()
        for temperature in (0, 0.8):
            options = {"max_tokens": 200, "temperature": temperature, "seed": 5}
            done = engine.generate(PROMPT, json_schema=schema, **options)
            if done.finish_reason == "stop":
                value = json.loads(done.text)
                self.assertEqual((type(value["name"]), type(value["size"])), (str, int))
            spelled = engine.generate(PROMPT, grammar='root ::= "yes" | "no"', **options)
            self.assertIn(spelled.text, ("yes", "no"))
            self.assertEqual(spelled.finish_reason, "stop")
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, "ignore_eos"):
            engine.generate(PROMPT, grammar='root ::= "a"', ignore_eos=True)

    def test_selftest(self) -> None:
        with foretoken.Model(foretoken.bundled("draft")) as draft:
            checks = foretoken.selftest(self.model, draft, threads=1)
        self.assertTrue(all(check.passed for check in checks), checks)
        self.assertIn("speculative, draft model", [check.name for check in checks])

    def test_seeds(self) -> None:
        engine = self.engine()
        options = {"max_tokens": 32, "temperature": 1.0}
        first = engine.generate(PROMPT, seed=11, **options)
        self.assertEqual(engine.generate(PROMPT, seed=11, **options).text, first.text)
        self.assertEqual(first.stats.seed, 11)
        others = {engine.generate(PROMPT, seed=seed, **options).text for seed in range(4)}
        self.assertGreater(len(others), 1)
        drawn = engine.generate(PROMPT, **options)
        self.assertEqual(engine.generate(PROMPT, seed=drawn.stats.seed, **options).text, drawn.text)

    def test_stop_texts(self) -> None:
        engine = self.engine()
        text = engine.generate(PROMPT, max_tokens=40, temperature=0).text
        stop = text[len(text) // 2 : len(text) // 2 + 3]
        for stops in (stop, [stop], ["never in any program at all", stop]):
            completion = engine.generate(PROMPT, max_tokens=40, temperature=0, stop=stops)
            self.assertEqual(completion.finish_reason, "stop")
            self.assertEqual(completion.text, text[: text.index(stop)])

    def test_stop_tokens(self) -> None:
        engine = self.engine()
        tokens = engine.generate(PROMPT, max_tokens=16, temperature=0).tokens
        completion = engine.generate(PROMPT, max_tokens=16, temperature=0, stop_tokens=[tokens[5]])
        self.assertEqual(completion.finish_reason, "stop")
        self.assertEqual(completion.tokens, tokens[: tokens.index(tokens[5])])

    def test_logit_bias(self) -> None:
        engine = self.engine()
        first = engine.generate(PROMPT, max_tokens=1, temperature=0).tokens[0]
        other = engine.generate(PROMPT, max_tokens=1, temperature=0, logit_bias={first: -math.inf}).tokens[0]
        self.assertNotEqual(other, first)
        forced = engine.generate(PROMPT, max_tokens=3, temperature=0, logit_bias={300: 1e9})
        self.assertEqual(forced.tokens, [300] * 3)

    def test_logprobs(self) -> None:
        completion = self.engine().generate(PROMPT, max_tokens=6, temperature=0, logprobs=3, prompt_logprobs=2)
        assert completion.logprobs is not None and completion.top_logprobs is not None
        self.assertEqual(len(completion.logprobs), len(completion.tokens))
        for token, logprob, top in zip(completion.tokens, completion.logprobs, completion.top_logprobs):
            self.assertEqual(len(top), 3)
            self.assertEqual(top[0], (token, logprob))
            self.assertTrue(all(first[1] >= second[1] for first, second in zip(top, top[1:])))
        assert completion.prompt_logprobs is not None
        self.assertEqual(completion.prompt_logprobs.tokens, self.model.tokenizer.encode(PROMPT, add_special=True))
        self.assertTrue(all(len(top) == 2 for top in completion.prompt_logprobs.top))

    def test_score(self) -> None:
        engine = self.engine()
        tokens = self.model.tokenizer.encode(PROMPT, add_special=True)
        score = engine.score(PROMPT, top=1)
        self.assertEqual(score.tokens, tokens)
        self.assertEqual((len(score.logprobs), len(score.top)), (len(tokens) - 1, len(tokens) - 1))
        self.assertTrue(all(value <= 0 for value in score.logprobs))
        self.assertTrue(all(value <= top[0][1] for value, top in zip(score.logprobs, score.top)))
        self.assertAlmostEqual(score.perplexity, math.exp(-score.total / len(score.logprobs)))
        self.assertEqual(engine.score(tokens).logprobs, score.logprobs)
        self.assertGreater(engine.score("for i in range(10):\n").total, engine.score("range for in):\n( 10 i").total)

    def test_log(self) -> None:
        messages: list[tuple[str, str]] = []
        engine = self.engine(log=lambda level, text: messages.append((level, text)), log_level="debug")
        engine.generate(PROMPT, max_tokens=2)
        engine.close()
        self.assertTrue(all(level in ("error", "warning", "info", "debug") for level, _ in messages))


FORK = """
import os, sys
import foretoken
model = foretoken.Model(foretoken.bundled("draft"), threads=1)
engine = foretoken.Engine(model, background=False, threads=1)
stream = engine.stream("x = 1", max_tokens=100, ignore_eos=True)
next(stream)
child = os.fork()
if child == 0:
    try:
        engine.generate("x")
    except foretoken.WrongStateError as error:
        stream.close()
        del stream, engine, model
        sys.exit(7 if "forked child" in str(error) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(list(stream)) > 0)
"""


class ProcessTests(unittest.TestCase):
    def run_python(self, program: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "bindings" / "python")}
        command = [sys.executable, "-X", "dev", "-c", program]
        ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        return ran.stdout

    def test_a_forked_child_leaves_the_engine_alone(self) -> None:
        self.assertEqual(self.run_python(FORK), "7 True\n")

    def test_an_interpreter_may_end_in_the_middle_of_a_stream(self) -> None:
        program = (
            "import foretoken\n"
            "model = foretoken.Model(foretoken.bundled('draft'))\n"
            "engine = foretoken.Engine(model, log=print, log_level='debug')\n"
            "stream = engine.stream('x = 1', max_tokens=1500, ignore_eos=True)\n"
            "next(stream)\n"
        )
        self.run_python(program)

    def test_six_lines_are_enough(self) -> None:
        readme = (ROOT / "bindings" / "python" / "README.md").read_text(encoding="utf-8")
        program = readme.split("```python\n")[1].split("```")[0]
        self.assertLessEqual(len(program.strip().splitlines()), 6)
        path = str(foretoken.bundled("target"))
        printed = self.run_python(program.replace("target.gguf", path))
        with foretoken.Model(path) as model, foretoken.Engine(model) as engine:
            self.assertEqual(printed, engine.generate("def main():", max_tokens=64, temperature=0).text)


class ErrorTests(ModelCase):
    def test_names_are_checked(self) -> None:
        for name in ("policy", "drafter", "kv", "log_level"):
            with self.assertRaisesRegex(ValueError, f"{name} must be one of"):
                foretoken.Engine(self.model, **{name: "statik"})
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, 'did you mean "static"'):
            foretoken.Engine(self.model, policy="statik")

    def test_engine_options_are_checked_by_the_library(self) -> None:
        for options in ({"draft_tokens": 17}, {"threads": 1000}, {"max_running_requests": 0}, {"max_step_tokens": 1}):
            with self.assertRaisesRegex(foretoken.InvalidArgumentError, next(iter(options))):
                foretoken.Engine(self.model, **options)
        with self.assertRaisesRegex(foretoken.InvalidArgumentError, "draft_model"):
            foretoken.Engine(self.model, policy="static", drafter="model")

    def test_request_options_are_checked(self) -> None:
        engine = self.engine()
        for options in (
            {"temperature": -1}, {"temperature": math.nan}, {"top_p": 0}, {"top_k": -1}, {"max_tokens": -7},
            {"max_tokens": 2**40}, {"stop": ""}, {"stop": "a\0b"}, {"stop_tokens": [99999]}, {"logit_bias": {99999: 1}},
            {"logit_bias": {1: "x"}}, {"seed": -1}, {"logprobs": 5000}, {"logprobs_kind": "cooked"},
            {"speculation": 17}, {"speculation": "on"}, {"temperature": "warm"}, {"n": 0}, {"n": 65}, {"cache_salt": -1},
            {"verification": "argmax"}, {"verification": 1},
        ):  # fmt: skip
            name = next(iter(options))
            with self.subTest(options), self.assertRaisesRegex(foretoken.InvalidArgumentError, name):
                engine.generate(PROMPT, **options)
        with self.assertRaisesRegex(TypeError, "did you mean 'max_tokens'"):
            engine.generate(PROMPT, max_token=3)
        self.assertEqual(engine.stats().submitted_requests, 0)

    def test_prompts_are_checked(self) -> None:
        engine = self.engine()
        for prompt in ([], [2**40], [99999], ["text"], 7, None, [{"role": "user"}]):
            with self.subTest(prompt), self.assertRaises(foretoken.InvalidArgumentError):
                engine.generate(prompt)
        with self.assertRaises(foretoken.ContextTooLongError):
            engine.generate("x = 1\n" * 5000)

    def test_queue_full(self) -> None:
        engine = self.engine(background=False, max_running_requests=1, max_queued_requests=1)
        requests = []
        with self.assertRaises(foretoken.QueueFullError) as caught:
            for _ in range(4):
                requests.append(engine.submit(PROMPT, max_tokens=1))
        self.assertEqual(caught.exception.status, -10)
        self.assertTrue(all(request.result().finish_reason == "length" for request in requests))

    def test_wrong_mode(self) -> None:
        with self.assertRaises(foretoken.WrongStateError):
            self.engine().step()


if __name__ == "__main__":
    unittest.main()
