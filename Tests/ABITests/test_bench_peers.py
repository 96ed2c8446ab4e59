"""What the bench against peers reads from the programs that it runs, and what it does without them."""

from __future__ import annotations

import contextlib
import io
import sys
import unittest

import support

sys.path.append(str(support.ROOT / "Tests" / "Bench"))

import outputs
import peers

LLAMA_BENCH = """[
  {"build_commit": "abc", "n_prompt": 256, "n_gen": 0, "avg_ts": 150.0, "samples_ts": [ 100.5, 151.5, 143.0 ]},
  {"build_commit": "abc", "n_prompt": 0, "n_gen": 48, "avg_ts": 47.2}
]"""

BATCHED_BENCH = """
llama_batched_bench: n_kv_max = 2048, n_batch = 2048, n_threads = 2

|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |
|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|
|    16 |     16 |    1 |     32 |    0.125 |   128.07 |    0.320 |    50.00 |    0.301 |    79.63 |
|    16 |     16 |    4 |    128 |    0.240 |   133.56 |    0.640 |   100.00 |    0.551 |    87.01 |
"""

BATCHED_BENCH_LINES = """
{"n_kv_max": 2048, "pp": 16, "tg": 16, "pl": 1, "n_kv": 32, "speed_pp": 127.7, "t_tg": 0.32, "speed_tg": 50.0}
{"n_kv_max": 2048, "pp": 16, "tg": 16, "pl": 4, "n_kv": 128, "speed_pp": 131.6, "t_tg": 0.64, "speed_tg": 100.0}
"""

SPECULATIVE = """0.00.102 I encoded   78 tokens in    0.011 seconds, speed: 6877.094 t/s
0.00.103 I decoded   69 tokens in    0.034 seconds, speed: 2014.128 t/s
0.00.103 I n_drafted = 66
"""

FTK_BENCH = """{"machine": "M", "isa": "avx2", "threads": 2, "commit": "c", "activations": "q8",
"decode": [{"rows": 1, "context": 24, "us_median": 20000, "tokens_per_s": 50.0},
{"rows": 4, "context": 24, "us_median": 25000, "tokens_per_s": 160.0}],
"prefill": [{"rows": 256, "us_median": 500000, "tokens_per_s": 512.0}]}"""

FTK_COMPARE = """{"text": "a", "same_text": true, "arms": [{"name": "off", "tokens_per_s": 30.5},
{"name": "static, prompt lookup", "tokens_per_s": 20}, {"name": "static, draft model", "tokens_per_s": 75}]}"""


def samples(ours: list[float], peer: list[float]) -> dict[str, list[float]]:
    return {"ours": ours, "peer": peer}


class OutputTests(unittest.TestCase):
    def test_llama_bench(self) -> None:
        expected = {"prefill, 256 rows": 143.0, "decode, 1 row": 47.2}
        self.assertEqual(outputs.parse_llama_bench(LLAMA_BENCH), expected)

    def test_batched_bench_as_table_and_as_lines(self) -> None:
        expected = {"decode, 1 sequence": 50.0, "decode, 4 sequences": 100.0}
        for text in (BATCHED_BENCH, BATCHED_BENCH_LINES):
            self.assertEqual(outputs.parse_batched_bench(text), expected)
        self.assertEqual(outputs.parse_batched_bench("no table"), {})

    def test_speculative(self) -> None:
        self.assertEqual(outputs.parse_speculative(SPECULATIVE, 8), {"drafts of 8": 2014.128})
        self.assertEqual(outputs.parse_speculative(SPECULATIVE, 0), {"plain": 2014.128})
        self.assertEqual(outputs.parse_speculative("", 8), {})

    def test_ftk(self) -> None:
        speeds = {"decode, 1 sequence": 50.0, "decode, 4 sequences": 160.0, "decode, 1 row": 50.0}
        self.assertEqual(outputs.parse_ftk_bench(FTK_BENCH), {**speeds, "prefill, 256 rows": 512.0})
        self.assertEqual(outputs.parse_ftk_compare(FTK_COMPARE, 4), {"plain": 30.5, "drafts of 4": 75.0})

    def test_the_command_prints_what_is_read(self) -> None:
        ftk = str(support.prefix() / "bin" / "ftk")
        prompt = ["-p", "def f(a):", "-n", "6", "--draft-length", "4", "--json"]
        result = support.run([ftk, "compare", "-m", support.TARGET, "-d", support.DRAFT, *prompt])
        self.assertEqual(result.returncode, 0, result.stderr)
        speeds = outputs.parse_ftk_compare(result.stdout, 4)
        self.assertEqual(set(speeds), {"plain", "drafts of 4"})
        self.assertGreater(min(speeds.values()), 0)

    def test_costs_are_in_steps_of_one(self) -> None:
        costs = outputs.with_costs(outputs.parse_batched_bench(BATCHED_BENCH))
        self.assertEqual(costs["cost of 4 / cost of 1"], 2.0)
        self.assertNotIn("cost of 1 / cost of 1", costs)
        self.assertEqual(outputs.with_costs({"decode, 4 sequences": 9.0}), {"decode, 4 sequences": 9.0})


