"""The report: what it reads, the page, and, where matplotlib is installed, the pictures."""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import math
import struct
import subprocess
import sys
import tempfile
import types
import unittest
from contextlib import redirect_stderr, redirect_stdout
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock

from common import ROOT

from foretoken import report
from foretoken._report_data import ReportError, SpeedUp, read

HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None


def simulated_cell(policy: str, scale: float = 1, seed: int = 1, rate: float = 100, **more: Any) -> dict[str, Any]:
    """What `ftk simulate --json` prints for an arm, as far as the report reads it."""
    return {
        "policy": policy,
        "time_scale": scale,
        "seed": seed,
        "requests_per_s": (4 + 0.01 * seed) / scale,
        "tokens_per_s": rate / 2,
        "tokens_per_busy_s": rate,
        "latency_s": {"mean": 2.5, "p50": 2, "p90": 3, "p95": 4, "p99": 5},
        "tpot_ms": {"mean": 20, "p50": 20, "p90": 30, "p95": 33.5, "p99": 40},
        "target_tpot": None,
        "attainment": None,
        "speed_up": {
            "mean": 1.25,
            "minimum": 0.5,
            "slower_share": 0.25,
            "fairness": 0.9,
            "percentiles": [0.5 + index / 50 for index in range(101)],
        },
        "calibration": None,
        "timeline": {
            "part_s": 2,
            "arrivals": [8, 4],
            "steps": [3, 0, 1],
            "decoding": [6, 0, 2],
            "verified": [9, 0, 1],
        },
        **more,
    }


CALIBRATION = {
    "expected_error": 0.02,
    "bins": [{"predicted": 0.25, "accepted": 0.3, "count": 10}, {"predicted": 0.85, "accepted": 0.8, "count": 90}],
}
SIMULATED = {
    "hardware": {"name": "h100-8b", "description": "One H100", "kv_tokens": 1000},
    "options": {"acceptance": "0.7", "draft_tokens": None},
    "cells": [
        simulated_cell(policy, scale, seed, rate, calibration=CALIBRATION if policy == "goodput" else None)
        for scale in (1, 0.25)
        for seed in (1, 2)
        for policy, rate in (("off", 100), ("static:4", 120), ("goodput", 130 if scale == 1 else 118))
    ],
}
BENCH = {
    "machine": "A machine",
    "threads": 2,
    "cells": [
        {"policy": policy, "concurrency": load, "tokens_per_s": rate, "latency_us_mean": 5e5}
        for load, policy, rate in ((1, "unconfigured", 50), (1, "goodput", 80), (4, "unconfigured", 90), (4, "goodput", 89))
    ],
}


