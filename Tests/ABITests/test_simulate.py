"""The command `ftk simulate`: what it reports, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import unittest

import support

TRACE = "arrival_s,prompt_tokens,output_tokens\n" + "".join(
    f"{index * 0.9:.1f},{20 + index % 7 * 30},{5 + index % 5 * 9}\n" for index in range(60)
)
CELL = {
    "policy", "time_scale", "seed", "requests", "finished", "rejected", "steps", "output_tokens", "prefill_rows",
    "busy_s", "tokens_per_s", "tokens_per_busy_s", "utilisation", "latency_s", "ttft_ms", "tpot_ms",
    "target_ttft_ms", "target_tpot_ms", "attainment", "attained_tokens_per_s", "mean_accepted", "rows_per_token",
    "draft_time_share", "off_share", "switches", "speed_up", "timeline", "target_tpot", "requests_per_s",
    "calibration",
}  # fmt: skip


class SimulateTests(support.ScratchCase):
    def setUp(self) -> None:
        super().setUp()
        self.trace = self.scratch / "trace.csv"
        self.trace.write_text(TRACE)

    def simulate(self, *options: str) -> subprocess.CompletedProcess[str]:
        return support.run([str(support.prefix() / "bin" / "ftk"), "simulate", *options])

    def report(self, *options: str) -> dict:
        result = self.simulate(*options, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_every_cell_is_reported(self) -> None:
        options = ["--trace", str(self.trace), "--policies", "off,static:3,goodput", "--time-scale", "1,4"]
        report = self.report(*options, "--seeds", "2", "--target-tpot", "0.9x")
        cells = report["cells"]
        self.assertEqual(
            [(cell["policy"], cell["time_scale"], cell["seed"]) for cell in cells],
            [
                (policy, scale, seed)
                for scale in (1, 4)
                for seed in (1, 2)
                for policy in ("off", "static:3", "goodput")
            ],
        )
        tokens = sum(int(line.split(",")[2]) for line in TRACE.splitlines()[1:])
        for cell in cells:
            self.assertEqual(set(cell), CELL)
            self.assertEqual((cell["requests"], cell["finished"], cell["output_tokens"]), (60, 60, tokens))
            self.assertEqual(sum(cell["timeline"]["tokens"]), tokens)
            self.assertEqual(sum(cell["timeline"]["arrivals"]), 60)
            self.assertEqual(cell["calibration"] is not None, cell["policy"] == "goodput")
            self.assertEqual(cell["target_tpot"], "0.9x")
            self.assertAlmostEqual(cell["requests_per_s"], 1 / 0.9 / cell["time_scale"])
            self.assertTrue(0 <= cell["attainment"] <= 1)
        self.assertEqual(report["hardware"]["name"], "cpu-2-core-1b")
        self.assertGreater(cells[1]["mean_accepted"], 1)
        self.assertEqual(cells[0]["speed_up"]["mean"], 1)

    def test_each_target_has_its_cells(self) -> None:
        report = self.report("--trace", str(self.trace), "--policies", "off,goodput", "--target-tpot", "0.8x,1.2x,50")
        cells = report["cells"]
        self.assertEqual([cell["target_tpot"] for cell in cells], ["0.8x"] * 2 + ["1.2x"] * 2 + ["50"] * 2)
        paces = [cell["target_tpot_ms"] for cell in cells]
        self.assertAlmostEqual(paces[2] / paces[0], 1.5)
        self.assertEqual(paces[4], 50)
        self.assertLessEqual(cells[0]["attainment"], cells[2]["attainment"])
        self.assertEqual(report["options"]["workload"], f"trace {self.trace}")

    def test_the_oracle_is_an_arm(self) -> None:
        off, oracle = self.report("--trace", str(self.trace), "--policies", "off,oracle")["cells"]
        self.assertEqual(oracle["output_tokens"], off["output_tokens"])
        self.assertGreater(oracle["speed_up"]["mean"], 1)

    def test_a_seed_gives_the_same_bytes(self) -> None:
        options = ["--gamma", "0.5,2", "--requests", "40", "--policies", "goodput", "--noise", "0.1", "--raw", "--json"]
        first = self.simulate(*options, "--seed", "7")
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertEqual(first.stdout, self.simulate(*options, "--seed", "7").stdout)
        self.assertNotEqual(first.stdout, self.simulate(*options, "--seed", "8").stdout)
        raw = json.loads(first.stdout)["cells"][0]["raw"]
        self.assertEqual(len(raw), 40)
        self.assertTrue(all(one["arrival_s"] < one["first_token_s"] <= one["end_s"] for one in raw))

    def test_a_window_is_part_of_a_trace(self) -> None:
        cell = self.report("--trace", f"{self.trace}:9-18", "--policies", "off")["cells"][0]
        self.assertEqual(cell["requests"], 10)
        every = self.report("--trace", str(self.trace), "--every", "3", "--policies", "off")["cells"][0]
        self.assertEqual(every["requests"], 20)

    def test_a_machine_is_a_file(self) -> None:
        shown = self.simulate("--show-hardware", "h100-8b")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        machine = json.loads(shown.stdout)
        file = self.scratch / "machine.json"
        machine["name"] = "mine"
        file.write_text(json.dumps(machine))
        arguments = ["--poisson", "5", "--requests", "30", "--policies", "off", "--hardware"]
        report = self.report(*arguments, str(file))
        self.assertEqual(report["hardware"]["name"], "mine")
        self.assertEqual(report["cells"], self.report(*arguments, "h100-8b")["cells"])
        del machine["target"]["weights_gb"]
        file.write_text(json.dumps(machine))
        result = self.simulate(*arguments, str(file))
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(f"{file}, field target.weights_gb is missing", result.stderr)

    def test_a_measured_table_is_a_machine(self) -> None:
        table = {"widths": [1, 8], "base_us": [1000, 1200], "per_context_us": 0, "per_attended_us": 0.1}
        profile = {"machine": "m", "isa": "portable", "threads": 1, "target": table, "draft": None, "overhead_us": 5}
        file = self.scratch / "table.json"
        file.write_text(json.dumps(profile))
        arguments = ["--trace", str(self.trace), "--policies", "off,static:4", "--retrieval", "0.5", "--profile"]
        report = self.report(*arguments, str(file))
        self.assertEqual(report["hardware"]["description"], "m, portable, 1 threads")
        off, static = report["cells"]
        self.assertEqual((off["draft_time_share"], static["draft_time_share"]), (0, 0))
        self.assertGreater(static["mean_accepted"], 0)
        self.assertGreater(static["tokens_per_busy_s"], off["tokens_per_busy_s"])
        del profile["overhead_us"]
        file.write_text(json.dumps(profile))
        result = self.simulate(*arguments, str(file))
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(f"{file}: overhead_us", result.stderr)

    def test_bad_input_is_named(self) -> None:
        self.trace.write_text(TRACE + "60,5,-1\n")
        for options, message in (
            (["--trace", str(self.trace)], "trace.csv, line 62: field output_tokens: -1 is below 1"),
            (["--trace", "missing.csv"], "missing.csv"),
            (["--trace", f"{self.trace}:9-3"], "a window is FILE:START-END"),
            ([], "one of --trace, --poisson, --gamma and --steps"),
            (["--poisson", "1", "--steps", "1:1"], "2 are given"),
            (["--poisson=-1"], "--poisson"),
            (["--gamma", "1"], "RATE,CV"),
            (["--steps", "1:x"], "--steps"),
            (["--poisson", "1", "--policies", "off,best"], 'no policy is called "best"'),
            (["--poisson", "1", "--hardware", "abacus"], "abacus"),
            (["--poisson", "1", "--acceptance", "2"], 'acceptance "2"'),
            (["--poisson", "1", "--time-scale", "0"], "--time-scale"),
            (["--poisson", "1", "--target-tpot", "x"], "--target-tpot"),
            (["--poisson", "1", "--target-tpot", "1x,,2x"], "--target-tpot"),
            (["--poisson", "1", "--max-running", "400"], "--max-running is 400"),
        ):
            result = self.simulate(*options)
            self.assertNotEqual(result.returncode, 0, options)
            self.assertIn(message, result.stderr)


if __name__ == "__main__":
    unittest.main()
