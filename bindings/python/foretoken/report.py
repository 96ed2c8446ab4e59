"""Pictures of what policies did: python -m foretoken.report results.json -o DIR

Reads the JSON of `ftk simulate`, `ftk replay` and `ftk bench policies`, also several files at once, and writes PNG
files and one page, index.html, that shows them and every cell. Drawing needs matplotlib: pip install foretoken[report].
"""

from __future__ import annotations

import argparse
import base64
import html
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ._report_data import Cell, ReportError, Study, read

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
h1, h2, h3 { line-height: 1.2; }
figure { margin: 1.5rem 0; }
img { max-width: 100%; height: auto; }
figcaption { color: #444; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.85rem; }
.wide { overflow-x: auto; }
th, td { padding: 0.2rem 0.7rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
tr.own td { font-weight: 600; }
dl { display: grid; grid-template-columns: max-content auto; gap: 0 1rem; font-size: 0.85rem; }
dd { margin: 0; }
"""


@dataclass(frozen=True)
class Picture:
    """A file of the report and what it shows."""

    file: str
    caption: str


def number(value: float | None, digits: int = 1, suffix: str = "") -> str:
    return "" if value is None else f"{value:.{digits}f}{suffix}"


def percent(share: float | None) -> str:
    return "" if share is None else f"{share * 100:.1f}%"


COLUMNS = (
    ("load", lambda cell: f"{cell.load:g}"),
    ("seed", lambda cell: str(cell.seed)),
    ("TPOT target", lambda cell: cell.target),
    ("tokens per busy s", lambda cell: number(cell.rate)),
    ("P95 TPOT, ms", lambda cell: number(cell.tpot_p95, 2)),
    ("mean latency, s", lambda cell: number(cell.latency, 3)),
    ("attained", lambda cell: percent(cell.attainment)),
    ("mean speed-up", lambda cell: number(cell.speed_up and cell.speed_up.mean, 3)),
    ("least", lambda cell: number(cell.speed_up and cell.speed_up.minimum, 3)),
    ("slower by over 5%", lambda cell: percent(cell.speed_up and cell.speed_up.slower)),
    ("Jain's index", lambda cell: number(cell.speed_up and cell.speed_up.fairness, 3)),
)


def table(cells: Sequence[Cell]) -> str:
    """Every cell; columns that none has a figure for are left out."""
    columns = [(name, text) for name, text in COLUMNS if any(text(cell) for cell in cells)]
    head = "".join(f"<th>{html.escape(name)}</th>" for name, _ in columns)
    rows = [
        f'<tr{" class=own" if cell.policy == "goodput" else ""}><td>{html.escape(cell.policy)}</td>'
        + "".join(f"<td>{html.escape(text(cell))}</td>" for _, text in columns)
        + "</tr>"
        for cell in cells
    ]
    return f'<div class="wide"><table><tr><th>arm</th>{head}</tr>\n' + "\n".join(rows) + "</table></div>"


def losses(study: Study) -> str:
    """The losing cells, by name."""
    if not study.select(policy="goodput"):
        return ""
    lost = study.losses()
    if not lost:
        return "<p>In no cell did another arm give more tokens per busy second than goodput.</p>"
    items = "".join(
        f"<li>load {own.load:g}, seed {own.seed}{', target ' + html.escape(own.target) if own.target else ''}: "
        f"{number(own.rate)} against {number(best.rate)} of {html.escape(best.policy)}, {share * 100:.2f}% less</li>"
        for own, best, share in lost
    )
    total = len(study.select(policy="goodput"))
    return f"<p>Cells in which goodput gave fewer tokens per busy second ({len(lost)} of {total}):</p><ul>{items}</ul>"


def regrets(study: Study) -> str:
    """How far the default policy is from what no policy can attain."""
    rows = [
        f"<li>load {load:g}{', target ' + html.escape(target) if target else ''}: {mean * 100:.2f}%"
        + ("" if math.isnan(low) else f", 95% of resampled seeds within {low * 100:.2f} to {high * 100:.2f}%")
        + "</li>"
        for load, target, mean, low, high in study.regrets()
    ]
    if not rows:
        return ""
    return (
        "<p>Tokens per busy second that goodput missed of those of the oracle, which knows what will be accepted:</p>"
        f"<ul>{''.join(rows)}</ul>"
    )


def figure(picture: Picture, folder: Path) -> str:
    data = base64.b64encode((folder / picture.file).read_bytes()).decode()
    caption = html.escape(picture.caption)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{caption}"><figcaption>{caption} '
        f"({html.escape(picture.file)})</figcaption></figure>"
    )


def section(study: Study, pictures: Sequence[Picture], folder: Path) -> str:
    facts = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in study.facts)
    return "\n".join(
        [
            f"<h2>{html.escape(study.title)}</h2>",
            f"<dl>{facts}</dl>",
            losses(study),
            regrets(study),
            *(figure(picture, folder) for picture in pictures),
            f"<h3>Every cell</h3><p>Loads are {html.escape(study.load_name)}.</p>",
            table(study.cells),
        ]
    )


def page(sections: Sequence[str]) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>What policies did</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>What policies did</h1>\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def write(paths: Sequence[Path], folder: Path) -> Path:
    """Draws what the files hold into `folder` and returns the page."""
    studies = read(paths)
    try:
        from . import _report_plots
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise ReportError("drawing needs matplotlib; install it with: pip install 'foretoken[report]'") from error
    folder.mkdir(parents=True, exist_ok=True)
    sections = []
    for index, study in enumerate(studies):
        prefix = f"{index + 1}-" if len(studies) > 1 else ""
        pictures = [Picture(file, caption) for file, caption in _report_plots.draw(study, folder, prefix)]
        sections.append(section(study, pictures, folder))
    target = folder / "index.html"
    target.write_text(page(sections), encoding="utf-8")
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m foretoken.report", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", nargs="+", type=Path, help="JSON of ftk simulate, replay or bench policies")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the report")
    options = parser.parse_args(arguments)
    try:
        print(write(options.results, options.output))
    except (ReportError, OSError) as error:
        print(f"foretoken.report: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
