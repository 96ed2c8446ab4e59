"""Times ftk and llama.cpp in turn on the same files and prints the ratios. Builds nothing: the user names the programs.

    python3 Tests/Bench/peers.py -m MODEL.gguf [-m MODEL2.gguf] --llama-bench PATH --llama-batched-bench PATH
        [--ftk .build/release/ftk] [--threads 2] [--activations q8] [--rows 1,2,4,8,16] [--prefill 256] [--rounds 4]
        [-d DRAFT.gguf --llama-speculative PATH] [--draft-lengths 2,4,8,12] [--json FILE]

Every program that is left out, or that fails, costs its cells; the rest is measured. In each round every program runs
once, in the next round in reverse order (A B B A: with an even number of rounds no side gains from a machine that slows
down). A cell is the median over the rounds, its spread the range over the median. Ratios above 1 favour ours: tokens/s
as ours/peer, costs as peer/ours. Where the ranges overlap the verdict is "even".

Decoding happens at some 24 tokens of context on both sides: llama-bench generates 48 tokens from nothing,
llama-batched-bench 16 after a prompt of 16. The rows of ftk's pass belong to one sequence, as in verification, those of
the peer to one sequence each; so short a context makes this no difference worth mentioning.

With a draft model (-d) one greedy prompt is generated plainly and with several draft lengths, by `ftk compare` and by
llama-speculative-simple (--llama-speculative, a version that knows --spec-type). Set FTK_COMMIT to have the commit in
the result file. To pin the threads, run all of it under taskset.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import outputs
from outputs import Values

ROOT = Path(__file__).resolve().parents[2]
# The mean context of the peers' steps, 16 + 16 / 2 and 48 / 2, is the one that ftk is asked for.
PROMPT, STEPS, CONTEXT = 16, 16, 24
REPEATS = 3
TIME_LIMIT_S = 900


class Trouble(Exception):
    """A program gave no result; the text says which and why."""


def last_lines(text: str, count: int = 4) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(f"    {line}" for line in lines[-count:]) or "    (it said nothing)"


def output_of(command: list[str]) -> tuple[str, str]:
    """What a program wrote to its standard output and to its standard error."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=False,
            errors="replace",
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=TIME_LIMIT_S,
        )
    except OSError as error:
        raise Trouble(f"{command[0]} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Trouble(f"{command[0]} took more than {TIME_LIMIT_S} s") from None
    if done.returncode != 0:
        raise Trouble(f"{command[0]} ended with status {done.returncode}:\n{last_lines(done.stderr or done.stdout)}")
    return done.stdout, done.stderr


# Measuring.


class Arm:
    """A program with its arguments; it stops being asked once it has failed."""

    def __init__(self, side: str, command: list[str], parse: Callable[[str], Values], in_log: bool = False) -> None:
        self.side, self.command, self.parse, self.in_log = side, command, parse, in_log
        self.failure: str | None = None
        self.said = ""

    def run(self) -> Values:
        self.said, log = output_of(self.command)
        try:
            values = self.parse(log if self.in_log else self.said)
        except (ValueError, KeyError, TypeError) as error:
            what = f"{self.command[0]} printed something unknown ({error!r})"
            raise Trouble(f"{what}:\n{last_lines(log or self.said)}") from None
        values = {name: speed for name, speed in values.items() if speed > 0}
        if not values:
            raise Trouble(f"{self.command[0]} printed no result:\n{last_lines(log or self.said)}")
        return outputs.with_costs(values)


def collect(arms: list[Arm], rounds: int) -> dict[str, dict[str, list[float]]]:
    """The samples by name of the row and side."""
    samples: dict[str, dict[str, list[float]]] = {}
    for index in range(rounds):
        for arm in arms if index % 2 == 0 else arms[::-1]:
            if arm.failure:
                continue
            try:
                for name, value in arm.run().items():
                    samples.setdefault(name, {"ours": [], "peer": []})[arm.side].append(value)
            except Trouble as trouble:
                arm.failure = str(trouble)
                print(f"! {trouble}", file=sys.stderr, flush=True)
    return samples


def speed_arms(options: argparse.Namespace, model: str) -> list[Arm]:
    rows, threads = ",".join(map(str, options.rows)), ["-t", str(options.threads)]
    shapes = ["--rows", rows, "--prefill", str(options.prefill), "--context", str(CONTEXT)]
    ours = [options.ftk, "bench", "model", "-m", model, "--json", "--repeats", str(REPEATS), *shapes, *threads]
    arms = [Arm("ours", ours + activations(options), outputs.parse_ftk_bench)]
    if options.llama_bench:
        shapes = ["-p", str(options.prefill), "-n", str(2 * CONTEXT), "-r", str(REPEATS), "-o", "json"]
        command = [options.llama_bench, "-m", model, *shapes, *threads]
        arms.append(Arm("peer", command, outputs.parse_llama_bench))
    if options.llama_batched_bench:
        # The cache is shared out in units of 256 tokens; batches that do not fit are left out silently.
        shapes = ["-npp", str(PROMPT), "-ntg", str(STEPS), "-npl", rows, "-c", str(256 * max(options.rows))]
        command = [options.llama_batched_bench, "-m", model, *shapes, *threads]
        arms.append(Arm("peer", command, outputs.parse_batched_bench))
    return arms


def speculation_arms(options: argparse.Namespace, model: str) -> list[Arm]:
    prompt = options.prompt_file.read_text(encoding="utf-8").rstrip("\n")
    context = len(prompt.encode()) + options.tokens + max(options.draft_lengths) + 16
    common = ["-m", model, "-n", str(options.tokens), "-t", str(options.threads), "-c", str(context), "--temp", "0"]
    peer = [options.llama_speculative, *common, "--no-escape", "-p", prompt]
    arms = []
    if options.llama_speculative:
        # It has no way to decode plainly; a lookup that wants 1024 equal tokens never finds a draft.
        never = ["--spec-type", "ngram-simple", "--spec-ngram-simple-size-n", "1024"]
        arms.append(Arm("peer", peer + never, partial(outputs.parse_speculative, length=0), in_log=True))
    for length in options.draft_lengths:
        draft = ["-d", options.draft, "--draft-length", str(length), "--repeats", "1", "--json", f"--prompt={prompt}"]
        command = [options.ftk, "compare", *common, *draft, *activations(options)]
        arms.append(Arm("ours", command, partial(outputs.parse_ftk_compare, length=length)))
        if options.llama_speculative:
            draft = ["--spec-type", "draft-simple", "-md", options.draft, "--spec-draft-n-max", str(length)]
            parse = partial(outputs.parse_speculative, length=length)
            arms.append(Arm("peer", peer + draft, parse, in_log=True))
    return arms


def activations(options: argparse.Namespace) -> list[str]:
    return ["--activations", options.activations] if options.activations else []


# Reporting.


def summary(samples: list[float]) -> dict[str, object] | None:
    if not samples:
        return None
    middle = median(samples)
    return {"median": middle, "spread": (max(samples) - min(samples)) / middle, "samples": samples}


def judged(name: str, samples: dict[str, list[float]]) -> dict[str, object]:
    """A row of the report."""
    row: dict[str, object] = {"name": name, **{side: summary(values) for side, values in samples.items()}}
    better, worse = samples["ours"], samples["peer"]
    if name.startswith("cost"):
        better, worse = worse, better
    if better and worse and not name.startswith("gain"):
        row["ratio"] = median(better) / median(worse)
        row["verdict"] = "ahead" if min(better) > max(worse) else "loses" if max(better) < min(worse) else "even"
    return row


def best_drafts(samples: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, list[float]]]:
    """Each side with the draft length that suits it best, and what that gains over plain decoding."""
    best = {}
    for side in ("ours", "peer"):
        lengths = [name for name in samples if name != "plain" and samples[name][side]]
        best[side] = max(lengths, key=lambda name: median(samples[name][side]), default="")
    title = ", ".join(f"{side} {name.split()[-1]}" for side, name in best.items() if name)
    speeds = {side: samples[name][side] if name else [] for side, name in best.items()}
    plain = samples.get("plain", {"ours": [], "peer": []})
    gains = {
        side: [median(values) / median(plain[side])] if values and plain[side] else []
        for side, values in speeds.items()
    }
    return {f"best drafts ({title})": speeds, "gain of the best drafts": gains} if title else {}


