"""The pictures of the report, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ._report_axes import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LABEL_SIZE,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    End,
    finish,
    frame,
    grid,
    load_axis,
    plain_numbers,
    some,
    spread_widely,
    style,
)
from ._report_data import PLAIN, Cell, Study


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight", facecolor="white")


def draw(study: Study, folder: Path, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Draws what the study has data for: yields each file's name with a caption."""
    for name, caption, make in (
        ("load.png", LOAD_CAPTION, over_load),
        ("attainment.png", ATTAINMENT_CAPTION, attainment),
        ("timeline.png", TIMELINE_CAPTION, over_time),
        ("calibration.png", CALIBRATION_CAPTION, reliability),
        ("speedup.png", SPEED_UP_CAPTION, speed_ups),
    ):
        figure = make(study)
        if figure is not None:
            save(figure, folder / f"{prefix}{name}")
            yield f"{prefix}{name}", caption


# Goodput and pace against load

LOAD_CAPTION = (
    "Tokens per second of the time that the machine worked, and the time per output token that 95% of the requests "
    "stay below, against load. Bars span the seeds."
)


def over_load(study: Study) -> Figure | None:
    """Of the first target, or without one: policies that are told of targets may trade one figure for another."""
    panels: list[tuple[str, Callable[[Cell], float | None]]] = [
        ("tokens per busy second", lambda cell: cell.rate),
        ("P95 time per output token, ms", lambda cell: cell.tpot_p95),
        ("mean latency, s", lambda cell: cell.latency),
    ]
    panels = [panel for panel in panels if any(panel[1](cell) is not None for cell in study.cells)][:2]
    if not panels:
        return None
    figure, all_axes = grid(len(panels))
    target = study.targets[0]
    drawn = []
    for axes, (label, value) in zip(all_axes, panels):
        curves = {policy: study.curve(value, policy=policy, target=target) for policy in study.policies}
        frame(axes, study.load_name, label, f"target {target}" if target else "")
        drawn.append((axes, curves_of(axes, curves, study, label)))
    return finish(figure, drawn, 9)


Curves = dict[str, list[tuple[float, float, float, float]]]


def curves_of(axes: Axes, curves: Curves, study: Study, label: str) -> list[End]:
    """Lines over the loads, or bars where there is only one."""
    if len(study.loads) > 1:
        return lines(axes, curves, study.loads)
    bars(axes, curves, label)
    return []


def lines(axes: Axes, curves: Curves, loads: Sequence[float]) -> list[End]:
    values = [point[1] for points in curves.values() for point in points]
    if values and spread_widely(values, 20):
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
    load_axis(axes, loads)
    ends = []
    for policy, points in curves.items():
        if not points:
            continue
        x, y, low, high = zip(*points)
        axes.plot(x, y, marker="o", markersize=3.5, **style(policy))
        axes.vlines(x, low, high, color=style(policy)["color"], linewidth=1)
        ends.append(End(policy, x[-1], y[-1]))
    return ends


def bars(axes: Axes, curves: Curves, label: str) -> None:
    """One load only: a bar for each arm, with its value."""
    known = [(policy, points[0]) for policy, points in curves.items() if points]
    names = [policy for policy, _ in known]
    values = [point[1] for _, point in known]
    drawn = axes.barh(names, values, color=[style(policy)["color"] for policy in names], height=0.6)
    axes.bar_label(drawn, fmt="%.4g", padding=3, fontsize=LABEL_SIZE)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlabel(label)
    axes.set_ylabel("")
    axes.margins(x=0.12)


# Attainment

ATTAINMENT_CAPTION = (
    "Share of the requests that met their targets, against load for each target, or against the target where there is "
    "one load."
)


SHARE_LABEL = "requests that met their target, %"


