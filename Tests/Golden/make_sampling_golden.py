"""Final distributions by the book: numpy, float64, no shortcuts.

usage: make_sampling_golden.py OUT_FOLDER

Order: logit bias, repetition penalty (prompt and output), presence and frequency penalties (output), temperature,
top-k, top-p, min-p; equal logits go to the lower id. Writes
    sampling.json   the cases
    sampling.i32    the ids that are left, case after case, little-endian
    sampling.f64    their log-probabilities
Logits are not stored: logit i is level / grid * scale, level = (s_i >> 33) mod levels - levels / 2, where
s_0 = seed, s_i = (6364136223846793005 * s_(i-1) + 1442695040888963407) mod 2^64, exact in float32.

Made with Python 3.11 and numpy 2.4.6.
"""
import json
import os
import sys

import numpy as np

MASK = (1 << 64) - 1


def logits_of(case):
    values, state = [], case["seed"]
    for _ in range(case["vocabulary"]):
        state = (6364136223846793005 * state + 1442695040888963407) & MASK
        values.append(((state >> 33) % case["levels"] - case["levels"] // 2) / case["grid"] * case["scale"])
    x = np.array(values, np.float64)
    assert (x.astype(np.float32) == x).all()
    x[case["infinite"]] = -np.inf
    return x


def final(case):
    """ids and log-probabilities of what can be drawn, and how far the nearest threshold was."""
    x = logits_of(case)
    for token, bias in case["bias"]:
        x[token] += bias
    output = dict(case["output"])
    for token in set(case["prompt"]) | set(output):
        x[token] = x[token] / case["repetition"] if x[token] > 0 else x[token] * case["repetition"]
    for token, count in output.items():
        x[token] -= case["presence"] + case["frequency"] * count
    order = np.lexsort((np.arange(len(x)), -x))
    if case["temperature"] < single(1e-5):  # the API takes float32
        return order[:1], np.zeros(1), 1.0
    margin = 1.0
    with np.errstate(over="ignore", under="ignore"):
        x = x / case["temperature"]
        kept = order[: case["top_k"]] if 0 < case["top_k"] < len(x) else order
        p = np.exp(x[kept] - x[kept[0]])
        p /= p.sum()
        if case["top_p"] < 1:
            reached = np.cumsum(p)
            margin = min(margin, np.abs(reached - case["top_p"]).min() / 1e-7)
            count = int(np.searchsorted(reached, case["top_p"])) + 1
            kept, p = kept[:count], p[:count]
        if case["min_p"] > 0:
            ratio = p / p[0]
            if case["min_p"] < 1:
                margin = min(margin, np.abs(ratio / case["min_p"] - 1).min() / 1e-4)
            kept = kept[ratio >= case["min_p"]]
    kept = np.sort(kept[np.isfinite(x[kept])])
    left = x[kept] - x[kept].max()
    return kept, left - np.log(np.exp(left).sum()), margin


def single(value):
    """A number that float32 holds exactly."""
    return float(np.float32(value))


def random_case(rng, index):
    big = index % 5 == 4
    vocabulary = 1000 if big else int(rng.integers(1, 61))
    pick = lambda *choices: choices[int(rng.integers(len(choices)))]
    tokens = lambda most: [int(t) for t in rng.integers(vocabulary, size=int(rng.integers(0, most + 1)))]
    temperature = single(pick(0, 9e-6, 1e-5, 1e-4, 0.01, 0.3, *[0.7, 0.8, 1, 1, 1, 1.3, 2, 5, 30, 1e6] * 2))
    # Elsewhere the rounding of float32 would be multiplied beyond what can be compared.
    repetitions = (1, 0.5, 2, 4) if temperature < 0.3 else (1, 1, 0.5, 2, 1.1, 1.3)
    case = {
        "seed": int(rng.integers(1 << 52)), "vocabulary": vocabulary, "levels": int(pick(3, 16, 4096)),
        "grid": int(pick(2, 64, 256)), "scale": float(pick(0.25, 0.5, 1, 4)),
        "infinite": sorted(set(tokens(4))) if index % 3 == 0 else [],
        "bias": [[t, float(pick(-4, -0.5, 0.25, 3, -100))] for t in tokens(5)] if index % 2 else [],
        "prompt": tokens(12), "output": [[t, int(rng.integers(1, 5))] for t in sorted(set(tokens(8)))],
        "repetition": single(pick(*repetitions)), "presence": float(pick(0, 0, 0.5, -0.25, 2)),
        "frequency": float(pick(0, 0, 0.25, 1, -0.5)), "temperature": temperature,
        "top_k": int(pick(0, 0, 0, 1, 2, 5, 20, 40, 100, 999, 5000)),
        "top_p": single(pick(1, 1, 1, 0.9999, 0.999, 0.95, 0.9, 0.5, 0.1)),
        "min_p": single(pick(0, 0, 0, 0, 1e-4, 0.02, 0.1, 0.5, 1)),
    }
    # Whole unfiltered vocabularies are long; a few are enough.
    if big and index % 25 != 4 and case["top_k"] in (0, 999, 5000) and case["top_p"] == 1:
        case["top_k"] = 50
    return case


def main():
    rng = np.random.default_rng(31)
    cases, all_ids, all_logprobs = [], [], []
    while len(cases) < 300:
        case = random_case(rng, len(cases))
        if len(case["infinite"]) == case["vocabulary"]:
            continue
        ids, logprobs, margin = final(case)
        if margin < 1:  # a threshold falls where rounding decides: no definition settles that
            continue
        cases.append(case | {"count": len(ids)})
        all_ids.append(ids)
        all_logprobs.append(logprobs)
    folder = sys.argv[1]
    with open(os.path.join(folder, "sampling.json"), "w") as out:
        out.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    np.concatenate(all_ids).astype("<i4").tofile(os.path.join(folder, "sampling.i32"))
    np.concatenate(all_logprobs).astype("<f8").tofile(os.path.join(folder, "sampling.f64"))


main()