def show(title: str, rows: list[dict]) -> None:
    print(f"\n{title}\n{'':34}{'ours':>9}{'spread':>8}{'peer':>9}{'spread':>8}{'ratio':>8}")
    for row in rows:
        cells = "".join(
            f"{side['median']:9.2f}{side['spread']:8.0%}" if side else f"{'-':>9}{'':8}"
            for side in (row["ours"], row["peer"])
        )
        verdict = row.get("verdict", "")
        judgement = f"{row['ratio']:8.2f}  {verdict.upper() if verdict == 'loses' else verdict}" if verdict else ""
        print(f"{row['name']:34}{cells}{judgement}")
    compared = [row for row in rows if "verdict" in row]
    for verdict, text in (("loses", "ours loses at"), ("even", "too close to call")):
        names = [f"{row['name']} ({row['ratio']:.2f})" for row in compared if row["verdict"] == verdict]
        if compared:
            print(f"{text}: {'; '.join(names) or 'nothing'}")


def measured(model: str, options: argparse.Namespace, facts: dict[str, object]) -> dict[str, object]:
    arms = speed_arms(options, model)
    samples = collect(arms, options.rounds)
    # Speeds first, then costs; as the programs named them otherwise.
    rows = [judged(name, samples[name]) for name in sorted(samples, key=lambda name: name.startswith("cost"))]
    for arm in arms:
        facts.update(facts_of(arm))
    show(f"{model}: tokens/s and costs, {options.threads} threads, activations {facts.get('activations', '?')}", rows)
    result: dict[str, object] = {"model": model, "speed": rows}
    if options.draft:
        more = speculation_arms(options, model)
        samples = collect(more, options.rounds)
        result["speculation"] = [judged(name, values) for name, values in {**samples, **best_drafts(samples)}.items()]
        show(f"{model}: tokens/s with drafts of {options.draft}", result["speculation"])
        arms += more
    result["failures"] = [arm.failure for arm in arms if arm.failure]
    return result