def attainment(study: Study) -> Figure | None:
    targets = [
        target for target in study.targets if any(cell.attainment is not None for cell in study.select(target=target))
    ]
    if not targets:
        return None
    if len(study.loads) > 1 or len(targets) == 1:
        figure, all_axes = grid(len(targets), width=6.4)
        drawn = []
        for axes, target in zip(all_axes, targets):
            curves = {
                policy: study.curve(lambda cell: share(cell.attainment), policy=policy, target=target)
                for policy in study.policies
            }
            frame(axes, study.load_name, SHARE_LABEL, f"target {target}")
            if len(study.loads) > 1:
                axes.set_ylim(*share_range(study))
            drawn.append((axes, curves_of(axes, curves, study, SHARE_LABEL)))
        return finish(figure, drawn, 9)
    return over_targets(study, targets)


def over_targets(study: Study, targets: Sequence[str]) -> Figure:
    figure, (axes,) = grid(1, width=8)
    frame(axes, "target of the time per output token", SHARE_LABEL)
    axes.set_ylim(*share_range(study))
    axes.set_xticks(range(len(targets)), targets)
    ends = []
    for policy in study.policies:
        found = [
            [cell.attainment for cell in study.select(policy=policy, target=target) if cell.attainment is not None]
            for target in targets
        ]
        points = [(place, 100 * sum(each) / len(each)) for place, each in enumerate(found) if each]
        if points:
            axes.plot(*zip(*points), marker="o", markersize=3.5, **style(policy))
            ends.append(End(policy, *points[-1]))
    return finish(figure, [(axes, ends)], 0)


