"""The command `ftk replay` on the bundled pair, and `ftk simulate` of what it recorded. No test depends on how fast
anything is."""

from __future__ import annotations

import collections
import json
import re
import signal
import subprocess
import unittest

import support
import test_simulate

PROMPTS = [
    {"prompt": "def add(a, b):\n    return a + b\n\n\ndef", "category": "code"},
    {"prompt": "import os\n\n\nclass Path:\n    def __init__(self, name):\n", "category": "code"},
    {"prompt": "for index in range(10):\n    print(index)\n" * 20, "category": "long"},
]
REQUESTS = [(0.0, 20, 9), (0.02, 45, 12), (0.05, 700, 20), (0.05, 8, 1), (0.2, 30, 400), (0.3, 64, 16)]
FITTED = [(20, 9), (45, 12), (492, 20), (8, 1), (30, 256), (64, 16)]
REAL = {"raw", "cut", "unfinished", "saturated", "drift_ms", "draft_s", "verify_s", "control_s"}


def lines(requests: list[tuple[float, int, int]]) -> str:
    rows = [f"{time},{prompt},{output}\n" for time, prompt, output in requests]
    return "arrival_s,prompt_tokens,output_tokens\n" + "".join(rows)


class ReplayTests(support.ScratchCase):
    def setUp(self) -> None:
        super().setUp()
        self.prompts = self.scratch / "prompts.jsonl"
        self.prompts.write_text("".join(json.dumps(entry) + "\n" for entry in PROMPTS))
        self.trace = self.scratch / "trace.csv"
        self.trace.write_text(lines(REQUESTS))
        self.recording = self.scratch / "recording.jsonl"

    def words(self, *more: str) -> list[str]:
        """Later options win over those that are set here; an empty one takes an option away."""
        options = {"-m": support.TARGET, "-d": support.DRAFT, "--prompts": str(self.prompts)}
        options |= {"--trace": str(self.trace), "--profile-time": "0", "--policies": "unconfigured,static:3"}
        flags = [word for word in more if word in ("--json", "--progress")]
        pairs = [word for word in more if word not in flags]
        options |= dict(zip(pairs[::2], pairs[1::2], strict=True))
        words = [word for name, value in options.items() if value for word in (name, value)]
        return [str(support.prefix() / "bin" / "ftk"), "replay", *words, *flags]

    def report(self, *more: str) -> dict:
        result = support.run(self.words(*more, "--json"))
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return json.loads(result.stdout)

    def refused(self, words: str, *more: str) -> None:
        result = support.run(self.words(*more))
        self.assertNotEqual(result.returncode, 0, more)
        self.assertIn(words, result.stderr)

    def simulate(self, *options: str) -> subprocess.CompletedProcess[str]:
        return support.run([str(support.prefix() / "bin" / "ftk"), "simulate", *options])

    def recorded(self) -> list[list[dict]]:
        """The lines of each run of the recording."""
        runs: list[list[dict]] = []
        for line in self.recording.read_text().splitlines()[1:]:
            entry = json.loads(line)
            if "run" in entry:
                runs.append([])
            runs[-1].append(entry)
        return runs

    def test_every_cell_has_every_request(self) -> None:
        arms = ["unconfigured", "off", "static:3", "smartspec", "turbospec", "adaspec", "goodput"]
        report = self.report("--policies", ",".join(arms))
        self.assertEqual((report["command"], report["model"]), ("replay", support.TARGET))
        cells = report["cells"]
        self.assertEqual([cell["policy"] for cell in cells], arms)
        for cell in cells:
            with self.subTest(cell["policy"]):
                self.assertEqual(set(cell), test_simulate.CELL | REAL)
                self.assertEqual((cell["requests"], cell["finished"], cell["unfinished"]), (6, 6, 0))
                self.assertIsNone(cell["cut"])
                raw = cell["raw"]
                self.assertEqual([(one["prompt_tokens"], one["output_tokens"]) for one in raw], FITTED)
                self.assertEqual([round(one["arrival_s"], 9) for one in raw], [time for time, _, _ in REQUESTS])
                for one in raw:
                    self.assertLessEqual(one["arrival_s"], one["sent_s"])
                    self.assertLessEqual(one["sent_s"], one["admitted_s"])
                    self.assertLessEqual(one["admitted_s"], one["first_token_s"])
                    self.assertLessEqual(one["first_token_s"], one["end_s"])
                tokens = sum(output for _, output in FITTED)
                self.assertEqual((cell["output_tokens"], sum(cell["timeline"]["tokens"])), (tokens, tokens))
                self.assertEqual(sum(cell["timeline"]["arrivals"]), 6)
                late = max(one["sent_s"] - one["arrival_s"] for one in raw)
                self.assertAlmostEqual(cell["drift_ms"]["most"], late * 1e3, places=6)
                drafts = cell["policy"] not in ("unconfigured", "off")
                self.assertLessEqual(cell["draft_s"] + cell["verify_s"], cell["busy_s"])
                self.assertTrue(drafts or (cell["draft_time_share"], cell["off_share"]) == (0, 1))
        self.assertEqual(cells[0]["speed_up"]["mean"], 1)
        self.assertGreater(cells[2]["mean_accepted"], 0)
        self.assertIsNotNone(cells[-1]["calibration"])

    def test_lengths_are_brought_within_the_context(self) -> None:
        found = self.report("--policies", "off")["lengths"]
        self.assertEqual((found["context"], found["requests"], found["shortened"]), (512, 6, 2))
        self.assertAlmostEqual(found["given_output_tokens"], sum(r[2] for r in REQUESTS) / 6)
        self.assertAlmostEqual(found["prompt_tokens"], sum(f[0] for f in FITTED) / 6)
        text = support.run(self.words("--policies", "off", "--context", "64")).stdout
        self.assertIn("3 of 6 requests were shortened to a context of 64 tokens", text)

    def test_attainment_follows_from_raw_times(self) -> None:
        for options in (["--tpot-scale", "0.9", "--ttft-scale", "1.1"], ["--target-tpot-us", "1500"]):
            report = self.report(*options, "--policies", "unconfigured,goodput")
            pace, first = report["cells"][0]["target_tpot_ms"], report["cells"][0]["target_ttft_ms"]
            for cell in report["cells"]:
                self.assertEqual((cell["target_tpot_ms"], cell["target_ttft_ms"]), (pace, first))
                attained = 0
                for one in cell["raw"]:
                    meets = first is None or (one["first_token_s"] - one["arrival_s"]) * 1e3 <= first
                    if one["output_tokens"] > 1:
                        time = (one["end_s"] - one["first_token_s"]) / (one["output_tokens"] - 1)
                        meets = meets and time * 1e3 <= pace
                    attained += meets
                self.assertAlmostEqual(cell["attainment"], attained / 6)
        self.assertEqual(pace, 1.5)

    def test_a_run_is_cut_off(self) -> None:
        self.trace.write_text(lines([*REQUESTS, (3600.0, 5, 5)]))
        cell = self.report("--policies", "static:2", "--max-seconds", "1.5")["cells"][0]
        self.assertEqual((cell["cut"], cell["requests"]), ("time", 6))
        self.assertEqual(cell["unfinished"] + cell["finished"], 6)

    def test_texts_are_known_up_to_a_cut(self) -> None:
        self.trace.write_text(lines([(0.0, 20, 400)] * 60))
        self.report("--policies", "static:2", "--max-seconds", "1", "--record", str(self.recording))
        (run,) = self.recorded()
        produced: collections.Counter[int] = collections.Counter()
        for step in (entry for entry in run if "step" in entry):
            for part in step["prompts"] + step["decoding"]:
                produced[part["request"]] += part["emitted"]
        self.assertIsNotNone(run[0]["cut_us"])
        self.assertGreater(max(produced.values()), 1)
        for request in (entry for entry in run if "request" in entry):
            accepted = request["accepted"]
            # The end of the prompt gives the first token, and nobody drafts for the last.
            for place in range(1, min(produced[request["request"]], len(accepted) - 1)):
                self.assertIsNotNone(accepted[place], (request["request"], place))

    def test_what_hangs_on_more_than_the_text_is_as_the_steps_showed_it(self) -> None:
        words = self.words("--temp", "0.8", "--policies", "static:3", "--record", str(self.recording))
        result = support.run(words)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("static:3, seed 1: the recording knows of the texts only what the steps showed", result.stderr)
        (run,) = self.recorded()
        known = [value is not None for entry in run if "request" in entry for value in entry["accepted"]]
        self.assertTrue(any(known))
        self.assertEqual(self.simulate("--recording", str(self.recording)).returncode, 0)

    def test_a_plain_run_knows_what_drafts_would_take(self) -> None:
        self.report("--policies", "off", "--record", str(self.recording))
        (run,) = self.recorded()
        self.assertIsNotNone(run[0]["costs"]["draft"])
        result = self.simulate("--recording", str(self.recording), "--policies", "static:2", "--json")
        (cell,) = json.loads(result.stdout)["cells"]
        self.assertGreater(cell["mean_accepted"], 0)
        self.assertGreater(cell["draft_time_share"], 0)

    def test_nothing_is_said_of_a_draft_model_that_is_not_there(self) -> None:
        self.report("-d", "", "--policies", "unconfigured", "--record", str(self.recording))
        report = json.loads(self.simulate("--recording", str(self.recording), "--validate", "--json").stdout)
        self.assertEqual([run["known_share"] for run in report["runs"]], [None])
        self.assertNotIn("known for", self.simulate("--recording", str(self.recording), "--validate").stdout)

    def test_ctrl_c_keeps_what_is_measured(self) -> None:
        self.trace.write_text(lines([*REQUESTS, (3600.0, 5, 5)]))
        child = subprocess.Popen(
            self.words("--json", "--progress", "--record", str(self.recording)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert child.stderr is not None
        seen = ""
        while not re.search(r"run 1 of 2, unconfigured, seed 1: 6 of 7 requests, \d+ s left", seen):
            piece = child.stderr.read(1)
            self.assertTrue(piece, seen)
            seen += piece
        child.send_signal(signal.SIGINT)
        text, _ = child.communicate()
        self.assertEqual(child.returncode, 130)
        (cell,) = json.loads(text)["cells"]
        self.assertEqual((cell["policy"], cell["cut"]), ("unconfigured", "interrupt"))
        self.assertGreater(cell["finished"], 0)
        self.assertEqual(len(cell["raw"]), 6)
        kinds = [next(iter(json.loads(line))) for line in self.recording.read_text().splitlines()]
        self.assertEqual(kinds[:8], ["recording", "run"] + ["request"] * 6)

    def test_a_recording_can_be_simulated(self) -> None:
        cells = self.report("--policies", "off,static:3,goodput", "--record", str(self.recording))["cells"]
        runs = self.recorded()
        self.assertEqual([run[0]["run"] for run in runs], ["off", "static:3", "goodput"])
        texts = []
        for run, cell in zip(runs, cells, strict=True):
            requests = [entry for entry in run if "request" in entry]
            steps = [entry for entry in run if "step" in entry]
            self.assertEqual(len(steps), cell["steps"])
            produced = [0] * len(requests)
            for step in steps:
                for part in step["prompts"]:
                    self.assertEqual(part["emitted"], part["computed"] + part["rows"] == FITTED[part["request"]][0])
                    produced[part["request"]] += part["emitted"]
                for part in step["decoding"]:
                    place = part["request"]
                    self.assertEqual(part["context"], FITTED[place][0] + produced[place])
                    produced[place] += part["emitted"]
                self.assertLessEqual(step["draft_us"] + step["target_us"], step["time_us"])
            self.assertEqual(produced, [len(request["accepted"]) for request in requests])
            right = [value for request in requests for value in request["accepted"]]
            # Whether drafts would be right is known wherever a draft is of use, whoever drafted where.
            self.assertLessEqual({True, False}, set(right))
            for request in requests:
                count = len(request["accepted"])
                known = [place for place in range(count) if request["accepted"][place] is not None]
                self.assertEqual(known, list(range(1, count - 1)))
                self.assertEqual(request["looks"], list(range(1, count)))
            texts.append([request["accepted"] for request in requests])
        self.assertEqual(texts, [texts[0]] * len(runs))
        options = ["--recording", str(self.recording), "--policies", "off,static:2,goodput", "--json"]
        first = self.simulate(*options)
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertEqual(first.stdout, self.simulate(*options).stdout)
        simulated = json.loads(first.stdout)
        self.assertEqual(simulated["hardware"]["name"], str(self.recording))
        self.assertEqual([cell["finished"] for cell in simulated["cells"]], [6, 6, 6])
        self.assertGreater(simulated["cells"][1]["mean_accepted"], 0)

    def test_a_validation_says_what_holds(self) -> None:
        self.report("--policies", "unconfigured,static:3", "--record", str(self.recording))
        result = self.simulate("--recording", str(self.recording), "--validate", "--json")
        report = json.loads(result.stdout)
        self.assertEqual(result.returncode, 0 if report["holds"] else 1, result.stderr)
        self.assertEqual([run["policy"] for run in report["runs"]], ["unconfigured", "static:3"])
        for run in report["runs"]:
            names = [check["name"] for check in run["checks"]]
            self.assertEqual(names, ["tokens per second", "tokens per busy second", "P95 TPOT"])
            self.assertEqual([check["limit"] for check in run["checks"]], [0.05, 0.05, 0.1])
            for check in run["checks"]:
                self.assertAlmostEqual(check["error"], check["predicted"] / check["measured"] - 1)
                self.assertAlmostEqual(check["margin"], check["limit"] - abs(check["error"]))
                self.assertEqual(check["holds"], check["margin"] >= 0)
            self.assertEqual(run["holds"], all(check["holds"] for check in run["checks"]))
            # The requests that the P95 is made of, as it was and as it is predicted.
            for name, check in (("measured_ms", "measured"), ("predicted_ms", "predicted")):
                slow = [one[name] for one in run["slowest"] if one[name] is not None]
                self.assertTrue(any(abs(time - run["checks"][2][check]) < 1e-9 for time in slow), slow)
            self.assertEqual(run["outliers"]["steps"] == [], run["outliers"]["lost_ms"] == 0)
            self.assertLessEqual(run["outliers"]["p95_tpot_without_ms"], run["checks"][2]["measured"] + 1e-9)
        # Without a draft model there is nothing to know.
        self.assertEqual([run["known_share"] for run in report["runs"]], [None, 1])
        text = self.simulate("--recording", str(self.recording), "--validate")
        self.assertEqual(text.returncode, result.returncode)
        # What cannot be predicted: requests that ended much later than their steps say.
        slow = []
        for line in self.recording.read_text().splitlines():
            entry = json.loads(line)
            if "request" in entry:
                entry["end_us"] = entry["end_us"] * 3
            slow.append(json.dumps(entry) + "\n")
        self.recording.write_text("".join(slow))
        text = self.simulate("--recording", str(self.recording), "--validate")
        self.assertEqual(text.returncode, 1)
        self.assertIn("FAIL  P95 TPOT: measured", text.stdout)

    def test_bad_recordings_are_named(self) -> None:
        self.report("--policies", "static:2", "--record", str(self.recording))
        good = self.recording.read_text().splitlines()
        entry = json.loads(good[2])
        del entry["output_tokens"]
        self.recording.write_text("\n".join([*good[:2], json.dumps(entry), *good[3:]]))
        result = self.simulate("--recording", str(self.recording))
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(f"{self.recording}, line 3, field output_tokens is missing", result.stderr)
        result = self.simulate("--validate")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("--validate needs --recording", result.stderr)
        for option, value in (("--acceptance", "0.9"), ("--retrieval", "0.5"), ("--every", "2"), ("--requests", "3")):
            result = self.simulate("--recording", str(self.recording), option, value)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn(f"{option} does not apply", result.stderr)

    def test_bad_input_is_named(self) -> None:
        (self.scratch / "bad.csv").write_text(lines(REQUESTS) + "-1,5,5\n")
        (self.scratch / "short.csv").write_text(lines(REQUESTS) + "7,5\n")
        (self.scratch / "empty.jsonl").write_text("\n")
        (self.scratch / "blank.jsonl").write_text('{"prompt": "a"}\n{"prompt": ""}\n')
        for words, *options in (
            ("bad.csv, line 8: field arrival_s: -1 is negative", "--trace", str(self.scratch / "bad.csv")),
            ("short.csv, line 8: 2 fields; expected arrival_s", "--trace", str(self.scratch / "short.csv")),
            ("empty.jsonl holds no prompt", "--prompts", str(self.scratch / "empty.jsonl")),
            ("blank.jsonl, line 2, field prompt: it gives no", "--prompts", str(self.scratch / "blank.jsonl")),
            ('no policy is called "best"', "--policies", "off,best"),
            ("oracle exists on virtual time only", "--policies", "off,oracle"),
            ("--policies names off twice", "--policies", "off,off"),
            ("one of --trace, --poisson, --gamma and --steps", "--trace", ""),
            ("2 are given", "--poisson", "1"),
            ("a window is FILE:START-END", "--trace", f"{self.trace}:9-3"),
            ("--max-seconds is 0.0", "--max-seconds", "0"),
            ("--profile-time is 4000.0", "--profile-time", "4000"),
            ("--seeds is 0", "--seeds", "0"),
            ("--draft-tokens is 17", "--draft-tokens", "17"),
            ("--tpot-scale is 0.0", "--tpot-scale", "0"),
            ("--target-tpot-us and --tpot-scale are both given", "--tpot-scale", "1", "--target-tpot-us", "5"),
            ("draft_model is not given", "--drafter", "model", "-d", ""),
            ("max_running_requests is 300", "--max-running", "300"),
        ):
            with self.subTest(options):
                self.refused(words, *options)


if __name__ == "__main__":
    unittest.main()