def facts_of(arm: Arm) -> dict[str, object]:
    """What ftk and llama-bench tell about the machine and themselves."""
    if arm.failure or not arm.said.startswith(("{", "[")):
        return {}
    said = json.loads(arm.said)
    if isinstance(said, list):
        return {"peer_commit": said[0].get("build_commit")}
    return {name: said[name] for name in ("machine", "isa", "threads", "commit", "activations") if name in said}


def counts(text: str) -> list[int]:
    numbers = sorted({int(number) for number in text.split(",")})
    if numbers[0] < 1:
        raise ValueError
    return numbers


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", action="append", required=True)
    parser.add_argument("--ftk", default=str(ROOT / ".build/release/ftk"))
    parser.add_argument("--llama-bench")
    parser.add_argument("--llama-batched-bench")
    parser.add_argument("--llama-speculative")
    parser.add_argument("-d", "--draft", help="draft model: compare speculation too")
    parser.add_argument("--draft-lengths", type=counts, default=[2, 4, 8, 12])
    parser.add_argument("--prompt-file", type=Path, default=ROOT / "Tests/Demo/prompt.txt")
    parser.add_argument("-n", "--tokens", type=int, default=128, help="tokens generated for the comparison of drafts")
    parser.add_argument("-t", "--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--activations", help="passed on to ftk")
    parser.add_argument("--rows", type=counts, default=[1, 2, 4, 8, 16])
    parser.add_argument("--prefill", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", type=Path, help="also write every sample to this file")
    options = parser.parse_args()
    if options.llama_speculative and not options.draft:
        parser.error("--llama-speculative needs a draft model (-d)")
    options.rows = sorted({1, *options.rows})  # costs are relative to one row
    return options


def main() -> int:
    options = arguments()
    facts: dict[str, object] = {}
    models = [measured(model, options, facts) for model in options.model]
    if options.json:
        options.json.write_text(json.dumps({**facts, "models": models}, indent=1) + "\n", encoding="utf-8")
    return 1 if any(model["failures"] for model in models) else 0


if __name__ == "__main__":
    sys.exit(main())