def share_range(study: Study) -> tuple[float, float]:
    """From a little below the least share to all: where most requests meet their targets the rest is what counts."""
    least = min(cell.attainment for cell in study.cells if cell.attainment is not None)
    low = max(0.0, 10 * (10 * least // 1))
    return low - 0.02 * (100 - low) - 0.5, 100 + 0.02 * (100 - low) + 0.5


def share(value: float | None) -> float | None:
    return None if value is None else 100 * value


# Over time

TIMELINE_CAPTION = (
    "Arrivals, and below them the drafted tokens that were verified for each request and step, over the time of the "
    "workload. The first seed and target."
)
def over_time(study: Study) -> Figure | None:
    """The loads from the lowest to the highest, some of them where there are many."""
    with_time = [cell for cell in study.cells if cell.timeline and cell.target == study.targets[0]]
    loads = some(sorted({cell.load for cell in with_time}))
    if not loads:
        return None
    figure = Figure(figsize=(6.6 * len(loads), 5.6), dpi=110)
    panels = figure.subplots(2, len(loads), squeeze=False, sharex="col", gridspec_kw={"height_ratios": [1, 2.4]})
    drawn = []
    for column, load in enumerate(loads):
        seed = min(cell.seed for cell in with_time if cell.load == load)
        cells = [cell for cell in with_time if (cell.load, cell.seed) == (load, seed)]
        arrivals(panels[0][column], cells[0], f"{load:g} {study.load_name}")
        ends = chosen_lengths(panels[1][column], [cell for cell in cells if chooses(cell)])
        drawn.append((panels[1][column], ends))
    figure.align_ylabels(list(panels[:, 0]))
    return finish(figure, drawn, 8)


def chooses(cell: Cell) -> bool:
    return not cell.policy.startswith("static") and cell.policy not in PLAIN


def arrivals(axes: Axes, cell: Cell, heading: str) -> None:
    assert cell.timeline is not None
    frame(axes, "", "arrivals per second", heading)
    axes.fill_between(cell.timeline.seconds, cell.timeline.arrivals, step="mid", color="#cccccc", linewidth=0)
    axes.set_ylim(bottom=0)


def smoothed(values: Sequence[float | None], reach: int) -> list[float | None]:
    """The mean of a value and its neighbours; None where there is none."""
    result: list[float | None] = []
    for index, value in enumerate(values):
        near = [each for each in values[max(0, index - reach) : index + reach + 1] if each is not None]
        result.append(None if value is None else sum(near) / len(near))
    return result


def chosen_lengths(axes: Axes, cells: Sequence[Cell]) -> list[End]:
    frame(axes, "seconds", "verified draft tokens per request and step")
    ends = []
    for cell in cells:
        assert cell.timeline is not None
        lengths = smoothed(cell.timeline.length, 1)
        axes.plot(
            cell.timeline.seconds, [float("nan") if each is None else each for each in lengths], **style(cell.policy)
        )
        known = [(x, y) for x, y in zip(cell.timeline.seconds, lengths) if y is not None]
        if known:
            ends.append(End(cell.policy, *known[-1]))
    axes.set_ylim(bottom=0)
    return ends


# Calibration

CALIBRATION_CAPTION = (
    "What the policy expected of drafted tokens, and the share of them that was accepted; the larger a point, the more "
    "tokens it stands for. On the diagonal both agree."
)


def reliability(study: Study) -> Figure | None:
    by_load: dict[float, list[Cell]] = {}
    for cell in study.cells:
        if cell.calibration and cell.target == study.targets[0]:
            by_load.setdefault(cell.load, []).append(cell)
    if not by_load:
        return None
    figure, (axes,) = grid(1, width=5.6, height=5.2)
    frame(axes, "expected probability of acceptance", "share accepted")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    shades = [VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY, BLACK]
    for place, load in enumerate(sorted(by_load)[: len(shades)]):
        bins = [each for cell in by_load[load] for each in cell.calibration]
        total = sum(each.count for each in bins)
        error = sum(each.count * abs(each.predicted - each.accepted) for each in bins) / total
        points = sorted((each.predicted, each.accepted, each.count) for each in bins)
        x, y, counts = zip(*points)
        axes.scatter(x, y, s=[12 + 200 * count / total for count in counts], color=shades[place], alpha=0.8, zorder=3)
        text = f"{load:g} {study.load_name}: error {error * 100:.1f}%"
        axes.text(
            0.03, 0.95 - 0.05 * place, text, color=shades[place], fontsize=LABEL_SIZE, transform=axes.transAxes
        )
    figure.tight_layout()
    return figure


# Who gained and who lost

SPEED_UP_CAPTION = (
    "Each request against itself without speculation, from the one that gained least to the one that gained most. Below "
    "1 it lost. Beside the names: the least speed-up, the share slower by more than 5%, and Jain's index of fairness."
)


def speed_ups(study: Study) -> Figure | None:
    cells = [
        cell
        for cell in study.cells
        if cell.speed_up and cell.speed_up.gains and cell.target == study.targets[0] and cell.policy not in PLAIN
    ]
    loads = some(sorted({cell.load for cell in cells}))
    if not loads:
        return None
    figure = Figure(figsize=(7.4 * len(loads), 4.8), dpi=110)
    drawn = []
    for axes, load in zip(figure.subplots(1, len(loads), squeeze=False)[0], loads):
        seed = min(cell.seed for cell in cells if cell.load == load)
        frame(axes, "requests, %", "speed-up against its own plain run", f"{load:g} {study.load_name}")
        drawn.append((axes, gains(axes, [cell for cell in cells if (cell.load, cell.seed) == (load, seed)])))
    return finish(figure, drawn, 24)


def gains(axes: Axes, cells: Sequence[Cell]) -> list[End]:
    axes.axhline(1, color=GREY, linewidth=1, linestyle="--")
    values = [gain for cell in cells if cell.speed_up for gain in cell.speed_up.gains]
    if spread_widely(values, 4):
        axes.set_yscale("log", base=2)
        plain_numbers(axes.yaxis)
    ends = []
    for cell in cells:
        found = cell.speed_up
        if found is None:
            continue
        count = max(1, len(found.gains) - 1)
        x = [100 * index / count for index in range(len(found.gains))]
        axes.plot(x, found.gains, **style(cell.policy))
        note = f"min {found.minimum:.2f}, {found.slower * 100:.0f}% slower, Jain {found.fairness:.2f}"
        ends.append(End(cell.policy, x[-1], found.gains[-1], note))
    return ends
