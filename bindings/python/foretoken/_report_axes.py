"""What the report's pictures have in common: colours, axes, and names at the lines.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which readers of all kinds of colour vision tell
apart; the name of each arm stands at its line's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from ._report_data import OWN

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#777777"

COLOURS = {
    "goodput": VERMILLION,
    "smartspec": BLUE,
    "turbospec": GREEN,
    "adaspec": PURPLE,
    "off": BLACK,
    "unconfigured": BLACK,
    "again": GREY,
    "oracle": GREY,
}
DASHES = {"unconfigured": "--", "again": ":", "oracle": ":"}
LABEL_SIZE = 9


def style(policy: str) -> dict[str, Any]:
    """Fixed lengths are one family: the same colour, with their names at the lines."""
    fixed = policy.startswith("static")
    return {
        "color": COLOURS.get(policy, ORANGE if fixed else SKY),
        "linestyle": DASHES.get(policy, "-"),
        "linewidth": 2.6 if policy == OWN else 1.0 if fixed else 1.6,
        "zorder": 5 if policy == OWN else 2 if fixed else 3,
    }


def spread_out(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The positions moved apart to at least `gap` each, in their order and as little as that allows; within the range
    where there is room."""
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    gap = min(gap, (high - low) / max(1, len(positions) - 1))
    groups: list[list[int]] = []
    centres: list[float] = []

    def centre(group: list[int]) -> float:
        mean = sum(positions[index] for index in group) / len(group)
        half = gap * (len(group) - 1) / 2
        return min(max(mean, low + half), high - half)

    for index in order:
        groups.append([index])
        centres.append(centre([index]))
        # Groups that touch become one around the mean of all of theirs.
        while len(groups) > 1 and centres[-1] - centres[-2] < gap * (len(groups[-1]) + len(groups[-2])) / 2 - 1e-12:
            last = groups.pop()
            centres.pop()
            groups[-1] += last
            centres[-1] = centre(groups[-1])
    result = [0.0] * len(positions)
    for group, middle in zip(groups, centres):
        for place, index in enumerate(group):
            result[index] = middle + gap * (place - (len(group) - 1) / 2)
    return result


@dataclass(frozen=True)
class End:
    """Where the line of an arm ends, and what is written there behind the arm's name."""

    policy: str
    x: float
    y: float
    note: str = ""


Panel = tuple[Axes, list[End]]


def finish(figure: Figure, panels: Sequence[Panel], gap: float) -> Figure:
    """Settles the layout, with `gap` letters of room between panels, and then names the lines."""
    figure.tight_layout(w_pad=gap)
    for axes, ends in panels:
        name_lines(axes, ends)
    return figure


def name_lines(axes: Axes, ends: Sequence[End]) -> None:
    """Writes each arm's name at the right of its last point, moved up or down where names would overlap."""
    if not ends:
        return
    axes.figure.canvas.draw()
    box = axes.get_window_extent()
    heights = [float(axes.transData.transform((end.x, end.y))[1]) for end in ends]
    gap = LABEL_SIZE * 1.2 * axes.figure.dpi / 72
    for end, height in zip(ends, spread_out(heights, gap, box.y0, box.y1)):
        colour = style(end.policy)["color"]
        axes.annotate(
            f"{end.policy}  {end.note}".rstrip(),
            xy=(end.x, end.y),
            xytext=(1.04, (height - box.y0) / box.height),
            textcoords=axes.transAxes,
            va="center",
            fontsize=LABEL_SIZE,
            fontweight="bold" if end.policy == OWN else "normal",
            color=colour,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.6,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 2,
            },
        )


def frame(axes: Axes, x: str, y: str, heading: str = "") -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(heading, fontsize=11, loc="left")
    axes.grid(True, color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def plain_numbers(axis: Any) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def spread_widely(values: Sequence[float], factor: float) -> bool:
    return min(values) > 0 and max(values) / min(values) > factor


def some(loads: Sequence[float]) -> list[float]:
    """The lowest, the middle and the highest where there are many."""
    return list(loads) if len(loads) <= MOST_COLUMNS else [loads[0], loads[len(loads) // 2], loads[-1]]


def load_axis(axes: Axes, loads: Sequence[float]) -> None:
    """Loads that differ by much are easier to read on a logarithmic axis; each is marked."""
    if spread_widely(loads, 4):
        axes.set_xscale("log", base=2)
    if len(loads) <= 8:
        axes.set_xticks(loads)
    plain_numbers(axes.xaxis)


MOST_COLUMNS = 3


def grid(count: int, width: float = 7.0, height: float = 4.6) -> tuple[Figure, list[Axes]]:
    """So many panels, in rows of a few; what is left of the last row stays empty."""
    columns = min(count, MOST_COLUMNS)
    rows = (count + columns - 1) // columns
    figure = Figure(figsize=(width * columns, height * rows), dpi=110)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in panels[count:]:
        empty.remove()
    return figure, panels[:count]