class ReportCase(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="foretoken-report-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, content: Any, name: str = "results.json") -> Path:
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path


class DataTests(ReportCase):
    def test_seeds_of_a_load_are_one_point(self) -> None:
        (study,) = read([self.file(SIMULATED)])
        self.assertEqual((study.title, study.load_name), ("Simulation of h100-8b", "requests per second"))
        self.assertEqual(study.policies, ["off", "static:4", "goodput"])
        # 4.01 and 4.02 a second, and four times that.
        self.assertEqual(study.loads, [4.01, 16.1])
        self.assertIn(("options: acceptance", "0.7"), study.facts)
        points = study.curve(lambda cell: cell.rate, policy="goodput")
        self.assertEqual(points, [(4.01, 130, 130, 130), (16.1, 118, 118, 118)])

    def test_figures_of_a_cell(self) -> None:
        cell = read([self.file(SIMULATED)])[0].cells[2]
        self.assertEqual((cell.rate, cell.tpot_p95, cell.latency, cell.attainment), (130, 33.5, 2.5, None))
        assert cell.timeline is not None and cell.speed_up is not None
        self.assertEqual(cell.timeline.seconds, [1, 3, 5])
        self.assertEqual(cell.timeline.length, [1.5, None, 0.5])
        self.assertEqual(cell.timeline.arrivals, [4, 2, 0])
        self.assertEqual((cell.speed_up.minimum, cell.speed_up.slower, len(cell.speed_up.gains)), (0.5, 0.25, 101))
        self.assertEqual([(each.predicted, each.count) for each in cell.calibration], [(0.25, 10), (0.85, 90)])

    def test_losing_cells_are_named(self) -> None:
        (study,) = read([self.file(SIMULATED)])
        found = [(own.load, own.seed, best.policy, round(share, 4)) for own, best, share in study.losses()]
        self.assertEqual(found, [(16.1, 1, "static:4", 0.0167), (16.1, 2, "static:4", 0.0167)])

    def test_the_oracle_is_no_loss(self) -> None:
        cells = [simulated_cell("off", rate=90), simulated_cell("oracle", rate=150), simulated_cell("goodput", rate=100)]
        self.assertEqual(read([self.file({"cells": cells})])[0].losses(), [])

    def test_regret_is_against_the_oracle(self) -> None:
        cells = [
            simulated_cell(policy, seed=seed, rate=rate)
            for seed, own in ((1, 90), (2, 96), (3, 93))
            for policy, rate in (("oracle", 100), ("goodput", own))
        ]
        ((load, target, mean, low, high),) = read([self.file({"cells": cells})])[0].regrets()
        self.assertEqual((load, target), (4.02, ""))
        self.assertAlmostEqual(mean, 0.07)
        self.assertTrue(0.04 <= low < mean < high <= 0.1, (low, high))
        ((_, _, mean, low, high),) = read([self.file({"cells": cells[:2]})])[0].regrets()
        self.assertAlmostEqual(mean, 0.1)
        self.assertTrue(math.isnan(low) and math.isnan(high))
        self.assertEqual(read([self.file(SIMULATED)])[0].regrets(), [])

    def test_speed_ups_come_from_the_requests_own_times(self) -> None:
        def request(arrival: float, end: float | None) -> dict[str, Any]:
            return {"arrival_s": arrival, "end_s": end}

        cells = [
            simulated_cell("off", raw=[request(0, 4), request(1, 3), request(2, None), request(5, 9)]),
            simulated_cell("goodput", raw=[request(0, 2), request(1, 5), request(2, 8), request(5, 9)]),
        ]
        found = read([self.file({"cells": cells})])[0].cells[1].speed_up
        assert found is not None
        self.assertEqual(found.gains, [0.5, 1, 2])
        self.assertAlmostEqual(found.slower, 1 / 3)
        self.assertAlmostEqual(found.fairness, 3.5**2 / (3 * 5.25))
        self.assertIsNone(SpeedUp.of([]))

    def test_load_follows_from_raw_arrivals(self) -> None:
        cell = simulated_cell("goodput", raw=[{"arrival_s": second, "end_s": second + 1} for second in (0, 1, 4)])
        del cell["requests_per_s"]
        self.assertEqual(read([self.file({"cells": [cell]})])[0].loads, [0.5])

    def test_a_target_that_follows_from_each_run_is_one(self) -> None:
        cells = [
            simulated_cell("goodput", scale, target_tpot_ms=pace, attainment=0.9) for scale, pace in ((1, 20), (2, 11))
        ]
        self.assertEqual(read([self.file({"cells": cells})])[0].targets, ["of each run"])
        for cell, text in zip(cells, ("0.8x", "1x")):
            cell["target_tpot"] = text
        self.assertEqual(read([self.file({"cells": cells})])[0].targets, ["0.8x", "1x"])

    def test_files_with_the_same_options_are_one_study(self) -> None:
        other = copy.deepcopy(SIMULATED)
        other["cells"] = [simulated_cell("goodput", 2)]
        paths = [self.file(SIMULATED, "a.json"), self.file(other, "b.json"), self.file(BENCH, "c.json")]
        studies = read(paths)
        self.assertEqual([len(study.cells) for study in studies], [13, 4])
        self.assertEqual(studies[1].load_name, "requests at a time")

    def test_bench_results_are_read_as_lines_too(self) -> None:
        header = {name: value for name, value in BENCH.items() if name != "cells"}
        lines = "\n".join(json.dumps(each) for each in [header, *BENCH["cells"]]) + "\n"
        for content in (BENCH, lines):
            (study,) = read([self.file(content)])
            self.assertEqual((study.title, study.loads), ("Bench on A machine", [1, 4]))
            self.assertEqual([(own.load, best.policy) for own, best, _ in study.losses()], [(4, "unconfigured")])

    def test_bad_files_are_named(self) -> None:
        broken = simulated_cell("goodput")
        del broken["timeline"]["part_s"]
        for content, message in (
            ("", "neither JSON nor JSON lines"),
            ("{", "neither JSON nor JSON lines"),
            ([1], 'no list "cells"'),
            ({"error": {"code": 1}}, 'no list "cells"'),
            ({"cells": []}, "holds no cell"),
            ({"cells": [{"name": "x"}]}, 'cell 1 has no text "policy"'),
            ({"cells": [simulated_cell("off"), broken]}, "cell 2 (goodput): field 'part_s' is missing"),
            ({"cells": [{"policy": "off", "concurrency": "many", "tokens_per_s": 1}]}, "cell 1 (off)"),
        ):
            path = self.file(content)
            with self.assertRaises(ReportError) as caught:
                read([path])
            self.assertIn(str(path), str(caught.exception))
            self.assertIn(message, str(caught.exception))
        with self.assertRaisesRegex(ReportError, "nowhere.json"):
            read([self.folder / "nowhere.json"])


class Page(HTMLParser):
    """Checks that elements close in order, and gathers the text and the pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [value for name, value in attrs if name in ("href", "src") and value]
        if tag == "img":
            self.images.append(values)
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


class PageTests(ReportCase):
    def write(self, *contents: Any) -> Page:
        """The page, with pictures that are none."""

        def draw(study: Any, folder: Path, prefix: str) -> list[tuple[str, str]]:
            name = f"{prefix}load.png"
            (folder / name).write_bytes(b"picture")
            return [(name, "A <caption>")]

        paths = [self.file(content, f"{index}.json") for index, content in enumerate(contents)]
        with mock.patch.dict(sys.modules, {"foretoken._report_plots": types.SimpleNamespace(draw=draw)}), mock.patch(
            "foretoken._report_plots", types.SimpleNamespace(draw=draw), create=True
        ):
            page = report.write(paths, self.folder / "out")
        self.assertEqual(page, self.folder / "out" / "index.html")
        return Page(page.read_text(encoding="utf-8"))

    def test_every_cell_and_its_figures_are_on_the_page(self) -> None:
        page = self.write(SIMULATED)
        text = " ".join(page.text)
        self.assertEqual(text.count("goodput"), 1 + 4)
        for expected in ("Simulation of h100-8b", "16.1", "118.0", "33.50", "25.0%", "0.900", "1.67% less", "(2 of 4)"):
            self.assertIn(expected, text)
        self.assertNotIn("attained", text)

    def test_the_page_needs_no_other_file(self) -> None:
        page = self.write(SIMULATED, BENCH)
        self.assertEqual([image["alt"] for image in page.images], ["A <caption>"] * 2)
        self.assertTrue(all(link.startswith("data:image/png;base64,") for link in page.links))
        self.assertEqual(
            sorted(path.name for path in (self.folder / "out").iterdir()), ["1-load.png", "2-load.png", "index.html"]
        )

    def test_what_files_say_is_text(self) -> None:
        odd = copy.deepcopy(SIMULATED)
        odd["hardware"]["description"] = "<script>alert(1)</script>"
        odd["cells"][1]["policy"] = "<b>"
        page = self.write(odd)
        self.assertIn("<script>alert(1)</script>", page.text)
        self.assertIn("<b>", page.text)

    def test_regret_is_said(self) -> None:
        cells = [simulated_cell("oracle", rate=4), simulated_cell("goodput", rate=3)]
        self.assertIn("load 4.01: 25.00%", " ".join(self.write({"cells": cells}).text))

    def test_no_loss_is_said(self) -> None:
        page = self.write({"cells": [simulated_cell("off", rate=1), simulated_cell("goodput", rate=2)]})
        self.assertIn("In no cell", " ".join(page.text))


class CommandTests(ReportCase):
    def main(self, *arguments: str) -> tuple[int, str, str]:
        out, error = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(error):
            status = report.main(arguments)
        return status, out.getvalue(), error.getvalue()

    def test_a_bad_file_ends_with_a_message(self) -> None:
        status, out, error = self.main(str(self.file("{")), "-o", str(self.folder / "out"))
        self.assertEqual((status, out), (1, ""))
        self.assertIn("foretoken.report: ", error)
        self.assertFalse((self.folder / "out").exists())

    def test_matplotlib_is_asked_for(self) -> None:
        program = (
            "import sys; sys.modules['matplotlib'] = None\n"
            "from foretoken import report; sys.exit(report.main(sys.argv[1:]))"
        )
        result = subprocess.run(
            [sys.executable, "-c", program, str(self.file(SIMULATED)), "-o", str(self.folder / "out")],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT / "bindings" / "python",
        )
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("pip install 'foretoken[report]'", result.stderr)
        self.assertNotIn("Traceback", result.stderr)


@unittest.skipUnless(HAS_MATPLOTLIB, "matplotlib is not installed; make test runs this where it is")
class PictureTests(ReportCase):
    def draw(self, content: Any) -> dict[str, tuple[int, int]]:
        """Runs the command, and returns the sizes of the pictures by name."""
        command = [sys.executable, "-W", "error", "-m", "foretoken.report", str(self.file(content)), "-o", str(self.folder)]
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT / "bindings" / "python"
        )
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        page = Page((self.folder / "index.html").read_text(encoding="utf-8"))
        sizes = {}
        for path in self.folder.glob("*.png"):
            data = path.read_bytes()
            self.assertEqual(data[:8], b"\x89PNG\r\n\x1a\n")
            sizes[path.name] = struct.unpack(">II", data[16:24])
        self.assertEqual(len(page.images), len(sizes))
        return sizes

    def test_what_there_is_data_for_is_drawn(self) -> None:
        sizes = self.draw(SIMULATED)
        self.assertEqual(set(sizes), {"load.png", "timeline.png", "calibration.png", "speedup.png"})
        self.assertTrue(all(width > 400 and height > 300 for width, height in sizes.values()), sizes)

    def test_targets_have_a_picture_of_their_own(self) -> None:
        for scales in ((1, 0.5), (1,)):
            cells = [
                simulated_cell(policy, scale, target_tpot=target, target_tpot_ms=20, attainment=0.5)
                for scale in scales
                for target in ("0.8x", "1x", "1.2x", "2x")
                for policy in ("off", "adaspec", "goodput")
            ]
            sizes = self.draw({"cells": cells})
            self.assertIn("attainment.png", sizes)
            # Four targets are two rows of panels; with one load all are one curve.
            self.assertEqual(sizes["attainment.png"][1] > 700, len(scales) > 1)

    def test_a_bench_has_one(self) -> None:
        self.assertEqual(set(self.draw(BENCH)), {"load.png"})

    def test_names_of_lines_do_not_overlap(self) -> None:
        from foretoken._report_axes import spread_out

        for positions in ([5, 5, 5, 5], [1, 2, 2.5, 9], [9.9, 10, 9.8], [0, 0.1]):
            places = spread_out(positions, 1.5, 0, 10)
            ordered = sorted(zip(positions, places))
            gaps = [after[1] - before[1] for before, after in zip(ordered, ordered[1:])]
            self.assertTrue(all(gap >= 1.5 - 1e-9 for gap in gaps), places)
            self.assertTrue(all(-1e-9 <= place <= 10 + 1e-9 for place in places), places)
        self.assertEqual(spread_out([2, 8], 1, 0, 10), [2, 8])
        # Where there is no room for all, they are spread evenly.
        self.assertEqual(spread_out([5] * 11, 3, 0, 10), [float(place) for place in range(11)])


if __name__ == "__main__":
    unittest.main()
