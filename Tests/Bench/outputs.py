"""What ftk and llama.cpp's programs print, as tokens per second by the name of a row of the report."""

from __future__ import annotations

import json
import re
from statistics import median

Values = dict[str, float]
ONE_ROW = "decode, 1 row"


def sequences(count: int) -> str:
    return f"decode, {count} sequence{'s' if count > 1 else ''}"


def parse_ftk_bench(text: str) -> Values:
    report = json.loads(text)
    decode = {sequences(entry["rows"]): float(entry["tokens_per_s"]) for entry in report["decode"]}
    one_row = {ONE_ROW: decode[sequences(1)]} if sequences(1) in decode else {}
    prefill = {f"prefill, {entry['rows']} rows": float(entry["tokens_per_s"]) for entry in report["prefill"]}
    return {**one_row, **prefill, **decode}


def parse_llama_bench(text: str) -> Values:
    values = {}
    for entry in json.loads(text):
        name = ONE_ROW if entry["n_prompt"] == 0 else f"prefill, {entry['n_prompt']} rows"
        values[name] = float(median(entry.get("samples_ts") or [entry["avg_ts"]]))
    return values


def parse_batched_bench(text: str) -> Values:
    """Reads the table and the lines of JSON that --output-format jsonl gives."""
    values, header = {}, []
    for line in text.splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            values[sequences(int(entry["pl"]))] = float(entry["speed_tg"])
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if "S_TG t/s" in cells:
                header = cells
            elif header and not line.startswith("|-"):
                row = dict(zip(header, cells))
                values[sequences(int(row["B"]))] = float(row["S_TG t/s"])
    return values


def parse_ftk_compare(text: str, length: int) -> Values:
    speeds = {arm["name"]: float(arm["tokens_per_s"]) for arm in json.loads(text)["arms"]}
    return {"plain": speeds["off"], drafts(length): speeds["static, draft model"]}


def parse_speculative(text: str, length: int) -> Values:
    found = re.search(r"decoded\s+\d+ tokens in\s+[\d.]+ seconds, speed:\s+([\d.]+) t/s", text)
    return {drafts(length) if length else "plain": float(found[1])} if found else {}


def drafts(length: int) -> str:
    return f"drafts of {length}"


def with_costs(values: Values) -> Values:
    """Adds what a step of n sequences costs in steps of one, from speeds of the same run."""
    costs = {}
    for name, speed in values.items():
        count = re.fullmatch(r"decode, (\d+) sequences", name)
        if count and sequences(1) in values:
            costs[f"cost of {count[1]} / cost of 1"] = int(count[1]) * values[sequences(1)] / speed
    return {**values, **costs}
