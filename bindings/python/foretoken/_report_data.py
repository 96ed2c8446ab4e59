"""What the report knows of results: reads the JSON of `ftk simulate`, `ftk replay` and `ftk bench policies`."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

PLAIN = ("unconfigured", "off")
"""Arms without speculation, the better yardstick first."""

OWN = "goodput"
"""The policy that the report compares with all others."""


class ReportError(Exception):
    """A file that cannot be read as results; the text says which, where and why."""


@dataclass(frozen=True)
class Timeline:
    """What happened in parts of equal length; lists have an element for each part."""

    part_s: float
    arrivals: list[float]
    length: list[float | None]
    """Drafted tokens that were verified, for each request and step; None where nothing decoded."""

    @property
    def seconds(self) -> list[float]:
        """The middle of each part."""
        return [self.part_s * (index + 0.5) for index in range(len(self.length))]


@dataclass(frozen=True)
class Bin:
    """Drafted tokens with like estimates: their mean, the share that was accepted, and how many there were."""

    predicted: float
    accepted: float
    count: float


@dataclass(frozen=True)
class SpeedUp:
    """How many times sooner than in the plain run requests ended: one number for each, ascending."""

    gains: list[float]
    minimum: float
    slower: float
    fairness: float
    mean: float

    @classmethod
    def of(cls, gains: Iterable[float]) -> SpeedUp | None:
        ordered = sorted(gains)
        if not ordered:
            return None
        count, total, squares = len(ordered), sum(ordered), sum(gain * gain for gain in ordered)
        slower = sum(gain < 1 / 1.05 for gain in ordered) / count
        return cls(ordered, ordered[0], slower, total * total / (count * squares) if squares else 0, total / count)


@dataclass
class Cell:
    """One arm under one load, with one seed."""

    policy: str
    load: float
    seed: int = 1
    target: str = ""
    """The target of the time per output token as it was asked for; empty without one."""
    rate: float | None = None
    """Output tokens per second of the time that the machine worked."""
    tpot_p95: float | None = None
    """Milliseconds."""
    latency: float | None = None
    """Seconds, on average."""
    attainment: float | None = None
    calibration: list[Bin] = field(default_factory=list)
    speed_up: SpeedUp | None = None
    timeline: Timeline | None = None


@dataclass
class Study:
    """Cells that belong into one set of pictures: same kind of run, same machine, same options."""

    title: str
    facts: list[tuple[str, str]]
    load_name: str
    cells: list[Cell] = field(default_factory=list)

    @property
    def policies(self) -> list[str]:
        return unique(cell.policy for cell in self.cells)

    @property
    def loads(self) -> list[float]:
        return sorted(unique(cell.load for cell in self.cells))

    @property
    def targets(self) -> list[str]:
        return unique(cell.target for cell in self.cells)

    def select(self, **wanted: Any) -> list[Cell]:
        return [cell for cell in self.cells if all(getattr(cell, name) == value for name, value in wanted.items())]

    def curve(self, figure: Callable[[Cell], float | None], **wanted: Any) -> list[tuple[float, float, float, float]]:
        """(load, mean over seeds, least, greatest) for each load that has the figure."""
        points = []
        for load in self.loads:
            values = [value for cell in self.select(load=load, **wanted) if (value := figure(cell)) is not None]
            if values:
                points.append((load, sum(values) / len(values), min(values), max(values)))
        return points

    def losses(self) -> list[tuple[Cell, Cell, float]]:
        """Where the default policy gave fewer tokens per busy second than another arm: its cell, that arm's, and the
        share that it lost. The oracle, which knows what will be accepted, is no arm that one could choose."""
        result = []
        for own in self.select(policy=OWN):
            others = [
                cell
                for cell in self.select(load=own.load, seed=own.seed, target=own.target)
                if cell.policy not in (OWN, "oracle") and cell.rate is not None
            ]
            best = max(others, key=lambda cell: cell.rate or 0.0, default=None)
            if best is not None and best.rate and own.rate is not None and own.rate < best.rate:
                result.append((own, best, 1 - own.rate / best.rate))
        return result


    def regrets(self) -> list[tuple[float, str, float, float, float]]:
        """(load, target, mean over seeds, and its 95% interval) of the share of the oracle's tokens per busy second that
        the default policy missed. The interval is a bootstrap over seeds (Efron 1979); fewer than three give none."""
        result = []
        for load in self.loads:
            for target in self.targets:
                pairs = [
                    (own.rate, best.rate)
                    for own in self.select(policy=OWN, load=load, target=target)
                    for best in self.select(policy="oracle", load=load, target=target, seed=own.seed)
                ]
                shares = [1 - own / best for own, best in pairs if own is not None and best]
                if shares:
                    result.append((load, target, sum(shares) / len(shares), *bootstrap(shares)))
        return result


def bootstrap(values: Sequence[float], draws: int = 2000) -> tuple[float, float]:
    """The 95% interval of the mean; not numbers for fewer than three values. The same values give the same interval."""
    if len(values) < 3:
        return math.nan, math.nan
    chance = random.Random(len(values))
    means = sorted(sum(chance.choices(values, k=len(values))) / len(values) for _ in range(draws))
    return means[draws // 40], means[draws - 1 - draws // 40]


def unique(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


# Reading


def read(paths: Sequence[Path]) -> list[Study]:
    """The studies of some files. Files of one kind with the same options are one study: loads may be measured apart."""
    studies: dict[str, Study] = {}
    for path in paths:
        found = study(load(path), path)
        key = json.dumps([found.title, found.facts])
        if key in studies:
            studies[key].cells += found.cells
        else:
            studies[key] = found
    return list(studies.values())


def load(path: Path) -> dict[str, Any]:
    """One JSON object, or lines of it as `ftk bench policies --resume` keeps them: a header, then the cells."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: {error}") from error
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            header, *cells = [json.loads(line) for line in lines]
        except ValueError:
            raise ReportError(f"{path} is neither JSON nor JSON lines: {error}") from error
        whole = {**header, "cells": cells} if isinstance(header, dict) else None
    if not isinstance(whole, dict) or not isinstance(whole.get("cells"), list):
        raise ReportError(f'{path} has no list "cells"; expected what ftk simulate, replay or bench policies print')
    if not whole["cells"]:
        raise ReportError(f"{path} holds no cell")
    return whole