class ReportTests(unittest.TestCase):
    def test_verdicts(self) -> None:
        for name, ours, peer, ratio, verdict in (
            ("decode, 1 row", [30, 33, 31], [20, 10, 10], 3.1, "ahead"),
            ("decode, 1 row", [8, 9], [10, 10], 0.85, "loses"),
            ("decode, 1 row", [8, 12], [9, 11], 1.0, "even"),
            ("cost of 8 / cost of 1", [1.5], [3.0], 2.0, "ahead"),
        ):
            row = peers.judged(name, samples(ours, peer))
            self.assertAlmostEqual(row["ratio"], ratio)
            self.assertEqual(row["verdict"], verdict)
        self.assertNotIn("ratio", peers.judged("decode, 1 row", samples([3.0], [])))

    def test_each_side_has_its_best_draft_length(self) -> None:
        table = {"plain": samples([10.0], [10.0]), "drafts of 2": samples([20.0], [12.0])}
        table["drafts of 8"] = samples([15.0], [14.0])
        expected = {"best drafts (ours 2, peer 8)": samples([20.0], [14.0])}
        self.assertEqual(peers.best_drafts(table), {**expected, "gain of the best drafts": samples([2.0], [1.4])})
        self.assertEqual(peers.best_drafts({}), {})

    def test_losses_are_named(self) -> None:
        rows = [peers.judged("decode, 1 row", samples([1.0], [2.0])), peers.judged("x", samples([1.0], []))]
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            peers.show("title", rows)
        self.assertIn("ours loses at: decode, 1 row (0.50)", shown.getvalue())


class FailureTests(unittest.TestCase):
    def test_sides_take_turns_and_failures_leave_the_rest(self) -> None:
        order: list[str] = []

        def arm(name: str, side: str, program: str) -> peers.Arm:
            def parse(text: str) -> outputs.Values:
                order.append(name)
                return {"x": float(text)}

            return peers.Arm(side, [sys.executable, "-c", program], parse)

        broken = arm("broken", "peer", "import sys; sys.exit('no such model')")
        silent = arm("silent", "peer", "print('what')")
        missing = peers.Arm("peer", ["/nowhere/llama-bench"], float)
        arms = [arm("a", "ours", "print(1)"), broken, silent, missing, arm("b", "peer", "print(2)")]
        with contextlib.redirect_stderr(io.StringIO()) as said:
            table = peers.collect(arms, 3)
        self.assertEqual(table, {"x": samples([1.0] * 3, [2.0] * 3)})
        self.assertEqual([name for name in order if name != "silent"], ["a", "b", "b", "a", "a", "b"])
        self.assertEqual(order.count("silent"), 1)
        self.assertIn(f"{sys.executable} ended with status 1:\n    no such model", said.getvalue())
        self.assertIn("printed something unknown", silent.failure)
        self.assertIn("/nowhere/llama-bench cannot be run: No such file", said.getvalue())


if __name__ == "__main__":
    unittest.main()
