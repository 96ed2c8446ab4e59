"""Make the quantisation fixtures: floats, and the blocks that an outside implementation makes of them.

usage: make_quantize_golden.py OUT_DIR     (the repository keeps the output in Tests/ModelTests/Fixtures/quantize)

values.f32 holds blocks of 32 little-endian floats: normal and heavy-tailed numbers of sizes from those whose scale is a
subnormal half to those near the largest half, ties between levels, extremes that occur with both signs, zeros, single
outliers, numbers of one sign. TYPE.bin holds the blocks of gguf.quantize.

Output depends only on the seed below. Run with Python 3.11, numpy 2.4.6, gguf 0.19.0.
"""

import pathlib
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

SEED = 20240608
TYPES = [Type.Q8_0, Type.Q4_0, Type.Q5_0]


def random_blocks(rng: np.random.Generator) -> list[np.ndarray]:
    blocks = []
    for exponent in range(-18, 12):
        blocks.append(rng.standard_normal(32) * 2.0**exponent)
        blocks.append(rng.standard_t(2, 32) * 2.0**exponent)
    return blocks


def special_blocks(rng: np.random.Generator) -> list[np.ndarray]:
    blocks = [np.zeros(32), np.full(32, -0.0), np.full(32, 0.75), np.full(32, -0.75)]
    for step in (1.0, 0.125, 0.3):
        for extreme in (127, 8, 16):
            # Halfway between two levels, below and above zero; the extreme comes first with one sign, last with the other.
            for sign in (1, -1):
                ties = (rng.integers(-min(extreme, 100), min(extreme, 100), 32) + 0.5) * step
                ties[0], ties[31] = sign * extreme * step, -sign * extreme * step
                blocks.append(ties)
    for outlier in (5.0, -5.0):
        block = rng.standard_normal(32) * 1e-3
        block[rng.integers(0, 32)] = outlier
        blocks.append(block)
    normal = np.abs(rng.standard_normal(32))
    return [*blocks, normal, -normal, normal + 10, -normal - 10]


def main() -> None:
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    values = np.stack(random_blocks(rng) + special_blocks(rng)).astype("<f4")
    (out / "values.f32").write_bytes(values.tobytes())
    for kind in TYPES:
        blocks = gguf.quantize(values, kind)
        assert np.isfinite(gguf.dequantize(blocks, kind)).all(), kind.name
        (out / f"{kind.name}.bin").write_bytes(blocks.tobytes())
        print(f"{kind.name:5} {len(values)} blocks, {blocks.size} bytes")


if __name__ == "__main__":
    main()