def study(whole: dict[str, Any], path: Path) -> Study:
    """The study that the JSON of one command is."""
    raw: list[dict[str, Any]] = whole["cells"]
    for index, cell in enumerate(raw):
        if not isinstance(cell, dict) or not isinstance(cell.get("policy"), str):
            raise ReportError(f'{path}, cell {index + 1} has no text "policy"')
    closed = "concurrency" in raw[0]
    cells = []
    for index, cell in enumerate(raw):
        try:
            cells.append(bench_cell(cell) if closed else open_cell(cell))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ReportError(f"{path}, cell {index + 1} ({cell['policy']}): {described(error)}") from error
    if not closed:
        share_loads(cells, raw)
        share_targets(cells, raw)
        compare_with_plain(cells, raw)
    header = {name: value for name, value in whole.items() if name != "cells"}
    name = "requests at a time" if closed else "requests per second"
    return Study(title(whole, closed), flattened(header), name, cells)


def described(error: Exception) -> str:
    return f"field {error} is missing" if isinstance(error, KeyError) else str(error)


def title(whole: dict[str, Any], closed: bool) -> str:
    if closed:
        return f"Bench on {whole.get('machine', 'this machine')}"
    hardware = whole.get("hardware")
    if isinstance(hardware, dict):
        return f"Simulation of {hardware.get('name', 'a machine')}"
    return f"Replay on {whole.get('machine', 'this machine')}"


def flattened(members: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names and values as text, those of inner objects too; lists are left out."""
    facts: list[tuple[str, str]] = []
    for name, value in members.items():
        words = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, dict):
            facts += flattened(value, f"{words}: ")
        elif value is not None and not isinstance(value, list):
            facts.append((words, str(value)))
    return facts


def bench_cell(cell: dict[str, Any]) -> Cell:
    """A closed loop: so many requests at a time."""
    latency = cell.get("latency_us_mean")
    return Cell(
        policy=cell["policy"],
        load=float(cell["concurrency"]),
        rate=float(cell["tokens_per_s"]),
        latency=latency / 1e6 if latency is not None else None,
    )


def open_cell(cell: dict[str, Any]) -> Cell:
    """Requests that come when a workload says."""
    target = cell.get("target_tpot") or cell.get("target_tpot_ms")
    return Cell(
        policy=cell["policy"],
        load=offered(cell),
        seed=int(cell.get("seed", 1)),
        target=target if isinstance(target, str) else f"{target:.1f} ms" if target else "",
        rate=cell.get("tokens_per_busy_s", cell.get("tokens_per_s")),
        tpot_p95=(cell.get("tpot_ms") or {}).get("p95"),
        latency=(cell.get("latency_s") or {}).get("mean"),
        attainment=cell.get("attainment"),
        calibration=calibration(cell.get("calibration")),
        speed_up=speed_up(cell.get("speed_up")),
        timeline=timeline(cell.get("timeline")),
    )


def offered(cell: dict[str, Any]) -> float:
    """Requests per second."""
    rate = cell.get("requests_per_s")
    if rate is None:
        arrivals = [request["arrival_s"] for request in cell["raw"]]
        span = max(arrivals) - min(arrivals)
        rate = (len(arrivals) - 1) / span if span > 0 else 0.0
    return float(rate)


def share_loads(cells: list[Cell], raw: list[dict[str, Any]]) -> None:
    """Seeds draw other arrivals: cells that were asked for the same load get the mean of theirs, to three digits."""
    scales = [cell.get("time_scale", 1) for cell in raw]
    for scale in unique(scales):
        same = [cell for cell, other in zip(cells, scales) if other == scale]
        mean = sum(cell.load for cell in same) / len(same)
        for cell in same:
            cell.load = float(f"{mean:.3g}")


def share_targets(cells: list[Cell], raw: list[dict[str, Any]]) -> None:
    """A target in milliseconds that follows from a plain run differs from load to load: where each load has one only, and
    nothing says how it was asked for, all are the same target."""
    if any(isinstance(cell.get("target_tpot"), str) for cell in raw):
        return
    by_run: dict[tuple[float, int], set[str]] = {}
    for cell in cells:
        by_run.setdefault((cell.load, cell.seed), set()).add(cell.target)
    if len({cell.target for cell in cells}) > 1 and all(len(targets) == 1 for targets in by_run.values()):
        for cell in cells:
            cell.target = "of each run"


def calibration(found: dict[str, Any] | None) -> list[Bin]:
    return [Bin(each["predicted"], each["accepted"], each["count"]) for each in (found or {}).get("bins", [])]


def speed_up(found: dict[str, Any] | None) -> SpeedUp | None:
    if not found:
        return None
    gains = [float(value) for value in found.get("percentiles", [])]
    return SpeedUp(gains, found["minimum"], found["slower_share"], found["fairness"], found["mean"])


def timeline(found: dict[str, Any] | None) -> Timeline | None:
    if not found:
        return None
    lengths = [
        verified / decoding if decoding else None for verified, decoding in zip(found["verified"], found["decoding"])
    ]
    arrivals = found.get("arrivals", [])
    padded = list(arrivals) + [0] * (len(lengths) - len(arrivals))
    return Timeline(float(found["part_s"]), [count / found["part_s"] for count in padded], lengths)


def compare_with_plain(cells: list[Cell], raw: list[dict[str, Any]]) -> None:
    """Where requests' own times are there, speed-ups come from these: each against itself without speculation."""
    latencies = [latencies_of(cell.get("raw")) for cell in raw]
    for cell, own in zip(cells, latencies):
        for name in PLAIN:
            # Targets change what is run: the same ones first, any others only where there is nothing else.
            found = [
                (other, times)
                for other, times in zip(cells, latencies)
                if other.policy == name and (other.load, other.seed) == (cell.load, cell.seed) and times
            ]
            same = [times for other, times in found if other.target == cell.target]
            plain = next(iter(same or [times for _, times in found]), None)
            if plain is not None and own:
                pairs = zip(plain, own)
                cell.speed_up = SpeedUp.of(before / after for before, after in pairs if before and after)
                break


def latencies_of(requests: list[dict[str, Any]] | None) -> list[float | None]:
    """Seconds from arrival to end; None for what never ended."""
    return [
        end - request["arrival_s"] if (end := request.get("end_s")) is not None else None for request in requests or []
    ]
